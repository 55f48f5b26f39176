//! A store as large as they get: made once, and measured next to a small one.
//!
//! `cargo bench -p chat-core --bench growth -- fill DIRECTORY [ACCOUNTS [MESSAGES]]` makes it: 1 % of the mailboxes hold half
//! of the messages, 10 % of the accounts have never read, all messages are posted. The users are user0, user1 and so on;
//! their password is surabaya-1.
//!
//! `cargo bench -p chat-core --bench growth -- measure DIRECTORY [MILLIONS]` sends that many million messages into a copy of it
//! and prints a row: what the store's thread takes a message and bytes written.
//!
//! `cargo bench -p chat-core --bench growth -- read DIRECTORY [ACCOUNTS [MESSAGES]]` has most users of a store that was filled, and
//! not read, read what they have.
//!
//! `cargo bench -p chat-core --bench growth -- inbox DIRECTORY` sends a million messages into a copy of it, lets it come to
//! rest, and prints what `inbox` of 50 takes from the request to the page: see [`inbox`].

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may fail loudly")]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chat_core::MessageId;
use chat_core::store::{AckBasis, Outgoing, PageLimit, PostKey, SessionKey, SqliteOptions, Store};
use tokio::task::JoinSet;
use tokio::time::Instant;

use support::{callers, cpu, import, login, open, options, random, resident, written};

/// Callers that fill the store, each with a session of its own.
const WRITERS: u64 = 1_000;
const CALLERS: u64 = 100;
const IN_FLIGHT: u64 = 16;

#[tokio::main]
async fn main() {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let number = |at: usize, usual| words.get(at).map_or(usual, |word| word.parse().unwrap());
    match words.first().map(String::as_str) {
        Some("fill") => {
            fill(Path::new(&words[1]), number(2, 1_000_000), number(3, 10_000_000)).await
        }
        Some("read") => {
            let store = open(&words[1], options()).await;
            read_all(&store, Shape { accounts: number(2, 1_000_000) }, number(3, 10_000_000)).await;
            store.close().await.unwrap();
        }
        Some("measure") => measure(Path::new(&words[1]), number(2, 2)).await,
        Some("inbox") => inbox(Path::new(&words[1])).await,
        // `cargo bench` runs every benchmark without words.
        _ => println!(
            "growth: say `fill DIRECTORY`, `read DIRECTORY`, `measure DIRECTORY` or `inbox DIRECTORY`"
        ),
    }
}

/// How many accounts a store has: that is what its directory says.
#[derive(Debug, Clone, Copy)]
struct Shape {
    accounts: u64,
}

impl Shape {
    /// 1 % of the mailboxes.
    fn is_heavy(user: u64) -> bool {
        user.is_multiple_of(100)
    }

    /// 10 % of the accounts, and of the heavy mailboxes too.
    fn never_reads(user: u64) -> bool {
        user / 100 % 10 == 9
    }

    /// Every other message goes to a heavy mailbox.
    fn recipient(self, random: u64) -> u64 {
        let (heavy, user) = (random & 1 == 0, random >> 1);
        match heavy && self.accounts >= 200 {
            true => user % (self.accounts / 100) * 100,
            false => user % self.accounts,
        }
    }
}

async fn fill(directory: &Path, accounts: u64, messages: u64) {
    let shape = Shape { accounts };
    let store = open(directory, options()).await;
    let start = Instant::now();
    import(&store, accounts).await;
    eprintln_progress("accounts", start);
    let writers = WRITERS.min(accounts);
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let session = login(&store, writer).await;
        let share = messages / writers;
        tasks.spawn(write(store.clone(), session, shape, writer * share, share));
    }
    tasks.join_all().await;
    eprintln_progress("messages", start);
    read_all(&store, shape, messages / writers * writers).await;
    eprintln_progress("readers", start);
    // What the store does when it has time.
    tokio::time::sleep(Duration::from_secs(20)).await;
    store.close().await.unwrap();
    eprintln_progress("closed", start);
}

