//! A server that says what a test tells it to.

use chat_client::{Client, ClientError, ConnectOptions, Token};
use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf,
};

/// The other end of a client's pipe.
#[derive(Debug)]
pub(crate) struct Peer {
    reader: BufReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
}

impl Peer {
    /// The next request, without its end; `None` at the end of the stream.
    pub(crate) async fn next_request(&mut self) -> Option<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).await.unwrap();
        let line = line.strip_suffix("\r\n")?;
        Some(line.to_owned())
    }

    /// Asserts that the next request is this one.
    pub(crate) async fn expect(&mut self, request: &str) {
        assert_eq!(self.next_request().await.as_deref(), Some(request));
    }

    /// Sends a reply.
    pub(crate) async fn reply(&mut self, json: &str) {
        self.send(format!("{json}\r\n\r\n").as_bytes()).await;
    }

    /// Sends bytes as they are. A client that hung up is no failure of the peer.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.writer.write_all(bytes).await;
    }

    /// Expects a request and answers it.
    pub(crate) async fn answer(&mut self, request: &str, json: &str) {
        self.expect(request).await;
        self.reply(json).await;
    }

    /// Asserts that nothing more comes before the client ends its direction.
    pub(crate) async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Ends the peer's direction.
    pub(crate) async fn end(&mut self) {
        self.writer.shutdown().await.unwrap();
    }
}

/// A client and the peer that answered its `hello` with `answer`.
pub(crate) async fn connect_with(
    options: ConnectOptions,
    answer: &str,
) -> (Result<Client, ClientError>, Peer) {
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let (reader, writer) = tokio::io::split(theirs);
    let mut peer = Peer { reader: BufReader::new(reader), writer };
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

/// Small, so that the client meets a full pipe.
const PIPE_BYTES: usize = 256;
