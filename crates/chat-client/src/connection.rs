//! The connection task: writes requests, reads replies, and matches them in order.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use chat_core::protocol::{ClientCodec, CodecError, Frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::codec::Decoder;
use tokio_util::sync::CancellationToken;

use crate::request::Request;

/// How a connection ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The server closed it.
    #[error("the server closed the connection")]
    EndOfStream,
    /// The server closed it with a reply half sent.
    #[error("the server closed the connection in the middle of a reply")]
    CutReply,
    /// The transport failed.
    #[error("the connection failed")]
    Io(#[source] Arc<io::Error>),
    /// A reply was longer than [`crate::ConnectOptions::max_reply_bytes`].
    #[error("the server sent a reply longer than {max_reply_bytes} bytes")]
    ReplyTooLong {
        /// The limit, in bytes.
        max_reply_bytes: usize,
    },
    /// The server sent a reply to nothing, so later ones could no longer be trusted.
    #[error("the server sent a reply that nothing asked for")]
    Unasked,
    /// This side closed it.
    #[error("this client closed the connection")]
    ByClient,
}

/// Both ends of what the handles and the task share.
pub(crate) struct Inbound {
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Cancelled when no further request shall be taken.
    pub(crate) closing: CancellationToken,
    /// Set before any waiting handle is told that there will be no reply.
    pub(crate) closed: Arc<OnceLock<CloseReason>>,
}

/// What may be held and waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) in_flight_requests: usize,
    pub(crate) max_reply_bytes: usize,
    /// How long replies are waited for once no further request can come.
    pub(crate) finish_timeout: Duration,
}

/// A connection and what is on its way over it.
pub(crate) struct Connection<T> {
    reader: ReadHalf<T>,
    writer: WriteHalf<T>,
    codec: ClientCodec,
    input: BytesMut,
    output: Output,
    in_flight: VecDeque<oneshot::Sender<Frame>>,
    bounds: Bounds,
}