/// Most users read what the first so many messages brought them.
async fn read_all(store: &Store, shape: Shape, messages: u64) {
    let mut counts = vec![0; usize::try_from(shape.accounts).unwrap()];
    for n in 0..messages {
        counts[usize::try_from(shape.recipient(random(n))).unwrap()] += 1;
    }
    let (counts, readers) = (Arc::new(counts), 64);
    let mut tasks = JoinSet::new();
    for reader in 0..readers {
        let (store, counts) = (store.clone(), Arc::clone(&counts));
        tasks.spawn(async move {
            for user in (reader..shape.accounts).step_by(64) {
                let count = counts[usize::try_from(user).unwrap()];
                if count > 0 && !Shape::never_reads(user) {
                    read(&store, user, count).await;
                }
            }
        });
    }
    tasks.join_all().await;
}

#[allow(clippy::print_stderr, reason = "a benchmark tells how far it is")]
fn eprintln_progress(what: &str, since: Instant) {
    eprintln!("{what} after {:.0?}", since.elapsed());
}

async fn write(store: Store, session: SessionKey, shape: Shape, first: u64, share: u64) {
    for from in (first..first + share).step_by(usize::try_from(IN_FLIGHT).unwrap()) {
        let upto = (from + IN_FLIGHT).min(first + share);
        let message = |n: u64| {
            let to = shape.recipient(random(n));
            let mut outgoing = Outgoing::new(session, format!("user{to}"), "x".repeat(100));
            outgoing.key = PostKey::new(&format!("fill-{n}"));
            outgoing
        };
        let outcomes = store.send((from..upto).map(message).collect()).await;
        assert!(outcomes.iter().all(Result::is_ok));
    }
}

async fn read(store: &Store, user: u64, count: u64) {
    let session = login(store, user).await;
    let page = store.peek(session, None, PageLimit::bodies(1, 1_000)).await.unwrap();
    let basis = AckBasis::Incarnation(page.incarnation.as_str().into());
    store.ack(session, MessageId::new(count), basis).await.unwrap();
    store.logout(session).await.unwrap();
}

