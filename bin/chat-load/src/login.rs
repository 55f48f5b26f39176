//! Connecting and logging in.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::accounts::Account;
use crate::plan::Plan;
use crate::replies::{Fields, Replies, Reply};

/// A connection that is logged in.
#[derive(Debug)]
pub(crate) struct LoggedIn {
    pub(crate) client: usize,
    pub(crate) stream: TcpStream,
    pub(crate) token: String,
}

/// Why a client is not logged in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    #[error("cannot connect: {}", connect_hint(.0))]
    Connect(io::Error),
    #[error("connection lost at login: {0}")]
    Lost(#[from] io::Error),
    #[error("{0}")]
    Refused(String),
    #[error("no answer in time (see --timeout)")]
    TimedOut,
}

/// Some clients are not logged in, so there is nothing to measure.
#[derive(Debug)]
pub(crate) struct LoginFailures {
    server: String,
    clients: usize,
    causes: BTreeMap<String, usize>,
}

/// Connects a client and logs it in. A server too busy to check a password is asked again until the timeout.
pub(crate) async fn login(plan: &Plan, client: usize) -> Result<LoggedIn, LoginError> {
    let Some(account) = plan.accounts.get(plan.user_of(client)) else {
        return Err(LoginError::Refused("no account".to_owned()));
    };
    let work = async {
        let mut stream = connect(plan.address).await?;
        let token = auth(&mut stream, account).await?;
        Ok(LoggedIn { client, stream, token })
    };
    timeout(plan.timeout, work).await.unwrap_or(Err(LoginError::TimedOut))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, LoginError> {
    let stream = TcpStream::connect(address).await.map_err(LoginError::Connect)?;
    stream.set_nodelay(true).map_err(LoginError::Connect)?;
    Ok(stream)
}

async fn auth(stream: &mut TcpStream, account: &Account) -> Result<String, LoginError> {
    let line = format!("auth {} {}\r\n", account.username, account.password);
    loop {
        stream.write_all(line.as_bytes()).await?;
        let reply = one_reply(stream).await?;
        let Some(fields) = Fields::parse_any(&reply) else {
            return Err(LoginError::Refused("not_a_reply".to_owned()));
        };
        match fields {
            Fields { tokenid: Some(token), .. } => return Ok(token),
            fields if fields.is_busy() => sleep(fields.retry_after(BUSY_PAUSE)).await,
            fields => return Err(LoginError::Refused(fields.into_cause())),
        }
    }
}

async fn one_reply(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut replies = Replies::default();
    loop {
        if let Some(Reply::Other(reply)) = replies.next() {
            return Ok(reply.to_vec());
        }
        if stream.read_buf(replies.buffer()).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
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
        Some(Errno::ADDRNOTAVAIL) => {
            "out of local ports; widen net.ipv4.ip_local_port_range, or use fewer clients"
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
            *causes.entry(error.to_string()).or_default() += 1;
        }
        (!errors.is_empty()).then(|| Self {
            server: plan.server.clone(),
            clients: plan.clients,
            causes,
        })
    }
}

impl fmt::Display for LoginFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed: usize = self.causes.values().sum();
        write!(f, "{failed} of {} clients could not log in at {}:", self.clients, self.server)?;
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
        "no_such_user" => {
            Some("make the accounts with `chatd user import`, or start `chatd --demo`")
        }
        "bad_password" => Some("give the right ones with --users or --password"),
        "rate_limited" | "busy" => {
            Some("use fewer clients, or allow more in the server's configuration")
        }
        _ => None,
    }
}

/// How long to wait before asking a busy server again, when it does not say.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_cause_with_advice() {
        let failures = LoginFailures {
            server: "here:1".to_owned(),
            clients: 5,
            causes: BTreeMap::from([("bad_password".to_owned(), 2), ("odd".to_owned(), 1)]),
        };
        let text = failures.to_string();
        assert!(text.starts_with("3 of 5 clients could not log in at here:1:"), "{text}");
        assert!(text.contains("\n  2 x bad_password (give the right ones"), "{text}");
        assert!(text.ends_with("\n  1 x odd"), "{text}");
    }

    #[tokio::test]
    async fn a_closed_port_is_explained() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = connect(address).await.unwrap_err().to_string();
        assert!(error.contains("nothing listens there"), "{error}");
    }
}
