//! What a client may go on from: older lives of a mailbox, copies that came back, and what retention took.

use super::rig::{Rig, TestClock, roomy};
use super::served::{Served, after, stale};
use crate::protocol::Resume;
use crate::store::engine::SimulatedLog;
use crate::store::engine::log::Log;
use crate::store::request::Operation;
use crate::store::{AckBasis, SessionKey, StoreError, StoreOptions, Watch};

const DAY: i64 = 24 * 60 * 60 * 1000;

/// How a watch goes on: how, behind which id, and the ids that do not mean what they meant.
fn resumed(watch: &Watch) -> (Resume, u64, Option<(u64, u64)>) {
    let resumed = watch.resumed();
    let gap = resumed.gap.map(|(from, to)| (from.get(), to.get()));
    (resumed.resume, resumed.after.get(), gap)
}

/// Another engine on the same log, and a new handle.
fn restart<L: Log>(served: Served<L>) -> Served<L> {
    let Rig { engine, clock } = served.rig;
    let options = roomy(&clock);
    Served::with(engine.log.opened_anew(), clock, &options)
}

#[tokio::test(start_paused = true)]
async fn the_present_incarnation_goes_on_exactly() {
    let mut served = Served::new(SimulatedLog::new());
    let messi = served.rig.join("messi");
    served.send(messi, "messi", &["one", "two", "three"]);
    served.rig.ack(messi, 3).unwrap();
    let watch = served.undelivered(messi).await;
    assert_eq!(resumed(&watch), (Resume::Undelivered, 3, None));
    let incarnation = watch.incarnation().to_string();
    let mut served = restart(served);
    for (id, expected) in [(0, &["1 one", "2 two", "3 three"][..]), (2, &["3 three"]), (3, &[])] {
        let mut watch = served.watch(messi, after(id, &incarnation)).await;
        assert_eq!(resumed(&watch), (Resume::Exact, id, None));
        assert_eq!(served.told(&mut watch).await, expected);
    }
}

/// A copy of the store is put back: what came after it was made is void.
#[cfg(feature = "embedded")]
#[tokio::test(start_paused = true)]
async fn a_restored_copy_goes_on_from_the_last_id_both_share() {
    use crate::store::SqliteOptions;
    use crate::store::backend::Backend as _;
    use crate::store::engine::SqliteLog;
    use crate::store::engine::tests::rig::{copy_store, remove_store};
    let directory = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let open = || Served::new(SqliteLog::open(SqliteOptions::new(directory.path())).unwrap());
    let mut served = open();
    let messi = served.rig.join("messi");
    for n in 1..=20 {
        served.send(messi, "messi", &[&format!("{n}")]);
        served.rig.work(3);
    }
    let old = served.undelivered(messi).await.incarnation().to_string();
    served.rig.engine.close().unwrap();
    drop(served);
    copy_store(directory.path(), copy.path());
    let mut served = open();
    served.send(messi, "messi", &["lost 21", "lost 22"]);
    served.rig.engine.close().unwrap();
    drop(served);
    remove_store(directory.path());
    copy_store(copy.path(), directory.path());
    let mut served = open();
    served.send(messi, "messi", &["new 21"]);
    let mut watch = served.watch(messi, after(22, &old)).await;
    assert_ne!(watch.incarnation().as_str(), old);
    assert_eq!(resumed(&watch), (Resume::Gap, 20, Some((21, 22))));
    assert_eq!(served.told(&mut watch).await, ["21 new 21"]);
    let mut watch = served.watch(messi, after(19, &old)).await;
    assert_eq!(resumed(&watch), (Resume::Gap, 19, Some((21, 19))), "all it has holds good");
    assert_eq!(served.told(&mut watch).await, ["20 20", "21 new 21"]);
}