async fn measure(directory: &Path, millions: u64) {
    let opening = Instant::now();
    let store = open(directory, options()).await;
    login(&store, 0).await;
    let opened = opening.elapsed();
    let accounts = count_accounts(&store).await;
    println!("opened after {opened:.0?}; {accounts} accounts; {} MB resident", resident());
    println!(
        "| messages | what | sent a second | CPU µs of the store's thread | bytes written a message | MB resident |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let callers = callers(&store, CALLERS).await;
    for round in 0..millions * 2 {
        let posted = round % 2 == 1;
        let (start, before, bytes) = (Instant::now(), cpu(), written());
        send_round(&store, &callers, accounts, round, posted).await;
        let messages = CALLERS * SHARE;
        let rate = u128::from(messages) * 1_000 / start.elapsed().as_millis();
        let ns = (cpu() - before).as_nanos() / u128::from(messages);
        let bytes = (written() - bytes) / messages;
        let what = if posted { "post" } else { "send" };
        println!(
            "| {} | {what} | {rate} | {}.{:02} | {bytes} | {} |",
            (round + 1) * messages,
            ns / 1_000,
            ns % 1_000 / 10,
            resident()
        );
    }
    store.close().await.unwrap();
}

/// The one after the last account is not there.
async fn count_accounts(store: &Store) -> u64 {
    let mut accounts = 1;
    while store.account(&format!("user{accounts}")).await.is_ok() {
        accounts *= 10;
    }
    accounts
}

/// Every caller sends its share.
async fn send_round(
    store: &Store,
    callers: &[SessionKey],
    accounts: u64,
    round: u64,
    posted: bool,
) {
    let seed = u64::from(std::process::id()) << 32;
    let mut calls = JoinSet::new();
    for (caller, session) in (0..).zip(callers) {
        let first = seed + (round * CALLERS + caller) * 1_000_000;
        calls.spawn(call(store.clone(), *session, accounts, first, posted));
    }
    calls.join_all().await;
}

/// How many messages a caller sends in a round.
const SHARE: u64 = 5_000;

async fn call(store: Store, session: SessionKey, accounts: u64, first: u64, posted: bool) {
    for from in (first..first + SHARE).step_by(usize::try_from(IN_FLIGHT).unwrap()) {
        let upto = (from + IN_FLIGHT).min(first + SHARE);
        let message = |n: u64| {
            let to = format!("user{}", random(n) % accounts);
            let mut outgoing = Outgoing::new(session, to, "x".repeat(100));
            outgoing.key = if posted { PostKey::new(&format!("run-{n}")) } else { None };
            outgoing
        };
        let outcomes = store.send((from..upto).map(message).collect()).await;
        assert!(outcomes.iter().all(Result::is_ok));
    }
}

/// The 50 oldest messages of mailboxes that hold as many, asked for one after the other: first with a dropped page cache,
/// each mailbox for the first time; then again; then beside sends. All but the newest messages were written behind.
async fn inbox(directory: &Path) {
    let store = Store::open(SqliteOptions::new(directory), options()).await.unwrap();
    let accounts = count_accounts(&store).await;
    let users = users_with_many(&store, accounts).await;
    let callers = callers(&store, CALLERS).await;
    for round in 0..2 {
        send_round(&store, &callers, accounts, round, false).await;
    }
    let mut readers = Vec::new();
    for n in 0..READERS {
        let at = usize::try_from(random(n)).unwrap() % users.len();
        readers.push(login(&store, users[at]).await);
    }
    rest().await;
    let dropped = fs::write("/proc/sys/vm/drop_caches", "1").is_ok();
    println!("| inbox of 50 | p50, µs | p90 | p99 | longest |");
    println!("| --- | --- | --- | --- | --- |");
    row(if dropped { "cold, at rest" } else { "first, at rest" }, pages(&store, &readers).await);
    row("warm, at rest", pages(&store, &readers).await);
    let mut sends = JoinSet::new();
    sends.spawn(send_steadily(store.clone(), callers[0], accounts));
    row("warm, beside 20,000 sends a second", pages(&store, &readers).await);
    sends.shutdown().await;
    store.close().await.unwrap();
}

/// Whose mailbox will hold 50 messages: in a store without any everybody's, once a hundred were sent to each.
async fn users_with_many(store: &Store, accounts: u64) -> Vec<u64> {
    let many = |user: &u64| Shape::is_heavy(*user) && Shape::never_reads(*user);
    let session = login(store, 900).await;
    let page = store.peek(session, None, PageLimit::bodies(1, usize::MAX)).await.unwrap();
    (0..accounts).filter(|user| page.messages.is_empty() || many(user)).collect()
}

/// Mailboxes that are read.
const READERS: u64 = 500;

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let part = |share: usize| times[(times.len() - 1) * share / 100].as_micros();
    println!("| {what} | {} | {} | {} | {} |", part(50), part(90), part(99), part(100));
}

async fn pages(store: &Store, readers: &[SessionKey]) -> Vec<Duration> {
    let mut times = Vec::new();
    for session in readers {
        let start = Instant::now();
        let page = store.inbox(*session, &[], PageLimit::bodies(50, usize::MAX)).await.unwrap();
        times.push(start.elapsed());
        assert_eq!(page.messages.len(), 50);
        // A user comes now and then.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times
}

/// Until nothing is left that can wait.
async fn rest() {
    loop {
        let before = cpu();
        tokio::time::sleep(Duration::from_secs(3)).await;
        if cpu() - before < Duration::from_millis(5) {
            return;
        }
    }
}

/// 20 messages every millisecond.
async fn send_steadily(store: Store, session: SessionKey, accounts: u64) {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let mut sends = JoinSet::new();
    for tick in 0.. {
        ticks.tick().await;
        let message = |n: u64| {
            let to = format!("user{}", random(tick * 20 + n) % accounts);
            Outgoing::new(session, to, "x".repeat(100))
        };
        let messages = (0..20).map(message).collect();
        let store = store.clone();
        sends.spawn(async move { assert!(store.send(messages).await.iter().all(Result::is_ok)) });
        while let Some(sent) = sends.try_join_next() {
            sent.unwrap();
        }
    }
}
