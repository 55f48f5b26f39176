//! What a key costs: the store's thread with `post` and with `send`, while so many keys live.
//!
//! `cargo bench -p chat-core --bench posts [-- MILLIONS]` prints a table. CPU is that of the store's thread, with the
//! flush and the merges behind it; syncs are off, so that it is not the disk that is measured.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may fail loudly")]

use std::fs;
use std::time::Duration;

use chat_core::account::{Hasher, PasswordParams};
use chat_core::store::{
    Durability, HashedAccount, Outgoing, PostKey, SessionKey, SqliteOptions, Store, StoreOptions,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

const ACCOUNTS: u64 = 10_000;
const CALLERS: u64 = 100;
const IN_FLIGHT: u64 = 16;
const ROUND: u64 = 400_000;
const CHEAP: PasswordParams = PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };

/// What a round sends.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Send,
    /// Keys from this number on.
    Post(u64),
    /// The first keys, once more.
    Repeat,
}

impl Kind {
    fn messages(self) -> u64 {
        match self {
            Self::Repeat => ROUND / 20,
            _ => ROUND,
        }
    }
}

#[tokio::main]
async fn main() {
    let millions = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(10);
    let directory = tempfile::tempdir_in(".").unwrap();
    let mut sqlite = SqliteOptions::new(directory.path().join("live"));
    sqlite.durability = Durability::ProcessCrash;
    let store = Store::open(sqlite, options()).await.unwrap();
    import(&store).await;
    let mut sessions = Vec::new();
    for caller in 0..CALLERS {
        let token = store.login(&format!("user{caller}"), "surabaya").await.unwrap();
        sessions.push(SessionKey::of(&token));
    }
    println!("| keys alive | what | messages/s | CPU µs a message |");
    println!("| --- | --- | --- | --- |");
    let mut keys = 0;
    for goal in [0, millions * 500_000, millions * 1_000_000] {
        while keys < goal {
            run(&store, &sessions, Kind::Post(keys)).await;
            keys += ROUND;
        }
        for _ in 0..4 {
            report(keys, &store, &sessions, Kind::Send).await;
            report(keys, &store, &sessions, Kind::Post(keys)).await;
            keys += ROUND;
        }
        report(keys, &store, &sessions, Kind::Repeat).await;
    }
    store.close().await.unwrap();
}

async fn report(keys: u64, store: &Store, sessions: &[SessionKey], kind: Kind) {
    let (start, before) = (Instant::now(), cpu());
    run(store, sessions, kind).await;
    let messages = u128::from(kind.messages());
    let rate = messages * 1_000 / start.elapsed().as_millis().max(1);
    let ns = (cpu() - before).as_nanos() / messages;
    let what = match kind {
        Kind::Send => "send",
        Kind::Post(_) => "post",
        Kind::Repeat => "the first posts again",
    };
    println!("| {keys} | {what} | {rate} | {}.{:02} |", ns / 1_000, ns % 1_000 / 10);
}

async fn run(store: &Store, sessions: &[SessionKey], kind: Kind) {
    let mut callers = JoinSet::new();
    for (caller, session) in (0..).zip(sessions) {
        callers.spawn(call(store.clone(), *session, caller, kind));
    }
    callers.join_all().await;
}

async fn call(store: Store, session: SessionKey, caller: u64, kind: Kind) {
    let share = kind.messages() / CALLERS;
    for first in (0..share).step_by(usize::try_from(IN_FLIGHT).unwrap()) {
        let message = |n: u64| {
            // Knuth's MMIX generator: good enough to spread recipients.
            let random = (caller * ROUND + n + 1)
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let to = format!("user{}", (random >> 33) % ACCOUNTS);
            let mut outgoing = Outgoing::new(session, to, "x".repeat(100));
            outgoing.key = match kind {
                Kind::Send => None,
                Kind::Post(first) => PostKey::new(&(first / CALLERS + n).to_string()),
                Kind::Repeat => PostKey::new(&n.to_string()),
            };
            outgoing
        };
        let messages = (first..share.min(first + IN_FLIGHT)).map(message).collect();
        assert!(store.send(messages).await.iter().all(Result::is_ok));
    }
}

fn options() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.password = CHEAP;
    options.mailbox_messages = u64::MAX;
    options.mailbox_bytes = u64::MAX;
    options
}

async fn import(store: &Store) {
    let import = store.begin_import().await.unwrap();
    let hash = Hasher::hash_blocking(CHEAP, "surabaya").unwrap();
    let account = |n: u64| HashedAccount {
        username: format!("user{n}").parse().unwrap(),
        name: format!("User {n}").parse().unwrap(),
        hash: hash.clone(),
    };
    for first in (0..ACCOUNTS).step_by(1_000) {
        store.stage_import(import, (first..first + 1_000).map(account).collect()).await.unwrap();
    }
    store.commit_import(import).await.unwrap();
}

/// How long the store's thread has been on a processor.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let is_store = |task: &std::path::PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "chat-store")
    };
    let task = tasks.into_iter().find(is_store).unwrap();
    let stat = fs::read_to_string(task.join("schedstat")).unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}
