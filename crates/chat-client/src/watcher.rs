//! [`Watcher`]: the task's side of a watch. No sockets: events and replies go in, what to do about them comes out.

use std::sync::{Arc, OnceLock};

use chat_core::MessageId;
use chat_core::protocol::{Command, ErrorCode, Event as WireEvent, PeekMessage, Watching};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::{ClientError, Event, Gap, GapReason, IncomingMessage, WatchEnd};

/// What a handle asks of the task to begin a watch.
pub(crate) struct NewWatch {
    pub(crate) token: String,
    pub(crate) from: Option<Position>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) end: Arc<OnceLock<WatchEnd>>,
    pub(crate) started: oneshot::Sender<Result<Watching<'static>, ClientError>>,
}

/// A place in a mailbox: behind the message of that id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) id: MessageId,
    pub(crate) incarnation: Arc<str>,
}

/// A watch from its beginning to its end, over any number of connections.
pub(crate) struct Watcher {
    /// Which one it is: replies to an earlier one may still be on their way.
    number: u64,
    token: String,
    /// Behind the last message given to the stream; `None` before the first reply.
    position: Option<Position>,
    phase: Phase,
    /// The server has sent something beyond the message behind this one, and was asked again.
    hole_after: Option<MessageId>,
    /// The stream is to be told that it lagged.
    lagging: bool,
    events: mpsc::Sender<Event>,
    /// From how many events in the stream on nothing more is read for it, if that can be.
    event_buffer: usize,
    end: Arc<OnceLock<WatchEnd>>,
    started: Option<oneshot::Sender<Result<Watching<'static>, ClientError>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// This connection was not asked, or is to be asked again later.
    Unasked,
    /// The reply to `watch` is on its way. Events before it belong to what was watched before.
    Asked,
    Watching,
    /// The stream is full. The server was asked to stop; what still comes is dropped.
    Parked,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    Nothing,
    /// Ask the server to stop, and once the stream has room to go on.
    Park,
    /// Ask the server to stop and to go on from the position.
    AskAgain,
    /// Ask the server again in a while.
    AskLater(ClientError),
    /// The watch is over.
    End(WatchEnd),
    /// The stream was dropped, or its beginning failed.
    Drop,
}

