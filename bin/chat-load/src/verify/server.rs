//! [`Server`]: the server under test, where this program starts, kills and restarts it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chat_core::protocol::Command as Request;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::wire::{Fate, Wire};
use super::world::ask;

/// A command that serves, and the process it runs in now. The process, and all it started in its group, is killed when
/// this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    command: Vec<OsString>,
    /// Where it serves; otherwise it says so.
    fixed: Option<SocketAddr>,
    patience: Duration,
    up: watch::Sender<Option<SocketAddr>>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    said: Arc<Said>,
    /// Read what it says, so that it can go on saying it.
    listeners: JoinSet<()>,
}

/// What a process printed.
#[derive(Debug)]
struct Said {
    last: Mutex<VecDeque<String>>,
    listening: watch::Sender<Option<SocketAddr>>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("cannot start {command}: {source}")]
    Start { command: String, source: std::io::Error },
    #[error("the server ended by itself ({status}){said}")]
    Ended { status: ExitStatus, said: String },
    #[error("the server does not answer {patience:?} after its start{said}")]
    Silent { patience: Duration, said: String },
    #[error(
        "the server does not say where it listens (a line `listening on ADDRESS:PORT` on stdout): tell with --server{said}"
    )]
    Nowhere { said: String },
    #[error("cannot wait for the server: {0}")]
    Wait(#[from] std::io::Error),
}

impl Server {
    /// A server that is not started yet, and the place where it is told whether and where it is up.
    pub(crate) fn new(
        command: Vec<OsString>,
        fixed: Option<SocketAddr>,
        patience: Duration,
    ) -> (Self, watch::Receiver<Option<SocketAddr>>) {
        let (up, receiver) = watch::channel(None);
        (Self { command, fixed, patience, up, running: None }, receiver)
    }

    /// Starts it, unless it runs, and waits until it answers.
    pub(crate) async fn start(&mut self) -> Result<(), ServerError> {
        if self.up.borrow().is_some() {
            return Ok(());
        }
        if self.running.is_none() {
            self.running = Some(Running::spawn(&self.command)?);
        }
        let Some(running) = &mut self.running else { return Ok(()) };
        let ready = running.ready(self.fixed, self.patience);
        let address = match timeout(self.patience, ready).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(running.silent(self.fixed, self.patience)),
        };
        self.up.send_replace(Some(address));
        Ok(())
    }

    /// Kills it without warning, and all it started.
    pub(crate) async fn kill(&mut self) -> Result<(), ServerError> {
        self.up.send_replace(None);
        if let Some(mut running) = self.running.take() {
            running.signal(Signal::KILL);
            running.child.wait().await?;
        }
        Ok(())
    }

    /// Asks it to end, and kills it if it does not in time.
    pub(crate) async fn stop(&mut self) {
        self.up.send_replace(None);
        if let Some(mut running) = self.running.take() {
            running.signal(Signal::TERM);
            // Dropping it kills it.
            let _ = timeout(self.patience, running.child.wait()).await;
        }
    }

    /// Waits until it ends by itself. Cancel safe.
    pub(crate) async fn ends(&mut self) -> ServerError {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        match running.child.wait().await {
            Ok(status) => running.ended(status).await,
            Err(error) => error.into(),
        }
    }
}

