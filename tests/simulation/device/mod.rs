//! [`Device`]: a user's device that speaks the protocol by itself and does one thing after the other at random.

mod asking;
mod reading;
mod sending;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::history::{Moment, Stream};
use crate::host::PASSWORD;
use crate::line::{Line, Lost};
use crate::rng::millis;
use crate::world::World;
use sending::Posting;

/// How a device confirms what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As existing clients do: what `inbox` gave is confirmed by the next request.
    Old,
    /// By `ack` alone.
    Explicit,
}

pub(crate) struct Device {
    world: Arc<World>,
    user: usize,
    name: String,
    /// Its way to the server.
    link: usize,
    style: Style,
    rng: Rng,
    token: Option<Login>,
    connection: Option<Connection>,
    /// It asked for the end of a session.
    has_logged_out: bool,
    /// What it has by watching, to go on from.
    has: Option<Stream>,
    /// What it posted and got no answer for.
    open: Vec<Posting>,
    /// The longest pause between two operations.
    pause: Duration,
}

#[derive(Debug, Clone)]
struct Login {
    token: String,
    asked: Moment,
    answered: Moment,
    /// The outcome of a `logout` is not known.
    may_be_over: bool,
}

struct Connection {
    line: Line,
    made: Moment,
    /// The mailbox's incarnation, which no server changes while it runs.
    incarnation: Option<String>,
    /// The end of the page that the next request confirms, and whether it is sure to.
    unconfirmed: Option<(u64, bool)>,
    /// It has pages in flight that only `ack` confirms.
    has_read_inbox: bool,
    /// The last id that was shown here.
    shown: u64,
    /// It watches.
    stream: Option<Stream>,
}

/// A reply: what was asked for, or the code of an error.
type Answer = Result<Value, String>;

impl Device {
    pub(crate) fn new(
        world: Arc<World>,
        user: usize,
        link: usize,
        style: Style,
        mut rng: Rng,
    ) -> Self {
        let pause = Duration::from_millis(rng.u64(0..3_000));
        Self {
            world,
            user,
            name: format!("d{link}/u{user}"),
            link,
            style,
            rng,
            token: None,
            connection: None,
            has_logged_out: false,
            has: None,
            open: Vec::new(),
            pause,
        }
    }

    /// Does so many things, with pauses.
    pub(crate) async fn live(mut self, operations: usize) -> Self {
        let mut done = 0;
        while done < operations {
            let pause = millis(&mut self.rng, self.pause);
            self.rest(pause).await;
            if !self.is_ready().await {
                continue;
            }
            done += 1;
            if let Err(lost) = self.act().await {
                self.lose(&lost);
            }
        }
        self
    }

    /// Gets the answers it is still owed.
    pub(crate) async fn get_answers(mut self) -> Self {
        while !self.open.is_empty() {
            if self.is_ready().await
                && let Err(lost) = self.post_again().await
            {
                self.lose(&lost);
            }
        }
        self
    }

    /// If it watches, gets everything there is.
    pub(crate) async fn settle_down(mut self, quiet: Duration) {
        loop {
            match self.wait_for_all(quiet).await {
                Ok(()) => break,
                Err(lost) => self.lose(&lost),
            }
            sleep(RETRY_AFTER).await;
        }
        let stream = self.connection.as_ref().and_then(|connection| connection.stream.as_ref());
        if let Some(stream) = stream {
            let judged = self.world.history().caught_up(stream);
            self.world.judge(judged);
        }
        self.hang_up();
    }

    /// Lets the server push what there is. That it answers in the end says that it could.
    async fn wait_for_all(&mut self, quiet: Duration) -> Result<(), Lost> {
        self.prepare().await?;
        self.watch_again().await?;
        self.rest(quiet).await;
        self.ping().await
    }

    /// Reads and acknowledges all there is. `again`: there must be nothing.
    pub(crate) async fn drain(mut self, again: bool) {
        if let Err(lost) = self.drain_inner(again).await {
            self.world.fail(&format!("{} cannot drain: {}", self.name, lost.0));
        }
    }

    async fn drain_inner(&mut self, again: bool) -> Result<(), Lost> {
        self.prepare().await?;
        loop {
            let (page, more) = self.peek(None, None).await?;
            let Some(last) = page.last() else {
                break;
            };
            if again {
                self.world.fail(&format!("undelivered again: id {last} of u{}", self.user));
            }
            self.ack(*last, true).await?;
            if !more {
                break;
            }
        }
        for other in 0..self.world.users {
            self.read_conversation(other, usize::MAX).await?;
        }
        Ok(())
    }

