//! One connection under load: so many requests in flight, the next when it is time for it.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::args::Protocol;
use crate::dialect::{Dialect, put_words};
use crate::irc;
use crate::login::{LoggedIn, LoginError, Wire, reconnect};
use crate::outcome::Kind;
use crate::pacing::Pacing;
use crate::plan::Plan;
use crate::replies::{Fields, Reply, is_ok};
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

    /// Puts as many requests into the buffer as may be in flight and are due.
    async fn ask(&mut self, now: Instant) {
        if self.bell.is_leaving() || self.pacing.is_over(now, self.window.until) {
            return;
        }
        if self.plan.is_full(self.user) {
            // A page counts as delivered by the next request, and only if that was not sent ahead of it.
            if self.pending.is_empty() {
                self.dialect.put_with_token("inbox", &mut self.outgoing);
                self.expect(What::Drain, Kind::Inbox, 0, now);
            }
            return;
        }
        while self.pending.len() < self.plan.in_flight && self.left != Some(0) {
            let Some(at) = self.pacing.ready(now).filter(|at| !self.window.is_over(*at)) else {
                return;
            };
            let kind = self.plan.mix.pick(&mut self.random);
            let to = match self.recipient(kind) {
                Ok(to) => to,
                // Nobody has room: one more attempt, after a pause for those who read.
                Err(full) if self.pending.is_empty() => {
                    sleep(FULL_PAUSE).await;
                    full
                }
                Err(_) => return,
            };
            self.pacing.begin();
            self.left = self.left.map(|left| left.saturating_sub(1));
            self.begin(kind, to, at);
        }
    }

    /// Any recipient, where one is wanted. One whose mailbox is being read is passed over for the next; when that goes
    /// for all of them, the first choice is the error.
    fn recipient(&mut self, kind: Kind) -> Result<usize, usize> {
        if !matches!(kind, Kind::Send | Kind::Post) {
            return Ok(0);
        }
        let first = self.plan.recipients.pick(self.user, &mut self.random);
        if !self.plan.is_full(first) {
            return Ok(first);
        }
        let users = self.plan.recipients.users();
        (1..users)
            .map(|step| (first + step) % users)
            .find(|&other| other != self.user && !self.plan.is_full(other))
            .ok_or(first)
    }

    fn begin(&mut self, kind: Kind, to: usize, at: Instant) {
        let (plan, out) = (&*self.plan, &mut self.outgoing);
        match kind {
            Kind::Send | Kind::Post => {
                let body = plan.bodies.body(plan.size.pick(&mut self.random), at);
                if kind == Kind::Send {
                    self.dialect.put_send(&plan.accounts, to, body, out);
                } else {
                    self.dialect.put_post(&plan.accounts, to, body, out);
                }
            }
            Kind::Inbox => self.dialect.put_with_token("inbox", out),
            Kind::Login => {
                if let Some(account) = plan.accounts.get(self.user) {
                    put_words(&["auth", &account.username, &account.password], out);
                }
            }
            // These are not asked for in turn.
            Kind::Reconnect | Kind::Push => return,
        }
        self.expect(What::Operation(kind), kind, to, at);
    }

    fn expect(&mut self, what: What, kind: Kind, to: usize, at: Instant) {
        if self.window.holds(at) {
            self.begun.push(kind);
        }
        self.pending.push_back(Pending { what, to, at });
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

    fn done(&self, kind: Kind, asked: Pending, now: Instant, tally: &mut Tally) {
        tally.done(kind, asked.at, now, &self.window);
        if matches!(kind, Kind::Send | Kind::Post) {
            self.plan.sent(asked.to);
            tally.expected_pushes += u64::from(asked.to < self.plan.watchers);
        }
    }

    /// A reply that takes a second look.
    fn answered(
        &mut self,
        kind: Kind,
        asked: Pending,
        reply: &Reply,
        now: Instant,
        tally: &mut Tally,
    ) {
        let checked = match (kind, reply) {
            (Kind::Send | Kind::Post, Reply::Other(reply)) => self.confirmed(reply),
            (Kind::Inbox, Reply::Other(reply)) => self.page(reply),
            (Kind::Login, Reply::Other(reply)) => self.logged_in(reply, now),
            // The confirmation of a send, for anything else.
            (_, _) => Err("not_a_reply".to_owned()),
        };
        match checked {
            Ok(()) => self.done(kind, asked, now, tally),
            Err(cause) => {
                match (kind, cause.as_str()) {
                    (Kind::Send | Kind::Post, "inbox_full") => self.plan.set_full(asked.to, true),
                    (Kind::Inbox, _) => self.plan.set_full(self.user, false),
                    _ => {}
                }
                tally.refused(kind, cause, asked.at, now, &self.window);
            }
        }
    }

    fn confirmed(&self, reply: &[u8]) -> Result<(), String> {
        match self.plan.protocol {
            Protocol::Chat | Protocol::Old if is_ok(reply) => Ok(()),
            Protocol::Chat | Protocol::Old => {
                Err(Fields::parse(reply).err().unwrap_or_else(|| "not_a_reply".to_owned()))
            }
            Protocol::Redis => Err(String::from_utf8_lossy(reply).into_owned()),
            Protocol::Irc => Err(irc::cause(reply)),
        }
    }

    fn page(&self, reply: &[u8]) -> Result<(), String> {
        let fields = Fields::parse(reply)?;
        self.plan.set_full(self.user, fields.more);
        Ok(())
    }

    /// The session goes as it came: a user has room for a hundred, and the client goes on with its first.
    fn logged_in(&mut self, reply: &[u8], now: Instant) -> Result<(), String> {
        let token = Fields::parse(reply)?.tokenid.ok_or("not_a_reply")?;
        put_words(&["logout", &token], &mut self.outgoing);
        self.pending.push_back(Pending { what: What::Logout, to: 0, at: now });
        Ok(())
    }

    /// Closes the connection, and makes another in its place until there is one or time is up.
    async fn reconnect(&mut self, tally: &Mutex<Tally>) {
        self.bell.left();
        lock(tally).connections.churned += 1;
        // An orderly end first: what was read counts as delivered then.
        let _ = self.wire.stream.shutdown().await;
        loop {
            let begun = Instant::now();
            let attempt = reconnect(&self.plan, self.number, self.dialect.token()).await;
            let now = Instant::now();
            self.report_reconnect(&attempt, begun, now, &mut lock(tally));
            if let Ok(wire) = attempt {
                self.wire = wire;
                return;
            }
            if self.window.is_over(now) {
                return;
            }
            sleep(RECONNECT_PAUSE).await;
        }
    }

    fn report_reconnect(
        &self,
        attempt: &Result<Wire, LoginError>,
        begun: Instant,
        now: Instant,
        tally: &mut Tally,
    ) {
        if self.window.holds(begun) {
            tally.offered(Kind::Reconnect, 1);
        }
        match attempt {
            Ok(_) => {
                tally.answered += 1;
                tally.connections.made += 1;
                tally.done(Kind::Reconnect, begun, now, &self.window);
            }
            Err(error) => {
                let cause = error.to_string();
                tally.refused(Kind::Reconnect, cause, begun, now, &self.window);
            }
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

/// A few round trips on loopback.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// Time for a server that was not there to come back.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
