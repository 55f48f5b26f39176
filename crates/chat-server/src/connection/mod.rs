//! [`Connection`]: one peer. Bytes in, frames, the service, bytes out; the limits on waiting; the end.

mod ending;
mod receive;
mod unfinished;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use chat_core::protocol::{ErrorCode, Reply, ServerCodec};
use chat_core::store::WatchEvent;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};
use tokio_util::codec::Decoder as _;
use tracing::debug;

use self::ending::Ending;
use self::receive::poll_receive;
use self::unfinished::{Unfinished, fit};
use crate::Transport;
use crate::name::Name;
use crate::peer::Peer;
use crate::seats::{Close, Seat};
use crate::service::{Output, Service};

/// One peer's connection.
///
/// It goes in turns: serve the frames at hand until the replies reach a bound, add the events at hand up to that bound
/// again, write, and once no whole frame is left wait for input or an event. So it never holds more than an unfinished frame
/// and a chunk, a reply, an event, and twice that bound; and a peer that does not read is not read from.
///
/// Most connections wait most of the time, and what one costs then is this and its future. So what takes room while something
/// is served, written or timed is boxed when it begins, and a connection that only waits carries none of it.
#[derive(Debug)]
pub(crate) struct Connection<T> {
    transport: T,
    service: Arc<Service>,
    seat: Seat,
    peer: Peer,
    codec: ServerCodec,
    input: BytesMut,
    output: Output,
    /// The line that is held, from the first time that its rest was waited for.
    unfinished: Option<Box<Unfinished>>,
    /// When the last reply was accepted.
    written: Option<Instant>,
    /// The peer's end of stream came before the last replies were accepted: it says nothing of their fate.
    ended_early: bool,
}

