//! [`Session`]: a connection that reads a mailbox, and tells the court all it sees.

use std::sync::Arc;

use chat_core::MessageId;
use chat_core::protocol::{
    Command, ErrorCode, ErrorReply, Event, InboxPage, PeekMessage, PeekPage, Reply, Resume,
    Watching,
};

use super::fact::{Connection, Fact, Id, User, Via};
use super::letter::Letter;
use super::wire::{Fate, Incoming, Lost, Wire};
use super::world::{REFUSAL_PAUSE, World, leaves_open, passes, unexpected};

/// One connection of a reader.
#[derive(Debug)]
pub(crate) struct Session {
    world: Arc<World>,
    pub(crate) wire: Wire,
    connection: Connection,
    user: User,
    token: String,
    /// The mailbox's, as last told here.
    pub(crate) incarnation: String,
    /// Only `ack` confirms here.
    pub(crate) explicit: bool,
    /// The end of a page of `inbox` that the next request confirms.
    in_flight: Option<MessageId>,
    /// The newest message read here and not confirmed yet.
    pub(crate) newest: Option<MessageId>,
}

impl Session {
    /// Connects and asks for the incarnation, which `inbox` does not tell.
    pub(crate) async fn open(
        world: &Arc<World>,
        user: User,
        fate: impl FnOnce() -> Fate,
    ) -> Result<Self, Lost> {
        let wire = world.connect(fate).await?;
        let connection = world.court.opened(user);
        let mut session = Self {
            world: Arc::clone(world),
            wire,
            connection,
            user,
            token: String::new(),
            incarnation: String::new(),
            explicit: false,
            in_flight: None,
            newest: None,
        };
        match session.begin().await {
            Ok(()) => Ok(session),
            Err(lost) => {
                session.close(&lost, false);
                Err(lost)
            }
        }
    }

    async fn begin(&mut self) -> Result<(), Lost> {
        self.token = self.world.token(&mut self.wire, self.user).await?;
        loop {
            let token = self.token.clone();
            match self.ask(&Command::Whoami { token: &token }).await? {
                Reply::Whoami(whoami) => {
                    self.living(&whoami.incarnation);
                    return Ok(());
                }
                Reply::Error(error) => self.bear("whoami", error).await?,
                reply => return Err(unexpected("whoami", &reply)),
            }
        }
    }

    /// Ends the connection. A page of `inbox` that was read may count as delivered when that is done the orderly way.
    pub(crate) fn close(self, lost: &Lost, gentle: bool) {
        let Self { world, wire, connection, in_flight, .. } = self;
        if let Some(id) = in_flight.filter(|_| gentle && wire.is_quiet()) {
            world.court.note(Fact::Confirming { connection, id: id.into() });
        }
        world.court.ended(connection, wire.hang_up(lost, gentle));
    }

    /// Reads a page of `inbox`, and says how many messages it had.
    pub(crate) async fn inbox(&mut self) -> Result<usize, Lost> {
        self.asking(Via::Inbox, None);
        let token = self.token.clone();
        let InboxPage { mut messages, .. } =
            match self.ask(&Command::Inbox { token: &token }).await? {
                Reply::Inbox(page) => page,
                Reply::Error(error) => return self.bear("inbox", error).await.map(|()| 0),
                reply => return Err(unexpected("inbox", &reply)),
            };
        // It is grouped by sender.
        messages.sort_by_key(|message| message.id);
        for message in &messages {
            let Some(id) = message.id else {
                return Err(Lost::Trouble("the server gives messages no ids".to_owned()));
            };
            self.shown(Via::Inbox, id, &message.from, &message.body);
        }
        self.in_flight = messages.last().and_then(|last| last.id).filter(|_| !self.explicit);
        Ok(messages.len())
    }

    /// Reads a page of `peek`, and says how many messages it had.
    pub(crate) async fn peek(
        &mut self,
        after: Option<MessageId>,
        limit: Option<u32>,
    ) -> Result<usize, Lost> {
        self.asking(Via::Peek, after);
        let (token, after) = (self.token.clone(), after.map(|after| after.to_string()));
        let limit = limit.map(|limit| limit.to_string());
        let command =
            Command::Peek { token: &token, after: after.as_deref(), limit: limit.as_deref() };
        let PeekPage { incarnation, messages, .. } = match self.ask(&command).await? {
            Reply::Peek(page) => page,
            Reply::Error(error) => return self.bear("peek", error).await.map(|()| 0),
            reply => return Err(unexpected("peek", &reply)),
        };
        self.living(&incarnation);
        for message in &messages {
            self.message(Via::Peek, message);
        }
        Ok(messages.len())
    }

    /// Starts a watch, behind `after` or behind the cursor.
    pub(crate) async fn watch(&mut self, after: Option<MessageId>) -> Result<(), Lost> {
        let (token, incarnation) = (self.token.clone(), self.incarnation.clone());
        let from = after.map(|after| after.to_string());
        let command = Command::Watch {
            token: &token,
            after: from.as_deref().map(|from| (from, &*incarnation)),
        };
        loop {
            self.asking(Via::Watch, after);
            match self.ask(&command).await? {
                Reply::Watching(watching) => {
                    self.watching(&watching);
                    return Ok(());
                }
                Reply::Error(error) => self.bear("watch", error).await?,
                reply => return Err(unexpected("watch", &reply)),
            }
        }
    }

