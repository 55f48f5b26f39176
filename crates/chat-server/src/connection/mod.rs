//! [`Connection`]: one peer. Bytes in, frames, the service, bytes out; the limits on waiting; the end.

mod ending;
mod receive;

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use chat_core::protocol::{ErrorCode, Reply, ServerCodec};
use chat_core::store::{StoreError, WatchEvent};
use tokio::io::AsyncWriteExt as _;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::Decoder as _;
use tracing::debug;

use self::ending::Ending;
use self::receive::receive;
use crate::peer::Peer;
use crate::seats::Seat;
use crate::service::{Output, Service};
use crate::watcher::Watcher;
use crate::{ServerConfig, Transport};

/// One peer's connection.
///
/// It goes in turns: serve the frames at hand until the replies reach a bound, add the events at hand up to that bound
/// again, write, and once no whole frame is left wait for input or an event. So it never holds more than an unfinished frame
/// and a chunk, a reply, an event, and twice that bound; and a peer that does not read is not read from.
#[derive(Debug)]
pub(crate) struct Connection<T> {
    transport: T,
    service: Arc<Service>,
    config: Arc<ServerConfig>,
    seat: Seat,
    peer: Peer,
    codec: ServerCodec,
    input: BytesMut,
    output: Output,
    /// When the connection first waited for the rest of the unfinished line.
    line_begun: Option<Instant>,
    /// When the last reply was accepted.
    written: Option<Instant>,
    /// The peer's end of stream came before the last replies were accepted: it says nothing of their fate.
    ended_early: bool,
}

/// What a turn's serving left.
enum Served {
    /// No whole frame.
    All,
    /// More frames.
    Some,
    /// A line that is too long, and what follows it.
    TooLong,
}

impl<T: Transport> Connection<T> {
    pub(crate) fn new(
        transport: T,
        seat: Seat,
        service: Arc<Service>,
        config: Arc<ServerConfig>,
    ) -> Self {
        let codec = ServerCodec::new(config.frame_bytes);
        Self {
            transport,
            service,
            config,
            seat,
            peer: Peer::default(),
            output: Output::new(codec.clone()),
            codec,
            input: BytesMut::new(),
            line_begun: None,
            written: None,
            ended_early: false,
        }
    }

