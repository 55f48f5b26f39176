//! What a key costs: the store's thread with `post` and with `send`, while so many keys live.
//!
//! `cargo bench -p chat-core --bench posts [-- MILLIONS]` prints a table. CPU is that of the store's thread, with the
//! flush and the merges behind it; syncs are off, so that it is not the disk that is measured.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may fail loudly")]

mod support;

use chat_core::store::{Outgoing, PostKey, SessionKey, Store};
use tokio::task::JoinSet;
use tokio::time::Instant;

use support::{callers, cpu, import, open, options, random};

const ACCOUNTS: u64 = 10_000;
const CALLERS: u64 = 100;
const IN_FLIGHT: u64 = 16;
const ROUND: u64 = 400_000;

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
    let store = open(directory.path().join("live"), options()).await;
    import(&store, ACCOUNTS).await;
    let sessions = callers(&store, CALLERS).await;
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
            let to = format!("user{}", random(caller * ROUND + n) % ACCOUNTS);
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
