//! One connection under load: so many requests in flight, the next when it is time for it.

mod answers;
mod asking;
mod churn;

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::{Buf, BytesMut};
use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::dialect::Dialect;
use crate::login::{LoggedIn, Wire};
use crate::outcome::Kind;
use crate::pacing::Pacing;
use crate::plan::Plan;
use crate::replies::Reply;
use crate::schedule::{Schedule, Turns};
use crate::tally::{Tally, lock};
use crate::window::{Bell, GiveUp, Window};

/// A logged-in connection and its requests in flight.
#[derive(Debug)]
pub(crate) struct Client {
    plan: Arc<Plan>,
    number: usize,
    /// Nobody to whom messages are sent, if there is no such account.
    user: usize,
    wire: Wire,
    dialect: Dialect,
    window: Window,
    pacing: Pacing,
    bell: Arc<Bell>,
    random: Rng,
    /// Operations still to do, with `--count`.
    left: Option<u64>,
    pending: VecDeque<Pending>,
    outgoing: BytesMut,
    /// Begun and measured, and not told to the tally yet.
    begun: Vec<Kind>,
}

/// A request that is not answered yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    what: What,
    /// The recipient, where there is one.
    to: usize,
    /// When it was due, or left.
    at: Instant,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Operation(Kind),
    /// A page of a mailbox that was found full.
    Drain,
    /// The end of the session of a login that was measured.
    Logout,
}

impl What {
    fn is_operation(self, wanted: Kind) -> bool {
        matches!(self, Self::Operation(kind) if kind == wanted)
    }
}

/// What came back.
enum Came {
    /// The confirmation of a `post` that was waited for.
    Posted,
    Reply(Reply),
}

impl Client {
    /// `nth` and `of` say which of the thread's clients it is.
    pub(crate) fn new(
        plan: Arc<Plan>,
        login: LoggedIn,
        window: Window,
        bell: Arc<Bell>,
        schedule: Option<Schedule>,
        (nth, of): (u64, u64),
    ) -> Self {
        let number = login.connection;
        let mut random = seeded(plan.seed, number);
        let pacing = match (schedule, plan.think) {
            (Some(schedule), _) => Pacing::Open(Turns::new(schedule, nth, of)),
            (None, Some(time)) => Pacing::thinking(time, plan.in_flight, window.start, &mut random),
            (None, None) => Pacing::Closed,
        };
        Self {
            number,
            user: plan.user_of(number).unwrap_or(usize::MAX),
            wire: login.wire,
            dialect: Dialect::new(plan.protocol, login.token, plan.bodies.run(), number),
            window,
            pacing,
            bell,
            random,
            left: plan.share(number),
            pending: VecDeque::with_capacity(plan.in_flight.min(16)),
            outgoing: BytesMut::new(),
            begun: Vec::new(),
            plan,
        }
    }

    /// Goes on until the window or the count ends and everything is answered, or until told to give up. The connection
    /// is still open then, unless it was lost.
    pub(crate) async fn drive(
        mut self,
        tally: &Mutex<Tally>,
        mut give_up: watch::Receiver<GiveUp>,
    ) -> Self {
        let outcome = tokio::select! {
            biased;
            outcome = self.turns(tally) => outcome,
            outcome = given_up(&mut give_up) => outcome,
        };
        let mut tally = lock(tally);
        self.report_begun(&mut tally);
        tally.not_started += self.not_started(*give_up.borrow());
        if let Err(error) = outcome {
            tally.lost(error.to_string(), self.pending.len());
        }
        drop(tally);
        self
    }

    /// Ends the session and the connection, when the run is over.
    pub(crate) async fn leave(self) {
        self.wire.leave(&self.plan, self.dialect.token(), self.outgoing).await;
    }

    /// Operations of the count, or due in the window, that did not begin. What was still to come when the run was cut
    /// short is none of them.
    fn not_started(&self, give_up: GiveUp) -> u64 {
        let is_cut_short = give_up == GiveUp::CutShort;
        match (self.left, self.window.until) {
            (Some(_), _) if is_cut_short => 0,
            (Some(left), _) => left,
            (None, Some(until)) => {
                let end = if is_cut_short { until.min(Instant::now()) } else { until };
                let due = |end| self.pacing.not_started(end);
                due(end).saturating_sub(due(self.window.from))
            }
            (None, None) => 0,
        }
    }

