//! [`App`]: a user's program built on the client library. It leaves the network to the library.

mod asking;
mod watching;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chat_client::{Client, ClientError, ConnectOptions, Connector, ErrorCode, Watch};
use fastrand::Rng;
use tokio::time::{sleep, timeout};

use crate::history::{Moment, Stream, Tag};
use crate::host::PASSWORD;
use crate::network::{Network, Socket};
use crate::rng::{Seeded, millis, percent};
use crate::world::World;

pub(crate) struct App {
    world: Arc<World>,
    user: usize,
    name: String,
    /// Its way to the server.
    link: usize,
    rng: Rng,
    running: Option<Running>,
    /// What it has by watching, to go on from.
    has: Option<Stream>,
    /// What it posted and has no answer for: the message, to whom, and its text.
    open: Vec<(Tag, usize, String)>,
    /// The longest pause between two operations.
    pause: Duration,
    /// How often in 100 it does not read events during a pause.
    absent: u32,
}

/// The program between two of its starts.
struct Running {
    client: Client,
    /// When it connected first.
    began: Moment,
    watch: Option<Watch>,
    /// What it watches, as far as it has read.
    stream: Option<Stream>,
    /// The last message it read and did not acknowledge.
    unacked: Option<chat_client::IncomingMessage>,
    login: Moment,
    /// It asked for the end of the session.
    may_be_over: bool,
}

/// It cannot go on with the client it has.
#[derive(Debug)]
struct Stopped(String);

/// The way to the server.
struct Way {
    network: Network,
    link: usize,
}

impl Connector for Way {
    type Stream = Socket;

    async fn connect(&self, _: &str) -> io::Result<Socket> {
        self.network.connect(self.link).await
    }
}

impl App {
    pub(crate) fn new(world: Arc<World>, user: usize, link: usize, mut rng: Rng) -> Self {
        Self {
            name: format!("d{link}/u{user}"),
            pause: Duration::from_millis(rng.u64(0..3_000)),
            absent: *rng.choice(&[0, 30, 95]).expect("three"),
            world,
            user,
            link,
            rng,
            running: None,
            has: None,
            open: Vec::new(),
        }
    }

    /// Does so many things, with pauses.
    pub(crate) async fn live(mut self, operations: usize) -> Self {
        let mut done = 0;
        while done < operations {
            let pause = millis(&mut self.rng, self.pause);
            match percent(&mut self.rng, self.absent) {
                // Events pile up meanwhile.
                true => sleep(pause).await,
                false => self.rest(pause).await,
            }
            if !self.is_ready().await {
                continue;
            }
            done += 1;
            let acted = self.act().await;
            self.go_on(acted);
        }
        self
    }

    /// Gets the answers it is still owed.
    pub(crate) async fn get_answers(mut self) -> Self {
        while !self.open.is_empty() {
            if self.is_ready().await {
                let posted = self.post_again().await;
                self.go_on(posted);
            }
        }
        self
    }

    /// Gets everything there is.
    pub(crate) async fn settle_down(mut self, quiet: Duration) {
        loop {
            if self.is_ready().await {
                match self.wait_for_all(quiet).await {
                    Ok(()) => break,
                    stopped => self.go_on(stopped),
                }
            }
        }
        let running = self.running.take();
        if let Some(stream) = running.as_ref().and_then(|running| running.stream.as_ref()) {
            let judged = self.world.history().caught_up(stream);
            self.world.judge(judged);
        }
    }

    /// Lets the server push what there is. That it answers in the end, over the same connection, says that it could.
    async fn wait_for_all(&mut self, quiet: Duration) -> Result<(), Stopped> {
        self.watch().await?;
        loop {
            let connection = self.running()?.client.state();
            self.rest(quiet).await;
            let pong = self.running()?.client.ping("a").await;
            self.heard("ping", &pong)?;
            if pong.is_ok() && !connection.has_changed().unwrap_or(true) {
                return Ok(());
            }
        }
    }

    async fn act(&mut self) -> Result<(), Stopped> {
        match self.rng.u32(0..100) {
            0..35 => self.post().await,
            35..40 => self.post_again().await,
            40..60 => self.watch().await,
            60..72 => self.ack().await,
            72..78 => self.ask_status().await,
            78..84 => self.read_conversation().await,
            84..90 => self.read_inbox().await,
            90..93 => self.stop_watching(),
            93..96 => self.log_out().await,
            _ => Err(Stopped("it ends".into())),
        }
    }

