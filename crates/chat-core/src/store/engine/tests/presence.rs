//! Who came and who went, and who is told.

use super::rig::{Rig, TestClock, any_hash, hashed, on_both_logs, session_of};
use super::served::Served;
use crate::Timestamp;
use crate::store::engine::SimulatedLog;
use crate::store::engine::log::Log;
use crate::store::engine::simulated::Fault;
use crate::store::request::Operation;
use crate::store::{AccountNumber, PrivacyChoice, PrivacySubject, SessionKey, StoreError};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const NOBODY: [(u64, bool); 0] = [];

/// A second later: who came and went since, by number.
fn round<L: Log>(rig: &mut Rig<L>) -> Vec<(u64, bool)> {
    rig.clock.advance(SECOND);
    changes(rig)
}

fn changes<L: Log>(rig: &mut Rig<L>) -> Vec<(u64, bool)> {
    let now = Timestamp::from_millis(rig.clock_now());
    let changes = std::iter::from_fn(|| rig.engine.next_change(now));
    let mut changes: Vec<_> = changes.map(|(account, active)| (account.0, active)).collect();
    changes.sort_unstable();
    changes
}

fn attach<L: Log>(rig: &mut Rig<L>, session: SessionKey) -> Result<(), StoreError> {
    rig.run(Operation::Attach { session, instead_of: None }).map(drop)
}

fn detach<L: Log>(rig: &mut Rig<L>, session: SessionKey) {
    rig.run(Operation::Detach { session }).unwrap();
}

fn logout<L: Log>(rig: &mut Rig<L>, session: SessionKey) {
    rig.run(Operation::Logout { session }).unwrap();
}

fn log_in<L: Log>(rig: &mut Rig<L>, account: u64, session: SessionKey) {
    let (account, verified) = (AccountNumber(account), any_hash());
    rig.run(Operation::OpenSession { account, verified, session, rehash: None }).unwrap();
}

fn choose<L: Log>(rig: &mut Rig<L>, session: SessionKey, choice: PrivacyChoice) {
    let subject = PrivacySubject::Presence;
    rig.run(Operation::SetPrivacy { session, subject, choice }).unwrap();
}

fn block<L: Log>(rig: &mut Rig<L>, session: SessionKey, username: &str, on: bool) {
    rig.run(Operation::Block { session, username: username.into(), on }).unwrap();
}

fn audience<L: Log>(rig: &mut Rig<L>, user: u64) -> Vec<u64> {
    let audience = rig.engine.audience(AccountNumber(user)).unwrap();
    audience.into_iter().map(|account| account.0).collect()
}

fn a_user_is_here_for_five_minutes_after_the_last_use<L: Log>(mut rig: Rig<L>) {
    let messi = rig.join("messi");
    assert_eq!(changes(&mut rig), [(1, true)]);
    rig.clock.advance(4 * MINUTE);
    assert_eq!(changes(&mut rig), NOBODY);
    rig.peek_all(messi).unwrap();
    rig.clock.advance(5 * MINUTE - 1);
    assert_eq!(changes(&mut rig), NOBODY, "used in between");
    assert_eq!(round(&mut rig), [(1, false)]);
    assert_eq!(round(&mut rig), NOBODY);
    rig.peek_all(messi).unwrap();
    assert_eq!(round(&mut rig), [(1, true)]);
}

fn a_user_is_here_while_connected<L: Log>(mut rig: Rig<L>) {
    let messi = rig.join("messi");
    for _ in 0..2 {
        attach(&mut rig, messi).unwrap();
    }
    assert_eq!(changes(&mut rig), [(1, true)]);
    rig.clock.advance(60 * MINUTE);
    assert_eq!(changes(&mut rig), NOBODY);
    detach(&mut rig, messi);
    assert_eq!(round(&mut rig), NOBODY, "another connection is open");
    detach(&mut rig, messi);
    assert_eq!(round(&mut rig), [(1, false)]);
    // Another session in place of this one.
    attach(&mut rig, messi).unwrap();
    assert_eq!(round(&mut rig), [(1, true)]);
    rig.clock.advance(60 * MINUTE);
    let lineker = rig.join("lineker");
    rig.run(Operation::Attach { session: lineker, instead_of: Some(messi) }).unwrap();
    assert_eq!(round(&mut rig), [(1, false), (2, true)]);
}