    async fn turns(&mut self, tally: &Mutex<Tally>) -> io::Result<()> {
        let mut now = Instant::now();
        loop {
            self.ask(now).await;
            if self.pending.is_empty() {
                if self.left == Some(0) || self.pacing.is_over(now, self.window.until) {
                    return Ok(());
                }
                if self.bell.is_leaving() {
                    self.reconnect(tally).await;
                    now = Instant::now();
                    continue;
                }
            }
            self.exchange().await?;
            now = Instant::now();
            self.settle(now, tally)?;
        }
    }

    /// Writes what can be written and waits until something came, or there is something to do.
    async fn exchange(&mut self) -> io::Result<()> {
        self.write_now()?;
        let Wire { stream, replies } = &mut self.wire;
        let is_closed_loop = matches!(self.pacing, Pacing::Closed) && self.plan.churn.is_none();
        if is_closed_loop && self.outgoing.is_empty() {
            return came(stream.read_buf(replies.buffer()).await?);
        }
        let alarm = self.pacing.alarm().filter(|_| self.pending.len() < self.plan.in_flight);
        let (mut reader, mut writer) = stream.split();
        tokio::select! {
            read = reader.read_buf(replies.buffer()) => came(read?),
            written = writer.write_buf(&mut self.outgoing), if !self.outgoing.is_empty() => {
                written.map(|_| ())
            }
            () = self.bell.rings() => Ok(()),
            () = until(earlier(alarm, self.window.until, self.pending.is_empty())) => Ok(()),
        }
    }

    /// One attempt without waiting: it nearly always takes everything.
    fn write_now(&mut self) -> io::Result<()> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        match self.wire.stream.try_write(&self.outgoing) {
            Ok(written) => self.outgoing.advance(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes the replies that are there.
    fn settle(&mut self, now: Instant, tally: &Mutex<Tally>) -> io::Result<()> {
        let mut tally = lock(tally);
        self.report_begun(&mut tally);
        while let Some(reply) = self.next_reply() {
            let Some(asked) = self.pending.pop_front() else {
                return Err(io::Error::other("a reply that nobody asked for"));
            };
            tally.answered += 1;
            match (asked.what, reply) {
                (What::Operation(Kind::Send), Came::Reply(Reply::Sent)) => {
                    self.done(Kind::Send, asked, now, &mut tally);
                }
                (What::Operation(kind), Came::Posted) => self.done(kind, asked, now, &mut tally),
                (What::Operation(kind), Came::Reply(reply)) => {
                    self.answered(kind, asked, &reply, now, &mut tally)
                }
                (What::Drain, Came::Reply(reply)) => {
                    self.answered(Kind::Inbox, asked, &reply, now, &mut tally)
                }
                (What::Drain, Came::Posted) | (What::Logout, _) => {}
            }
            if let What::Operation(_) = asked.what {
                self.pacing.ended(now, &mut self.random);
            }
        }
        self.wire.replies.take_answers(&mut self.outgoing);
        Ok(())
    }

    fn next_reply(&mut self) -> Option<Came> {
        let awaits_post =
            self.pending.front().is_some_and(|asked| asked.what.is_operation(Kind::Post));
        match awaits_post && self.wire.replies.take_posted() {
            true => Some(Came::Posted),
            false => self.wire.replies.next().map(Came::Reply),
        }
    }

    fn report_begun(&mut self, tally: &mut Tally) {
        for kind in self.begun.drain(..) {
            tally.offered(kind, 1);
        }
    }
}

/// Returns when the client is to give up, with what that counts as. A run without a coordinator was cut short.
async fn given_up(give_up: &mut watch::Receiver<GiveUp>) -> io::Result<()> {
    match give_up.wait_for(|now| *now != GiveUp::No).await.as_deref() {
        Ok(GiveUp::TimedOut) => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

fn came(read: usize) -> io::Result<()> {
    if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// The alarm, or the end of the window for a client that waits for no reply.
fn earlier(alarm: Option<Instant>, end: Option<Instant>, is_idle: bool) -> Option<Instant> {
    let end = end.filter(|_| is_idle);
    alarm.into_iter().chain(end).min()
}

async fn until(alarm: Option<Instant>) {
    match alarm {
        Some(alarm) => sleep_until(alarm).await,
        None => pending().await,
    }
}

/// A generator of its own for each client, the same in every run with one seed.
fn seeded(seed: u64, client: usize) -> Rng {
    let mut seeds = Rng::with_seed(seed);
    Rng::with_seed(seeds.u64(..) ^ u64::try_from(client).unwrap_or(u64::MAX))
}
