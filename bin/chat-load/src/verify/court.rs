//! [`Court`]: where all clients bring their facts, and where the judge hears them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::fact::{Connection, Ending, Fact, Id, Life, Tag, User, Via};
use super::journal::Journal;
use super::judge::{Counts, Judge};
use super::letter::Letter;
use super::story::{Line, tell};
use super::verdict::Violation;

/// Shared by everything that runs. A fact is noted and judged in one step, so that their order is that of the journal.
#[derive(Debug)]
pub(crate) struct Court {
    started: Instant,
    bench: Mutex<Bench>,
    /// Whether the run ought to end: something is wrong, with the server or with the run itself.
    over: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Bench {
    journal: Journal,
    judge: Judge,
    connections: u32,
    /// The incarnations that each mailbox was seen to have.
    lives: Vec<Vec<String>>,
    violation: Option<Violation>,
    /// Why the run cannot go on, and is not judged.
    trouble: Option<String>,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    pub(crate) messages: u32,
    /// Messages never answered, and how many of them are there.
    pub(crate) unanswered: (u64, u64),
    /// The first fault, the mailbox, and the history.
    pub(crate) violation: Option<(Violation, String, Vec<Line>)>,
}

impl Court {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), bench: Mutex::default(), over: watch::Sender::new(false) }
    }

    /// Notes a fact. The first violation ends the run; nothing is judged after it.
    pub(crate) fn note(&self, fact: Fact) {
        self.hear(&mut self.bench(), fact);
    }

    /// A connection of `user` is open.
    pub(crate) fn opened(&self, user: User) -> Connection {
        let mut bench = self.bench();
        let connection = Connection(bench.connections);
        bench.connections = bench.connections.saturating_add(1);
        self.hear(&mut bench, Fact::Opened { connection, user });
        connection
    }

    /// It is no more.
    pub(crate) fn ended(&self, connection: Connection, how: Ending) {
        self.note(Fact::Ended { connection, how });
    }

    /// A new message leaves. None when there are as many as a run may have.
    pub(crate) fn sent(&self, connection: Connection, to: User) -> Option<Tag> {
        let mut bench = self.bench();
        let tag = Tag(bench.judge.messages().count());
        if tag.0 >= MOST_MESSAGES {
            return None;
        }
        self.hear(&mut bench, Fact::Sent { tag, connection, to });
        Some(tag)
    }

    /// The connection was told the incarnation of its mailbox.
    pub(crate) fn living(&self, connection: Connection, incarnation: &str) {
        let mut bench = self.bench();
        let Some(User(user)) = bench.judge.user(connection) else { return };
        let user = usize::try_from(user).unwrap_or(usize::MAX);
        if bench.lives.len() <= user {
            bench.lives.resize_with(user + 1, Vec::new);
        }
        let Some(lives) = bench.lives.get_mut(user) else { return };
        let known = lives.iter().position(|life| life == incarnation);
        let place = known.unwrap_or_else(|| {
            lives.push(incarnation.to_owned());
            lives.len() - 1
        });
        let life = Life(u16::try_from(place).unwrap_or(u16::MAX));
        self.hear(&mut bench, Fact::Living { connection, life });
    }

    /// A message was read. `letter` is what its text says it is, if it is one of this run.
    pub(crate) fn shown(
        &self,
        connection: Connection,
        via: Via,
        id: Id,
        letter: Option<Letter>,
        text: &str,
    ) {
        let mut bench = self.bench();
        let reader = bench.judge.user(connection);
        let genuine = letter.filter(|letter| {
            let route = bench.judge.messages().route(letter.tag);
            route == Some((letter.from, letter.to)) && reader == Some(letter.to)
        });
        let fact = match genuine {
            Some(Letter { tag, .. }) => Fact::Shown { connection, via, id, tag },
            None => Fact::Strange { connection, via, id, text: bench.journal.keep(text) },
        };
        self.hear(&mut bench, fact);
    }

    /// The run cannot go on. The first reason counts.
    pub(crate) fn give_up(&self, trouble: String) {
        self.bench().trouble.get_or_insert(trouble);
        self.over.send_replace(true);
    }

    /// Why the run could not go on.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.bench().trouble.clone()
    }

    /// Whether the run is over before its time.
    pub(crate) fn over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    /// As [`over`](Self::over), now.
    pub(crate) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Figures so far.
    pub(crate) fn counts(&self) -> Counts {
        self.bench().judge.counts().clone()
    }

    /// Judges what is left, when every mailbox was read to its end. `name` says what a user is called.
    pub(crate) fn finish<'a>(&self, name: impl Fn(User) -> &'a str) -> Outcome {
        let mut bench = self.bench();
        if bench.violation.is_none() {
            let verdict = bench.judge.finish();
            bench.violation = verdict.err().map(|violation| *violation);
        }
        let violation = bench.violation.take().map(|violation| {
            let user_of = |connection| bench.judge.user(connection);
            let history = tell(&bench.journal.history(&violation, user_of), user_of, &name);
            let mailbox = name(violation.user).to_owned();
            (violation, mailbox, history)
        });
        Outcome {
            counts: bench.judge.counts().clone(),
            messages: bench.judge.messages().count(),
            unanswered: bench.judge.messages().unanswered(),
            violation,
        }
    }

    fn hear(&self, bench: &mut Bench, fact: Fact) {
        if bench.violation.is_some() {
            return;
        }
        bench.journal.note(self.started.elapsed(), fact);
        let text = match fact {
            Fact::Strange { text, .. } => bench.journal.text(text),
            _ => "",
        };
        if let Err(violation) = bench.judge.take(&fact, text) {
            bench.violation = Some(*violation);
            self.over.send_replace(true);
        }
    }

    fn bench(&self) -> MutexGuard<'_, Bench> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At about 150 bytes a message (measured: 108 MB after some 700,000, with 30,000 connections) this is 3 GB.
const MOST_MESSAGES: u32 = 20_000_000;