fn who_goes_and_comes_back_at_once_is_not_mentioned<L: Log>(mut rig: Rig<L>) {
    let mut messi = rig.join("messi");
    assert_eq!(changes(&mut rig), [(1, true)]);
    for n in 1..10 {
        let next = SessionKey([n; 32]);
        logout(&mut rig, messi);
        log_in(&mut rig, 1, next);
        messi = next;
        rig.clock.advance(200);
        assert_eq!(changes(&mut rig), NOBODY);
    }
    // And who comes and goes between two looks is not, either.
    logout(&mut rig, messi);
    assert_eq!(round(&mut rig), [(1, false)]);
    log_in(&mut rig, 1, messi);
    logout(&mut rig, messi);
    assert_eq!(round(&mut rig), NOBODY);
}

fn one_looks_once_a_second<L: Log>(mut rig: Rig<L>) {
    rig.join("messi");
    assert_eq!(changes(&mut rig), [(1, true)]);
    let lineker = rig.join("lineker");
    rig.clock.advance(999);
    assert_eq!(changes(&mut rig), NOBODY);
    rig.clock.advance(1);
    assert_eq!(changes(&mut rig), [(2, true)]);
    logout(&mut rig, lineker);
    assert_eq!(changes(&mut rig), NOBODY);
    assert_eq!(round(&mut rig), [(2, false)]);
}

fn the_end_of_the_last_session_is_going<L: Log>(mut rig: Rig<L>) {
    let sessions = ["messi", "lineker", "henderson"].map(|name| rig.join(name));
    for session in sessions {
        attach(&mut rig, session).unwrap();
    }
    let second = SessionKey([9; 32]);
    log_in(&mut rig, 3, second);
    assert_eq!(changes(&mut rig), [(1, true), (2, true), (3, true)]);
    rig.run(Operation::Remove { username: "messi".into() }).unwrap();
    let name = sessions[1].public_name().into();
    rig.run(Operation::Revoke { session: sessions[1], name }).unwrap();
    logout(&mut rig, sessions[2]);
    assert_eq!(round(&mut rig), [(1, false), (2, false)]);
    logout(&mut rig, second);
    assert_eq!(round(&mut rig), [(3, false)]);
}

fn a_clock_that_is_set_changes_nothing_for_who_is_connected<L: Log>(mut rig: Rig<L>) {
    rig.clock.advance(10 * 24 * 60 * MINUTE);
    let (messi, _) = (rig.join("messi"), rig.join("lineker"));
    attach(&mut rig, messi).unwrap();
    assert_eq!(changes(&mut rig), [(1, true), (2, true)]);
    rig.clock.advance(-60 * MINUTE);
    assert_eq!(round(&mut rig), NOBODY);
    let henderson = rig.join("henderson");
    assert_eq!(round(&mut rig), [(3, true)], "rounds go on");
    logout(&mut rig, henderson);
    assert_eq!(round(&mut rig), [(3, false)]);
    rig.clock.advance(2 * 24 * 60 * MINUTE);
    assert_eq!(changes(&mut rig), [(2, false)]);
    detach(&mut rig, messi);
    assert_eq!(round(&mut rig), [(1, false)]);
}

fn who_was_here_by_a_clock_that_was_wrong_goes_in_time<L: Log>(mut rig: Rig<L>) {
    const TWO_DAYS: i64 = 2 * 24 * 60 * MINUTE;
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    rig.clock.advance(TWO_DAYS);
    for session in [messi, lineker] {
        attach(&mut rig, session).unwrap();
        rig.peek_all(session).unwrap();
    }
    detach(&mut rig, lineker);
    assert_eq!(changes(&mut rig), [(1, true), (2, true)]);
    rig.clock.advance(-TWO_DAYS);
    assert_eq!(round(&mut rig), NOBODY, "when that was cannot be told");
    rig.clock.advance(4 * MINUTE);
    rig.peek_all(messi).unwrap();
    detach(&mut rig, messi);
    assert_eq!(round(&mut rig), NOBODY);
    rig.clock.advance(MINUTE);
    assert_eq!(changes(&mut rig), [(2, false)]);
    rig.clock.advance(4 * MINUTE);
    assert_eq!(changes(&mut rig), [(1, false)]);
    rig.peek_all(lineker).unwrap();
    assert_eq!(round(&mut rig), [(2, true)], "the session lives");
}

