//! [`World`]: what all clients of a run share, and how they connect.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use chat_core::protocol::{Command, ErrorCode, HelloOptions, Reply};
use fastrand::Rng;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use super::court::Court;
use super::fact::User;
use super::letter::Letters;
use super::schedule::Between;
use super::wire::{Fate, Incoming, Lost, Wire};
use crate::accounts::Account;

/// Everything the clients share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) court: Court,
    pub(crate) letters: Letters,
    pub(crate) seats: Vec<Seat>,
    /// Where the server is, while it is up.
    pub(crate) server: watch::Receiver<Option<SocketAddr>>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) rules: Rules,
    /// Bounds the password checks that the server is asked for at once.
    pub(crate) logins: Semaphore,
}

/// An account and its session, which outlives connections and the server.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) account: Account,
    token: Mutex<Option<String>>,
}

/// What a run is to be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Whether messages are sent with `post`, and not with `send`.
    pub(crate) post: bool,
    /// Attempts each sender has under way.
    pub(crate) in_flight: usize,
    /// How long connections live.
    pub(crate) cuts: Option<Between>,
    /// How long readers stop reading.
    pub(crate) pauses: Option<Between>,
    /// How long anything may take that must happen.
    pub(crate) patience: Duration,
    pub(crate) seed: u64,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Everybody sends and reads.
    Load,
    /// Nobody sends anything new.
    Settle,
    /// Everybody stops.
    Done,
}

/// What the server can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Means {
    pub(crate) post: bool,
    pub(crate) watch: bool,
}

impl Seat {
    pub(crate) fn new(account: Account) -> Self {
        Self { account, token: Mutex::default() }
    }
}

impl World {
    /// Connects when the server is up, however often that takes. Fails when the run is over, or when nobody could be
    /// reached for as long as patience lasts while the server is said to be up.
    pub(crate) async fn connect(&self, fate: impl FnOnce() -> Fate) -> Result<Wire, Lost> {
        let (mut server, mut over) = (self.server.clone(), self.court.over());
        let stream = tokio::select! {
            biased;
            _ = over.wait_for(|over| *over) => return Err(Lost::Over),
            stream = self.reach(&mut server) => stream?,
        };
        stream.set_nodelay(true).map_err(|_| Lost::Ended)?;
        Ok(Wire::new(stream, fate(), over, self.rules.patience))
    }

    async fn reach(
        &self,
        server: &mut watch::Receiver<Option<SocketAddr>>,
    ) -> Result<TcpStream, Lost> {
        let mut refused_since = None;
        loop {
            // Without a sender the run is over.
            let up = server.wait_for(Option::is_some).await.map(|up| *up);
            let Some(address) = up.map_err(|_| Lost::Over)? else { continue };
            match timeout(self.rules.patience, self.connect_to(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => {
                    let since = *refused_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > self.rules.patience {
                        return Err(Lost::Trouble(format!("cannot connect to {address}: {error}")));
                    }
                    sleep(RECONNECT_PAUSE).await;
                }
                Err(_) => {
                    return Err(Lost::Trouble(format!("cannot connect to {address}: no answer")));
                }
            }
        }
    }

    async fn connect_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if self.rules.pauses.is_some() {
            // What the system would take in for a client that does not read is not the server's to deal with.
            socket.set_recv_buffer_size(SMALL_BUFFER)?;
        }
        socket.connect(address).await
    }

    /// A token of the user's session; logs in if there is none.
    pub(crate) async fn token(&self, wire: &mut Wire, user: User) -> Result<String, Lost> {
        let seat = self.seat(user)?;
        let mut token = seat.token.lock().await;
        if let Some(token) = &*token {
            return Ok(token.clone());
        }
        // It is never closed.
        let _permit = self.logins.acquire().await;
        let fresh = log_in(wire, &seat.account).await?;
        *token = Some(fresh.clone());
        Ok(fresh)
    }

