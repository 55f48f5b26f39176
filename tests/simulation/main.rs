//! The store's actor, the server and its clients in one world, by a seeded schedule, on simulated time.
//!
//! A seed decides everything in a world: users and their devices, what they do and when, the limits of store and server, the
//! network's weather and what goes wrong. Clock, randomness and tasks are given to the parts from outside; time is tokio's,
//! paused, on one thread, so it passes only when nothing can be done. The same seed takes the same course, line by line, and
//! [`a_seed_always_takes_the_same_course`] sees to that.
//!
//! ```text
//! cargo test -p chat-tests --test simulation                          200 seeds that nobody ran before
//! CHAT_SIM_SEEDS=10000 cargo test --release -p chat-tests --test simulation every_seed
//! CHAT_SIM_SEED=4711 cargo test -p chat-tests --test simulation every_seed -- --nocapture
//! ```
//!
//! The last prints everything that happens. `CHAT_SIM_FIRST` says with which seed to begin.
//!
//! * [`world`] is a seed's life: users act while [`chaos`] breaks things; then it is calm, everybody gets what is theirs,
//!   and [`history`] judges. It also judges each reply and event at once.
//! * [`device`] speaks the protocol by itself; [`app`] is a program built on the client library.
//! * [`host`] is the server's machine: the real store on a simulated disk, and the real server on a simulated [`network`].
//!
//! # Why the network is our own
//! `turmoil` is the well-kept crate for this. Its streams take every write at once, know no reset that a program asks for,
//! and cannot tell whether an end of stream is waiting; but when a page counts as delivered hangs on just these. And it
//! visits every host at every tick, so an idle minute costs as much as a busy one, where paused time skips it. What is left
//! to build is a queue of segments for each direction.
//!
//! # What makes a course repeatable
//! One thread; every `select!` is biased, since tokio seeds the other kind by itself; what is gone through in the order of a
//! hash map has a fixed hash function; passwords are hashed and pages read on the task that asks. Whoever breaks that makes
//! the second test fail, which names the first line that differs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, too"
)]

mod app;
mod chaos;
mod device;
mod history;
mod host;
mod line;
mod network;
mod panics;
mod rng;
mod trace;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use chat_core::store::simulation::PlantedBug;

use world::run;

#[test]
fn every_seed_passes() {
    if let Some(seed) = number("CHAT_SIM_SEED") {
        let report = run(seed, None);
        eprintln!("{}", report.trace.join("\n"));
        eprintln!("seed {seed}: stored and shown {:?}", report.counts);
        assert!(report.fault.is_none(), "{}", report.fault.unwrap_or_default());
        return;
    }
    let count = number("CHAT_SIM_SEEDS").unwrap_or(200);
    let first = number("CHAT_SIM_FIRST").unwrap_or_else(fresh);
    let fault = first_of(first, count, |seed| run(seed, None).fault);
    assert!(fault.is_none(), "{}", fault.unwrap_or_default());
}

#[test]
fn a_seed_always_takes_the_same_course() {
    let parting = first_of(fresh(), 100, |seed| {
        let (once, again) = (run(seed, None), run(seed, None));
        let parting = || once.trace.iter().zip(&again.trace).find(|(a, b)| a != b);
        (once.digest != again.digest).then(|| format!("seed {seed}: {:#?}", parting()))
    });
    assert!(parting.is_none(), "{}", parting.unwrap_or_default());
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    finds(PlantedBug::AckBeforeSync);
}

#[test]
fn a_covered_position_that_moves_too_early_is_found() {
    finds(PlantedBug::CoveredEarly);
}

#[test]
fn a_cursor_that_goes_back_at_a_restart_is_found() {
    finds(PlantedBug::CursorForgotten);
}

#[test]
fn a_key_that_is_forgotten_is_found() {
    finds(PlantedBug::KeysForgotten);
}

fn finds(bug: PlantedBug) {
    let fault = first_of(0, 2_000, |seed| run(seed, Some(bug)).fault);
    assert!(fault.is_some(), "2,000 seeds do not find {bug:?}");
}

/// What the first of these seeds has to say that has something to say, or one of the first.
fn first_of(first: u64, count: u64, tell: impl Fn(u64) -> Option<String> + Sync) -> Option<String> {
    let next = AtomicU64::new(0);
    let search = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return None;
            }
            if let Some(told) = tell(first.wrapping_add(n)) {
                next.store(count, Ordering::Relaxed);
                return Some((n, told));
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let searches: Vec<_> = (0..threads).map(|_| scope.spawn(search)).collect();
        let told = searches.into_iter().filter_map(|search| search.join().expect("a search"));
        told.min().map(|(_, told)| told)
    })
}

/// A seed that nobody ran before.
fn fresh() -> u64 {
    fastrand::u64(..1 << 48)
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {value}")))
}
