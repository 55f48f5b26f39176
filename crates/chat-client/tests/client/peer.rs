//! A server that says what a test tells it to.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chat_client::{Client, ClientError, ConnectOptions, Connector, Random, Token};
use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// The other end of a client's pipe.
#[derive(Debug)]
pub(crate) struct Peer {
    reader: BufReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
}

impl Peer {
    fn new(stream: DuplexStream) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { reader: BufReader::new(reader), writer }
    }

    /// The next request, without its end; `None` at the end of the stream.
    pub(crate) async fn next_request(&mut self) -> Option<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).await.unwrap();
        let line = line.strip_suffix("\r\n")?;
        Some(line.to_owned())
    }

    /// Asserts that the next request is this one.
    pub(crate) async fn expect(&mut self, request: impl AsRef<str>) {
        assert_eq!(self.next_request().await.as_deref(), Some(request.as_ref()));
    }

    /// Sends a reply.
    pub(crate) async fn reply(&mut self, json: impl AsRef<str>) {
        self.send(format!("{}\r\n\r\n", json.as_ref()).as_bytes()).await;
    }

    /// Sends bytes as they are. A client that hung up is no failure of the peer.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.writer.write_all(bytes).await;
    }

    /// Expects a request and answers it.
    pub(crate) async fn answer(&mut self, request: impl AsRef<str>, json: impl AsRef<str>) {
        self.expect(request).await;
        self.reply(json).await;
    }

    /// Asserts that nothing more comes before the client ends its direction.
    pub(crate) async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Asserts that the client sends nothing more for now. Time is paused, so this ends when every task has come to rest.
    pub(crate) async fn expect_nothing(&mut self) {
        let next = timeout(Duration::from_millis(1), self.next_request()).await;
        assert!(next.is_err(), "{next:?}");
    }

    /// Ends the peer's direction.
    pub(crate) async fn end(&mut self) {
        self.writer.shutdown().await.unwrap();
    }
}

/// Where a client connects to: each connection is a pipe to a [`Peer`].
#[derive(Debug)]
pub(crate) struct Network {
    peers: mpsc::Receiver<Peer>,
    /// When the client tried to connect.
    pub(crate) attempts: Arc<Mutex<Vec<Instant>>>,
    /// How many of the next tries fail.
    failures: Arc<Mutex<usize>>,
    connector: Option<Pipes>,
}

/// The client's side of a [`Network`].
#[derive(Debug)]
pub(crate) struct Pipes {
    peers: mpsc::Sender<Peer>,
    attempts: Arc<Mutex<Vec<Instant>>>,
    failures: Arc<Mutex<usize>>,
}

impl Network {
    pub(crate) fn new() -> Self {
        let (sender, peers) = mpsc::channel(1);
        let (attempts, failures) = (Arc::default(), Arc::default());
        let connector = Pipes {
            peers: sender,
            attempts: Arc::clone(&attempts),
            failures: Arc::clone(&failures),
        };
        Self { peers, attempts, failures, connector: Some(connector) }
    }

    /// Lets the next `count` tries to connect fail.
    pub(crate) fn fail(&self, count: usize) {
        *self.failures.lock().unwrap() = count;
    }

    /// The next connection, with its `hello` not yet answered; `None` when the client is gone.
    pub(crate) async fn accept_silently(&mut self) -> Option<Peer> {
        self.peers.recv().await
    }

    /// The next connection, to a server that has everything.
    pub(crate) async fn accept(&mut self) -> Peer {
        self.accept_with(HELLO_ALL).await
    }

    pub(crate) async fn accept_with(&mut self, hello: &str) -> Peer {
        let mut peer = self.accept_silently().await.expect("the client connects");
        peer.answer("hello explicit_ack", hello).await;
        peer
    }

    /// A client of this network and its first peer.
    pub(crate) async fn client(&mut self, options: ConnectOptions) -> (Client, Peer) {
        self.client_with(options, HELLO_ALL).await
    }