impl Watcher {
    pub(crate) fn new(number: u64, new: NewWatch, event_buffer: usize) -> Self {
        Self {
            number,
            token: new.token,
            position: new.from,
            phase: Phase::Unasked,
            hole_after: None,
            lagging: false,
            events: new.events,
            event_buffer,
            end: new.end,
            started: Some(new.started),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Whether nobody reads the stream any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// Whether the server pushes, or was asked to.
    pub(crate) fn is_pushed_to(&self) -> bool {
        matches!(self.phase, Phase::Asked | Phase::Watching)
    }

    /// Whether the server pushes and the stream holds what it should.
    pub(crate) fn is_full(&self) -> bool {
        self.phase == Phase::Watching
            && self.free() < self.events.max_capacity() - self.event_buffer
    }

    /// Whether it waits for room in the stream.
    pub(crate) fn is_parked(&self) -> bool {
        self.phase == Phase::Parked
    }

    /// Stops the server until the stream has room.
    pub(crate) fn park(&mut self) -> Step {
        self.phase = Phase::Parked;
        self.lagging = true;
        Step::Park
    }

    /// Waits until there is something to do that the server did not cause: the stream was dropped, or has room again.
    /// Cancel safe.
    pub(crate) async fn stirred(&self) {
        let capacity = self.events.max_capacity();
        let room = match self.phase {
            Phase::Parked => capacity - self.event_buffer / 2,
            _ if self.is_full() => capacity - self.event_buffer,
            _ => return self.events.closed().await,
        };
        let _ = self.events.reserve_many(room).await;
    }

    fn free(&self) -> usize {
        self.events.capacity()
    }

    /// The stream has room again.
    pub(crate) fn unpark(&mut self) {
        self.phase = Phase::Unasked;
    }

    /// Has the line written that begins the watch or goes on with it.
    pub(crate) fn ask<T>(&mut self, write: impl FnOnce(&Command<'_>) -> T) -> T {
        if std::mem::take(&mut self.lagging) {
            // There is room: it was waited for.
            let _ = self.events.try_send(Event::Lagging);
        }
        self.phase = Phase::Asked;
        let id = self.position.as_ref().map(|position| position.id.to_string());
        let incarnation = self.position.as_ref().map(|position| &*position.incarnation);
        write(&Command::Watch { token: &self.token, after: id.as_deref().zip(incarnation) })
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        if self.phase != Phase::Parked {
            self.phase = Phase::Unasked;
        }
    }

    /// What the server said to `watch`.
    pub(crate) fn answered(&mut self, answer: Result<Watching<'static>, ClientError>) -> Step {
        match answer {
            Ok(watching) => {
                self.phase = Phase::Watching;
                let step = self.begin(&watching);
                if let Some(started) = self.started.take() {
                    let _ = started.send(Ok(watching));
                }
                step
            }
            Err(error) => self.refused(error),
        }
    }

    /// What the server sent unasked.
    pub(crate) fn event(&mut self, event: WireEvent<'static>) -> Step {
        if self.phase != Phase::Watching {
            return Step::Nothing;
        }
        match event {
            WireEvent::Message(message) => self.message(message),
            WireEvent::Gap { from, to, reason } => self.announced_gap(from, to, &reason),
            WireEvent::SessionEnded { reason } => {
                Step::End(WatchEnd::SessionEnded { reason: reason.into_owned() })
            }
            WireEvent::Sent(message) => self.give(Event::Sent(message)),
            WireEvent::Presence { user, active } => {
                self.give(Event::Presence { user: user.into_owned(), active })
            }
            WireEvent::Lagging => self.give(Event::Lagging),
            WireEvent::Live => self.give(Event::Live),
            WireEvent::Shutdown => self.give(Event::Shutdown),
            _ => Step::Nothing,
        }
    }

    /// The last event of the stream. What it holds already is read first.
    pub(crate) fn finish(self, end: WatchEnd) {
        let _ = self.end.set(end);
    }

    /// Takes up the position that the server goes on from.
    fn begin(&mut self, watching: &Watching<'static>) -> Step {
        let incarnation: Arc<str> = (&*watching.incarnation).into();
        let next = Position { id: watching.after, incarnation: Arc::clone(&incarnation) };
        let Some(position) = &self.position else {
            self.position = Some(next);
            return Step::Nothing;
        };
        if position.incarnation == incarnation {
            return Step::Nothing;
        }
        let gap = Gap {
            from: watching.from.unwrap_or(after(watching.after)),
            to: watching.to,
            reason: GapReason::Restored { before: Arc::clone(&position.incarnation) },
            incarnation,
        };
        self.give_and_move(Event::Gap(gap), next)
    }

    fn refused(&mut self, error: ClientError) -> Step {
        self.phase = Phase::Unasked;
        if let Some(started) = self.started.take() {
            let _ = started.send(Err(error));
            return Step::Drop;
        }
        match error.code() {
            Some(
                ErrorCode::Busy
                | ErrorCode::RateLimited
                | ErrorCode::Unavailable
                | ErrorCode::Internal,
            ) => Step::AskLater(error),
            _ => Step::End(WatchEnd::Refused(Arc::new(error))),
        }
    }

    fn message(&mut self, message: PeekMessage<'static>) -> Step {
        let Some(position) = self.position.clone() else {
            return Step::Nothing;
        };
        if message.id <= position.id {
            return Step::Nothing;
        }
        let expected = after(position.id);
        if message.id > expected {
            match self.hole(&position, before(message.id)) {
                Step::Nothing => {}
                step => return step,
            }
        }
        let incarnation = position.incarnation;
        let next = Position { id: message.id, incarnation: Arc::clone(&incarnation) };
        self.give_and_move(Event::Message(IncomingMessage::new(message, incarnation)), next)
    }

    fn announced_gap(&mut self, from: MessageId, to: MessageId, reason: &str) -> Step {
        let Some(position) = self.position.clone() else {
            return Step::Nothing;
        };
        if to <= position.id {
            return Step::Nothing;
        }
        let expected = after(position.id);
        if from > expected {
            match self.hole(&position, before(from)) {
                Step::Nothing => {}
                step => return step,
            }
        }
        let incarnation = position.incarnation;
        let gap = Gap {
            from: from.max(expected),
            to: Some(to),
            reason: GapReason::Announced(reason.to_owned()),
            incarnation: Arc::clone(&incarnation),
        };
        self.give_and_move(Event::Gap(gap), Position { id: to, incarnation })
    }

    /// Something beyond the next message came. The first time the server is asked again; if it does the same once
    /// more, the stream is told.
    fn hole(&mut self, position: &Position, to: MessageId) -> Step {
        if self.hole_after != Some(position.id) {
            self.hole_after = Some(position.id);
            return Step::AskAgain;
        }
        let incarnation = Arc::clone(&position.incarnation);
        let gap = Gap {
            from: after(position.id),
            to: Some(to),
            reason: GapReason::Unannounced,
            incarnation: Arc::clone(&incarnation),
        };
        self.give_and_move(Event::Gap(gap), Position { id: to, incarnation })
    }

    /// The position moves only with what the stream has taken, so that what it has no room for comes again.
    fn give_and_move(&mut self, event: Event, next: Position) -> Step {
        let step = self.give(event);
        if matches!(step, Step::Nothing) {
            self.position = Some(next);
            self.hole_after = None;
        }
        step
    }

    fn give(&mut self, event: Event) -> Step {
        match self.events.try_send(event) {
            Ok(()) => Step::Nothing,
            Err(TrySendError::Full(_)) => self.park(),
            Err(TrySendError::Closed(_)) => Step::Drop,
        }
    }
}

fn after(id: MessageId) -> MessageId {
    MessageId::new(id.get().saturating_add(1))
}

fn before(id: MessageId) -> MessageId {
    MessageId::new(id.get().saturating_sub(1))
}

/// A stream has room for this many times what it should hold, for what comes before a reply that is waited for.
pub(crate) const SPILL: usize = 8;
