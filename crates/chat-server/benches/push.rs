//! How long a message takes from its sender's write to a watcher's read, beside how long its sender waits for the OK.
//!
//! `cargo bench -p chat-server --bench push [-- PAIRS [MESSAGES]]` prints both in one run: pairs of connections over
//! loopback, one sends with one request in flight, the other watches. The store is on disk, beside the working directory.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a benchmark may fail loudly"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chat_core::account::PasswordParams;
use chat_core::store::{NewAccount, SqliteOptions, Store, StoreOptions};
use chat_server::{Server, ServerConfig};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const PASSWORD: &str = "surabaya";

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse().ok());
    let pairs: usize = numbers.next().unwrap_or(100);
    let messages: usize = numbers.next().unwrap_or(1_000);
    let directory = tempfile::tempdir_in(".").unwrap();
    let store = open(directory.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (server, stop) =
        (Server::new(store.clone(), ServerConfig::default()).unwrap(), CancellationToken::new());
    let stopped = stop.clone();
    let mut serving = JoinSet::new();
    serving.spawn(async move { server.serve(listener, stopped).await });

    let (mut senders, mut watchers) = (JoinSet::new(), JoinSet::new());
    let begun = Instant::now();
    for pair in 0..pairs {
        let written: Arc<[AtomicU64]> = (0..messages).map(|_| AtomicU64::new(0)).collect();
        let reader = connect(&store, address, &format!("reader{pair}")).await;
        watchers.spawn(watch(reader, Arc::clone(&written), begun));
        let writer = connect(&store, address, &format!("writer{pair}")).await;
        senders.spawn(send(writer, pair, written, begun));
    }
    let sent = senders.join_all().await.concat();
    let pushed = watchers.join_all().await.concat();
    println!("{pairs} pairs, {messages} messages each, {:.1?}", begun.elapsed());
    println!("| | p50 | p90 | p99 | p99.9 |");
    println!("| --- | --- | --- | --- | --- |");
    let (sent, pushed) = (report("send: write to OK", sent), report("push: write to read", pushed));
    println!("push / send at p50: {:.2}", pushed as f64 / sent as f64);
    stop.cancel();
    serving.join_all().await;
    store.close().await.unwrap();
}

async fn open(directory: &std::path::Path) -> Store {
    let mut options = StoreOptions::default();
    options.password = PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };
    Store::open(SqliteOptions::new(directory.join("data")), options).await.unwrap()
}

struct Peer {
    stream: BufReader<TcpStream>,
    token: String,
}

async fn connect(store: &Store, address: SocketAddr, username: &str) -> Peer {
    let account = NewAccount {
        username: username.parse().unwrap(),
        name: username.parse().unwrap(),
        password: PASSWORD.into(),
    };
    store.create_account(account).await.unwrap();
    let token = store.login(username, PASSWORD).await.unwrap().expose();
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Peer { stream: BufReader::new(stream), token }
}

/// The waits for each OK, in nanoseconds.
async fn send(mut peer: Peer, pair: usize, written: Arc<[AtomicU64]>, begun: Instant) -> Vec<u64> {
    let mut waits = Vec::with_capacity(written.len());
    for (number, at) in written.iter().enumerate() {
        let line = format!("send {} reader{pair} {number:0100}\n", peer.token);
        let start = nanos(begun);
        at.store(start, Ordering::Release);
        peer.stream.write_all(line.as_bytes()).await.unwrap();
        assert!(hear(&mut peer).await.contains("Message Sent"));
        waits.push(nanos(begun) - start);
    }
    waits
}

/// The times from the write of each message to its event, in nanoseconds.
async fn watch(mut peer: Peer, written: Arc<[AtomicU64]>, begun: Instant) -> Vec<u64> {
    let line = format!("watch {}\n", peer.token);
    peer.stream.write_all(line.as_bytes()).await.unwrap();
    assert!(hear(&mut peer).await.contains("incarnation"));
    let mut waits = Vec::with_capacity(written.len());
    for at in written.iter() {
        // That the writer is here is told, too.
        while !hear(&mut peer).await.contains(r#""event": "message""#) {}
        waits.push(nanos(begun) - at.load(Ordering::Acquire));
    }
    waits
}

async fn hear(peer: &mut Peer) -> String {
    let mut reply = String::new();
    while !reply.ends_with("\r\n\r\n") {
        assert_ne!(peer.stream.read_line(&mut reply).await.unwrap(), 0, "the connection ended");
    }
    reply
}

fn nanos(begun: Instant) -> u64 {
    begun.elapsed().as_nanos() as u64
}

/// Prints a line; the median.
fn report(name: &str, mut waits: Vec<u64>) -> u64 {
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    let micros = |share| at(share) as f64 / 1_000.0;
    println!(
        "| {name} | {:.0} µs | {:.0} µs | {:.0} µs | {:.0} µs |",
        micros(0.5),
        micros(0.9),
        micros(0.99),
        micros(0.999)
    );
    at(0.5)
}
