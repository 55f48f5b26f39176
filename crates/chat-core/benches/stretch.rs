//! How long the newest stretch of the log may grow before it is written behind: three curves to choose from.
//!
//! `cargo bench -p chat-core --bench stretch [-- SECONDS [ACCOUNTS]]` prints a table: for each length the bytes written a
//! message, the time to open the store after a kill, and the longest any send waited.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may fail loudly")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use chat_core::account::{Hasher, PasswordParams};
use chat_core::store::{HashedAccount, Outgoing, SessionKey, SqliteOptions, Store, StoreOptions};
use tokio::task::JoinSet;
use tokio::time::Instant;

const STRETCHES: [u64; 5] = [25_000, 100_000, 200_000, 400_000, 1_600_000];
const CLIENTS: u64 = 100;
const IN_FLIGHT: u64 = 16;
const CHEAP: PasswordParams = PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };

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
    let store = Store::open(SqliteOptions::new(&live), options(stretch)).await.unwrap();
    import(&store, accounts).await;
    let before = written();
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CLIENTS {
        let token = store.login(&format!("user{caller}"), "surabaya").await.unwrap();
        callers.spawn(call(
            store.clone(),
            SessionKey::of(&token),
            caller,
            accounts,
            start + duration,
        ));
    }
    let outcomes = callers.join_all().await;
    let sent: u64 = outcomes.iter().map(|(sent, _)| sent).sum();
    let longest = outcomes.iter().map(|(_, longest)| *longest).max().unwrap();
    let rate = sent / start.elapsed().as_secs().max(1);
    let bytes = (written() - before) / sent;
    // Between two commits the files are what a kill would leave.
    let killed = directory.path().join("killed");
    copy(&live, &killed);
    let start = Instant::now();
    let reopened = Store::open(SqliteOptions::new(&killed), options(stretch)).await.unwrap();
    let token = reopened.login("user0", "surabaya").await.unwrap();
    reopened.whoami(SessionKey::of(&token)).await.unwrap();
    let opened = start.elapsed();
    println!("| {stretch} | {rate} | {bytes} | {opened:.0?} | {longest:.0?} |");
    store.close().await.unwrap();
    reopened.close().await.unwrap();
}

fn options(stretch: u64) -> StoreOptions {
    let mut options = StoreOptions::default();
    options.stretch = stretch;
    options.password = CHEAP;
    options.mailbox_messages = u64::MAX;
    options.mailbox_bytes = u64::MAX;
    options
}

async fn import(store: &Store, accounts: u64) {
    let import = store.begin_import().await.unwrap();
    let hash = Hasher::hash_blocking(CHEAP, "surabaya").unwrap();
    let account = |n: u64| HashedAccount {
        username: format!("user{n}").parse().unwrap(),
        name: format!("User {n}").parse().unwrap(),
        hash: hash.clone(),
    };
    for first in (0..accounts).step_by(1_000) {
        let slice = (first..accounts.min(first + 1_000)).map(account).collect();
        store.stage_import(import, slice).await.unwrap();
    }
    store.commit_import(import).await.unwrap();
}

/// Sends until the time is up; how many messages, and the longest wait for an answer.
async fn call(
    store: Store,
    session: SessionKey,
    seed: u64,
    accounts: u64,
    end: Instant,
) -> (u64, Duration) {
    let (mut sent, mut longest, mut random) = (0, Duration::ZERO, seed + 1);
    while Instant::now() < end {
        let mut message = || {
            // Knuth's MMIX generator: good enough to spread recipients.
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let to = format!("user{}", (random >> 33) % accounts);
            Outgoing::new(session, to, "x".repeat(100))
        };
        let messages = (0..IN_FLIGHT).map(|_| message()).collect();
        let start = Instant::now();
        assert!(store.send(messages).await.iter().all(Result::is_ok));
        longest = longest.max(start.elapsed());
        sent += IN_FLIGHT;
    }
    (sent, longest)
}

/// Bytes this process caused to be written to storage.
fn written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in ["chat.db", "chat.db-wal"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}