    /// Ends the watch.
    pub(crate) async fn unwatch(&mut self) -> Result<(), Lost> {
        let token = self.token.clone();
        loop {
            match self.ask(&Command::Unwatch { token: &token }).await? {
                Reply::Unwatched => break,
                Reply::Error(error) => self.bear("unwatch", error).await?,
                reply => return Err(unexpected("unwatch", &reply)),
            }
        }
        self.world.court.note(Fact::Unwatched { connection: self.connection });
        Ok(())
    }

    /// Confirms all up to `id`, naming the incarnation or not.
    pub(crate) async fn ack(&mut self, id: MessageId, named: bool) -> Result<(), Lost> {
        let (connection, word) = (self.connection, id.to_string());
        self.world.court.note(Fact::Confirming { connection, id: id.into() });
        let (token, incarnation) = (self.token.clone(), self.incarnation.clone());
        let command =
            Command::Ack { token: &token, id: &word, incarnation: named.then_some(&*incarnation) };
        match self.ask(&command).await? {
            Reply::Acked => {
                self.world.court.note(Fact::Confirmed { connection, id: id.into() });
                Ok(())
            }
            Reply::Error(ErrorReply { code: Some(ErrorCode::StaleIncarnation), .. }) => {
                self.begin().await
            }
            Reply::Error(error) => self.bear("ack", error).await,
            reply => Err(unexpected("ack", &reply)),
        }
    }

    /// Takes an event.
    pub(crate) fn event(&mut self, event: Event<'static>) -> Result<(), Lost> {
        let (court, connection) = (&self.world.court, self.connection);
        match event {
            Event::Message(message) => self.message(Via::Watch, &message),
            Event::Gap { from, to, .. } => {
                court.note(Fact::Gap { connection, from: from.into(), to: to.into() });
            }
            Event::Lagging => court.note(Fact::Lagging { connection }),
            // The server says good-bye, or the session is gone: begin anew.
            Event::Shutdown | Event::SessionEnded { .. } => return Err(Lost::Ended),
            _ => {}
        }
        Ok(())
    }

    /// One request and its reply, with the events in between.
    pub(crate) async fn ask(&mut self, command: &Command<'_>) -> Result<Reply<'static>, Lost> {
        let (connection, confirming) = (self.connection, self.in_flight.take());
        if let Some(id) = confirming {
            self.world.court.note(Fact::Confirming { connection, id: id.into() });
        }
        self.wire.put(command)?;
        self.wire.flush().await?;
        let frame = loop {
            match self.wire.next().await? {
                Incoming::Event(event) => self.event(event)?,
                Incoming::Reply(frame) => break frame,
            }
        };
        let reply = Reply::decode(command.name(), &frame)
            .map_err(|error| Lost::Trouble(error.to_string()))?;
        if let (Some(id), false) = (confirming, matches!(reply, Reply::Error(_))) {
            self.world.court.note(Fact::Confirmed { connection, id: id.into() });
        }
        Ok(reply)
    }

    /// Waits a little if the same request may work later.
    async fn bear(&mut self, command: &str, error: ErrorReply<'static>) -> Result<(), Lost> {
        match &error.code {
            Some(ErrorCode::NoSession) => {
                self.world.forget(self.user, &self.token).await?;
                Err(Lost::Cut)
            }
            Some(code) if passes(code) || leaves_open(code) => self.wire.idle(REFUSAL_PAUSE).await,
            _ => Err(unexpected(command, &Reply::Error(error))),
        }
    }

    fn asking(&mut self, via: Via, after: Option<MessageId>) {
        let (resumes, after) = (after.is_some(), after.map_or(Id::ZERO, Id::from));
        self.newest = None;
        let connection = self.connection;
        self.world.court.note(Fact::Asked { connection, via, resumes, after });
    }

    fn watching(&mut self, watching: &Watching<'_>) {
        self.living(&watching.incarnation);
        let (connection, gap) = (self.connection, watching.resume == Resume::Gap);
        let after = watching.after.into();
        self.world.court.note(Fact::Watching { connection, after, gap });
    }

    fn living(&mut self, incarnation: &str) {
        if self.incarnation != incarnation {
            incarnation.clone_into(&mut self.incarnation);
            self.world.court.living(self.connection, incarnation);
        }
    }

    fn message(&mut self, via: Via, message: &PeekMessage<'_>) {
        self.shown(via, message.id, &message.from, &message.body);
    }

    fn shown(&mut self, via: Via, id: MessageId, from: &str, body: &str) {
        let letter = self.world.letters.read(body);
        let genuine = letter.filter(|letter: &Letter| self.world.username(letter.from) == from);
        self.world.court.shown(self.connection, via, id.into(), genuine, body);
        self.newest = Some(id);
    }
}