    async fn act(&mut self) -> Result<(), Lost> {
        match self.rng.u32(0..100) {
            0..20 => self.send().await,
            20..40 => self.post().await,
            40..44 => self.post_once_more().await,
            44..54 => self.read().await,
            54..60 => self.peek_somewhere().await,
            60..68 => self.ack_something().await,
            68..70 => self.ack_nonsense().await,
            70..78 => self.watch_or_stop().await,
            78..84 => self.ask_status().await,
            84..89 => self.read_some_conversation().await,
            89..92 => self.block_or_not().await,
            92..95 => self.log_out().await,
            95..98 => {
                self.hang_up();
                Ok(())
            }
            _ => self.ping().await,
        }
    }

    /// Lets time pass. Who watches reads meanwhile.
    async fn rest(&mut self, pause: Duration) {
        let watches =
            self.connection.as_ref().is_some_and(|connection| connection.stream.is_some());
        if !watches {
            return sleep(pause).await;
        }
        if let Ok(Err(lost)) = timeout(pause, self.read_events()).await {
            self.lose(&lost);
        }
    }

    fn lose(&mut self, lost: &Lost) {
        self.world.note(&self.name, &format!("lost the connection: {}", lost.0));
        if let Some(connection) = self.connection.take() {
            connection.line.hang_up(false);
        }
    }

    /// Connects and logs in, unless that is done; waits a little if it cannot.
    async fn is_ready(&mut self) -> bool {
        match self.prepare().await {
            Ok(()) => true,
            Err(lost) => {
                self.lose(&lost);
                sleep(RETRY_AFTER).await;
                false
            }
        }
    }

    async fn prepare(&mut self) -> Result<(), Lost> {
        if self.connection.is_none() {
            self.connect().await?;
        }
        if self.token.is_none() {
            self.log_in().await?;
        }
        if self.connection()?.incarnation.is_none() {
            self.find_incarnation().await?;
        }
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut Connection, Lost> {
        self.connection.as_mut().ok_or_else(|| Lost("no connection".into()))
    }

    async fn connect(&mut self) -> Result<(), Lost> {
        let patience = Duration::from_secs(self.rng.u64(1..60));
        let made = self.world.history().moment();
        let connecting = self.world.network.connect(self.link);
        let socket = timeout(patience, connecting).await;
        let socket = socket.map_err(|_| Lost("cannot connect".into()))?;
        let socket = socket.map_err(|error| Lost(error.to_string()))?;
        let number = self.world.connection_number();
        self.world.note(&self.name, &format!("connected as c{number}"));
        self.connection = Some(Connection {
            line: Line::new(socket, number, patience),
            made,
            incarnation: None,
            unconfirmed: None,
            has_read_inbox: false,
            shown: 0,
            stream: None,
        });
        if self.style == Style::Explicit {
            self.ask("hello explicit_ack", &[]).await?.map_err(Lost)?;
        }
        Ok(())
    }

    async fn log_in(&mut self) -> Result<(), Lost> {
        let line = format!("auth u{} {PASSWORD}", self.user);
        let asked = self.world.history().moment();
        if let Ok(reply) = self.ask(&line, &["busy"]).await? {
            let token = text(&reply, "tokenid");
            let answered = self.world.history().moment();
            self.token = Some(Login { token, asked, answered, may_be_over: false });
            return Ok(());
        }
        Err(Lost("no login".into()))
    }

    async fn find_incarnation(&mut self) -> Result<(), Lost> {
        let Ok(reply) = self.ask_with_token("whoami", "", &[]).await? else {
            return Err(Lost("no incarnation".into()));
        };
        let incarnation = text(&reply, "incarnation");
        let judged = self.world.history().meet(self.user, &incarnation);
        self.world.judge(judged);
        self.connection()?.incarnation = Some(incarnation);
        Ok(())
    }

    async fn log_out(&mut self) -> Result<(), Lost> {
        if let Some(login) = &mut self.token {
            login.may_be_over = true;
        }
        self.has_logged_out = true;
        if self.ask_with_token("logout", "", &[]).await?.is_ok() {
            self.token = None;
        }
        Ok(())
    }

    fn hang_up(&mut self) {
        let orderly = self.rng.bool();
        self.world.note(&self.name, if orderly { "hangs up" } else { "resets" });
        if let Some(connection) = self.connection.take() {
            connection.line.hang_up(orderly);
        }
    }
}

fn outcome(answer: &Answer) -> String {
    match answer {
        Ok(reply) => reply.to_string(),
        Err(code) => code.clone(),
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().into()
}

fn id(value: &Value, key: &str) -> u64 {
    text(value, key).parse().unwrap_or_default()
}

/// How long a device waits before it tries to connect once more.
const RETRY_AFTER: Duration = Duration::from_millis(300);
