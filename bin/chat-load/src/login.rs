//! Connecting and logging in.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::accounts::Account;
use crate::args::Protocol;
use crate::dialect::put_words;
use crate::irc;
use crate::plan::Plan;
use crate::replies::{Fields, Replies, Reply};
use crate::tally::count_cause;

/// A connection that is ready for requests.
#[derive(Debug)]
pub(crate) struct LoggedIn {
    /// Its number, which says who it is.
    pub(crate) connection: usize,
    pub(crate) wire: Wire,
    /// Empty where there are no sessions.
    pub(crate) token: String,
    /// From connecting on.
    pub(crate) took: Duration,
}

/// A connection, and what came on it and was not read yet.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    pub(crate) replies: Replies,
}

/// Why a client is not logged in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    #[error("cannot connect: {}", connect_hint(.0))]
    Connect(io::Error),
    #[error(
        "connection lost at login: {0} (see the server's log, and --protocol if it speaks something else)"
    )]
    Lost(#[from] io::Error),
    #[error("{0}")]
    Refused(String),
    #[error(
        "no answer in time (see --timeout, and --protocol if the server speaks something else)"
    )]
    TimedOut,
}

/// Some clients are not logged in, so there is nothing to measure.
#[derive(Debug)]
pub(crate) struct LoginFailures {
    server: String,
    connections: usize,
    causes: BTreeMap<String, usize>,
}

/// Connects and logs in, or takes up the session made beforehand. A server too busy to check a password is asked again
/// until the timeout. With `--drain` the mailbox is empty then.
pub(crate) async fn login(plan: &Plan, connection: usize) -> Result<LoggedIn, LoginError> {
    let token = plan.session(connection).map(|session| session.token.as_str());
    let begun = Instant::now();
    let (mut wire, token) = within(plan, ready(plan, connection, token)).await?;
    let took = begun.elapsed();
    if plan.empties_mailbox(connection) {
        wire.empty_mailbox(plan, &token).await?;
    }
    Ok(LoggedIn { connection, wire, token, took })
}

/// Connects anew with the token of an earlier connection.
pub(crate) async fn reconnect(
    plan: &Plan,
    connection: usize,
    token: &str,
) -> Result<Wire, LoginError> {
    let (wire, _) = within(plan, ready(plan, connection, Some(token))).await?;
    Ok(wire)
}

async fn within<T>(
    plan: &Plan,
    work: impl Future<Output = Result<T, LoginError>>,
) -> Result<T, LoginError> {
    timeout(plan.timeout, work).await.unwrap_or(Err(LoginError::TimedOut))
}

async fn ready(
    plan: &Plan,
    connection: usize,
    token: Option<&str>,
) -> Result<(Wire, String), LoginError> {
    let stream = connect(plan.address, connection).await?;
    let mut wire = Wire { stream, replies: Replies::new(plan.protocol) };
    let token = match (plan.protocol, token) {
        (Protocol::Redis, _) => wire.ask(&["PING"]).await.and_then(ok_or_line)?,
        (Protocol::Irc, _) => wire.register(plan, connection).await?,
        (Protocol::Chat, Some(token)) => wire.check("whoami", token).await?,
        (Protocol::Old, Some(token)) => wire.check("inbox", token).await?,
        (Protocol::Chat | Protocol::Old, None) => {
            let account = plan.user_of(connection).and_then(|user| plan.accounts.get(user));
            match account {
                Some(account) => wire.auth(&account).await?,
                None => return Err(LoginError::Refused("no account".to_owned())),
            }
        }
    };
    Ok((wire, token))
}

async fn connect(address: SocketAddr, connection: usize) -> Result<TcpStream, LoginError> {
    let work = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(source) = source(address, connection) {
            socket.bind(source)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    work.await.map_err(LoginError::Connect)
}

/// Where a connection comes from, if the system is not to choose: one address has ports for some 28,000 connections
/// to one server, and on loopback there are more addresses.
fn source(server: SocketAddr, connection: usize) -> Option<SocketAddr> {
    let nth = u8::try_from(connection / PORTS_OF_AN_ADDRESS).ok().filter(|nth| *nth > 0)?;
    match server.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => {
            let [.., last] = ip.octets();
            let own = Ipv4Addr::new(127, 0, 1, last.wrapping_add(nth).max(1));
            Some(SocketAddr::from((own, 0)))
        }
        _ => None,
    }
}

