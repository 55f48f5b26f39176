//! A run from the start of the server to the verdict.

use std::fmt::Write as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::court::Court;
use super::fact::{Fact, User};
use super::mailboxes;
use super::plan::Plan;
use super::reader::Reader;
use super::report::{Report, Settings, progress};
use super::schedule::{Between, Part, choices};
use super::sender::Sender;
use super::server::{Server, ServerError};
use super::wire::{Fate, Lost};
use super::world::{LOGINS_AT_ONCE, Means, Phase, Seat, World, means};
use crate::accounts::Account;
use crate::login::connect_hint;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("cannot start: {0}")]
    Begin(#[from] std::io::Error),
    #[error("--setup failed ({status}){said}")]
    Setup { status: ExitStatus, said: String },
    #[error("cannot connect: {}", connect_hint(.0))]
    Connect(std::io::Error),
    #[error("this server has no `post`: use --mode send")]
    NoPost,
    #[error("{0}")]
    Trouble(String),
    #[error("a client failed: {0}")]
    Client(#[from] JoinError),
    #[error("the load could not be brought to an end in {0:?} (see --timeout)")]
    Stuck(Duration),
    #[error("interrupted")]
    Interrupted,
}

/// Runs. However it ends, a server that it started is ended.
pub(crate) async fn run(plan: Plan) -> Result<Report, RunError> {
    let mut interrupts = Interrupts::new()?;
    if let Some(setup) = &plan.setup {
        tokio::select! {
            outcome = set_up(setup, &plan.accounts) => outcome?,
            () = interrupts.next() => return Err(RunError::Interrupted),
        }
    }
    let (mut server, up) = match (plan.command.clone(), plan.address) {
        (Some(command), address) => {
            let (server, up) = Server::new(command, address, plan.rules.patience);
            (Some(server), up)
        }
        (None, address) => (None, watch::channel(address).1),
    };
    let outcome = Run::new(plan, up).conduct(&mut server, &mut interrupts).await;
    if let Some(server) = &mut server {
        server.stop().await;
    }
    outcome
}

struct Run {
    plan: Plan,
    world: Arc<World>,
    phase: watch::Sender<Phase>,
    senders: JoinSet<()>,
    readers: JoinSet<()>,
}

impl Run {
    fn new(plan: Plan, server: watch::Receiver<Option<std::net::SocketAddr>>) -> Self {
        let phase = watch::Sender::new(Phase::Load);
        let world = Arc::new(World {
            court: Court::new(),
            letters: plan.letters.clone(),
            seats: plan.accounts.iter().cloned().map(Seat::new).collect(),
            server,
            phase: phase.subscribe(),
            rules: plan.rules,
            logins: Semaphore::new(LOGINS_AT_ONCE),
        });
        Self { plan, world, phase, senders: JoinSet::new(), readers: JoinSet::new() }
    }

    async fn conduct(
        mut self,
        server: &mut Option<Server>,
        interrupts: &mut Interrupts,
    ) -> Result<Report, RunError> {
        let means = tokio::select! {
            means = self.prepare(server) => means?,
            () = interrupts.next() => return Err(RunError::Interrupted),
        };
        let started = Instant::now();
        self.populate(means);
        let world = Arc::clone(&self.world);
        let work = async {
            tokio::select! {
                outcome = self.load(server) => outcome?,
                () = interrupts.next() => {}
            }
            let elapsed = started.elapsed();
            tokio::select! {
                outcome = self.finish(server) => outcome?,
                () = interrupts.next() => return Err(RunError::Interrupted),
            }
            Ok(elapsed)
        };
        let elapsed = tokio::select! {
            outcome = work => outcome?,
            () = progress(&world.court) => Duration::ZERO,
        };
        let outcome = world.court.finish(|user| world.username(user));
        Ok(Report::new(self.settings(), elapsed, outcome))
    }

    /// Starts the server, asks what it can do, and empties the mailboxes.
    async fn prepare(&self, server: &mut Option<Server>) -> Result<Means, RunError> {
        match (&mut *server, self.plan.address) {
            (Some(server), _) => server.start().await?,
            // Later nothing is given up so soon.
            (None, Some(address)) => {
                drop(TcpStream::connect(address).await.map_err(RunError::Connect)?)
            }
            (None, None) => {}
        }
        let mut wire = self.world.connect(Fate::none).await?;
        let means = means(&mut wire).await?;
        if self.world.rules.post && !means.post {
            return Err(RunError::NoPost);
        }
        let emptied = mailboxes::empty(&self.world);
        tokio::select! {
            error = ends(server) => Err(error.into()),
            outcome = emptied => outcome.map(|()| means).map_err(RunError::from),
        }
    }

    /// Lets the clients loose.
    fn populate(&mut self, means: Means) {
        let accounts = u32::try_from(self.plan.accounts.len()).unwrap_or(u32::MAX);
        for number in 0..self.plan.clients {
            let (world, user) = (Arc::clone(&self.world), User(number % accounts));
            self.readers.spawn(Reader::new(Arc::clone(&world), number, user, means.watch).run());
            self.senders.spawn(Sender::new(world, number, user, accounts).run());
        }
    }

    /// Has faults happen until it is time to end, or something is wrong.
    async fn load(&self, server: &mut Option<Server>) -> Result<(), RunError> {
        let mut over = self.world.court.over();
        let time = async {
            match self.plan.time {
                Some(time) => sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = over.wait_for(|over| *over) => Ok(()),
            outcome = self.torment(server) => Ok(outcome?),
            () = time => Ok(()),
        }
    }

    /// Kills the server again and again, and starts it anew.
    async fn torment(&self, server: &mut Option<Server>) -> Result<(), ServerError> {
        let mut random = choices(self.plan.rules.seed, Part::Killer, 0);
        let mut rounds = 0;
        loop {
            tokio::select! {
                error = ends(server) => return Err(error),
                () = lifetime(self.plan.kills, &mut random) => {}
            }
            let Some(server) = server else { continue };
            self.world.court.note(Fact::Killed);
            server.kill().await?;
            server.start().await?;
            self.world.court.note(Fact::Restarted);
            rounds += 1;
            if self.plan.rounds == Some(rounds) {
                return Ok(());
            }
        }
    }

    /// Has everything answered and everybody stop, and reads what is left.
    async fn finish(&mut self, server: &mut Option<Server>) -> Result<(), RunError> {
        if let Some(server) = server {
            // It may just be down.
            server.start().await?;
        }
        let (senders, readers) = (&mut self.senders, &mut self.readers);
        let (world, phase, patience) = (&self.world, &self.phase, self.plan.rules.patience);
        let work = async {
            phase.send_replace(Phase::Settle);
            all(senders, patience).await?;
            phase.send_replace(Phase::Done);
            all(readers, patience).await?;
            if !world.court.is_over() {
                mailboxes::drain(world).await?;
            }
            Ok(())
        };
        let outcome = tokio::select! {
            error = ends(server) => return Err(error.into()),
            outcome = work => outcome,
        };
        match world.court.trouble() {
            Some(trouble) => Err(RunError::Trouble(trouble)),
            None => outcome,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            mode: if self.plan.rules.post { "post" } else { "send" },
            seed: self.plan.rules.seed,
            clients: self.plan.clients,
            accounts: self.plan.accounts.len(),
        }
    }
}

impl From<Lost> for RunError {
    fn from(lost: Lost) -> Self {
        Self::Trouble(match lost {
            Lost::Trouble(trouble) => trouble,
            Lost::Ended => "the server ended the connection".to_owned(),
            Lost::Cut | Lost::Over => "the run was over".to_owned(),
        })
    }
}

/// Waits until all clients are done.
async fn all(clients: &mut JoinSet<()>, patience: Duration) -> Result<(), RunError> {
    let done = async {
        while let Some(client) = clients.join_next().await {
            client?;
        }
        Ok(())
    };
    timeout(patience, done).await.unwrap_or(Err(RunError::Stuck(patience)))
}

/// Waits until a server that this program started ends by itself.
async fn ends(server: &mut Option<Server>) -> ServerError {
    match server {
        Some(server) => server.ends().await,
        None => std::future::pending().await,
    }
}

async fn lifetime(kills: Option<Between>, random: &mut fastrand::Rng) {
    match kills {
        Some(kills) => sleep(kills.pick(random)).await,
        None => std::future::pending().await,
    }
}

/// Runs the command that makes the accounts, and hands them to it.
async fn set_up(command: &str, accounts: &[Account]) -> Result<(), RunError> {
    let mut csv = "username,password\n".to_owned();
    for Account { username, password } in accounts {
        // Writing to a String does not fail.
        let _ = writeln!(csv, "{username},{password}");
    }
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read says by its exit status what it makes of that.
        let _ = stdin.write_all(csv.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).lines().map(|line| format!("\n    {line}")).collect();
    Err(RunError::Setup { status: output.status, said })
}

/// What asks the program to end.
struct Interrupts {
    signals: [Signal; 3],
}

impl Interrupts {
    fn new() -> std::io::Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { signals: [interrupt?, terminate?, hangup?] })
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