#[tokio::test(start_paused = true)]
async fn an_incarnation_that_never_was_shares_nothing() {
    let mut served = Served::new(SimulatedLog::new());
    let messi = served.rig.join("messi");
    served.send(messi, "messi", &["one", "two"]);
    let mut watch = served.watch(messi, after(2, "0123456789abcdef")).await;
    assert_eq!(resumed(&watch), (Resume::Gap, 0, Some((1, 2))));
    assert_eq!(served.told(&mut watch).await, ["1 one", "2 two"]);
    let watch = served.watch(messi, after(u64::MAX, "")).await;
    assert_eq!(resumed(&watch), (Resume::Gap, 0, Some((1, u64::MAX))));
}

#[tokio::test(start_paused = true)]
async fn an_account_made_again_continues_nothing() {
    let mut served = Served::new(SimulatedLog::new());
    let messi = served.rig.join("messi");
    served.send(messi, "messi", &["one", "two"]);
    let old = served.undelivered(messi).await.incarnation().to_string();
    for end in [
        Operation::Remove { username: "messi".into() },
        Operation::Release { username: "messi".into() },
    ] {
        served.rig.run(end).unwrap();
    }
    let again = served.rig.join("messi");
    served.send(again, "messi", &["first"]);
    let mut watch = served.watch(again, after(2, &old)).await;
    assert_ne!(watch.incarnation().as_str(), old);
    assert_eq!(resumed(&watch), (Resume::Gap, 0, Some((1, 2))));
    assert_eq!(served.told(&mut watch).await, ["1 first"]);
}