fn after_a_restart_who_was_here_lately_still_is<L: Log>(mut rig: Rig<L>) {
    rig.join("messi");
    rig.clock.advance(6 * MINUTE);
    rig.join("lineker");
    rig = rig.restart();
    assert_eq!(changes(&mut rig), [(2, true)]);
    rig.clock.advance(5 * MINUTE);
    assert_eq!(changes(&mut rig), [(2, false)]);
}

fn a_crowd_is_looked_at_in_steps<L: Log>(mut rig: Rig<L>) {
    for n in 0..600 {
        rig.run(Operation::Create(hashed(&format!("user{n}")))).unwrap();
        log_in(&mut rig, n + 1, session_of(AccountNumber(n + 1)));
    }
    rig.clock.advance(SECOND);
    let now = Timestamp::from_millis(rig.clock_now());
    let (mut steps, mut told) = (0, 0);
    while rig.engine.presence_step(now).unwrap() {
        steps += 1;
        let here = rig.engine.attendance.here().count();
        assert!(here - told <= 1, "{} told in one step", here - told);
        told = here;
    }
    assert!(steps >= 599);
    assert_eq!(rig.engine.attendance.here().count(), 600);
}

fn who_is_told_is_as_the_choice_says<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let henderson = rig.join("henderson");
    rig.send(messi, "lineker", "halo").unwrap();
    rig.send(messi, "messi", "a note").unwrap();
    rig.send(henderson, "messi", "halo").unwrap();
    for (choice, expected) in [
        (PrivacyChoice::Default, vec![2]),
        (PrivacyChoice::On, vec![2, 3]),
        (PrivacyChoice::Off, vec![]),
    ] {
        choose(&mut rig, messi, choice);
        assert_eq!(audience(&mut rig, 1), expected, "{choice:?}");
    }
    choose(&mut rig, messi, PrivacyChoice::On);
    block(&mut rig, messi, "lineker", true);
    assert_eq!(audience(&mut rig, 1), [3]);
    block(&mut rig, messi, "henderson", true);
    assert_eq!(audience(&mut rig, 1), [0; 0]);
    block(&mut rig, messi, "lineker", false);
    assert_eq!(audience(&mut rig, 1), [2]);
    // The other way round nothing is blocked.
    rig.send(lineker, "messi", "halo").unwrap();
    assert_eq!(audience(&mut rig, 2), [1]);
}

fn only_the_newest_of_a_mailbox_are_asked_for_their_senders<L: Log>(mut rig: Rig<L>) {
    let messi = rig.join("messi");
    let (lineker, henderson) = (rig.join("lineker"), rig.join("henderson"));
    choose(&mut rig, messi, PrivacyChoice::On);
    rig.send(lineker, "messi", "long ago").unwrap();
    for n in 0..1_023 {
        rig.send(henderson, "messi", "halo").unwrap();
        rig.take(messi, 1).unwrap();
        if n % 50 == 0 {
            rig.work(100);
        }
    }
    assert_eq!(audience(&mut rig, 1), [2, 3]);
    rig.send(henderson, "messi", "one more").unwrap();
    assert_eq!(audience(&mut rig, 1), [3]);
}

