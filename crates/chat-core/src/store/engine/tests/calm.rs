//! What happens when much was asked and then little.

use std::time::Duration;

use super::rig::{Rig, TestClock, outgoing, roomy};
use crate::Clock as _;
use crate::store::backend::Backend as _;
use crate::store::engine::SimulatedLog;
use crate::store::engine::log::Log;
use crate::store::request::Operation;
use crate::store::{SessionKey, StoreOptions};

/// A store that keeps long stretches in memory.
fn large<L: Log>(log: L) -> Rig<L> {
    let clock = TestClock::default();
    let options = StoreOptions { stretch: 100_000, ..roomy(&clock) };
    Rig::with(log, clock, &options).unwrap()
}

fn storm<L: Log>(rig: &mut Rig<L>, from: SessionKey, messages: usize) {
    for _ in 0..messages / 100 {
        rig.run(Operation::Send(vec![outgoing(from, "lineker", "halo"); 100])).unwrap();
    }
}

/// How many records memory has that the index lacks.
fn unwritten<L: Log>(rig: &Rig<L>) -> u64 {
    let state = rig.engine.state.as_ref().unwrap();
    state.pending.first - 1 - state.covered
}

#[tokio::test(start_paused = true)]
async fn what_a_storm_left_in_memory_is_written_behind_once_it_is_over() {
    storm_and_calm(SimulatedLog::with_power_switch()).await;
}

#[cfg(feature = "embedded")]
#[tokio::test(start_paused = true)]
async fn it_is_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    storm_and_calm(super::rig::relaxed(directory.path())).await;
}

async fn storm_and_calm<L: Log>(log: L) {
    let mut rig = large(log);
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    storm(&mut rig, messi, 10_000);
    for _ in 0..2 {
        assert!(unwritten(&rig) >= 10_000);
        rig.work(100_000);
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    rig.work(100_000);
    assert_eq!(unwritten(&rig), 0);
    // A little more stays in memory.
    storm(&mut rig, messi, 100);
    tokio::time::advance(Duration::from_secs(60)).await;
    rig.work(100_000);
    assert_eq!(unwritten(&rig), 100);
    rig.take_all("lineker");
    assert_eq!(rig.peek_all(lineker).unwrap().len(), 9_100);
}

#[tokio::test(start_paused = true)]
async fn so_is_what_came_after_the_flush_that_was_under_way() {
    let clock = TestClock::default();
    let options = StoreOptions { stretch: 5_000, ..roomy(&clock) };
    let mut rig = Rig::with(SimulatedLog::with_power_switch(), clock, &options).unwrap();
    let messi = rig.join("messi");
    rig.join("lineker");
    rig.join("henderson");
    // Nothing else is due when the flush ends.
    rig.work(1_000);
    storm(&mut rig, messi, 10_000);
    rig.work(1);
    let target = rig.engine.state.as_ref().unwrap().pending.first - 1;
    for _ in 0..10 {
        rig.run(Operation::Send(vec![outgoing(messi, "henderson", "halo"); 100])).unwrap();
    }
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(10)).await;
        rig.work(1);
    }
    let state = rig.engine.state.as_ref().unwrap();
    assert!(state.flush.is_some() && state.covered < target && unwritten(&rig) > 1_000);
    rig.work(1_000_000);
    assert_eq!(unwritten(&rig), 0);
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_after_a_storm_does_not_keep_its_memory() {
    let mut rig = large(SimulatedLog::with_power_switch());
    let messi = rig.join("messi");
    for n in 0..50 {
        rig.join(&format!("user{n}"));
    }
    let to = |n: usize| format!("user{}", n % 50);
    for n in 0..300 {
        rig.run(Operation::Send(vec![outgoing(messi, &to(n), "halo"); 100])).unwrap();
    }
    for n in 0..20 {
        rig.run(Operation::Send(vec![outgoing(messi, &to(n), "halo"); 200])).unwrap();
        rig.work(1_000_000);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(unwritten(&rig) <= 20 * 200, "{}", unwritten(&rig));
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_left_leaves_no_mailboxes_in_use() {
    let mut rig = large(SimulatedLog::with_power_switch());
    let crowd: Vec<_> =
        (0..500).map(|n| (format!("user{n}"), rig.join(&format!("user{n}")))).collect();
    let used = |rig: &Rig<_>| rig.engine.state.as_ref().unwrap().mailboxes.used();
    for (_, session) in &crowd {
        rig.run_all((0..20).map(|_| Operation::Whoami { session: *session }).collect());
    }
    assert_eq!(used(&rig), 0, "who they are says nothing of their mail");
    for (n, (_, session)) in crowd.iter().enumerate() {
        let to = &crowd[(n + 1) % crowd.len()].0;
        rig.run(Operation::Send(vec![outgoing(*session, to, "halo"); 4])).unwrap();
        rig.peek_all(*session).unwrap();
    }
    assert_eq!(used(&rig), crowd.len());
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(10)).await;
        rig.work(100_000);
    }
    assert_eq!((used(&rig), unwritten(&rig)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_store_with_nothing_to_write_stays_calm() {
    // So short a stretch that no part of it is a whole message.
    let mut rig = Rig::new(SimulatedLog::with_power_switch(), TestClock::default());
    for _ in 0..200 {
        let ask = || Operation::Credentials { username: "nobody".into() };
        rig.run_all((0..100).map(|_| ask()).collect());
    }
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!rig.engine.work(rig.clock.now()).unwrap().is_zero(), "busy with nothing");
    }
}
