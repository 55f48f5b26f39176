//! How watches end, what keeps them, and what they leave behind.

use super::rig::{Rig, any_hash};
use super::served::{Served, after};
use crate::store::engine::SimulatedLog;
use crate::store::engine::simulated::Fault;
use crate::store::request::{Answer, Operation};
use crate::store::{SessionKey, StoreError, Watch, WatchFrom};
use crate::{MessageId, Timestamp};

const SECOND: i64 = 1000;
const HOUR: i64 = 60 * 60 * SECOND;
const DAY: i64 = 24 * HOUR;

fn opening(served: &mut Served<SimulatedLog>, name: &str, session: SessionKey) -> Operation {
    let row = served.rig.engine.live_account(name).unwrap();
    Operation::OpenSession { account: row.number, verified: row.hash, session, rehash: None }
}

/// Messi watches by a second session; a message waits in the feed; then this happens.
async fn ends_by(
    what: impl FnOnce(&mut Served<SimulatedLog>, SessionKey, SessionKey),
) -> Vec<String> {
    let mut served = Served::new(SimulatedLog::new());
    let (messi, lineker) = (served.rig.join("messi"), served.rig.join("lineker"));
    let second = SessionKey([9; 32]);
    let open = opening(&mut served, "messi", second);
    served.rig.run(open).unwrap();
    let mut watch = served.undelivered(second).await;
    assert!(served.told(&mut watch).await.is_empty());
    served.send(lineker, "messi", &["before"]);
    what(&mut served, messi, second);
    // Whether there still is somebody to send to does not matter.
    let _ = served.rig.send(lineker, "messi", "after");
    served.told(&mut watch).await
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_its_session_after_what_came_before() {
    let run = |operation: Operation| {
        move |served: &mut Served<SimulatedLog>, _: SessionKey, _: SessionKey| {
            served.rig.run(operation).unwrap();
        }
    };
    let told = ends_by(|served, _, session| {
        served.rig.run(Operation::Logout { session }).unwrap();
    });
    assert_eq!(told.await, ["1 before", "ended logout"]);
    let told = ends_by(|served, session, second| {
        let name = second.public_name().into();
        served.rig.run(Operation::Revoke { session, name }).unwrap();
    });
    assert_eq!(told.await, ["1 before", "ended revoked"]);
    let told = ends_by(|served, messi, _| {
        served.rig.clock.advance(1);
        served.rig.run(Operation::Whoami { session: messi }).unwrap();
        for n in 0..99 {
            let open = opening(served, "messi", SessionKey([100 + n; 32]));
            served.rig.run(open).unwrap();
        }
    });
    assert_eq!(told.await, ["1 before", "ended revoked"], "one too many");
    let told = ends_by(|served, session, _| {
        let verified = served.rig.engine.live_account("messi").unwrap().hash;
        let change = Operation::ChangePassword { session, verified, new: any_hash() };
        served.rig.run(change).unwrap();
    });
    assert_eq!(told.await, ["1 before", "ended password_changed"]);
    let set = Operation::SetPassword { username: "messi".into(), hash: any_hash() };
    assert_eq!(ends_by(run(set)).await, ["1 before", "ended password_changed"]);
    let remove = Operation::Remove { username: "messi".into() };
    assert_eq!(ends_by(run(remove)).await, ["1 before", "ended account_removed"]);
    let told = ends_by(|served, messi, _| {
        served.rig.clock.advance(20 * DAY);
        served.rig.run(Operation::Whoami { session: messi }).unwrap();
        served.rig.clock.advance(11 * DAY);
        served.rig.work(10);
    });
    assert_eq!(told.await, ["1 before", "ended expired"], "a jump of the clock");
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_the_end() {
    let mut served = Served::new(SimulatedLog::new());
    let messi = served.rig.join("messi");
    let mut watch = served.undelivered(messi).await;
    served.rig.run(Operation::Logout { session: messi }).unwrap();
    assert_eq!(served.told(&mut watch).await, ["ended logout"]);
    assert!(served.told(&mut watch).await.is_empty());
    assert!(watch.try_next().is_none());
}

/// What was not read yet stays for another device: a session that ended is shown nothing more from the store.
#[tokio::test(start_paused = true)]
async fn a_session_that_ends_while_it_catches_up_is_shown_no_more() {
    let mut served = Served::new(SimulatedLog::new());
    let (messi, lineker) = (served.rig.join("messi"), served.rig.join("lineker"));
    served.send(lineker, "messi", &["halo"; 30]);
    let mut watch = served.undelivered(messi).await;
    served.serve(watch.next()).await.unwrap();
    served.rig.run(Operation::Logout { session: messi }).unwrap();
    let told = served.told(&mut watch).await;
    assert!(told.len() < 10, "more than the page it had: {told:?}");
    assert_eq!(told.last().unwrap(), "ended logout");
}

#[tokio::test(start_paused = true)]
async fn an_open_watch_counts_as_use_of_its_session() {
    let mut served = Served::new(SimulatedLog::new());
    let messi = served.rig.join("messi");
    let mut watch = served.undelivered(messi).await;
    for _ in 0..100 {
        served.rig.clock.advance(DAY);
        served.rig.work(10);
    }
    assert!(served.told(&mut watch).await.is_empty());
    // The clock goes back, and again nothing ends.
    served.rig.clock.advance(-50 * DAY);
    served.rig.work(10);
    served.rig.clock.advance(70 * DAY);
    served.rig.work(10);
    assert!(served.told(&mut watch).await.is_empty());
    drop(watch);
    for _ in 0..31 {
        served.rig.clock.advance(DAY);
        served.rig.work(10);
    }
    let refused = served.rig.run(Operation::Whoami { session: messi });
    assert_eq!(refused.unwrap_err(), StoreError::NoSession);
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_commit_failed_is_found_when_it_shows() {
    let log = SimulatedLog::new();
    let mut served = Served::new(log.clone());
    let messi = served.rig.join("messi");
    let mut watch = served.undelivered(messi).await;
    log.fail(Some(Fault::SyncFailed));
    served.rig.run(Operation::Logout { session: messi }).unwrap_err();
    let unavailable = StoreError::Unavailable.to_string();
    assert_eq!(served.told(&mut watch).await, ["lagging", &unavailable]);
    log.fail(None);
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    served.rig.work(1);
    assert_eq!(served.told(&mut watch).await, ["ended revoked"]);
}

#[tokio::test(start_paused = true)]
async fn watches_that_are_dropped_leave_nothing_behind() {
    let mut served = Served::new(SimulatedLog::new());
    let users: Vec<_> = (0..10).map(|n| served.rig.join(&format!("user{n}"))).collect();
    for n in 0..5_000 {
        drop(served.undelivered(users[n % 10]).await);
    }
    // Each new watch of an account clears those before it away; the last ones go in the background, within seconds.
    assert!(served.rig.engine.watchers.count() <= 10);
    served.rig.clock.advance(10 * SECOND);
    served.rig.work(10);
    assert_eq!(served.rig.engine.watchers.count(), 0);
    assert!(served.rig.engine.watchers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_user_may_watch_a_hundred_times_at_once() {
    let mut served = Served::new(SimulatedLog::new());
    let (messi, lineker) = (served.rig.join("messi"), served.rig.join("lineker"));
    let mut watches = Vec::new();
    for _ in 0..100 {
        watches.push(served.undelivered(messi).await);
    }
    let again = || Operation::Watch { session: messi, from: WatchFrom::Undelivered };
    assert!(matches!(served.rig.run(again()).unwrap_err(), StoreError::Busy { .. }));
    drop(served.undelivered(lineker).await);
    watches.pop();
    served.rig.run(again()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_pushed_is_known_until_it_is_delivered() {
    let mut served = Served::new(SimulatedLog::new());
    let (messi, lineker) = (served.rig.join("messi"), served.rig.join("lineker"));
    let account = served.rig.engine.live_account("messi").unwrap().number;
    served.send(lineker, "messi", &["one", "two", "three"]);
    let pushed = |served: &Served<SimulatedLog>, id| {
        served.rig.engine.watchers.pushed(account, MessageId::new(id)).map(Timestamp::as_millis)
    };
    served.rig.clock.advance(5_000);
    let watch = served.undelivered(messi).await;
    assert_eq!(pushed(&served, 1), None);
    watch.pushed(MessageId::new(2), served.now());
    assert_eq!([1, 2, 3].map(|id| pushed(&served, id)), [Some(5_000), Some(5_000), None]);
    drop(watch);
    // What it was reading goes when its task is dropped.
    tokio::task::yield_now().await;
    served.rig.clock.advance(HOUR);
    served.rig.work(10);
    assert!(served.rig.engine.watchers.is_empty());
    assert_eq!(pushed(&served, 2), Some(5_000));
    // A watch that goes on from 2 says nothing of what it did not push itself.
    let incarnation = served.rig.engine.incarnation(account).unwrap();
    let watch = served.watch(messi, after(2, incarnation.as_str())).await;
    watch.pushed(MessageId::new(3), served.now());
    assert_eq!(pushed(&served, 1), Some(5_000));
    assert_eq!(pushed(&served, 3), Some(5_000 + HOUR));
    served.rig.ack(messi, 2).unwrap();
    assert_eq!((pushed(&served, 2), pushed(&served, 3)), (None, Some(5_000 + HOUR)));
}

#[tokio::test(start_paused = true)]
async fn a_new_name_is_learned_by_catching_up() {
    let mut served = Served::new(SimulatedLog::new());
    let messi = served.rig.join("messi");
    let mut watch = served.undelivered(messi).await;
    assert!(served.told(&mut watch).await.is_empty());
    let new_username = Some("leo".parse().unwrap());
    served
        .rig
        .run(Operation::Rename { username: "messi".into(), new_username, new_name: None })
        .unwrap();
    assert_eq!(served.told(&mut watch).await, ["lagging", "live"]);
    assert_eq!(&**watch.username(), "leo");
}

#[tokio::test(start_paused = true)]
async fn presence_is_told_to_whom_it_is_for() {
    let mut served = Served::new(SimulatedLog::new());
    let (messi, lineker) = (served.rig.join("messi"), served.rig.join("lineker"));
    let mut watches = Vec::new();
    for session in [messi, lineker] {
        let mut watch = served.undelivered(session).await;
        assert!(served.told(&mut watch).await.is_empty());
        watches.push(watch);
    }
    let account = served.rig.engine.live_account("messi").unwrap().number;
    for active in [true, false] {
        served.rig.engine.watchers.notify_presence(account, &"lineker".into(), active);
    }
    let Ok([watch, other]) = <[Watch; 2]>::try_from(watches) else { panic!("two") };
    let (mut watch, mut other) = (watch, other);
    assert_eq!(served.told(&mut watch).await, ["lineker false"]);
    assert!(served.told(&mut other).await.is_empty());
}

/// What a watcher that never takes anything costs is bounded, and others do not notice.
#[tokio::test(start_paused = true)]
async fn a_watch_that_takes_nothing_holds_nobody_up() {
    let mut served = Served::new(SimulatedLog::new());
    let (messi, lineker) = (served.rig.join("messi"), served.rig.join("lineker"));
    let (mut idle, mut busy) = (served.undelivered(messi).await, served.undelivered(messi).await);
    assert!(served.told(&mut busy).await.is_empty() && served.told(&mut idle).await.is_empty());
    let mut expected = Vec::new();
    for n in 1..=500 {
        served.send(lineker, "messi", &["halo"]);
        expected.push(format!("{n} halo"));
        assert_eq!(served.told(&mut busy).await, expected[n - 1..]);
    }
    assert!(idle.waiting() <= 16, "{} events wait", idle.waiting());
    let told = served.told(&mut idle).await;
    expected.insert(16, "lagging".into());
    expected.push("live".into());
    assert_eq!(told, expected);
}

/// What is not in the store and did not fit while the store was read is missed for ever, so it has to be said.
#[tokio::test(start_paused = true)]
async fn what_did_not_fit_while_it_was_catching_up_is_not_passed_over() {
    let mut served = Served::new(SimulatedLog::new());
    let (messi, lineker) = (served.rig.join("messi"), served.rig.join("lineker"));
    served.send(lineker, "messi", &["halo"; 30]);
    let mut watch = served.undelivered(messi).await;
    served.send(messi, "lineker", &["baik"; 50]);
    let told = served.told(&mut watch).await;
    let sent = told.iter().filter(|said| *said == "sent baik").count();
    assert!(sent < 50, "{told:?}");
    let lost: Vec<_> = told.iter().filter(|said| *said == "lagging" || *said == "live").collect();
    assert_eq!(lost, ["lagging", "live"]);
    served.send(messi, "lineker", &["sekarang"]);
    assert_eq!(served.told(&mut watch).await, ["sent sekarang"]);
}

#[test]
fn a_batch_that_failed_left_no_watch() {
    let (mut rig, log) = Rig::simulated();
    let messi = rig.join("messi");
    log.fail_at(1, Fault::NoSpace);
    let watch = Operation::Watch { session: messi, from: WatchFrom::Undelivered };
    let send = Operation::Send(vec![super::rig::outgoing(messi, "messi", "halo")]);
    let outcomes = rig.run_all(vec![watch, send]);
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(rig.engine.watchers.sessions().count(), 0);
    log.fail(None);
    assert!(matches!(rig.run(Operation::Whoami { session: messi }).unwrap(), Answer::Whoami(_)));
}
