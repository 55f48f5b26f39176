//! [`Device`]: a user's device that speaks the protocol by itself and does one thing after the other at random.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::history::{Moment, Page, Seen, Tag};
use crate::host::PASSWORD;
use crate::line::{Line, Lost};
use crate::rng::{millis, percent};
use crate::world::World;

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
    /// The last id that was shown here.
    shown: u64,
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
        let name = format!("d{link}/u{user}");
        Self { world, user, name, link, style, rng, token: None, connection: None, pause }
    }

    /// Does so many things, with pauses.
    pub(crate) async fn live(mut self, operations: usize) {
        let mut done = 0;
        while done < operations {
            let pause = millis(&mut self.rng, self.pause);
            sleep(pause).await;
            if let Err(lost) = self.prepare().await {
                self.lose(&lost);
                sleep(RETRY_AFTER).await;
                continue;
            }
            done += 1;
            if let Err(lost) = self.act().await {
                self.lose(&lost);
            }
        }
        if let Some(connection) = self.connection.take() {
            connection.line.hang_up(self.rng.bool());
        }
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
                return Ok(());
            };
            if again {
                self.world.fail(&format!("undelivered again: id {last} of u{}", self.user));
            }
            self.ack(*last, true).await?;
            if !more {
                return Ok(());
            }
        }
    }

    fn lose(&mut self, lost: &Lost) {
        self.world.note(&self.name, &format!("lost the connection: {}", lost.0));
        if let Some(connection) = self.connection.take() {
            connection.line.hang_up(false);
        }
    }

    async fn act(&mut self) -> Result<(), Lost> {
        match self.rng.u32(0..100) {
            0..45 => self.send().await,
            45..65 => self.read().await,
            65..75 => self.peek_somewhere().await,
            75..83 => self.ack_something().await,
            83..87 => self.ack_nonsense().await,
            87..92 => self.log_out().await,
            92..96 => self.hang_up(),
            _ => self.ping().await,
        }
    }

    /// Connects and logs in, unless that is done.
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
        let connecting = self.world.network.connect(self.link);
        let socket = timeout(patience, connecting).await;
        let socket = socket.map_err(|_| Lost("cannot connect".into()))?;
        let socket = socket.map_err(|error| Lost(error.to_string()))?;
        let number = self.world.connection_number();
        self.world.note(&self.name, &format!("connected as c{number}"));
        let (line, made) = (Line::new(socket, number, patience), self.world.history().moment());
        self.connection =
            Some(Connection { line, made, incarnation: None, unconfirmed: None, shown: 0 });
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
        self.connection()?.incarnation = Some(text(&reply, "incarnation"));
        Ok(())
    }

    /// Sends one message, or several at once.
    async fn send(&mut self) -> Result<(), Lost> {
        let count = if percent(&mut self.rng, 70) { 1 } else { self.rng.usize(2..6) };
        let token = self.token()?;
        let (mut lines, mut tags) = (String::new(), Vec::new());
        for _ in 0..count {
            let to = self.rng.usize(0..self.world.users);
            let (tag, text) = self.compose(to)?;
            lines.push_str(&format!("send {token} u{to} {text}\r\n"));
            tags.push(tag);
            self.world.note(&self.name, &format!("sends u{to} {text}"));
        }
        self.connection()?.line.say(&lines).await?;
        for tag in tags {
            let answer = self.answer(&["inbox_full"]).await?;
            self.settle(tag, &answer)?;
        }
        Ok(())
    }

    fn compose(&mut self, to: usize) -> Result<(Tag, String), Lost> {
        let number = self.connection()?.line.number;
        let longest = if percent(&mut self.rng, 90) { 30 } else { 600 };
        let filling = "x".repeat(self.rng.usize(0..longest));
        Ok(self.world.history().send(self.user, to, Some(number), &filling))
    }

    /// Notes what a send came to.
    fn settle(&mut self, tag: Tag, answer: &Answer) -> Result<(), Lost> {
        let made = self.connection()?.made;
        self.world.note(&self.name, &format!("m{tag}. {}", outcome(answer)));
        let mut history = self.world.history();
        match answer {
            Ok(_) => history.stored(tag, made),
            Err(code) if code == "unavailable" => {}
            Err(_) => history.refused(tag),
        }
        Ok(())
    }

    /// Reads a page as its style does.
    async fn read(&mut self) -> Result<(), Lost> {
        match self.style {
            Style::Old => self.inbox().await,
            Style::Explicit => {
                let (page, _) = self.peek(None, None).await?;
                match page.last() {
                    Some(last) if self.rng.bool() => self.ack(*last, true).await,
                    _ => Ok(()),
                }
            }
        }
    }

    async fn inbox(&mut self) -> Result<(), Lost> {
        let incarnation = self.incarnation()?;
        // The request may confirm the page before, and what it gives comes behind that.
        let confirms = self.connection()?.unconfirmed;
        let question = self.world.history().ask(self.user, &incarnation);
        let Ok(reply) = self.ask_with_token("inbox", "", &[]).await? else {
            return Ok(());
        };
        let mut messages: Vec<Seen> = reply["messages"]
            .as_object()
            .into_iter()
            .flatten()
            .flat_map(|(sender, list)| {
                list.as_array().into_iter().flatten().map(move |m| (sender, m))
            })
            .map(|(sender, message)| Seen {
                id: id(message),
                from: sender.clone(),
                text: text(message, "msg"),
            })
            .collect();
        messages.sort_by_key(|seen| seen.id);
        let is_all = reply["more"] != true && confirms.is_none();
        let page = Page { messages, is_all, skips: false };
        let last = page.messages.last().map(|seen| seen.id);
        let judged = self.world.history().page(self.user, &incarnation, question, &page);
        self.world.judge(judged);
        if let Some(last) = last {
            let sure = !self.world.disk_trouble.load(Ordering::Relaxed);
            let connection = self.connection()?;
            connection.unconfirmed = Some((last, sure));
            connection.shown = last;
        }
        Ok(())
    }

    async fn peek_somewhere(&mut self) -> Result<(), Lost> {
        let incarnation = self.incarnation()?;
        let seen = self.world.history().seen_upto(self.user, &incarnation);
        let after = self.rng.bool().then(|| self.rng.u64(0..seen + 3));
        let limit = self.rng.bool().then(|| self.rng.u64(1..5));
        self.peek(after, limit).await.map(drop)
    }

    /// Asks for a page; the ids it gave, and whether more waits.
    async fn peek(
        &mut self,
        after: Option<u64>,
        limit: Option<u64>,
    ) -> Result<(Vec<u64>, bool), Lost> {
        let incarnation = self.incarnation()?;
        let question = self.world.history().ask(self.user, &incarnation);
        let word = |word: Option<u64>| word.map_or("-".into(), |number| number.to_string());
        let words = format!(" {} {}", word(after), word(limit));
        let Ok(reply) = self.ask_with_token("peek", &words, &[]).await? else {
            return Ok((Vec::new(), false));
        };
        if text(&reply, "incarnation") != incarnation {
            self.world.fail("the incarnation changed under a connection");
        }
        let messages = reply["messages"].as_array().into_iter().flatten();
        let seen = |message: &Value| Seen {
            id: id(message),
            from: text(message, "from"),
            text: text(message, "body"),
        };
        let more = reply["more"] == true;
        let page = Page {
            messages: messages.map(seen).collect(),
            is_all: !more && after.is_none(),
            skips: after.is_some(),
        };
        let ids: Vec<_> = page.messages.iter().map(|seen| seen.id).collect();
        let judged = self.world.history().page(self.user, &incarnation, question, &page);
        self.world.judge(judged);
        if let Some(last) = ids.last() {
            self.connection()?.shown = *last;
        }
        Ok((ids, more))
    }

    /// Acknowledges something that the user has seen all of.
    async fn ack_something(&mut self) -> Result<(), Lost> {
        let incarnation = self.incarnation()?;
        let seen = self.world.history().seen_upto(self.user, &incarnation);
        if seen == 0 {
            return Ok(());
        }
        let shown = self.connection()?.shown;
        if self.rng.bool() && (1..=seen).contains(&shown) {
            return self.ack(shown, false).await;
        }
        let upto = self.rng.u64(seen.saturating_sub(5).max(1)..=seen);
        self.ack(upto, true).await
    }

    async fn ack(&mut self, upto: u64, named: bool) -> Result<(), Lost> {
        let incarnation = self.incarnation()?;
        let words = match named {
            true => format!(" {upto} {incarnation}"),
            false => format!(" {upto}"),
        };
        if self.ask_with_token("ack", &words, &[]).await?.is_ok() {
            self.world.history().acked(self.user, &incarnation, upto);
        }
        Ok(())
    }

    /// What must be refused and change nothing.
    async fn ack_nonsense(&mut self) -> Result<(), Lost> {
        let incarnation = self.incarnation()?;
        let (words, code) = match self.rng.bool() {
            true => (format!(" 1000000 {incarnation}"), "bad_arguments"),
            false => (" 1 0000000000000000".into(), "stale_incarnation"),
        };
        let answer = self.ask_with_token("ack", &words, &[code]).await?;
        if answer.is_ok() {
            self.world.fail("nonsense was acknowledged");
        }
        Ok(())
    }

    async fn log_out(&mut self) -> Result<(), Lost> {
        if let Some(login) = &mut self.token {
            login.may_be_over = true;
        }
        if self.ask_with_token("logout", "", &[]).await?.is_ok() {
            self.token = None;
        }
        Ok(())
    }

    /// A request that confirms a page as any other does, but whose answer does not wait for the store: it says nothing of
    /// whether that is durable.
    async fn ping(&mut self) -> Result<(), Lost> {
        if let Some((_, sure)) = &mut self.connection()?.unconfirmed {
            *sure = false;
        }
        self.ask("ping a", &[]).await.map(drop)
    }

    fn hang_up(&mut self) -> Result<(), Lost> {
        let orderly = self.rng.bool();
        self.world.note(&self.name, if orderly { "hangs up" } else { "resets" });
        if let Some(connection) = self.connection.take() {
            connection.line.hang_up(orderly);
        }
        Ok(())
    }

    fn token(&self) -> Result<String, Lost> {
        let login = self.token.as_ref().ok_or_else(|| Lost("no login".into()))?;
        Ok(login.token.clone())
    }

    fn incarnation(&mut self) -> Result<String, Lost> {
        self.connection()?.incarnation.clone().ok_or_else(|| Lost("no incarnation".into()))
    }

    async fn ask_with_token(
        &mut self,
        command: &str,
        words: &str,
        expected: &[&str],
    ) -> Result<Answer, Lost> {
        let line = format!("{command} {}{words}", self.token()?);
        self.ask(&line, expected).await
    }

    /// Asks and hears the answer. An error must be one of those expected, or one that may always be.
    async fn ask(&mut self, line: &str, expected: &[&str]) -> Result<Answer, Lost> {
        self.world.note(&self.name, &format!("> {line}"));
        self.connection()?.line.say(&format!("{line}\r\n")).await?;
        let answer = self.answer(expected).await?;
        self.world.note(&self.name, &format!("< {}", outcome(&answer)));
        Ok(answer)
    }

    async fn answer(&mut self, expected: &[&str]) -> Result<Answer, Lost> {
        let reply = self.connection()?.line.hear().await?;
        self.confirmed();
        if reply["status"] == "OK" {
            return Ok(Ok(reply));
        }
        let code = text(&reply, "code");
        if code == "no_session" && self.session_may_be_gone() {
            self.token = None;
            return Err(Lost("the session is over".into()));
        }
        if code != "unavailable" && !expected.contains(&code.as_str()) {
            self.world.fail(&format!("{} was answered {reply}", self.name));
        }
        Ok(Err(code))
    }

    fn session_may_be_gone(&self) -> bool {
        let Some(login) = &self.token else {
            return false;
        };
        login.may_be_over || self.world.history().may_be_undone(login.asked, login.answered)
    }

    /// A request was answered, so the page before it is delivered.
    fn confirmed(&mut self) {
        let trouble = self.world.disk_trouble.load(Ordering::Relaxed);
        let Some(connection) = &mut self.connection else {
            return;
        };
        if let (Some((upto, sure)), Some(incarnation)) =
            (connection.unconfirmed.take(), &connection.incarnation)
            && sure
            && !trouble
        {
            self.world.history().acked(self.user, incarnation, upto);
        }
    }
}

/// How long a device waits before it tries to connect once more.
const RETRY_AFTER: Duration = Duration::from_millis(300);

fn outcome(answer: &Answer) -> String {
    match answer {
        Ok(reply) => reply.to_string(),
        Err(code) => code.clone(),
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().into()
}

fn id(message: &Value) -> u64 {
    text(message, "id").parse().unwrap_or_default()
}
