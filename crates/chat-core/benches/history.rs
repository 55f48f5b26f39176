//! What a page of a conversation costs, by how long the conversation is.
//!
//! `cargo bench -p chat-core --bench history [-- SIZE...]` prints a table: the newest page of 50, one from the middle,
//! and the last one, each the median of many.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may fail loudly")]

mod support;

use std::time::Duration;

use chat_core::store::{HistoryCursor, Outgoing, PageLimit, SessionKey, Store, StoreOptions};
use tokio::time::Instant;

use support::{callers, import, open, options};

const OTHERS: u64 = 1_000;
const PAGE: usize = 50;
const REPEATS: usize = 201;

#[tokio::main]
async fn main() {
    let mut sizes: Vec<u64> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1, 10_000, 1_000_000];
    }
    println!(
        "| messages | newest page of {PAGE} | in the middle | oldest | messages a page of 1,000 gave a second |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for size in sizes {
        measure(size).await;
    }
}

/// One conversation of that size among as many messages again between others.
async fn measure(size: u64) {
    let directory = tempfile::tempdir_in(".").unwrap();
    let store = open(directory.path().join("live"), on_disk()).await;
    import(&store, OTHERS).await;
    let sessions = callers(&store, 10).await;
    let text = "x".repeat(100);
    for first in (0..size).step_by(1_000) {
        let messages = (first..size.min(first + 1_000)).flat_map(|n| {
            let (from, to) = if n % 2 == 0 { (0, "user1") } else { (1, "user0") };
            let other = format!("user{}", n.wrapping_mul(0x9e37_79b9) % OTHERS);
            [
                Outgoing::new(sessions[from], to, &*text),
                Outgoing::new(sessions[usize::try_from(n % 8).unwrap() + 2], other, &*text),
            ]
        });
        assert!(store.send(messages.collect()).await.iter().all(Result::is_ok));
    }
    let (cursors, rate) = walk(&store, sessions[0], size).await;
    let newest = median(&store, sessions[0], None).await;
    let middle = median(&store, sessions[0], cursors.get(cursors.len() / 2).copied()).await;
    let oldest = median(&store, sessions[0], cursors.last().copied()).await;
    println!("| {size} | {newest:.0?} | {middle:.0?} | {oldest:.0?} | {rate} |");
    store.close().await.unwrap();
}

/// Reads the whole conversation; gives the cursors on the way, and how many messages a second.
async fn walk(store: &Store, session: SessionKey, size: u64) -> (Vec<HistoryCursor>, u128) {
    let (start, mut cursors, mut found) = (Instant::now(), Vec::new(), 0);
    loop {
        let limit = PageLimit::bodies(1_000, usize::MAX);
        let page = store.history(session, "user1", cursors.last().copied(), limit).await.unwrap();
        found += page.entries.len();
        match page.next {
            Some(next) => cursors.push(next),
            None => break,
        }
    }
    assert!(found >= usize::try_from(size).unwrap());
    (cursors, u128::from(size) * 1_000 / start.elapsed().as_millis().max(1))
}

async fn median(store: &Store, session: SessionKey, cursor: Option<HistoryCursor>) -> Duration {
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        let start = Instant::now();
        let limit = PageLimit::bodies(PAGE, usize::MAX);
        store.history(session, "user1", cursor, limit).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times[REPEATS / 2]
}

/// All but the smallest conversation lies on disk.
fn on_disk() -> StoreOptions {
    let mut options = options();
    options.stretch = 5_000;
    options.recent_bytes = 0;
    options
}