impl<T: AsyncRead + AsyncWrite> Connection<T> {
    pub(crate) fn new(stream: T, bounds: Bounds) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader,
            writer,
            codec: ClientCodec::new(bounds.max_reply_bytes),
            input: BytesMut::new(),
            output: Output::default(),
            in_flight: VecDeque::new(),
            bounds,
        }
    }

    /// Allows this many requests in flight from now on.
    pub(crate) fn set_in_flight_requests(&mut self, limit: usize) {
        self.bounds.in_flight_requests = limit;
    }

    /// Sends one request and waits for its reply, before the task runs. Not cancel safe: drop the connection too.
    pub(crate) async fn exchange(&mut self, line: BytesMut) -> Result<Frame, CloseReason> {
        let (reply, mut answer) = oneshot::channel();
        self.push(Request { line, reply });
        while !self.is_idle() {
            self.turn().await?;
        }
        answer.try_recv().map_err(|_| CloseReason::EndOfStream)
    }

    /// Serves until the handles are gone, one of them closes, or the connection fails.
    pub(crate) async fn run(mut self, mut inbound: Inbound) {
        let reason = match self.run_inner(&mut inbound).await {
            Ok(()) => CloseReason::ByClient,
            Err(reason) => reason,
        };
        tracing::debug!(%reason, "connection ended");
        // Before `self` and `inbound` go, because their going tells the handles to look here.
        let _ = inbound.closed.set(reason);
    }

    async fn run_inner(&mut self, inbound: &mut Inbound) -> Result<(), CloseReason> {
        self.serve(inbound).await?;
        let _ = timeout(self.bounds.finish_timeout, self.finish()).await;
        Ok(())
    }

    /// Takes and answers requests. Returns when no more can come.
    async fn serve(&mut self, inbound: &mut Inbound) -> Result<(), CloseReason> {
        let mut batch = Vec::new();
        loop {
            let room = self.room();
            tokio::select! {
                turned = self.turn() => turned?,
                taken = inbound.requests.recv_many(&mut batch, room), if room > 0 => {
                    if taken == 0 {
                        return Ok(());
                    }
                }
                () = inbound.closing.cancelled(), if !inbound.requests.is_closed() => {
                    inbound.requests.close();
                }
            }
            batch.drain(..).for_each(|request| self.push(request));
        }
    }

    /// Waits for the replies still due, then ends the connection in order: this side's direction first, so that
    /// what the server still sends does not turn the end into a reset.
    async fn finish(&mut self) -> Result<(), CloseReason> {
        while !self.is_idle() {
            self.turn().await?;
        }
        self.writer.shutdown().await.map_err(failed)?;
        let _ = timeout(LINGER, self.read_to_end()).await;
        Ok(())
    }

    /// Reads or writes once. Cancel safe: what was read is in `input`, what was not written in `output`.
    async fn turn(&mut self) -> Result<(), CloseReason> {
        self.input.reserve(READ_BYTES);
        tokio::select! {
            read = self.reader.read_buf(&mut self.input) => self.received(read),
            written = self.output.write_some(&mut self.writer), if !self.output.is_written() => {
                match written {
                    Ok(()) => Ok(()),
                    Err(error) => Err(self.last_words(error).await),
                }
            }
        }
    }

    /// After a failed write: the server may have said why before it stopped reading.
    async fn last_words(&mut self, error: io::Error) -> CloseReason {
        let _ = timeout(LINGER, self.read_to_end()).await;
        failed(error)
    }

    async fn read_to_end(&mut self) -> Result<(), CloseReason> {
        loop {
            self.input.reserve(READ_BYTES);
            let read = self.reader.read_buf(&mut self.input).await;
            self.received(read)?;
        }
    }

    /// Hands out the replies that are complete.
    fn received(&mut self, read: io::Result<usize>) -> Result<(), CloseReason> {
        if read.map_err(failed)? == 0 {
            return Err(if self.input.is_empty() {
                CloseReason::EndOfStream
            } else {
                CloseReason::CutReply
            });
        }
        while let Some(frame) = self.decode()? {
            let waiting = self.in_flight.pop_front().ok_or(CloseReason::Unasked)?;
            // Nobody there means that the call was dropped or timed out; its reply is done with all the same.
            let _ = waiting.send(frame);
        }
        Ok(())
    }

    fn decode(&mut self) -> Result<Option<Frame>, CloseReason> {
        self.codec.decode(&mut self.input).map_err(|error| match error {
            CodecError::Io(error) => failed(error),
            _ => CloseReason::ReplyTooLong { max_reply_bytes: self.bounds.max_reply_bytes },
        })
    }

    fn push(&mut self, request: Request) {
        self.output.bytes.extend_from_slice(&request.line);
        self.in_flight.push_back(request.reply);
    }

    /// How many more requests may be taken now.
    fn room(&self) -> usize {
        if self.output.bytes.len() >= OUTPUT_BYTES {
            return 0;
        }
        self.bounds.in_flight_requests.saturating_sub(self.in_flight.len()).min(BATCH_REQUESTS)
    }

    fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.output.is_written()
    }
}

/// Bytes on their way out.
#[derive(Default)]
struct Output {
    bytes: BytesMut,
    unflushed: bool,
}

impl Output {
    fn is_written(&self) -> bool {
        self.bytes.is_empty() && !self.unflushed
    }

    /// Writes once, or flushes when all is written. Cancel safe.
    async fn write_some(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.bytes.is_empty() {
            writer.flush().await?;
            self.unflushed = false;
        } else {
            self.unflushed = true;
            if writer.write_buf(&mut self.bytes).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

fn failed(error: io::Error) -> CloseReason {
    CloseReason::Io(Arc::new(error))
}

/// Room made for each read: several short replies, and a page of 1 MiB in a tolerable number of reads.
const READ_BYTES: usize = 16 * 1024;
/// Requests are no longer taken when this much waits to be written, so memory is bounded by this and one batch.
const OUTPUT_BYTES: usize = 64 * 1024;
/// The most requests taken at once.
const BATCH_REQUESTS: usize = 64;
/// How long the other side may take to end its direction, as the server gives its clients.
const LINGER: Duration = Duration::from_secs(2);
