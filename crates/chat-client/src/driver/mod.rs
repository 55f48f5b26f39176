//! [`Driver`]: the task behind the handles. Serves one connection after the other.

mod watching;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chat_core::protocol::{Command, DEFAULT_MAX_FRAME_BYTES};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::watching::stirred;
use crate::connection::{Connection, Incoming, Ticket};
use crate::connector::Connector;
use crate::open::open;
use crate::request::{Call, Request, encode};
use crate::status::Status;
use crate::watcher::Watcher;
use crate::{CloseReason, ConnectOptions, ConnectionState, WatchEnd};

/// What the task works on between connections and on them.
pub(crate) struct Driver<C> {
    connector: C,
    options: ConnectOptions,
    status: Arc<Status>,
    requests: mpsc::Receiver<Request>,
    /// Cancelled when no further request shall be taken, and when the last handle goes.
    closing: CancellationToken,
    /// Taken and not on a connection, oldest first.
    queue: VecDeque<Request>,
    watcher: Option<Watcher>,
    watches_begun: u64,
    /// When to ask again for a watch that the server had no time for, and how often that was.
    ask_at: Option<Instant>,
    asked_in_vain: u32,
    /// Since when nothing is read because the watch's stream is full.
    held_since: Option<Instant>,
}

impl<C: Connector> Driver<C> {
    pub(crate) fn new(
        connector: C,
        options: ConnectOptions,
        status: Arc<Status>,
        requests: mpsc::Receiver<Request>,
        closing: CancellationToken,
    ) -> Self {
        Self {
            connector,
            options,
            status,
            requests,
            closing,
            queue: VecDeque::new(),
            watcher: None,
            watches_begun: 0,
            ask_at: None,
            asked_in_vain: 0,
            held_since: None,
        }
    }

