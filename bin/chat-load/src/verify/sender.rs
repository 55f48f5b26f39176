//! [`Sender`]: sends tagged messages on one connection after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use chat_core::protocol::{Command, ErrorReply, Frame, Reply};
use fastrand::Rng;
use tokio::time::Instant;

use super::fact::{Connection, Fact, Tag, User};
use super::letter::Letter;
use super::schedule::{Part, choices};
use super::wire::{Incoming, Lost, Wire};
use super::world::{Phase, REFUSAL_PAUSE, World, leaves_open, passes, unexpected};

/// One client's sending half.
#[derive(Debug)]
pub(crate) struct Sender {
    world: Arc<World>,
    user: User,
    /// Whom it writes to mostly: few, so that many messages share connection and recipient.
    circle: Vec<User>,
    random: Rng,
    /// Messages without an OK, in the order in which they were first sent.
    open: VecDeque<Open>,
    /// Those whose answer is due on this connection, in order.
    due: VecDeque<Tag>,
    /// Nothing is sent before.
    not_before: Option<Instant>,
    /// There are as many messages as a run may have.
    exhausted: bool,
}

/// A message that is not answered yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    tag: Tag,
    to: User,
    /// Whether its answer is due on this connection.
    due: bool,
}

impl Sender {
    /// The sender of the client that is `number`th among all. `readers` accounts, from the first on, are read from.
    pub(crate) fn new(world: Arc<World>, number: u32, user: User, readers: u32) -> Self {
        let mut random = choices(world.rules.seed, Part::Sender, number);
        let circle = (0..CIRCLE).map(|_| User(random.u32(..readers))).collect();
        Self {
            world,
            user,
            circle,
            random,
            open: VecDeque::new(),
            due: VecDeque::new(),
            not_before: None,
            exhausted: false,
        }
    }

    /// Sends until the run settles and, with `post`, everything is answered.
    pub(crate) async fn run(mut self) {
        while !self.is_done() {
            let random = &mut self.random;
            let wire = self.world.connect(|| self.world.fate(random)).await;
            let mut wire = match wire {
                Ok(wire) => wire,
                Err(Lost::Trouble(trouble)) => return self.world.court.give_up(trouble),
                Err(_) => return,
            };
            let connection = self.world.court.opened(self.user);
            let Err(lost) = self.session(&mut wire, connection).await else {
                self.world.court.ended(connection, wire.hang_up(&Lost::Over, true));
                return;
            };
            let gentle = self.random.bool();
            self.world.court.ended(connection, wire.hang_up(&lost, gentle));
            if let Lost::Trouble(trouble) = lost {
                return self.world.court.give_up(trouble);
            }
            self.disconnected();
        }
    }

    fn is_done(&self) -> bool {
        self.open.is_empty() && (self.exhausted || self.world.phase() > Phase::Load)
    }

    /// Only `post` may be repeated.
    fn disconnected(&mut self) {
        self.due.clear();
        if self.world.rules.post {
            self.open.iter_mut().for_each(|open| open.due = false);
        } else {
            self.open.clear();
        }
    }

    async fn session(&mut self, wire: &mut Wire, connection: Connection) -> Result<(), Lost> {
        let world = Arc::clone(&self.world);
        let token = world.token(wire, self.user).await?;
        while !self.is_done() {
            self.ask(wire, connection, &token)?;
            if self.due.is_empty() {
                wire.idle(REFUSAL_PAUSE).await?;
                continue;
            }
            wire.flush().await?;
            let mut came = Some(wire.next().await?);
            while let Some(incoming) = came {
                if let Incoming::Reply(frame) = incoming {
                    self.settle(connection, &token, &frame).await?;
                }
                came = wire.ready()?;
            }
        }
        Ok(())
    }

    /// Puts what is open into the buffer, oldest first, and new messages while there is room.
    fn ask(&mut self, wire: &mut Wire, connection: Connection, token: &str) -> Result<(), Lost> {
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        for place in 0..self.open.len() {
            let Some(open) = self.open.get_mut(place).filter(|open| !open.due) else { continue };
            open.due = true;
            let Open { tag, to, .. } = *open;
            self.world.court.note(Fact::Sent { tag, connection, to });
            self.put(wire, token, tag, to)?;
        }
        while self.open.len() < self.world.rules.in_flight && self.world.phase() == Phase::Load {
            let to = self.recipient();
            let Some(tag) = self.world.court.sent(connection, to) else {
                self.exhausted = true;
                break;
            };
            self.open.push_back(Open { tag, to, due: true });
            self.put(wire, token, tag, to)?;
        }
        Ok(())
    }

    fn put(&mut self, wire: &mut Wire, token: &str, tag: Tag, to: User) -> Result<(), Lost> {
        self.due.push_back(tag);
        let letters = &self.world.letters;
        let (body, key) = (letters.write(Letter { tag, from: self.user, to }), letters.key(tag));
        let (to, body) = (self.world.username(to), &*body);
        wire.put(&match self.world.rules.post {
            true => Command::Post { token, key: &key, to, body },
            false => Command::Send { token, to, body },
        })
    }

    /// Takes the answer to the oldest attempt.
    async fn settle(
        &mut self,
        connection: Connection,
        token: &str,
        frame: &Frame,
    ) -> Result<(), Lost> {
        let command = if self.world.rules.post { "post" } else { "send" };
        let reply =
            Reply::decode(command, frame).map_err(|error| Lost::Trouble(error.to_string()))?;
        let Some(tag) = self.due.pop_front() else { return Err(unexpected(command, &reply)) };
        match reply {
            Reply::Sent => self.answered(tag, connection, false),
            Reply::Posted(posted) => self.answered(tag, connection, posted.duplicate),
            Reply::Error(error) => self.refused(tag, connection, token, error).await?,
            reply => return Err(unexpected(command, &reply)),
        }
        Ok(())
    }

    fn answered(&mut self, tag: Tag, connection: Connection, repeat: bool) {
        self.open.retain(|open| open.tag != tag);
        self.world.court.note(Fact::Answered { tag, connection, repeat });
    }

    async fn refused(
        &mut self,
        tag: Tag,
        connection: Connection,
        token: &str,
        error: ErrorReply<'static>,
    ) -> Result<(), Lost> {
        let open = error.code.as_ref().is_none_or(leaves_open);
        let fact = match open {
            true => Fact::Unsure { tag, connection },
            false => Fact::Refused { tag, connection },
        };
        self.world.court.note(fact);
        match &error.code {
            Some(code) if passes(code) || open => {}
            Some(chat_core::protocol::ErrorCode::NoSession) => {
                self.world.forget(self.user, token).await?;
                return Err(Lost::Cut);
            }
            _ => return Err(unexpected("a message", &Reply::Error(error))),
        }
        self.not_before = Some(Instant::now() + REFUSAL_PAUSE);
        if self.world.rules.post {
            self.open.iter_mut().filter(|open| open.tag == tag).for_each(|open| open.due = false);
        } else {
            self.open.retain(|open| open.tag != tag);
        }
        Ok(())
    }

    /// One mailbox is everybody's favourite, so that its readers have much to do.
    fn recipient(&mut self) -> User {
        if self.random.u32(..FAVOURITE) == 0 {
            return User(0);
        }
        self.random.choice(&self.circle).copied().unwrap_or(User(0))
    }
}

/// How many a client writes to.
const CIRCLE: usize = 4;
/// One message in so many goes to the favourite.
const FAVOURITE: u32 = 16;
