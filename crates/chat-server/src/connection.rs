//! [`Connection`]: one peer. Bytes in, frames, the service, bytes out; the limits on waiting; the end.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use chat_core::protocol::{ErrorCode, Reply, ServerCodec};
use tokio::io::{AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::Decoder as _;
use tracing::debug;

use crate::peer::Peer;
use crate::seats::Seat;
use crate::service::{Replies, Service};
use crate::{Close, ServerConfig, Transport};

/// One peer's connection.
///
/// It goes in turns: serve the frames at hand until the replies reach a bound, write them, and once no whole frame is left
/// read again, once. So it never holds more than an unfinished frame and a chunk, a reply, and that bound; and a peer that
/// does not read is not read from.
#[derive(Debug)]
pub(crate) struct Connection<T> {
    transport: T,
    service: Arc<Service>,
    config: Arc<ServerConfig>,
    seat: Seat,
    peer: Peer,
    codec: ServerCodec,
    input: BytesMut,
    replies: Replies,
    /// When the last read brought something.
    heard: Instant,
    /// When the first byte of the unfinished line came.
    line_begun: Option<Instant>,
    /// When the last reply was accepted.
    written: Option<Instant>,
    /// The peer's end of stream came before the last replies were accepted: it says nothing of their fate.
    ended_early: bool,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error("the peer sends no more")]
    PeerEnded,
    #[error("the server stops or needs the place")]
    Asked,
    #[error("a line stayed unfinished for too long")]
    UnfinishedLine,
    /// It is answered.
    #[error("a line was too long")]
    FrameTooLong,
    #[error("the peer does not read")]
    Stalled,
    #[error("the transport failed: {0}")]
    Broken(io::Error),
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
            replies: Replies::new(codec.clone()),
            codec,
            input: BytesMut::new(),
            heard: Instant::now(),
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
        let served = self.serve().await;
        if self.replies.len() > 0 {
            // A guest who is to make room has that long to read what is answered.
            let overstays = self.seat.overstays(self.config.linger);
            tokio::select! {
                biased;
                written = self.write() => written?,
                () = overstays => return Err(Ending::Stalled),
            }
        }
        match served {
            Served::All => self.read().await,
            Served::Some => Ok(()),
            Served::TooLong => Err(Ending::FrameTooLong),
        }
    }

    async fn serve(&mut self) -> Served {
        let mut served = Served::Some;
        while self.replies.len() < self.config.turn_bytes {
            match self.codec.decode(&mut self.input) {
                Ok(Some(frame)) => {
                    self.line_begun = None;
                    self.service.request(&frame, &mut self.peer, &mut self.replies).await;
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
        self.service.finish(&mut self.peer, &mut self.replies).await;
        if matches!(served, Served::TooLong) {
            self.replies.push(&Reply::Error(ErrorCode::FrameTooLong.into()));
        }
        if self.peer.logged_in {
            self.seat.keep();
        }
        served
    }

    async fn write(&mut self) -> Result<(), Ending> {
        while self.replies.len() > 0 {
            self.write_some().await?;
        }
        match timeout(self.config.write_timeout, self.transport.flush()).await {
            Ok(flushed) => flushed.map_err(Ending::Broken)?,
            Err(_) => return Err(Ending::Stalled),
        }
        self.written = Some(Instant::now());
        if self.peer.delivery.is_open() && self.transport.peer_has_ended() {
            self.ended_early = true;
        }
        Ok(())
    }

    /// Writes what the transport takes, as soon as it takes anything.
    async fn write_some(&mut self) -> Result<(), Ending> {
        let bytes = self.replies.bytes();
        let written =
            match timeout(self.config.write_timeout, self.transport.write_buf(bytes)).await {
                Ok(written) => written,
                Err(_) => match self.transport.try_write(bytes) {
                    Ok(written) => {
                        bytes.advance(written);
                        Ok(written)
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Err(Ending::Stalled);
                    }
                    Err(error) => Err(error),
                },
            };
        match written {
            Ok(0) => Err(Ending::Broken(io::ErrorKind::WriteZero.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(Ending::Broken(error)),
        }
    }

    /// Reads once. All replies are written, and no whole frame is held.
    async fn read(&mut self) -> Result<(), Ending> {
        let nothing_held = self.input.is_empty();
        if nothing_held {
            self.line_begun = None;
        } else {
            self.line_begun.get_or_insert(self.heard);
        }
        let unfinished = self.line_begun.map(|begun| begun + self.config.line_timeout);
        let read = tokio::select! {
            biased;
            () = self.seat.close().cancelled() => return Err(Ending::Asked),
            read = receive(&mut self.transport, &mut self.input, self.replies.bytes()) => read,
            () = reached(unfinished) => return Err(Ending::UnfinishedLine),
        };
        match read {
            Ok(0) => return Err(Ending::PeerEnded),
            Ok(_) => {}
            Err(error) => return Err(Ending::Broken(error)),
        }
        self.heard = Instant::now();
        self.seat.heard();
        if nothing_held {
            self.peer.delivery.arm();
        }
        Ok(())
    }

    async fn end(&mut self, ending: Ending) {
        let closed = match ending {
            Ending::PeerEnded => self.end_with_peer().await,
            Ending::Asked | Ending::UnfinishedLine => self.part().await,
            Ending::FrameTooLong => self.part_from_talker().await,
            Ending::Stalled | Ending::Broken(_) => self.close(Close::Reset).await,
        };
        if let Err(error) = closed {
            debug!(%error, "connection failed while closing");
        }
        self.service.leave(&mut self.peer).await;
    }

    /// After the peer's end of stream. An end that came once all replies were out, nothing being held, confirms what is in
    /// flight; after one that came before only the absence of a failure does.
    async fn end_with_peer(&mut self) -> io::Result<()> {
        let orderly = self.peer.delivery.is_armed() || (self.input.is_empty() && !self.ended_early);
        if self.peer.delivery.is_open() && orderly {
            self.service.confirm(&mut self.peer).await;
        }
        self.close(Close::Orderly).await?;
        if self.peer.delivery.is_open() {
            if let Ok(failure) = timeout(self.config.linger, self.transport.failure()).await {
                return Err(failure);
            }
            self.service.confirm(&mut self.peer).await;
        }
        Ok(())
    }

    /// Ends a connection that has nothing unanswered. An existing client fails at a reset and loops for ever at an end of
    /// stream, so only who said `hello` gets one.
    async fn part(&mut self) -> io::Result<()> {
        if self.peer.greeted {
            self.close(Close::Orderly).await?;
            self.discard().await;
            return Ok(());
        }
        if let Some(written) = self.written {
            sleep_until(written + RESET_GRACE).await;
        }
        self.close(Close::Reset).await
    }

    /// Ends a connection whose peer is in the middle of sending what nobody wants. Were that not read, the answer could be
    /// lost to the reset that unread input causes.
    async fn part_from_talker(&mut self) -> io::Result<()> {
        if !self.peer.greeted && self.discard().await {
            return self.close(Close::Orderly).await;
        }
        self.part().await
    }

    async fn close(&mut self, how: Close) -> io::Result<()> {
        timeout(self.config.linger, self.transport.close(how)).await?
    }

    /// Reads and forgets what comes, for a bounded time; whether the peer has ended.
    async fn discard(&mut self) -> bool {
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        let discarding = async {
            loop {
                input.clear();
                match receive(&mut self.transport, &mut input, &mut output).await {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
        };
        timeout(self.config.linger, discarding).await.unwrap_or(false)
    }
}

/// Reads once, appending to `input`; 0 is the end of the stream. The chunk read into lives on the stack, and buffers with
/// nothing in them are given back before waiting, so a connection that waits holds none.
///
/// Cancel safe: what was read is in `input`.
async fn receive<T: Transport>(
    transport: &mut T,
    input: &mut BytesMut,
    output: &mut BytesMut,
) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut chunk = [const { MaybeUninit::uninit() }; CHUNK_BYTES];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        let Poll::Ready(read) = Pin::new(&mut *transport).poll_read(cx, &mut chunk) else {
            give_back(input);
            give_back(output);
            return Poll::Pending;
        };
        input.extend_from_slice(chunk.filled());
        Poll::Ready(read.map(|()| chunk.filled().len()))
    })
    .await
}

fn give_back(buffer: &mut BytesMut) {
    if buffer.is_empty() {
        *buffer = BytesMut::new();
    }
}

/// Waits for a time, for ever if there is none.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// Read at most at once: some hundred requests, and small beside a runtime thread's stack of 2 MiB.
const CHUNK_BYTES: usize = 16 * 1024;

/// How long after the last write a connection is reset at the earliest. A reset throws away what the peer's system has not
/// acknowledged, and on some systems what its program has not read; there is no portable way to learn of either.
const RESET_GRACE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    fn size_of_output<A, R>(_: impl Fn(A) -> R) -> usize {
        size_of::<R>()
    }

    #[tokio::test]
    async fn waiting_gives_empty_buffers_back() {
        let (mut pipe, _peer) = tokio::io::duplex(16);
        let (mut input, mut output) = (BytesMut::from("pin"), BytesMut::with_capacity(1024));
        for held in [3, 0] {
            let read = receive(&mut pipe, &mut input, &mut output);
            assert!(timeout(Duration::ZERO, read).await.is_err());
            assert_eq!((input.len(), output.capacity()), (held, 0));
            input.clear();
        }
        assert_eq!(input.capacity(), 0);
    }

    #[test]
    fn an_idle_connection_is_small() {
        let bytes = size_of_output(Connection::<TcpStream>::run);
        assert!(bytes <= 1280, "a connection's task holds {bytes} bytes");
    }
}
