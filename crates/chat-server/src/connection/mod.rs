//! [`Connection`]: one peer. Bytes in, frames, the service, bytes out; the limits on waiting; the end.

mod ending;
mod receive;

use std::future::{Future, pending};
use std::io;
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use chat_core::protocol::{ErrorCode, Reply, ServerCodec};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::Decoder as _;
use tracing::debug;

use self::ending::Ending;
use self::receive::receive;
use crate::peer::Peer;
use crate::seats::Seat;
use crate::service::{Output, Service};
use crate::{ServerConfig, Transport};

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
    output: Output,
    /// When the last read brought something.
    heard: Instant,
    /// When the first byte of the unfinished line came.
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
        if self.output.len() > 0 {
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

    async fn write(&mut self) -> Result<(), Ending> {
        while self.output.len() > 0 {
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
        let bytes = self.output.bytes();
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
            read = receive(&mut self.transport, &mut self.input, self.output.bytes()) => read,
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
