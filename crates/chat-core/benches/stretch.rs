//! How long the newest stretch of the log may grow before it is written behind: three curves to choose from.
//!
//! `cargo bench -p chat-core --bench stretch [-- SECONDS [ACCOUNTS]]` prints a table: for each length the bytes written a
//! message, the time to open the store after a kill, and the longest any send waited.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may fail loudly")]

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use chat_core::store::{Outgoing, SessionKey, SqliteOptions, Store, StoreOptions};
use tokio::task::JoinSet;
use tokio::time::Instant;

use support::{callers, import, login, options, random, written};

const STRETCHES: [u64; 5] = [25_000, 100_000, 200_000, 400_000, 1_600_000];
const CLIENTS: u64 = 100;
const IN_FLIGHT: u64 = 16;

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse().ok());
    let seconds = numbers.next().unwrap_or(5);
    let accounts = numbers.next().unwrap_or(10_000);
    println!("{CLIENTS} callers with {IN_FLIGHT} in flight, {accounts} accounts, {seconds} s each");
    println!("| stretch | sends/s | bytes written a message | open after a kill | longest send |");
    println!("| --- | --- | --- | --- | --- |");
    for stretch in STRETCHES {
        measure(stretch, Duration::from_secs(seconds), accounts).await;
    }
}

async fn measure(stretch: u64, duration: Duration, accounts: u64) {
    let directory = tempfile::tempdir_in(".").unwrap();
    let live = directory.path().join("live");
    let store = Store::open(SqliteOptions::new(&live), with(stretch)).await.unwrap();
    import(&store, accounts).await;
    let sessions = callers(&store, CLIENTS).await;
    let before = written();
    let start = Instant::now();
    let mut calls = JoinSet::new();
    for (caller, session) in (0..).zip(sessions) {
        calls.spawn(call(store.clone(), session, caller, accounts, start + duration));
    }
    let outcomes = calls.join_all().await;
    let sent: u64 = outcomes.iter().map(|(sent, _)| sent).sum();
    let longest = outcomes.iter().map(|(_, longest)| *longest).max().unwrap();
    let rate = sent / start.elapsed().as_secs().max(1);
    let bytes = (written() - before) / sent;
    // Between two commits the files are what a kill would leave.
    let killed = directory.path().join("killed");
    copy(&live, &killed);
    let start = Instant::now();
    let reopened = Store::open(SqliteOptions::new(&killed), with(stretch)).await.unwrap();
    login(&reopened, 0).await;
    let opened = start.elapsed();
    println!("| {stretch} | {rate} | {bytes} | {opened:.0?} | {longest:.0?} |");
    store.close().await.unwrap();
    reopened.close().await.unwrap();
}

fn with(stretch: u64) -> StoreOptions {
    let mut options = options();
    options.stretch = stretch;
    options
}

/// Sends until the time is up; how many messages, and the longest wait for an answer.
async fn call(
    store: Store,
    session: SessionKey,
    seed: u64,
    accounts: u64,
    end: Instant,
) -> (u64, Duration) {
    let (mut sent, mut longest) = (0, Duration::ZERO);
    while Instant::now() < end {
        let message = |n: u64| {
            let to = format!("user{}", random((seed << 32) + n) % accounts);
            Outgoing::new(session, to, "x".repeat(100))
        };
        let messages = (sent..sent + IN_FLIGHT).map(message).collect();
        let start = Instant::now();
        assert!(store.send(messages).await.iter().all(Result::is_ok));
        longest = longest.max(start.elapsed());
        sent += IN_FLIGHT;
    }
    (sent, longest)
}

/// The database first: a journal that is newer is replayed.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("journal")).unwrap();
    let journal = fs::read_dir(from.join("journal")).unwrap();
    let journal = journal.map(|file| Path::new("journal").join(file.unwrap().file_name()));
    for name in ["chat.db".into(), "chat.db-wal".into()].into_iter().chain(journal) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}
