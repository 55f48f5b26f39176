//! [`Reader`]: reads one mailbox through `inbox`, `peek` and `watch` in turn, on one connection after the other.

use std::sync::Arc;
use std::time::Duration;

use chat_core::MessageId;
use chat_core::protocol::{Command, HelloOptions, Reply};
use fastrand::Rng;
use tokio::time::Instant;

use super::fact::{User, Via};
use super::schedule::{Part, choices};
use super::session::Session;
use super::wire::{Incoming, Lost};
use super::world::{Phase, World};

/// One client's reading half.
#[derive(Debug)]
pub(crate) struct Reader {
    world: Arc<World>,
    user: User,
    random: Rng,
    /// The way that comes next; it goes on where it was after a reconnect, too.
    next: usize,
    ways: &'static [Via],
    /// The newest message it read, and of which incarnation: where `watch` and `peek` may go on.
    newest: Option<(MessageId, String)>,
}

impl Reader {
    /// The reader of the client that is `number`th among all; `can_watch` if the server knows `watch`.
    pub(crate) fn new(world: Arc<World>, number: u32, user: User, can_watch: bool) -> Self {
        let random = choices(world.rules.seed, Part::Reader, number);
        let ways: &[Via] = match can_watch {
            true => &[Via::Inbox, Via::Peek, Via::Watch],
            false => &[Via::Inbox, Via::Peek],
        };
        let next = usize::try_from(number).unwrap_or_default();
        Self { world, user, random, next, ways, newest: None }
    }

    /// Reads until everybody stops.
    pub(crate) async fn run(mut self) {
        while self.world.phase() < Phase::Done {
            let random = &mut self.random;
            let lost = match Session::open(&self.world, self.user, || self.world.fate(random)).await
            {
                Ok(mut session) => {
                    let lost = self.read(&mut session).await.err().unwrap_or(Lost::Over);
                    session.close(&lost, self.random.bool());
                    lost
                }
                Err(lost) => lost,
            };
            match lost {
                Lost::Over => return,
                Lost::Trouble(trouble) => return self.world.court.give_up(trouble),
                Lost::Cut | Lost::Ended => {}
            }
        }
    }

    async fn read(&mut self, session: &mut Session) -> Result<(), Lost> {
        self.introduce(session).await?;
        while self.world.phase() < Phase::Done {
            let way = self.ways.get(self.next % self.ways.len()).copied().unwrap_or(Via::Peek);
            match way {
                Via::Inbox => self.inbox(session).await?,
                Via::Peek => self.peek(session).await?,
                Via::Watch => self.watch(session).await?,
            }
            self.next += 1;
        }
        Ok(())
    }

    /// As a client of the old kind, as one that knows more, or as one that confirms by `ack` alone.
    async fn introduce(&mut self, session: &mut Session) -> Result<(), Lost> {
        let explicit_ack = match self.random.u8(..3) {
            0 => return Ok(()),
            kind => kind == 1,
        };
        let hello = Command::Hello(HelloOptions { explicit_ack });
        if let Reply::Hello(hello) = session.ask(&hello).await? {
            session.explicit =
                explicit_ack && hello.features.iter().any(|feature| feature == "explicit_ack");
        }
        Ok(())
    }

    async fn inbox(&mut self, session: &mut Session) -> Result<(), Lost> {
        for _ in 0..self.random.u8(1..=4) {
            if session.inbox().await? == 0 {
                return session.wire.idle(self.lull()).await;
            }
            self.remember(session);
            if session.explicit {
                self.confirm(session).await?;
            }
        }
        Ok(())
    }

    async fn peek(&mut self, session: &mut Session) -> Result<(), Lost> {
        for _ in 0..self.random.u8(1..=3) {
            let after = self.resume_point(session, 4);
            let limit = self.random.bool().then(|| self.random.u32(1..=200));
            if session.peek(after, limit).await? == 0 {
                return session.wire.idle(self.lull()).await;
            }
            self.remember(session);
            self.confirm(session).await?;
        }
        Ok(())
    }

    async fn watch(&mut self, session: &mut Session) -> Result<(), Lost> {
        let after = self.resume_point(session, 2);
        session.watch(after).await?;
        let end = Instant::now() + Duration::from_millis(self.random.u64(50..=800));
        let mut unconfirmed = self.random.u8(1..=64);
        while Instant::now() < end && self.world.phase() < Phase::Done {
            let quiet = (Instant::now() + QUIET).min(end);
            match session.wire.next_until(quiet).await? {
                Some(Incoming::Event(event)) => {
                    session.event(event)?;
                    unconfirmed = unconfirmed.saturating_sub(1);
                }
                Some(Incoming::Reply(_)) => {
                    return Err(Lost::Trouble("a reply that nobody asked for".to_owned()));
                }
                None => unconfirmed = 0,
            }
            if unconfirmed == 0 {
                self.remember(session);
                self.confirm(session).await?;
                unconfirmed = self.random.u8(1..=64);
            }
        }
        self.remember(session);
        self.confirm(session).await?;
        session.unwatch().await
    }

    /// Mostly confirms all that was read, sometimes not all, sometimes nothing.
    async fn confirm(&mut self, session: &mut Session) -> Result<(), Lost> {
        let Some(newest) = session.newest else { return Ok(()) };
        let id = match self.random.u8(..8) {
            0 => return Ok(()),
            1 => MessageId::new(newest.get().saturating_sub(self.random.u64(..=3)).max(1)),
            _ => newest,
        };
        session.newest = None;
        session.ack(id, self.random.bool() || id != newest).await
    }

    fn remember(&mut self, session: &Session) {
        if let Some(newest) = session.newest {
            self.newest = Some((newest, session.incarnation.clone()));
        }
    }

    /// Where to go on from, once in `one_in` times, if that is known.
    fn resume_point(&mut self, session: &Session, one_in: u8) -> Option<MessageId> {
        let (newest, incarnation) = self.newest.as_ref()?;
        let wanted = self.random.u8(..one_in) == 0 && *incarnation == session.incarnation;
        wanted.then_some(*newest)
    }

    fn lull(&mut self) -> Duration {
        Duration::from_millis(self.random.u64(5..=30))
    }
}

/// A watch in which nothing comes for so long is quiet: time to confirm.
const QUIET: Duration = Duration::from_millis(20);