    /// Serves the peer to the end, whatever that is.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn would keep its argument twice, and most of a connection's memory is this future"
    )]
    pub(crate) fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            debug!("connection opened");
            let ending = loop {
                if let Err(ending) = self.turn().await {
                    break ending;
                }
            };
            debug!(%ending, "connection closing");
            // Boxed, so that a connection does not carry room for its end all along.
            Box::pin(self.end(ending)).await;
        }
    }

    async fn turn(&mut self) -> Result<(), Ending> {
        let before = self.output.len();
        let served = self.serve().await;
        let replied = self.output.len() > before;
        self.push_events();
        if self.output.len() > 0 {
            // A guest who is to make room has that long to read what is answered.
            let overstays = self.seat.overstays(self.config.linger);
            tokio::select! {
                biased;
                written = self.write() => written?,
                () = overstays => return Err(Ending::Stalled),
            }
            self.note_written(replied);
        }
        match served {
            Served::All => self.wait().await,
            Served::Some => Ok(()),
            Served::TooLong => Err(Ending::FrameTooLong),
        }
    }

    async fn serve(&mut self) -> Served {
        let mut served = Served::Some;
        while self.output.len() < self.config.turn_bytes {
            match self.codec.decode(&mut self.input) {
                Ok(Some(frame)) => {
                    self.line_begun = None;
                    self.service.request(&frame, &mut self.peer, &mut self.output).await;
                }
                Ok(None) => {
                    served = Served::All;
                    break;
                }
                Err(_) => {
                    served = Served::TooLong;
                    break;
                }
            }
        }
        self.service.finish(&mut self.peer, &mut self.output).await;
        if matches!(served, Served::TooLong) {
            self.output.reply(&Reply::Error(ErrorCode::FrameTooLong.into()));
        }
        if self.peer.logged_in {
            self.seat.keep();
        }
        served
    }

    fn push_event(&mut self, event: &WatchEvent) {
        if let Some(watcher) = &mut self.peer.watcher {
            watcher.push(event, &mut self.output, &mut self.peer.delivery);
        }
    }

    /// Adds the events that are at hand.
    fn push_events(&mut self) {
        if let Some(watcher) = &mut self.peer.watcher {
            let bytes = self.output.len() + self.config.turn_bytes;
            watcher.push_at_hand(&mut self.output, bytes, &mut self.peer.delivery);
        }
    }

    async fn write(&mut self) -> Result<(), Ending> {
        while self.output.len() > 0 {
            self.write_some().await?;
        }
        match within(self.config.write_timeout, self.transport.flush()).await {
            Ok(flushed) => flushed.map_err(Ending::Broken)?,
            Err(_) => return Err(Ending::Stalled),
        }
        self.written = Some(Instant::now());
        Ok(())
    }

    fn note_written(&mut self, replied: bool) {
        self.service.written(&mut self.peer);
        if replied && self.peer.delivery.is_open() && self.transport.peer_has_ended() {
            self.ended_early = true;
        }
    }

    /// Writes what the transport takes, as soon as it takes anything.
    async fn write_some(&mut self) -> Result<(), Ending> {
        let bytes = self.output.bytes();
        let written = match within(self.config.write_timeout, self.transport.write(bytes)).await {
            Ok(written) => written,
            Err(_) => match self.transport.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Ending::Stalled);
                }
                written => written,
            },
        };
        match written {
            Ok(0) => Err(Ending::Broken(io::ErrorKind::WriteZero.into())),
            Ok(written) => {
                bytes.advance(written);
                Ok(())
            }
            Err(error) => Err(Ending::Broken(error)),
        }
    }

    /// Waits until input or an event comes, and takes what there is of each, so that neither keeps the other waiting. All
    /// output is written, and no whole frame is held.
    async fn wait(&mut self) -> Result<(), Ending> {
        let nothing_held = self.input.is_empty();
        let unfinished = self.line_deadline();
        let (read, event) = tokio::select! {
            biased;
            () = self.seat.close().cancelled() => return Err(Ending::Asked),
            arrived = one_or_both(
                receive(&mut self.transport, &mut self.input, self.output.bytes()),
                next_event(&mut self.peer.watcher),
            ) => arrived,
            () = reached(unfinished) => return Err(Ending::UnfinishedLine),
        };
        match read {
            Some(Ok(0)) => return Err(Ending::PeerEnded),
            Some(Ok(_)) => self.note_heard(nothing_held),
            Some(Err(error)) => return Err(Ending::Broken(error)),
            None => {}
        }
        match event {
            Some(Ok(event)) => self.push_event(&event),
            // After a request it is asked again.
            Some(Err(error)) if read.is_none() => return Err(Ending::WatchFailed(error)),
            _ => {}
        }
        Ok(())
    }

    /// When the line that is held has to be finished.
    fn line_deadline(&mut self) -> Option<Instant> {
        if self.input.is_empty() {
            self.line_begun = None;
        } else {
            self.line_begun.get_or_insert_with(Instant::now);
        }
        self.line_begun.map(|begun| begun + self.config.line_timeout)
    }

    fn note_heard(&mut self, nothing_held: bool) {
        self.seat.heard();
        if nothing_held {
            self.peer.delivery.arm();
        }
    }
}

/// The next event, of a connection that watches.
async fn next_event(watcher: &mut Option<Box<Watcher>>) -> Result<WatchEvent, StoreError> {
    match watcher {
        // Boxed, so that a connection that does not watch carries no room for it.
        Some(watcher) => Box::pin(watcher.next()).await,
        None => pending().await,
    }
}

/// Waits for one of two, and takes both if both are there.
async fn one_or_both<A, B>(
    a: impl Future<Output = A>,
    b: impl Future<Output = B>,
) -> (Option<A>, Option<B>) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| match (a.as_mut().poll(cx), b.as_mut().poll(cx)) {
        (Poll::Pending, Poll::Pending) => Poll::Pending,
        (a, b) => Poll::Ready((ready(a), ready(b))),
    })
    .await
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// [`timeout`] for what is ready at once as a rule: then no clock is read.
async fn within<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    match poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => timeout(limit, future).await,
    }
}

/// Waits for a time, for ever if there is none.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    fn size_of_output<A, R>(_: impl Fn(A) -> R) -> usize {
        size_of::<R>()
    }

    #[test]
    fn an_idle_connection_is_small() {
        let bytes = size_of_output(Connection::<TcpStream>::run);
        assert!(bytes <= 1280, "a connection's task holds {bytes} bytes");
    }
}
