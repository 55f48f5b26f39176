//! [`Watcher`]: a connection that is pushed the messages of one user.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::dialect::put_words;
use crate::login::{LoggedIn, Wire};
use crate::outcome::Kind;
use crate::plan::Plan;
use crate::replies::{Fields, Reply};
use crate::tally::{Tally, lock};
use crate::window::Window;

/// Counts pushes, and acknowledges them so that the mailbox does not fill up.
#[derive(Debug)]
pub(crate) struct Watcher {
    plan: Arc<Plan>,
    wire: Wire,
    token: String,
    outgoing: BytesMut,
    /// The newest message pushed, and how many since the last `ack`.
    newest: String,
    unacknowledged: u32,
    /// Replies that are due.
    asked: u32,
}

/// An event, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Pushed<'a> {
    event: &'a str,
    #[serde(default)]
    id: &'a str,
    #[serde(default)]
    body: &'a str,
}

impl Watcher {
    /// Begins to watch: what arrived before is pushed first.
    pub(crate) fn new(plan: Arc<Plan>, login: LoggedIn) -> Self {
        let LoggedIn { wire, token, .. } = login;
        let mut outgoing = BytesMut::new();
        put_words(&["watch", &token], &mut outgoing);
        let newest = String::new();
        Self { plan, wire, token, outgoing, newest, unacknowledged: 0, asked: 1 }
    }

    /// Goes on until told to stop, and then leaves.
    pub(crate) async fn drive(
        mut self,
        window: Window,
        tally: &Mutex<Tally>,
        mut stop: watch::Receiver<bool>,
    ) {
        let outcome = tokio::select! {
            biased;
            outcome = self.turns(window, tally) => outcome,
            _ = stop.wait_for(|now| *now) => Ok(()),
        };
        if let Err(error) = outcome {
            lock(tally).lost(format!("of a watcher: {error}"), 0);
        }
        self.wire.leave(&self.plan, &self.token, self.outgoing).await;
    }

    async fn turns(&mut self, window: Window, tally: &Mutex<Tally>) -> io::Result<()> {
        loop {
            self.wire.stream.write_all_buf(&mut self.outgoing).await?;
            if self.wire.stream.read_buf(self.wire.replies.buffer()).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.settle(Instant::now(), window, tally)?;
            if self.unacknowledged >= PUSHES_AN_ACK && self.asked == 0 {
                put_words(&["ack", &self.token, &self.newest], &mut self.outgoing);
                (self.unacknowledged, self.asked) = (0, 1);
            }
        }
    }

    fn settle(&mut self, now: Instant, window: Window, tally: &Mutex<Tally>) -> io::Result<()> {
        let mut tally = lock(tally);
        while let Some(reply) = self.wire.replies.next() {
            let text = match &reply {
                Reply::Sent => return Err(io::Error::other("a reply that nobody asked for")),
                Reply::Other(text) => text,
            };
            match serde_json::from_slice::<Pushed<'_>>(text) {
                Ok(pushed) => {
                    if let Some(id) = note(&self.plan, &pushed, now, window, &mut tally) {
                        self.newest.clear();
                        self.newest.push_str(id);
                        self.unacknowledged += 1;
                    }
                }
                // A reply, then. Text with escapes, which cannot be borrowed, is not of this program.
                Err(_) => match Fields::parse(text) {
                    Ok(_) => self.asked = self.asked.saturating_sub(1),
                    Err(cause) if text.starts_with(b"{\"status\"") => {
                        return Err(io::Error::other(format!("watch or ack refused: {cause}")));
                    }
                    Err(_) => {}
                },
            }
        }
        Ok(())
    }
}

/// Counts a push, of this run or of what waited before it; the id of any message.
fn note<'a>(
    plan: &Plan,
    pushed: &Pushed<'a>,
    now: Instant,
    window: Window,
    tally: &mut Tally,
) -> Option<&'a str> {
    if pushed.event != "message" {
        return None;
    }
    if let Some(at) = plan.bodies.sent_at(pushed.body) {
        tally.pushes += 1;
        tally.done(Kind::Push, at, now, &window);
    } else {
        tally.old_pushes += 1;
    }
    Some(pushed.id)
}

/// Few beside the pushes, and far below the 2,500 messages that one sender may have in a mailbox that is half full.
const PUSHES_AN_ACK: u32 = 32;
