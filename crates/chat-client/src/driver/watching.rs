//! What the task does for a watch.

use std::future::pending;
use std::time::Duration;

use chat_core::protocol::{Command, Frame, Reply};
use tokio::time::Instant;

use super::{Driver, write};
use crate::client::{understand, unexpected};
use crate::connection::{Connection, Ticket, later};
use crate::connector::Connector;
use crate::watcher::{NewWatch, Step, Watcher};
use crate::{Backoff, ClientError, WatchEnd};

impl<C: Connector> Driver<C> {
    /// Stops reading while the watch's stream is full and nobody waits for a reply. Returns until when.
    pub(super) fn hold(
        &mut self,
        now: Instant,
        connection: &mut Connection<C::Stream>,
    ) -> Option<Instant> {
        let watcher = self.watcher.as_mut();
        let full = watcher.filter(|watcher| watcher.is_full() && connection.is_owed_nothing());
        let Some(watcher) = full else {
            self.held_since = None;
            return None;
        };
        let until = *self.held_since.get_or_insert(now) + HOLD;
        if now < until {
            return Some(until);
        }
        self.held_since = None;
        let step = watcher.park();
        self.step(step, connection);
        None
    }

    /// Asks for a sign of life after a silence, if somebody watches. Returns when the silence will be one.
    pub(super) fn keep_alive(
        &self,
        now: Instant,
        connection: &mut Connection<C::Stream>,
    ) -> Option<Instant> {
        let is_pushed_to = self.watcher.as_ref().is_some_and(Watcher::is_pushed_to);
        let silence = self.options.keepalive.filter(|_| is_pushed_to && connection.is_idle())?;
        let due = later(connection.last_read(), silence);
        if due > now {
            return Some(due);
        }
        write(&Command::Ping { text: "" }, Ticket::Nobody, connection);
        None
    }

    pub(super) fn begin_watch(&mut self, new: NewWatch, connection: &mut Connection<C::Stream>) {
        if new.started.is_closed() {
            return;
        }
        if self.watcher.as_ref().is_some_and(|watcher| !watcher.is_abandoned()) {
            let _ = new.started.send(Err(ClientError::AlreadyWatching));
            return;
        }
        self.drop_watch(connection);
        self.watches_begun += 1;
        self.watcher = Some(Watcher::new(self.watches_begun, new, self.options.event_buffer));
        self.ask(connection);
    }

    /// Asks for the watch, or for more of it, unless it waits for something else.
    pub(super) fn ask(&mut self, connection: &mut Connection<C::Stream>) {
        self.ask_at = None;
        if let Some(watcher) = self.watcher.as_mut().filter(|watcher| !watcher.is_parked()) {
            let number = watcher.number();
            watcher.ask(|command| write(command, Ticket::Watch(number), connection));
        }
    }

    pub(super) fn watch_answered(
        &mut self,
        number: u64,
        frame: &Frame,
        connection: &mut Connection<C::Stream>,
    ) {
        let Some(watcher) = self.watcher.as_mut().filter(|watcher| watcher.number() == number)
        else {
            return;
        };
        let command = "watch";
        let answer = understand(command, frame).and_then(|reply| match reply {
            Reply::Watching(watching) => Ok(watching),
            _ => Err(unexpected(command)),
        });
        if answer.is_ok() {
            self.asked_in_vain = 0;
        }
        let step = watcher.answered(answer);
        self.step(step, connection);
    }

    pub(super) fn step(&mut self, step: Step, connection: &mut Connection<C::Stream>) {
        match step {
            Step::Nothing => {}
            Step::Park => self.unwatch(connection),
            Step::AskAgain => {
                self.unwatch(connection);
                self.ask(connection);
            }
            Step::AskLater(error) => self.ask_later(&error),
            Step::End(end) => {
                if let Some(watcher) = self.watcher.take() {
                    self.note(&end);
                    watcher.finish(end);
                }
            }
            Step::Drop => self.drop_watch(connection),
        }
    }

    fn ask_later(&mut self, error: &ClientError) {
        let backoff = Backoff::default();
        let delay = backoff.delay(self.asked_in_vain, &self.options.random).unwrap_or_default();
        self.asked_in_vain = self.asked_in_vain.saturating_add(1);
        let delay = delay.max(error.retry_after().unwrap_or_default());
        self.ask_at = Some(later(Instant::now(), delay));
    }

    /// The stream was dropped, or has room again.
    pub(super) fn stir(&mut self, connection: &mut Connection<C::Stream>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        if watcher.is_abandoned() {
            self.drop_watch(connection);
        } else if watcher.is_parked() {
            watcher.unpark();
            self.ask(connection);
        }
    }

    pub(super) fn drop_watch(&mut self, connection: &mut Connection<C::Stream>) {
        if self.watcher.as_ref().is_some_and(Watcher::is_pushed_to) {
            self.unwatch(connection);
        }
        self.watcher = None;
        self.ask_at = None;
    }

    fn unwatch(&self, connection: &mut Connection<C::Stream>) {
        if let Some(watcher) = &self.watcher {
            write(&Command::Unwatch { token: watcher.token() }, Ticket::Nobody, connection);
        }
    }

    fn note(&self, end: &WatchEnd) {
        let over = match end {
            WatchEnd::SessionEnded { .. } => true,
            WatchEnd::Refused(error) => error.is_session_over(),
            WatchEnd::Closed(_) => false,
        };
        if over {
            self.status.set_session_ended(true);
        }
    }
}

/// Cancel safe.
pub(super) async fn stirred(watcher: Option<&Watcher>) {
    match watcher {
        Some(watcher) => watcher.stirred().await,
        None => pending().await,
    }
}

/// How long nothing is read for a full stream: well below the 30 s after which a server gives up a client that does not
/// read.
const HOLD: Duration = Duration::from_secs(5);