/// What was waited for: how much was read, and what a future gave.
type Come<T> = (Option<io::Result<usize>>, Option<T>);

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
    pub(crate) fn new(transport: T, name: Name, seat: Seat, service: Arc<Service>) -> Self {
        let codec = ServerCodec::new(service.config().frame_bytes);
        Self {
            transport,
            service,
            seat,
            peer: Peer::new(name),
            output: Output::default(),
            codec,
            input: BytesMut::new(),
            unfinished: None,
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
            if !self.write_at_once().await? {
                Box::pin(self.write_while_seated()).await?;
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
        let served = loop {
            let answer = match self.next_request() {
                Ok(answer) => answer,
                Err(served) => break served,
            };
            answer.await;
        };
        if !self.peer.outgoing.is_empty() {
            Box::pin(self.service.finish(&mut self.peer, &mut self.output)).await;
        }
        if matches!(served, Served::TooLong) {
            self.output.reply(&Reply::Error(ErrorCode::FrameTooLong.into()));
        }
        if self.peer.logged_in {
            self.seat.keep();
        }
        served
    }

    /// Gathers the frames at hand, up to one that is to be answered by itself.
    fn next_request(&mut self) -> Result<Pin<Box<impl Future<Output = ()> + use<'_, T>>>, Served> {
        while self.output.len() < self.turn_bytes() {
            let held = self.input.len();
            let Ok(frame) = self.codec.decode(&mut self.input) else { return Err(Served::TooLong) };
            if self.input.len() < held {
                self.unfinished = None;
            }
            let Some(frame) = frame else { return Err(Served::All) };
            if !self.service.gather(&frame, &mut self.peer) {
                let Self { service, peer, output, .. } = self;
                return Ok(Box::pin(service.request(frame, peer, output)));
            }
        }
        Err(Served::Some)
    }

    /// How much a turn may come to write. Little while memory is scarce, so that many peers that read slowly have room.
    fn turn_bytes(&self) -> usize {
        let usual = self.service.config().turn_bytes;
        if self.seat.memory_is_scarce() { usual.min(SCARCE_TURN_BYTES) } else { usual }
    }

    fn push_event(&mut self, event: &WatchEvent) {
        if let Some(watcher) = &mut self.peer.watcher {
            watcher.push(event, &mut self.output, &mut self.peer.delivery);
        }
    }

    /// Adds the events that are at hand.
    fn push_events(&mut self) {
        let turn_bytes = self.turn_bytes();
        if let Some(watcher) = &mut self.peer.watcher {
            let bytes = self.output.len() + turn_bytes;
            watcher.push_at_hand(&mut self.output, bytes, &mut self.peer.delivery);
        }
    }

    /// Writes what the transport takes this moment; whether that was all.
    async fn write_at_once(&mut self) -> Result<bool, Ending> {
        match poll_fn(|cx| Poll::Ready(self.poll_write(cx))).await {
            Poll::Ready(written) => written.map(|()| true).map_err(Ending::Broken),
            Poll::Pending => Ok(false),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.output.len() > 0 {
            let bytes = self.output.bytes();
            match ready!(Pin::new(&mut self.transport).poll_write(cx, bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => bytes.advance(written),
            }
        }
        ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
        self.written = Some(Instant::now());
        Poll::Ready(Ok(()))
    }

    /// Writes everything, unless the memory is needed meanwhile. A guest who is to make room has only so long to read what is
    /// answered.
    async fn write_while_seated(&mut self) -> Result<(), Ending> {
        let overstays = self.seat.overstays(self.service.config().linger);
        tokio::select! {
            biased;
            written = self.write() => written,
            () = overstays => Err(Ending::Stalled),
        }
    }

    async fn write(&mut self) -> Result<(), Ending> {
        fit(self.output.bytes());
        fit(&mut self.input);
        let held = self.output.len() + self.input.len();
        while self.output.len() > 0 {
            // Anew each time, so that of those who do not read the one who stopped first has held longest.
            let mut claim = self.seat.claim();
            claim.hold(held);
            self.write_some().await?;
        }
        match timeout(self.service.config().write_timeout, self.transport.flush()).await {
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
        let written =
            match timeout(self.service.config().write_timeout, self.transport.write(bytes)).await {
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
        // Taken out, so that what waits holds one reference and not one for each field.
        let mut watcher = self.peer.watcher.take();
        let come = {
            let this = &mut *self;
            let mut next = watcher.as_mut().map(|watcher| Box::pin(watcher.next()));
            poll_fn(move |cx| this.poll_come(&mut next, cx)).await
        };
        self.peer.watcher = watcher;
        let (read, event) = come?;
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

    fn poll_come<F: Future>(
        &mut self,
        next: &mut Option<Pin<Box<F>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Come<F::Output>, Ending>> {
        if let Poll::Ready(asked) = self.seat.poll_asked(cx) {
            return Poll::Ready(Err(match asked {
                Close::FreeMemory => Ending::MemoryNeeded,
                Close::Stop | Close::MakeRoom => Ending::Asked,
            }));
        }
        let read = poll_receive(&mut self.transport, &mut self.input, self.output.bytes(), cx);
        let event = poll_if_any(next, cx);
        if read.is_ready() || event.is_ready() {
            return Poll::Ready(Ok((taken(read), taken(event))));
        }
        self.poll_unfinished(cx).map(|()| Err(Ending::UnfinishedLine))
    }

    /// Waits until a line that is held has been so for too long.
    fn poll_unfinished(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.input.is_empty() {
            return Poll::Pending;
        }
        let (input, seat) = (&mut self.input, &self.seat);
        let time = self.service.config().line_timeout;
        let unfinished = self
            .unfinished
            .get_or_insert_with(|| Box::new(Unfinished::new(input, time, seat.claim())));
        unfinished.poll_over(input, cx)
    }

    fn note_heard(&mut self, nothing_held: bool) {
        self.seat.heard();
        if nothing_held {
            self.peer.delivery.arm();
        }
    }
}

/// Asks a future that is there only sometimes.
fn poll_if_any<F: Future>(
    future: &mut Option<Pin<Box<F>>>,
    cx: &mut Context<'_>,
) -> Poll<F::Output> {
    future.as_mut().map_or(Poll::Pending, |future| future.as_mut().poll(cx))
}

fn taken<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Some ten thousand connections with as much fit into the default bound on memory.
const SCARCE_TURN_BYTES: usize = 4 * 1024;

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
        assert!(bytes <= 408, "a connection's task holds {bytes} bytes");
    }
}
