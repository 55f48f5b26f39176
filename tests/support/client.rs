//! A client that speaks the protocol byte by byte, as `nc` would.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::within;

/// One connection.
#[derive(Debug)]
pub struct TextClient {
    stream: TcpStream,
    received: Vec<u8>,
}

/// How the server ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// An orderly end of the stream.
    End,
    /// A reset.
    Reset,
}

impl TextClient {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: Vec::new() }
    }

    /// Connects and logs in; gives the token, too.
    pub async fn login(address: SocketAddr, username: &str, password: &str) -> (Self, String) {
        let mut client = Self::connect(address).await;
        let reply = client.ok(&format!("auth {username} {password}")).await;
        let token = reply["tokenid"].as_str().expect("a token").to_owned();
        (client, token)
    }

    /// The port on this side, by which the server's sends are known.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("bytes to be taken", self.stream.write_all(bytes)).await
    }

    /// The next reply with its end. Fails when the connection ends or breaks first.
    pub async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut scanned = 0;
        loop {
            if let Some(at) = find_end(&self.received[scanned..]) {
                let rest = self.received.split_off(scanned + at + END.len());
                return Ok(std::mem::replace(&mut self.received, rest));
            }
            scanned = self.received.len().saturating_sub(END.len() - 1);
            if within("a reply", self.stream.read_buf(&mut self.received)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sends a line and gives the reply as it came, without its end.
    pub async fn raw(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await.unwrap();
        let mut reply = self.receive().await.unwrap();
        reply.truncate(reply.len() - END.len());
        String::from_utf8(reply).unwrap()
    }

    /// Sends a line and gives the reply.
    pub async fn request(&mut self, line: &str) -> Value {
        let reply = self.raw(line).await;
        serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: {reply}"))
    }

    /// Sends a line that must work.
    pub async fn ok(&mut self, line: &str) -> Value {
        let reply = self.request(line).await;
        assert_eq!(reply["status"], "OK", "{line}: {reply}");
        reply
    }

    /// Sends a line that must not work and gives the code.
    pub async fn error(&mut self, line: &str) -> String {
        let reply = self.request(line).await;
        assert_eq!(reply["status"], "ERROR", "{line}: {reply}");
        reply["code"].as_str().expect("a code").to_owned()
    }

    /// Sends nothing more; replies can still come.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Waits until the server closes, which must not be preceded by another byte.
    pub async fn closing(&mut self) -> Closing {
        assert!(self.received.is_empty(), "unread: {:?}", self.received);
        match within("the server to close", self.stream.read_buf(&mut self.received)).await {
            Ok(0) => Closing::End,
            Ok(_) => panic!("unasked: {:?}", String::from_utf8_lossy(&self.received)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Closing::Reset,
            Err(error) => panic!("{error}"),
        }
    }

    /// Every undelivered message of the user, oldest first, without removing any.
    pub async fn mailbox(&mut self, token: &str) -> Vec<Kept> {
        let mut messages: Vec<Kept> = Vec::new();
        loop {
            let after = messages.last().map_or("-".to_owned(), |last| last.id.to_string());
            let page = self.ok(&format!("peek {token} {after} 1000")).await;
            messages.extend(page["messages"].as_array().unwrap().iter().map(Kept::from_json));
            if page["more"] != true {
                return messages;
            }
        }
    }
}

/// A message as a mailbox keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its number in the mailbox.
    pub id: u64,
    /// The sender's username.
    pub from: String,
    /// Its text.
    pub body: String,
}

impl Kept {
    fn from_json(message: &Value) -> Self {
        let text = |key: &str| message[key].as_str().expect(key).to_owned();
        Self { id: text("id").parse().unwrap(), from: text("from"), body: text("body") }
    }
}

fn find_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, END)
}

/// What ends a reply.
const END: &[u8] = b"\r\n\r\n";