    /// Serves until the handles are gone, one of them closes, or there is no connection and will be none.
    pub(crate) async fn run(mut self, connection: Connection<C::Stream>) {
        let reason = match self.run_inner(connection).await {
            Ok(()) => CloseReason::ByClient,
            Err(reason) => reason,
        };
        tracing::debug!(%reason, "no further connection");
        self.status.set(ConnectionState::Closed { reason: reason.clone() });
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            self.queue.push_back(request);
        }
        self.queue.drain(..).for_each(|request| request.lose(&reason));
        if let Some(watcher) = self.watcher.take() {
            watcher.finish(WatchEnd::Closed(reason));
        }
    }

    async fn run_inner(
        &mut self,
        mut connection: Connection<C::Stream>,
    ) -> Result<(), CloseReason> {
        let mut attempt = 0;
        loop {
            let began = Instant::now();
            let Err(reason) = self.serve_to_the_end(&mut connection).await else {
                connection.shut_down().await;
                return Ok(());
            };
            tracing::debug!(%reason, "connection ended");
            self.take_back(connection, &reason);
            if began.elapsed() >= HELD {
                attempt = 0;
            }
            connection = self.reconnect(reason, &mut attempt).await?;
        }
    }

    /// Makes another connection, however long it takes.
    async fn reconnect(
        &mut self,
        mut reason: CloseReason,
        attempt: &mut u32,
    ) -> Result<Connection<C::Stream>, CloseReason> {
        let mut at_least = Duration::ZERO;
        loop {
            let delay = self
                .options
                .backoff
                .and_then(|backoff| backoff.delay(*attempt, &self.options.random));
            let Some(delay) = delay else {
                return Err(reason);
            };
            *attempt = attempt.saturating_add(1);
            let delay = delay.max(at_least);
            self.status.set(ConnectionState::Reconnecting {
                attempt: *attempt,
                delay,
                reason: reason.clone(),
            });
            let try_again = async {
                tokio::time::sleep(delay).await;
                open(&self.connector, &self.options).await
            };
            let opened = tokio::select! {
                biased;
                () = self.closing.cancelled() => return Err(CloseReason::ByClient),
                opened = try_again => opened,
            };
            match opened {
                Ok((connection, server)) => {
                    self.status.connected(server);
                    return Ok(connection);
                }
                Err(error) => {
                    at_least = error.retry_after().unwrap_or_default();
                    reason = CloseReason::Connect(Arc::new(error));
                }
            }
        }
    }

    /// After a cut: keeps what may go out again, before what was not sent yet.
    fn take_back(&mut self, connection: Connection<C::Stream>, reason: &CloseReason) {
        let mut kept = VecDeque::new();
        for (ticket, written) in connection.into_unanswered() {
            if let Ticket::Call(call) = ticket {
                kept.extend(call.after_cut(written, reason).map(Request::Call));
            }
        }
        kept.append(&mut self.queue);
        self.queue = kept;
        self.ask_at = None;
        if let Some(watcher) = &mut self.watcher {
            watcher.disconnected();
        }
    }

    /// Serves one connection. Returns when nothing more can be asked and all is answered.
    async fn serve_to_the_end(
        &mut self,
        connection: &mut Connection<C::Stream>,
    ) -> Result<(), CloseReason> {
        self.ask(connection);
        self.serve(connection).await?;
        // Who still waits has set the limit of that; this is for a server that does not answer at all.
        let _ = timeout(self.options.request_timeout, self.finish(connection)).await;
        Ok(())
    }

    async fn finish(&mut self, connection: &mut Connection<C::Stream>) -> Result<(), CloseReason> {
        while !connection.is_idle() {
            connection.turn(true).await?;
            self.dispatch(connection)?;
        }
        Ok(())
    }

    /// Takes and answers requests. Returns when no more can come.
    ///
    /// The order of the branches is that of their urgency and not left to chance, so that a simulation can repeat a
    /// run. None starves the last: what comes before it is bounded by what may be in flight.
    async fn serve(&mut self, connection: &mut Connection<C::Stream>) -> Result<(), CloseReason> {
        let mut batch = Vec::new();
        loop {
            self.dispatch(connection)?;
            self.take_up(connection);
            let wake = self.look_after(connection)?;
            let room = if self.queue.is_empty() { connection.room() } else { 0 };
            tokio::select! {
                biased;
                () = self.closing.cancelled(), if !self.requests.is_closed() => self.requests.close(),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                taken = self.requests.recv_many(&mut batch, room), if room > 0 => {
                    if taken == 0 {
                        return Ok(());
                    }
                    self.queue.extend(batch.drain(..));
                }
                () = stirred(self.watcher.as_ref()) => self.stir(connection),
                turned = connection.turn(self.held_since.is_none()) => turned?,
            }
        }
    }

    /// Hands out what was read.
    fn dispatch(&mut self, connection: &mut Connection<C::Stream>) -> Result<(), CloseReason> {
        while let Some(incoming) = connection.incoming()? {
            match incoming {
                Incoming::Reply(Ticket::Call(call), frame) => call.answer(frame),
                Incoming::Reply(Ticket::Watch(number), frame) => {
                    self.watch_answered(number, &frame, connection);
                }
                Incoming::Reply(Ticket::Hello | Ticket::Nobody, _) => {}
                Incoming::Event(event) => {
                    if let Some(watcher) = &mut self.watcher {
                        let step = watcher.event(event);
                        self.step(step, connection);
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts on the connection what waits and has room.
    fn take_up(&mut self, connection: &mut Connection<C::Stream>) {
        while connection.room() > 0 {
            match self.queue.pop_front() {
                Some(Request::Call(call)) => send(call, connection),
                Some(Request::Watch(new)) => self.begin_watch(new, connection),
                None => break,
            }
        }
    }

    /// Does what is due by the clock. Returns when to look again.
    fn look_after(
        &mut self,
        connection: &mut Connection<C::Stream>,
    ) -> Result<Option<Instant>, CloseReason> {
        let now = Instant::now();
        if self.ask_at.is_some_and(|at| at <= now) {
            self.ask(connection);
        }
        let held_until = self.hold(now, connection);
        let ping_at = self.keep_alive(now, connection);
        let reply_by = connection.reply_deadline()?;
        Ok([self.ask_at, held_until, ping_at, reply_by].into_iter().flatten().min())
    }
}

impl Request {
    fn lose(self, reason: &CloseReason) {
        match self {
            Self::Call(call) => call.lose(reason.clone()),
            // Its handle looks at how the connection ended.
            Self::Watch(_) => {}
        }
    }
}

fn send(call: Call, connection: &mut Connection<impl AsyncRead + AsyncWrite>) {
    if let Some(line) = call.start().cloned() {
        connection.push(&line, Ticket::Call(call));
    }
}

/// Puts a line of the task's own on its way. A token and numbers always fit in one.
fn write(
    command: &Command<'_>,
    ticket: Ticket,
    connection: &mut Connection<impl AsyncRead + AsyncWrite>,
) {
    if let Ok(line) = encode(command, DEFAULT_MAX_FRAME_BYTES) {
        connection.push(&line, ticket);
    }
}

/// A connection that held this long was a good one.
const HELD: Duration = Duration::from_secs(10);