impl Wire {
    /// Ends the session, unless others are to use it, behind what was not written yet. Where that does not go at once the
    /// session stays.
    pub(crate) async fn leave(mut self, plan: &Plan, token: &str, mut unwritten: BytesMut) {
        if !plan.ends_sessions() {
            return;
        }
        put_words(&["logout", token], &mut unwritten);
        let (mut reader, mut writer) = self.stream.split();
        let say = async {
            writer.write_all_buf(&mut unwritten).await?;
            writer.shutdown().await
        };
        // A server closes a connection when it has answered all that came on it.
        let answered = async { copy(&mut reader, &mut sink()).await };
        let _ = timeout(GOODBYE, async { tokio::try_join!(say, answered) }).await;
    }

    async fn ask(&mut self, words: &[&str]) -> Result<Reply, LoginError> {
        let mut line = BytesMut::new();
        put_words(words, &mut line);
        self.stream.write_all(&line).await?;
        Ok(self.reply().await?)
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        loop {
            if let Some(reply) = self.replies.next() {
                return Ok(reply);
            }
            // What is asked for before the reply is due, as IRC servers do, is answered at once.
            let mut answers = BytesMut::new();
            self.replies.take_answers(&mut answers);
            self.stream.write_all(&answers).await?;
            if self.stream.read_buf(self.replies.buffer()).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn auth(&mut self, account: &Account) -> Result<String, LoginError> {
        self.ask_while_busy(&["auth", &account.username, &account.password])
            .await?
            .tokenid
            .ok_or_else(|| LoginError::Refused("not_a_reply".to_owned()))
    }

    async fn check(&mut self, command: &str, token: &str) -> Result<String, LoginError> {
        self.ask_while_busy(&[command, token]).await.map(|_| token.to_owned())
    }

    /// Reads all pages, each within the timeout.
    async fn empty_mailbox(&mut self, plan: &Plan, token: &str) -> Result<(), LoginError> {
        while within(plan, self.ask_while_busy(&["inbox", token])).await?.more {}
        // A page counts as delivered by the next request.
        within(plan, self.check("inbox", token)).await?;
        Ok(())
    }

    async fn ask_while_busy(&mut self, words: &[&str]) -> Result<Fields, LoginError> {
        loop {
            let fields = match self.ask(words).await? {
                // Floors answer everything with this.
                Reply::Sent => return Ok(Fields::default()),
                Reply::Other(reply) => Fields::parse_any(&reply),
            };
            match fields {
                None => return Err(LoginError::Refused("not_a_reply".to_owned())),
                Some(fields) if fields.is_ok() => return Ok(fields),
                Some(fields) if fields.is_busy() => sleep(fields.retry_after(BUSY_PAUSE)).await,
                Some(fields) => return Err(LoginError::Refused(fields.into_cause())),
            }
        }
    }

    /// Registers the client's nick, once it is free.
    async fn register(&mut self, plan: &Plan, connection: usize) -> Result<String, LoginError> {
        let (mut nick, mut out) = (BytesMut::new(), BytesMut::new());
        plan.accounts.put_name(connection, &mut nick);
        irc::put_user(&nick, &mut out);
        irc::put_nick(&nick, &mut out);
        loop {
            self.stream.write_all_buf(&mut out).await?;
            match self.reply().await? {
                Reply::Sent => return Ok(String::new()),
                Reply::Other(line) if irc::is_nick_in_use(&line) => {
                    sleep(BUSY_PAUSE).await;
                    irc::put_nick(&nick, &mut out);
                }
                Reply::Other(line) => return Err(LoginError::Refused(irc::cause(&line))),
            }
        }
    }
}

fn ok_or_line(reply: Reply) -> Result<String, LoginError> {
    match reply {
        Reply::Sent => Ok(String::new()),
        Reply::Other(line) => Err(LoginError::Refused(String::from_utf8_lossy(&line).into_owned())),
    }
}

/// What the system said, and what to do about it.
pub(crate) fn connect_hint(error: &io::Error) -> String {
    let hint = match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => {
            "nothing listens there; start the server, or name it with --server"
        }
        Some(Errno::MFILE | Errno::NFILE) => {
            "out of open files; raise `ulimit -n`, or use fewer clients"
        }
        Some(Errno::HOSTUNREACH | Errno::NETUNREACH) => {
            "no way leads there; check the address and the network"
        }
        Some(Errno::ADDRNOTAVAIL) => {
            "out of local ports: an address has some 28,000 for one server, less those of connections \
             closed in the last minute; widen net.ipv4.ip_local_port_range, or use fewer clients or less --churn"
        }
        _ => return error.to_string(),
    };
    format!("{error} ({hint})")
}

impl LoginFailures {
    /// Counts the failures by cause; `None` when there are none.
    pub(crate) fn collect(plan: &Plan, errors: &[LoginError]) -> Option<Self> {
        let mut causes = BTreeMap::new();
        for error in errors {
            count_cause(&mut causes, error.to_string());
        }
        (!errors.is_empty()).then(|| Self {
            server: plan.description.server.clone(),
            connections: plan.connections(),
            causes,
        })
    }
}

impl fmt::Display for LoginFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed: usize = self.causes.values().sum();
        write!(f, "{failed} of {} clients could not log in at {}:", self.connections, self.server)?;
        for (cause, count) in &self.causes {
            write!(f, "\n  {count} x {cause}")?;
            if let Some(hint) = refusal_hint(cause) {
                write!(f, " ({hint})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for LoginFailures {}

fn refusal_hint(cause: &str) -> Option<&'static str> {
    match cause {
        "no_such_user" => Some(
            "make the accounts with `chatd user import`, name others with --users or --user-prefix, \
             or start `chatd --demo`",
        ),
        "bad_password" => Some("give the right ones with --users or --password-file"),
        "not_a_reply" => Some(SOMETHING_ELSE),
        // JSON, HTTP or HTML in answer to Redis's commands.
        _ if cause.starts_with(['{', '<']) || cause.starts_with("HTTP/") => Some(SOMETHING_ELSE),
        "no_session" => Some("the tokens have expired; make them anew with --save-tokens"),
        "rate_limited" | "busy" => {
            Some("use fewer clients, or allow more in the server's configuration")
        }
        _ => None,
    }
}

const SOMETHING_ELSE: &str = "the server speaks something else; see --server and --protocol";
/// Far more than a server that works takes, and what one waits for that does not.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long to wait before asking a busy server again, when it does not say.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// Somewhat fewer than Linux has by default (32768 to 60999).
const PORTS_OF_AN_ADDRESS: usize = 25_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_cause_with_advice() {
        let failures = LoginFailures {
            server: "here:1".to_owned(),
            connections: 5,
            causes: BTreeMap::from([("bad_password".to_owned(), 2), ("odd".to_owned(), 1)]),
        };
        let text = failures.to_string();
        assert!(text.starts_with("3 of 5 clients could not log in at here:1:"), "{text}");
        assert!(text.contains("\n  2 x bad_password (give the right ones"), "{text}");
        assert!(text.ends_with("\n  1 x odd"), "{text}");
    }

    #[test]
    fn a_server_that_speaks_something_else_is_recognised() {
        for cause in ["not_a_reply", "{\"status\": \"ERROR\"}", "HTTP/1.1 400 Bad Request"] {
            assert_eq!(refusal_hint(cause), Some(SOMETHING_ELSE), "{cause}");
        }
        assert!(refusal_hint("no_such_user").unwrap().contains("--user-prefix"));
    }

    #[tokio::test]
    async fn a_closed_port_is_explained() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = connect(address, 0).await.unwrap_err().to_string();
        assert!(error.contains("nothing listens there"), "{error}");
    }

    #[test]
    fn ports_that_ran_out_and_files_are_explained() {
        for (errno, advice) in [
            (Errno::ADDRNOTAVAIL, "some 28,000"),
            (Errno::MFILE, "ulimit -n"),
            (Errno::NETUNREACH, "check the address"),
        ] {
            let text = connect_hint(&errno.into());
            assert!(text.contains(advice), "{text}");
        }
    }

    #[test]
    fn many_connections_on_loopback_come_from_several_addresses() {
        let server: SocketAddr = "127.0.0.1:8889".parse().unwrap();
        assert_eq!(source(server, 24_999), None);
        let others: std::collections::HashSet<_> =
            (1..=100).map(|nth| source(server, nth * 25_000).unwrap()).collect();
        assert_eq!(others.len(), 100);
        assert_eq!(source("192.0.2.1:8889".parse().unwrap(), 99_999), None);
        assert_eq!(source("[::1]:8889".parse().unwrap(), 99_999), None);
    }

    #[tokio::test]
    async fn a_connection_from_another_loopback_address_works() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, accepted) = tokio::join!(connect(address, 30_000), listener.accept());
        assert_eq!(accepted.unwrap().1, stream.unwrap().local_addr().unwrap());
    }
}
