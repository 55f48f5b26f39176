//! The store's actor, the server and its clients in one world, by a seeded schedule, on simulated time.
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

use world::{Report, run};

#[test]
fn every_seed_passes() {
    if let Some(seed) = number("CHAT_SIM_SEED") {
        let report = run(seed, None);
        eprintln!("{}", report.trace.join("\n"));
        eprintln!("seed {seed}: stored and shown {:?}", report.counts);
        assert!(report.fault.is_none(), "{}", report.fault.unwrap_or_default());
        return;
    }
    let count = number("CHAT_SIM_SEEDS").unwrap_or(300);
    let first = number("CHAT_SIM_FIRST").unwrap_or_else(|| fastrand::u64(..1 << 48));
    if let Some(report) = first_fault(first, count, None) {
        panic!("{}", report.fault.unwrap_or_default());
    }
}

#[test]
fn a_seed_always_takes_the_same_course() {
    let first = fastrand::u64(..1 << 48);
    for seed in first..first + 100 {
        let (once, again) = (run(seed, None), run(seed, None));
        let parting = once.trace.iter().zip(&again.trace).find(|(a, b)| a != b);
        assert_eq!(once.digest, again.digest, "seed {seed} takes two courses: {parting:#?}");
    }
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
    let report = first_fault(0, 2_000, Some(bug)).expect("2,000 seeds do not find it");
    assert!(report.fault.is_some(), "{bug:?} is found by seed {}", report.seed);
}

/// The first of these seeds, or one of the first, that shows a fault.
fn first_fault(first: u64, count: u64, bug: Option<PlantedBug>) -> Option<Report> {
    let next = AtomicU64::new(0);
    let search = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return None;
            }
            let report = run(first.wrapping_add(n), bug);
            if report.fault.is_some() {
                next.store(count, Ordering::Relaxed);
                return Some(report);
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let searches: Vec<_> = (0..threads).map(|_| scope.spawn(search)).collect();
        searches
            .into_iter()
            .filter_map(|search| search.join().expect("a search"))
            .min_by_key(|report| report.seed)
    })
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {value}")))
}