on_both_logs! {
    a_user_is_here_for_five_minutes_after_the_last_use
    a_user_is_here_while_connected
    who_goes_and_comes_back_at_once_is_not_mentioned
    one_looks_once_a_second
    the_end_of_the_last_session_is_going
    who_was_here_by_a_clock_that_was_wrong_goes_in_time
    a_clock_that_is_set_changes_nothing_for_who_is_connected
    after_a_restart_who_was_here_lately_still_is
    a_crowd_is_looked_at_in_steps
    who_is_told_is_as_the_choice_says
    only_the_newest_of_a_mailbox_are_asked_for_their_senders
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_sends_nobody_away() {
    let (mut rig, log) = Rig::simulated();
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    attach(&mut rig, messi).unwrap();
    rig.clock.advance(10 * MINUTE);
    assert_eq!(changes(&mut rig), [(1, true)]);
    // The use has to be written, and is not: the connection counts for nothing, and will never be said to end.
    log.fail_at(1, Fault::SyncFailed);
    assert_eq!(attach(&mut rig, lineker), Err(StoreError::Unavailable));
    log.fail(None);
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    rig.work(1);
    changes(&mut rig);
    let here =
        |rig: &Rig<_>| rig.engine.attendance.here().map(|account| account.0).collect::<Vec<_>>();
    assert!(here(&rig).contains(&1));
    rig.clock.advance(6 * MINUTE);
    changes(&mut rig);
    assert_eq!(here(&rig), [1]);
    detach(&mut rig, messi);
    assert_eq!(round(&mut rig), [(1, false)]);
}

#[tokio::test(start_paused = true)]
async fn who_left_while_the_disk_was_broken_is_missed_afterwards() {
    let (mut rig, log) = Rig::simulated();
    let messi = rig.join("messi");
    attach(&mut rig, messi).unwrap();
    assert_eq!(changes(&mut rig), [(1, true)]);
    rig.clock.advance(10 * MINUTE);
    log.fail(Some(Fault::SyncFailed));
    assert_eq!(rig.send(messi, "messi", "refused"), Err(StoreError::Unavailable));
    // The log cannot be opened now, so there is nothing to look the session up in.
    let _ = rig.run(Operation::Detach { session: messi });
    assert_eq!(round(&mut rig), NOBODY);
    log.fail(None);
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    rig.clock.advance(10 * MINUTE);
    rig.work(1);
    assert_eq!(rig.engine.attendance.here().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_watches_is_told_of_others_as_they_allow() {
    let mut served = Served::new(SimulatedLog::new());
    let [messi, lineker, henderson] =
        ["messi", "lineker", "henderson"].map(|name| served.rig.join(name));
    served.rig.work(10);
    let mut told = Vec::new();
    for session in [messi, lineker, henderson] {
        attach(&mut served.rig, session).unwrap();
        told.push(served.undelivered(session).await);
    }
    let [of_messi, of_lineker, of_henderson] = told.as_mut_slice() else { panic!("three watch") };
    served.send(lineker, "messi", &["halo"]);
    // Nobody learns of those who were here before, and of oneself.
    served.rig.clock.advance(10 * MINUTE);
    served.rig.work(10);
    assert_eq!(served.told(of_messi).await, ["1 halo"]);
    assert_eq!(served.told(of_lineker).await, ["sent halo"]);
    for (choice, expected) in [
        (PrivacyChoice::Default, vec!["lineker false", "lineker true"]),
        (PrivacyChoice::Off, vec![]),
        (PrivacyChoice::On, vec!["lineker false", "lineker true"]),
    ] {
        choose(&mut served.rig, lineker, choice);
        served.rig.clock.advance(10 * MINUTE);
        detach(&mut served.rig, lineker);
        served.rig.work(10);
        served.rig.clock.advance(SECOND);
        attach(&mut served.rig, lineker).unwrap();
        served.rig.work(10);
        // The later one takes the place of the first, unless that was read.
        assert_eq!(served.told(of_messi).await, expected[expected.len().min(1)..]);
        assert_eq!(served.told(of_henderson).await, [""; 0]);
        assert_eq!(served.told(of_lineker).await, [""; 0]);
    }
    served.send(henderson, "lineker", &["halo"]);
    served.told(of_lineker).await;
    served.told(of_henderson).await;
    detach(&mut served.rig, lineker);
    logout(&mut served.rig, lineker);
    served.rig.clock.advance(SECOND);
    served.rig.work(10);
    assert_eq!(served.told(of_messi).await, ["lineker false"]);
    assert_eq!(served.told(of_henderson).await, ["lineker false"], "who wrote to lineker");
}