    pub(crate) async fn client_with(
        &mut self,
        options: ConnectOptions,
        hello: &str,
    ) -> (Client, Peer) {
        let connector = self.connector.take().expect("one client a network");
        let options = options.random(Seeded::new(1));
        let (client, peer) =
            tokio::join!(Client::connect_with(connector, options), self.accept_with(hello));
        (client.unwrap().with_token(token()), peer)
    }
}

impl Connector for Pipes {
    type Stream = DuplexStream;

    async fn connect(&self, address: &str) -> io::Result<DuplexStream> {
        assert_eq!(address, "127.0.0.1:8889");
        self.attempts.lock().unwrap().push(Instant::now());
        let left = *self.failures.lock().unwrap();
        if left > 0 {
            *self.failures.lock().unwrap() = left - 1;
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        self.peers.send(Peer::new(theirs)).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(ours)
    }
}

/// Random numbers that are the same in every run.
#[derive(Debug)]
pub(crate) struct Seeded(Mutex<u64>);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Random for Seeded {
    /// SplitMix64.
    fn next_u64(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A client and the peer that answered its `hello` with `answer`.
pub(crate) async fn connect_with(
    options: ConnectOptions,
    answer: &str,
) -> (Result<Client, ClientError>, Peer) {
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let mut peer = Peer::new(theirs);
    let (client, ()) =
        tokio::join!(Client::over(ours, options), peer.answer("hello explicit_ack", answer));
    (client, peer)
}

/// A client of a current server.
pub(crate) async fn connect() -> (Client, Peer) {
    let (client, peer) = connect_with(ConnectOptions::default(), HELLO).await;
    (client.unwrap(), peer)
}

/// The same, logged in with [`TOKEN`].
pub(crate) async fn logged_in() -> (Client, Peer) {
    let (client, peer) = connect().await;
    (client.with_token(token()), peer)
}

/// A client of an old server.
pub(crate) async fn connect_legacy() -> (Client, Peer) {
    let (client, peer) = connect_with(ConnectOptions::default(), BAD_COMMAND).await;
    (client.unwrap(), peer)
}

/// The same, logged in with [`TOKEN`].
pub(crate) async fn legacy_logged_in() -> (Client, Peer) {
    let (client, peer) = connect_legacy().await;
    (client.with_token(token()), peer)
}

pub(crate) fn token() -> Token {
    TOKEN.parse().unwrap()
}

pub(crate) const TOKEN: &str = "01234567-89ab-4def-8123-456789abcdef";
pub(crate) const OTHER_TOKEN: &str = "fedcba98-7654-4210-8edc-ba9876543210";
pub(crate) const BAD_COMMAND: &str = r#"{"status": "ERROR", "message": "**Protocol Tidak Benar"}"#;
pub(crate) const NO_SESSION: &str =
    r#"{"status": "ERROR", "message": "Session Tidak Ditemukan", "code": "no_session"}"#;
pub(crate) const HELLO: &str = r#"{"status": "OK", "server": "chatd", "version": "0.1.0", "protocol": 1, "commands": ["auth", "send"], "limits": {"frame_bytes": 200, "message_bytes": 100, "page_messages": 1000, "page_bytes": 1048576}, "features": ["explicit_ack"]}"#;
/// A server that has everything.
pub(crate) const HELLO_ALL: &str = r#"{"status": "OK", "server": "chatd", "version": "0.1.0", "protocol": 1, "commands": ["auth", "send", "post", "status", "history", "watch", "unwatch", "block", "unblock", "privacy"], "limits": {"frame_bytes": 2000, "message_bytes": 1000, "page_messages": 1000, "page_bytes": 1048576}, "features": ["explicit_ack"]}"#;
pub(crate) const OK: &str = r#"{"status": "OK"}"#;

/// Small, so that the client meets a full pipe.
const PIPE_BYTES: usize = 256;