    /// Forgets a session that the server does not know any more.
    pub(crate) async fn forget(&self, user: User, gone: &str) -> Result<(), Lost> {
        let mut token = self.seat(user)?.token.lock().await;
        token.take_if(|token| token == gone);
        Ok(())
    }

    pub(crate) fn seat(&self, User(user): User) -> Result<&Seat, Lost> {
        let seat = self.seats.get(usize::try_from(user).unwrap_or(usize::MAX));
        seat.ok_or_else(|| Lost::Trouble("there is no such account".to_owned()))
    }

    pub(crate) fn username(&self, user: User) -> &str {
        self.seat(user).map_or("?", |seat| &seat.account.username)
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The fate of a connection: as the rules say until the run settles, then none.
    pub(crate) fn fate(&self, random: &mut Rng) -> Fate {
        if self.phase() == Phase::Load {
            Fate::new(self.rules.cuts, self.rules.pauses, random.fork())
        } else {
            Fate::none()
        }
    }
}

/// Asks what the server can do. Servers that do not know `hello` can do neither.
pub(crate) async fn means(wire: &mut Wire) -> Result<Means, Lost> {
    let hello = Command::Hello(HelloOptions::default());
    Ok(match ask(wire, &hello).await? {
        Reply::Hello(hello) => {
            let has = |command: &str| hello.commands.iter().any(|known| known == command);
            Means { post: has("post"), watch: has("watch") }
        }
        _ => Means { post: false, watch: false },
    })
}

/// One request and its reply, on a connection where nothing else is under way.
pub(crate) async fn ask(wire: &mut Wire, command: &Command<'_>) -> Result<Reply<'static>, Lost> {
    wire.put(command)?;
    wire.flush().await?;
    loop {
        if let Incoming::Reply(frame) = wire.next().await? {
            let reply = Reply::decode(command.name(), &frame);
            return reply.map_err(|error| Lost::Trouble(error.to_string()));
        }
    }
}

async fn log_in(wire: &mut Wire, account: &Account) -> Result<String, Lost> {
    let command = Command::Auth { username: &account.username, password: &account.password };
    loop {
        match ask(wire, &command).await? {
            Reply::LoggedIn(token) => return Ok(token.expose()),
            Reply::Error(error) if error.code.as_ref().is_some_and(passes) => {
                wire.idle(REFUSAL_PAUSE).await?;
            }
            Reply::Error(error) => {
                let (user, why) = (&account.username, &error.message);
                return Err(Lost::Trouble(format!("{user} cannot log in: {why}")));
            }
            reply => return Err(unexpected("auth", &reply)),
        }
    }
}

/// Whether the same request may work later.
pub(crate) fn passes(code: &ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Busy
            | ErrorCode::RateLimited
            | ErrorCode::InboxFull
            | ErrorCode::Unavailable
            | ErrorCode::Internal
    )
}

/// Whether the outcome of a request that was answered so is not known.
pub(crate) fn leaves_open(code: &ErrorCode) -> bool {
    // A code that is not known is to be treated like `internal`.
    matches!(code, ErrorCode::Unavailable | ErrorCode::Internal | ErrorCode::Other(_))
}

/// An answer that no server may give here.
pub(crate) fn unexpected(command: &str, reply: &Reply<'_>) -> Lost {
    Lost::Trouble(match reply {
        Reply::Error(error) => {
            let code = error.code.as_ref().map_or("no code", ErrorCode::as_str);
            format!("`{command}` was refused: {} ({code})", error.message)
        }
        _ => format!("`{command}` got the reply to something else"),
    })
}

/// Enough to keep a server's password checks busy, and few enough for its queue of them.
pub(crate) const LOGINS_AT_ONCE: usize = 16;
/// Between attempts to connect to a server that is said to be up.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// Before what was refused for now is tried again.
pub(crate) const REFUSAL_PAUSE: Duration = Duration::from_millis(20);
/// Of clients that pause; systems give at least a few times as much.
const SMALL_BUFFER: u32 = 4096;