/// A client has more than the store: this mailbox, and no other, gets a new incarnation.
async fn beyond_the_end<L: Log>(log: L) {
    let mut served = Served::new(log);
    let (messi, lineker) = (served.rig.join("messi"), served.rig.join("lineker"));
    served.send(lineker, "messi", &["one", "two"]);
    let others = served.undelivered(lineker).await.incarnation().clone();
    let mut beside = served.undelivered(messi).await;
    let first = beside.incarnation().to_string();
    assert_eq!(served.told(&mut beside).await, ["1 one", "2 two"]);

    let mut watch = served.watch(messi, after(7, &first)).await;
    let second = watch.incarnation().to_string();
    assert_eq!(resumed(&watch), (Resume::Gap, 2, Some((3, 7))));
    served.send(lineker, "messi", &["three"]);
    assert_eq!(served.told(&mut watch).await, ["3 three"]);
    assert_eq!(served.told(&mut beside).await, ["lagging", &stale()]);
    assert_eq!(served.told(&mut beside).await, [stale()]);
    assert_eq!(served.undelivered(lineker).await.incarnation(), &others);
    let basis = AckBasis::Incarnation(first.as_str().into());
    let ack = Operation::Ack { session: messi, upto: crate::MessageId::new(3), basis };
    assert_eq!(served.rig.run(ack).unwrap_err(), StoreError::StaleIncarnation);

    // It holds after a restart, flushed or not, and what came before it is still understood.
    for work in [0, 50] {
        served.rig.work(work);
        served = restart(served);
        assert_eq!(served.undelivered(messi).await.incarnation().as_str(), second);
        let watch = served.watch(messi, after(5, &first)).await;
        assert_eq!(resumed(&watch), (Resume::Gap, 2, Some((3, 5))));
    }

    // Once more: the one before is understood, and what lies further back shares nothing.
    let third = served.watch(messi, after(9, &second)).await.incarnation().to_string();
    for _ in 0..2 {
        let watch = served.watch(messi, after(9, &second)).await;
        assert_eq!(watch.incarnation().as_str(), third);
        assert_eq!(resumed(&watch), (Resume::Gap, 3, Some((4, 9))));
        assert_eq!(resumed(&served.watch(messi, after(2, &first)).await).1, 0);
        served.send(lineker, "messi", &["more"; 10]);
        served.rig.work(50);
        served = restart(served);
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_the_end_begins_an_incarnation_of_this_mailbox_alone() {
    beyond_the_end(SimulatedLog::new()).await;
}

#[cfg(feature = "embedded")]
#[tokio::test(start_paused = true)]
async fn beyond_the_end_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let options = crate::store::SqliteOptions::new(directory.path());
    beyond_the_end(crate::store::engine::SqliteLog::open(options).unwrap()).await;
}

/// Sends one message a day and delivers it.
fn daily(served: &mut Served<SimulatedLog>, session: SessionKey, days: u64) {
    for n in 0..days {
        served.send(session, "messi", &[&format!("{n}")]);
        served.rig.take(session, 10).unwrap();
        served.rig.clock.advance(DAY);
        served.rig.work(100);
    }
}

#[tokio::test(start_paused = true)]
async fn what_age_took_is_announced_and_what_waits_is_there() {
    let mut served = Served::new(SimulatedLog::new());
    let messi = served.rig.join("messi");
    daily(&mut served, messi, 200);
    let incarnation = served.undelivered(messi).await.incarnation().to_string();
    let mut watch = served.watch(messi, after(3, &incarnation)).await;
    assert_eq!(resumed(&watch), (Resume::Exact, 3, None));
    let told = served.told(&mut watch).await;
    let gap = told[0].strip_prefix("gap 4-").unwrap().parse::<usize>().unwrap();
    assert!((165..=175).contains(&gap), "30 days are kept: {gap}");
    let rest: Vec<_> = (gap + 1..=200).map(|id| format!("{id} {}", id - 1)).collect();
    assert_eq!(told[1..], rest);
    // What nobody reads stays, however old.
    served.send(messi, "messi", &["waits"]);
    for _ in 0..100 {
        served.rig.clock.advance(DAY);
        served.rig.work(100);
        served.rig.run(Operation::Whoami { session: messi }).unwrap();
    }
    let mut watch = served.watch(messi, after(3, &incarnation)).await;
    assert_eq!(served.told(&mut watch).await, ["gap 4-200", "201 waits"]);
    let mut watch = served.undelivered(messi).await;
    assert_eq!(served.told(&mut watch).await, ["201 waits"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_count_took_is_announced() {
    let clock = TestClock::default();
    let options = StoreOptions { retention_messages: 100, ..roomy(&clock) };
    let mut served = Served::with(SimulatedLog::new(), clock, &options);
    let messi = served.rig.join("messi");
    for _ in 0..300 {
        served.send(messi, "messi", &["halo"]);
        served.rig.take(messi, 10).unwrap();
        served.rig.work(10);
    }
    let account = served.rig.engine.live_account("messi").unwrap().number;
    let floor = served.rig.engine.mailbox(account).unwrap().head.floor.get();
    assert!(floor >= 190);
    let incarnation = served.undelivered(messi).await.incarnation().to_string();
    let mut watch = served.watch(messi, after(0, &incarnation)).await;
    let told = served.told(&mut watch).await;
    assert_eq!(told[0], format!("gap 1-{floor}"));
    assert_eq!(told.len() - 1, usize::try_from(300 - floor).unwrap());
    // Which of those that are gone an older incarnation shared nobody knows: so none.
    let watch = served.watch(messi, after(u64::MAX, &incarnation)).await;
    assert_eq!(resumed(&watch).1, 300);
    for _ in 0..300 {
        served.send(messi, "messi", &["halo"]);
        served.rig.take(messi, 10).unwrap();
        served.rig.work(10);
    }
    let watch = served.watch(messi, after(400, &incarnation)).await;
    assert_eq!(resumed(&watch), (Resume::Gap, 0, Some((1, 400))));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_so_again_and_again_is_not_believed() {
    let mut served = Served::new(SimulatedLog::new());
    let messi = served.rig.join("messi");
    let first = served.undelivered(messi).await.incarnation().to_string();
    let second = served.watch(messi, after(7, &first)).await.incarnation().to_string();
    let claim = || Operation::Watch { session: messi, from: after(7, &second) };
    let minute = std::time::Duration::from_secs(60);
    let refused = served.rig.run(claim()).unwrap_err();
    assert_eq!(refused, StoreError::Busy { retry_after: minute });
    assert_eq!(served.undelivered(messi).await.incarnation().as_str(), second);
    tokio::time::advance(minute).await;
    served.rig.run(claim()).unwrap();
    assert_ne!(served.undelivered(messi).await.incarnation().as_str(), second);
}
