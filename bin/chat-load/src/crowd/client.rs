//! [`Client`]: one connection of the crowd.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::irc;
use crate::login::connect_hint;
use crate::replies::{END, Fields, is_ok};

/// A connection, and the reply being read.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    reply: Vec<u8>,
}

/// Why a client was not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot connect: {}", connect_hint(.0))]
    Connect(io::Error),
    #[error("cannot connect from {0}: {1}")]
    From(IpAddr, io::Error),
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    #[error("{}", refusal_hint(.0))]
    Refused(String),
    #[error("no answer in time (see --timeout)")]
    TimedOut,
}

/// How many clients failed of each cause.
pub(super) type Causes = BTreeMap<String, u64>;

impl Client {
    /// Connects, from an address of this machine if one is given.
    pub(super) async fn connect(
        server: SocketAddr,
        from: Option<IpAddr>,
    ) -> Result<Self, ClientError> {
        let stream = match from {
            None => TcpStream::connect(server).await,
            Some(address) => {
                let bound = bound(server, address);
                bound.map_err(|error| ClientError::From(address, error))?.connect(server).await
            }
        };
        let stream = stream.map_err(ClientError::Connect)?;
        stream.set_nodelay(true).map_err(ClientError::Connect)?;
        Ok(Self { stream, reply: Vec::new() })
    }

    /// Sends a line, its end included, and gives the fields of an OK.
    pub(super) async fn ask(&mut self, line: &str) -> Result<Fields, ClientError> {
        self.exchange(line).await?;
        Fields::parse(&self.reply).map_err(ClientError::Refused)
    }

    /// As [`ask`](Self::ask), of a reply that is looked at only when it is an error.
    pub(super) async fn tell(&mut self, line: &str) -> Result<(), ClientError> {
        self.exchange(line).await?;
        if is_ok(&self.reply) {
            return Ok(());
        }
        Fields::parse(&self.reply).map(drop).map_err(ClientError::Refused)
    }

    /// As [`ask`](Self::ask), with the fields of an ERROR, too.
    pub(super) async fn ask_any(&mut self, line: &str) -> Result<Fields, ClientError> {
        self.exchange(line).await?;
        Fields::parse_any(&self.reply).ok_or_else(|| ClientError::Refused("not_a_reply".to_owned()))
    }

    /// Registers a nick at an IRC server, until it welcomes. What it says behind that stays unread.
    pub(super) async fn register(&mut self, nick: &str) -> Result<(), ClientError> {
        let mut lines = BytesMut::new();
        irc::put_nick(nick.as_bytes(), &mut lines);
        irc::put_user(nick.as_bytes(), &mut lines);
        self.stream.write_all(&lines).await?;
        self.reply.clear();
        loop {
            self.read_more().await?;
            while let Some(end) = self.reply.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.reply.drain(..=end).collect();
                let line = line.trim_ascii_end();
                match irc::read(line) {
                    irc::Line::Welcome => return Ok(()),
                    irc::Line::Refused | irc::Line::Ended => {
                        return Err(ClientError::Refused(irc::cause(line)));
                    }
                    irc::Line::Ping(text) => {
                        let mut pong = BytesMut::new();
                        irc::put_pong(text, &mut pong);
                        self.stream.write_all(&pong).await?;
                    }
                    irc::Line::Pong | irc::Line::Other => {}
                }
            }
        }
    }

    async fn exchange(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(line.as_bytes()).await?;
        self.reply.clear();
        while !self.reply.ends_with(END) {
            self.read_more().await?;
        }
        Ok(())
    }

    async fn read_more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 512];
        match self.stream.read(&mut chunk).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.reply.extend_from_slice(chunk.get(..read).unwrap_or_default());
                Ok(())
            }
        }
    }
}

fn bound(server: SocketAddr, from: IpAddr) -> io::Result<TcpSocket> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    Ok(socket)
}

/// What a refusal means here.
fn refusal_hint(cause: &str) -> String {
    let hint = match cause {
        "no_session" => {
            "the session is over or the server's data are others: remove the file of --tokens to have it made anew"
        }
        "bad_command" => "a server that knows no whoami cannot be measured so",
        "no_such_user" => "make the accounts with `chatd user import`, or start `chatd --demo`",
        "bad_password" => "give the right ones with --users or --password-file",
        "inbox_full" => "use more accounts, or --talk 0",
        _ => return cause.to_owned(),
    };
    format!("{cause} ({hint})")
}
