//! The existing clients, as far as a server can tell.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::within;

/// An old client: it receives 64 bytes at a time, decodes each piece alone, stops only when what it has received
/// ends in `\r\n\r\n`, and goes round again on an empty read.
#[derive(Debug)]
pub struct OldClient {
    stream: TcpStream,
}

/// What an old client can come to instead of a reply.
#[derive(Debug)]
pub enum Trouble {
    /// The connection broke; it prints `Gagal` and goes on.
    Gagal(io::Error),
    /// A piece was not UTF-8 by itself; it dies.
    DiedDecoding(Vec<u8>),
    /// The server ended the stream; it goes round for ever.
    GoesRoundForEver,
}

impl OldClient {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: within("a connection", TcpStream::connect(address)).await.unwrap() }
    }

    /// Sends a command as the old clients do, with a space before the line's end, and receives the reply.
    pub async fn command(&mut self, words: &str) -> Result<String, Trouble> {
        let line = format!("{words} \r\n");
        self.stream.write_all(line.as_bytes()).await.map_err(Trouble::Gagal)?;
        self.receive().await
    }

    /// Receives until the text ends in `\r\n\r\n`.
    pub async fn receive(&mut self) -> Result<String, Trouble> {
        let mut text = String::new();
        let mut empty_reads = 0;
        loop {
            let mut piece = [0; PIECE_BYTES];
            let read = self.stream.read(&mut piece);
            let length = within("an old client's read", read).await.map_err(Trouble::Gagal)?;
            empty_reads = if length == 0 { empty_reads + 1 } else { 0 };
            if empty_reads == FOR_EVER {
                return Err(Trouble::GoesRoundForEver);
            }
            let piece = &piece[..length];
            let decoded = std::str::from_utf8(piece);
            text.push_str(decoded.map_err(|_| Trouble::DiedDecoding(piece.to_vec()))?);
            if text.ends_with("\r\n\r\n") {
                return Ok(text);
            }
        }
    }
}

/// What the old clients pass to `recv`.
const PIECE_BYTES: usize = 64;
/// Empty reads in a row after which nothing else can come.
const FOR_EVER: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// An old client of a server that writes these pieces and then does what `close` says.
    async fn against(reply: &[u8], close: impl FnOnce(TcpStream)) -> Result<String, Trouble> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = OldClient::connect(listener.local_addr().unwrap()).await;
        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(reply).await.unwrap();
        close(server);
        client.receive().await
    }

    fn keep(stream: TcpStream) {
        // Leaves the descriptor open for as long as the test runs.
        std::mem::forget(stream.into_std().unwrap());
    }

    #[tokio::test]
    async fn takes_a_reply_of_any_length() {
        for length in 0..200 {
            let reply = format!("{}\r\n\r\n", "x".repeat(length));
            assert_eq!(against(reply.as_bytes(), keep).await.unwrap(), reply);
        }
    }

    #[tokio::test]
    async fn dies_of_a_character_across_two_pieces() {
        let reply = format!("{}\u{e9}\r\n\r\n", "x".repeat(63));
        let trouble = against(reply.as_bytes(), keep).await.unwrap_err();
        assert!(matches!(trouble, Trouble::DiedDecoding(_)), "{trouble:?}");
    }

    #[tokio::test]
    async fn goes_round_for_ever_at_an_orderly_end() {
        let trouble = against(b"half", drop).await.unwrap_err();
        assert!(matches!(trouble, Trouble::GoesRoundForEver), "{trouble:?}");
    }

    #[tokio::test]
    async fn ends_with_its_error_at_a_reset() {
        let reset = |stream: TcpStream| stream.set_zero_linger().unwrap();
        let trouble = against(b"", reset).await.unwrap_err();
        assert!(matches!(trouble, Trouble::Gagal(_)), "{trouble:?}");
    }
}