    /// Lets time pass. Who watches reads meanwhile.
    async fn rest(&mut self, pause: Duration) {
        let watches = self.running.as_ref().is_some_and(|running| running.watch.is_some());
        match watches {
            true => drop(timeout(pause, self.read_events()).await),
            false => sleep(pause).await,
        }
    }

    fn go_on(&mut self, outcome: Result<(), Stopped>) {
        if let Err(Stopped(why)) = outcome {
            self.world.note(&self.name, &format!("the program ends: {why}"));
            self.running = None;
        }
    }

    /// Starts the program and logs in, unless that is done; waits a little if it cannot.
    async fn is_ready(&mut self) -> bool {
        if self.running.is_some() {
            return true;
        }
        match self.start().await {
            Ok(()) => true,
            Err(error) => {
                self.world.note(&self.name, &format!("cannot start: {error}"));
                sleep(RETRY_AFTER).await;
                false
            }
        }
    }

    async fn start(&mut self) -> Result<(), ClientError> {
        let began = self.world.history().moment();
        let way = Way { network: self.world.network.clone(), link: self.link };
        let client = Client::connect_with(way, self.options()).await?;
        client.login(&format!("u{}", self.user), PASSWORD).await?;
        let login = self.world.history().moment();
        self.world.note(&self.name, "starts the program");
        self.running = Some(Running {
            client,
            began,
            watch: None,
            stream: None,
            unacked: None,
            login,
            may_be_over: false,
        });
        Ok(())
    }

    fn options(&mut self) -> ConnectOptions {
        let seconds = |rng: &mut Rng, range| Duration::from_secs(rng.u64(range));
        let reply_timeout = seconds(&mut self.rng, 2..30);
        ConnectOptions::new("server")
            .connect_timeout(seconds(&mut self.rng, 2..20))
            .request_timeout(reply_timeout + seconds(&mut self.rng, 1..30))
            .reply_timeout(reply_timeout)
            .keepalive(seconds(&mut self.rng, 1..90))
            .event_buffer(16)
            .random(Seeded::new(self.rng.fork()))
    }

    fn running(&mut self) -> Result<&mut Running, Stopped> {
        self.running.as_mut().ok_or_else(|| Stopped("it does not run".into()))
    }

    async fn log_out(&mut self) -> Result<(), Stopped> {
        self.running()?.may_be_over = true;
        self.world.note(&self.name, "> logout");
        let answer = self.running()?.client.logout().await;
        self.heard("logout", &answer)?;
        Err(Stopped("logged out".into()))
    }

    /// Notes an answer. An error must be one of those that may always be, or one that the caller deals with.
    fn heard<T>(&mut self, what: &str, answer: &Result<T, ClientError>) -> Result<(), Stopped> {
        let Err(error) = answer else {
            self.world.note(&self.name, &format!("{what}: OK"));
            return Ok(());
        };
        self.world.note(&self.name, &format!("{what}: {error:?}"));
        match (error, error.code()) {
            (_, Some(ErrorCode::NoSession)) if self.session_may_be_gone() => {
                Err(Stopped("the session is over".into()))
            }
            (_, Some(ErrorCode::Unavailable | ErrorCode::StaleIncarnation)) => Ok(()),
            (ClientError::Timeout { .. } | ClientError::Closed { .. }, _) => Ok(()),
            (_, Some(ErrorCode::InboxFull | ErrorCode::NotAllowed | ErrorCode::NoSuchMessage)) => {
                Ok(())
            }
            _ => {
                self.world.fail(&format!("{} {what}: {error:?}", self.name));
                Ok(())
            }
        }
    }

    fn session_may_be_gone(&mut self) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        let (began, login) = (running.began, running.login);
        running.may_be_over || self.world.history().may_be_undone(began, login)
    }

    fn compose(&mut self) -> (Tag, usize, String) {
        let to = self.world.recipient(&mut self.rng);
        let longest = if percent(&mut self.rng, 90) { 30 } else { 600 };
        let filling = "x".repeat(self.rng.usize(0..longest));
        let (tag, text) = self.world.history().send(self.user, to, None, &filling);
        (tag, to, text)
    }
}

/// How long it waits before it tries to start once more.
const RETRY_AFTER: Duration = Duration::from_secs(1);