impl Running {
    fn spawn(command: &[OsString]) -> Result<Self, ServerError> {
        let (program, arguments) =
            command.split_first().map_or_else(Default::default, |(p, a)| (p.clone(), a));
        let mut child = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: a script around the server is killed with it, and Ctrl-C is for this program alone.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ServerError::Start {
                command: program.display().to_string(),
                source,
            })?;
        let said = Arc::new(Said { last: Mutex::default(), listening: watch::Sender::new(None) });
        let mut listeners = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            listeners.spawn(listen(stdout, Arc::clone(&said)));
        }
        if let Some(stderr) = child.stderr.take() {
            listeners.spawn(listen(stderr, Arc::clone(&said)));
        }
        Ok(Self { child, said, listeners })
    }

    /// Waits until it answers, and says where.
    async fn ready(
        &mut self,
        fixed: Option<SocketAddr>,
        patience: Duration,
    ) -> Result<SocketAddr, ServerError> {
        let said = Arc::clone(&self.said);
        let answering = async {
            let address = match fixed {
                Some(address) => address,
                None => said.address().await,
            };
            while !answers(address, patience).await {
                sleep(PROBE_PAUSE).await;
            }
            address
        };
        tokio::select! {
            address = answering => Ok(address),
            status = self.child.wait() => Err(self.ended(status?).await),
        }
    }

    /// It has ended; what it said last may still have to be read.
    async fn ended(&mut self, status: ExitStatus) -> ServerError {
        let rest = async { while self.listeners.join_next().await.is_some() {} };
        // Somebody it started may hold its output.
        let _ = timeout(LAST_WORDS, rest).await;
        ServerError::Ended { status, said: self.said.last() }
    }

    fn silent(&self, fixed: Option<SocketAddr>, patience: Duration) -> ServerError {
        let said = self.said.last();
        if fixed.is_none() && self.said.listening.borrow().is_none() {
            return ServerError::Nowhere { said };
        }
        ServerError::Silent { patience, said }
    }

    /// Signals the process and its group, if it was not waited for yet: then its number may be another's.
    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = id {
            // It may have ended.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Said {
    async fn address(&self) -> SocketAddr {
        let mut listening = self.listening.subscribe();
        let address = listening.wait_for(Option::is_some).await.ok().and_then(|address| *address);
        match address {
            Some(address) => address,
            // Its sender is in `self`.
            None => std::future::pending().await,
        }
    }

    fn line(&self, line: String) {
        if let Some(address) = line.strip_prefix("listening on ").and_then(|word| word.parse().ok())
        {
            self.listening.send_if_modified(|known| {
                let is_first = known.is_none();
                known.get_or_insert(reachable(address));
                is_first
            });
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == LINES_KEPT {
            last.pop_front();
        }
        last.push_back(line);
    }

    /// The last lines, each on a line of its own, indented.
    fn last(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().map(|line| format!("\n    {line}")).collect()
    }
}

async fn listen(output: impl AsyncRead + Unpin, said: Arc<Said>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        said.line(line);
    }
}

/// Whether a server answers there, whatever it says.
async fn answers(address: SocketAddr, patience: Duration) -> bool {
    let Ok(stream) = TcpStream::connect(address).await else { return false };
    let over = watch::Sender::new(false);
    let mut wire = Wire::new(stream, Fate::none(), over.subscribe(), patience);
    ask(&mut wire, &Request::Ping { text: "" }).await.is_ok()
}

/// Who listens everywhere is reached here.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Of what a server printed, to be told when it fails.
const LINES_KEPT: usize = 20;
/// For the output of a process that has ended to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Between looks whether it answers.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<OsString> {
        ["sh", "-c", script].map(OsString::from).into()
    }

    /// Its output ends when nobody is left who could write to it.
    #[tokio::test]
    async fn what_is_dropped_leaves_nothing_behind() {
        let mut running = Running::spawn(&shell("sleep 1000 & echo started; wait")).unwrap();
        let mut listeners = std::mem::take(&mut running.listeners);
        drop(running);
        let end = async { while listeners.join_next().await.is_some() {} };
        timeout(Duration::from_secs(30), end).await.expect("the sleeper was killed, too");
    }

    #[tokio::test]
    async fn what_ends_at_once_says_why() {
        let script = shell("echo no such directory >&2; exit 3");
        let (mut server, _) = Server::new(script, None, Duration::from_secs(30));
        let error = server.start().await.unwrap_err().to_string();
        assert!(error.contains("3") && error.ends_with("\n    no such directory"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_say_where_it_listens_is_told_how() {
        let (mut server, _) = Server::new(shell("sleep 1000"), None, Duration::from_secs(30));
        let error = server.start().await.unwrap_err().to_string();
        assert!(error.contains("tell with --server"), "{error}");
    }
}
