//! One connection under load: so many requests in flight, the next when one is answered.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::login::LoggedIn;
use crate::plan::Plan;
use crate::replies::{Fields, Replies, Reply, is_ok};
use crate::tally::Tally;

/// The stretch of time that is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) from: Instant,
    /// Nothing is sent from here on, and nothing counted. `None` when clients send a given number of messages.
    pub(crate) until: Option<Instant>,
}

/// A logged-in connection and its requests in flight.
#[derive(Debug)]
pub(crate) struct Client {
    plan: Arc<Plan>,
    user: usize,
    stream: TcpStream,
    send_prefix: Vec<u8>,
    inbox_line: Vec<u8>,
    random: Rng,
    /// Messages still to send, with `--count`.
    left: Option<u64>,
    pending: VecDeque<Pending>,
    outgoing: BytesMut,
    replies: Replies,
}

/// A request that is not answered yet.
#[derive(Debug)]
enum Pending {
    Send { to: usize, at: Instant },
    Inbox,
}

impl Client {
    pub(crate) fn new(plan: Arc<Plan>, login: LoggedIn) -> Self {
        let LoggedIn { client, stream, token } = login;
        Self {
            user: plan.user_of(client),
            stream,
            send_prefix: format!("send {token} ").into_bytes(),
            inbox_line: format!("inbox {token}\r\n").into_bytes(),
            random: seeded(plan.seed, client),
            left: plan.share(client),
            pending: VecDeque::with_capacity(plan.in_flight),
            outgoing: BytesMut::new(),
            replies: Replies::default(),
            plan,
        }
    }

    /// Sends until the window or the count ends and everything is answered, or until told to give up.
    pub(crate) async fn drive(
        mut self,
        window: Window,
        tally: &Mutex<Tally>,
        mut give_up: watch::Receiver<bool>,
    ) {
        let outcome = tokio::select! {
            biased;
            outcome = self.turns(window, tally) => outcome,
            _ = give_up.wait_for(|now| *now) => Err(io::ErrorKind::TimedOut.into()),
        };
        if let Err(error) = outcome {
            lock(tally).lost(error.to_string(), self.pending.len());
        }
    }

    async fn turns(&mut self, window: Window, tally: &Mutex<Tally>) -> io::Result<()> {
        let mut now = Instant::now();
        loop {
            self.ask(now, window).await;
            if self.pending.is_empty() {
                return Ok(());
            }
            self.exchange().await?;
            now = Instant::now();
            self.settle(now, window, tally)?;
        }
    }

    /// Puts as many requests into the buffer as may be in flight.
    async fn ask(&mut self, now: Instant, window: Window) {
        if window.until.is_some_and(|until| now >= until) {
            return;
        }
        if self.plan.is_full(self.user) {
            // A page counts as delivered by the next request, and only if that was not sent ahead of it.
            if self.pending.is_empty() {
                self.outgoing.put_slice(&self.inbox_line);
                self.pending.push_back(Pending::Inbox);
            }
            return;
        }
        while self.pending.len() < self.plan.in_flight && self.left != Some(0) {
            match self.recipient() {
                Ok(to) => self.ask_send(to, now),
                // Nobody has room: one more attempt, after a pause for those who read.
                Err(full) if self.pending.is_empty() => {
                    sleep(FULL_PAUSE).await;
                    return self.ask_send(full, Instant::now());
                }
                Err(_) => return,
            }
        }
    }

    fn ask_send(&mut self, to: usize, at: Instant) {
        self.left = self.left.map(|left| left.saturating_sub(1));
        let Some(account) = self.plan.accounts.get(to) else {
            return;
        };
        self.outgoing.put_slice(&self.send_prefix);
        self.outgoing.put_slice(account.username.as_bytes());
        self.outgoing.put_u8(b' ');
        self.outgoing.put_slice(&self.plan.body);
        self.outgoing.put_slice(b"\r\n");
        self.pending.push_back(Pending::Send { to, at });
    }

    /// Any recipient but oneself, each as likely. One whose mailbox is being read is passed over for the next; when
    /// that goes for all of them, the first choice is the error.
    fn recipient(&mut self) -> Result<usize, usize> {
        let (user, recipients) = (self.user, self.plan.recipients);
        let others = recipients - usize::from(user < recipients);
        let first = self.random.usize(..others);
        let other = |nth: usize| nth + usize::from(nth >= user);
        (0..others)
            .map(|step| other((first + step) % others))
            .find(|&other| !self.plan.is_full(other))
            .ok_or_else(|| other(first))
    }

    /// Writes what can be written and waits until something came, or until more can be written.
    async fn exchange(&mut self) -> io::Result<()> {
        self.write_now()?;
        let read = if self.outgoing.is_empty() {
            self.stream.read_buf(self.replies.buffer()).await?
        } else {
            let (mut reader, mut writer) = self.stream.split();
            tokio::select! {
                read = reader.read_buf(self.replies.buffer()) => read?,
                written = writer.write_buf(&mut self.outgoing) => return written.map(|_| ()),
            }
        };
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// One attempt without waiting: it nearly always takes everything.
    fn write_now(&mut self) -> io::Result<()> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        match self.stream.try_write(&self.outgoing) {
            Ok(written) => self.outgoing.advance(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes the replies that are there.
    fn settle(&mut self, now: Instant, window: Window, tally: &Mutex<Tally>) -> io::Result<()> {
        let measured = now >= window.from && window.until.is_none_or(|until| now < until);
        let mut tally = lock(tally);
        while let Some(reply) = self.replies.next() {
            match (self.pending.pop_front(), reply) {
                (Some(Pending::Send { at, .. }), Reply::Sent) => tally.sent_if(measured, now - at),
                (Some(Pending::Send { at, .. }), Reply::Other(reply)) if is_ok(&reply) => {
                    tally.sent_if(measured, now - at);
                }
                (Some(Pending::Send { to, .. }), Reply::Other(reply)) => {
                    self.refused(to, &reply, &mut tally);
                }
                (Some(Pending::Inbox), reply) => self.page(&reply, &mut tally),
                (None, _) => return Err(io::Error::other("a reply that nobody asked for")),
            }
        }
        Ok(())
    }

    fn refused(&self, to: usize, reply: &[u8], tally: &mut Tally) {
        let cause = Fields::parse(reply).err().unwrap_or_else(|| "not_a_reply".to_owned());
        if cause == "inbox_full" {
            self.plan.set_full(to, true);
        }
        tally.refused(cause);
    }

    fn page(&self, reply: &Reply, tally: &mut Tally) {
        let fields = match reply {
            Reply::Sent => Err("not_a_reply".to_owned()),
            Reply::Other(reply) => Fields::parse(reply),
        };
        tally.inbox_pages += 1;
        match fields {
            Ok(fields) => self.plan.set_full(self.user, fields.more),
            Err(cause) => {
                self.plan.set_full(self.user, false);
                tally.refused(cause);
            }
        }
    }
}

/// A generator of its own for each client, the same in every run with one seed.
fn seeded(seed: u64, client: usize) -> Rng {
    let mut seeds = Rng::with_seed(seed);
    Rng::with_seed(seeds.u64(..) ^ u64::try_from(client).unwrap_or(u64::MAX))
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A few round trips on loopback.
const FULL_PAUSE: Duration = Duration::from_millis(1);
