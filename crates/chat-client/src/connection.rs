//! [`Connection`]: one stream; writes requests, reads replies and events, and matches replies in order.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use chat_core::protocol::{ClientCodec, CodecError, Event, Frame, ReplyError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::Decoder;

use crate::ClientError;
use crate::request::Call;

/// How a connection ended, or why none could be made.
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
    /// The server owed a reply and sent nothing for [`crate::ConnectOptions::reply_timeout`].
    #[error("the server was silent for {limit:?}")]
    Silent {
        /// The limit.
        limit: Duration,
    },
    /// A reply was longer than [`crate::ConnectOptions::max_reply_bytes`].
    #[error("the server sent a reply longer than {max_reply_bytes} bytes")]
    ReplyTooLong {
        /// The limit, in bytes.
        max_reply_bytes: usize,
    },
    /// The server sent a reply to nothing, so later ones could no longer be trusted.
    #[error("the server sent a reply that nothing asked for")]
    Unasked,
    /// The server sent an event that lacks what such an event must have.
    #[error("the server sent an event that makes no sense")]
    BadEvent(#[source] Arc<ReplyError>),
    /// No new connection could be made.
    #[error("no new connection could be made")]
    Connect(#[source] Arc<ClientError>),
    /// This side closed it.
    #[error("this client closed the connection")]
    ByClient,
}

/// What may be held and waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) in_flight_requests: usize,
    pub(crate) max_reply_bytes: usize,
    /// How long the server may owe a reply without sending anything.
    pub(crate) reply_timeout: Duration,
}

/// Whom a reply is for.
pub(crate) enum Ticket {
    /// Whoever made the connection.
    Hello,
    Call(Call),
    /// The watch of that number.
    Watch(u64),
    /// Nobody: `unwatch`, and a `ping` that looks for a sign of life.
    Nobody,
}

/// What came.
pub(crate) enum Incoming {
    Reply(Ticket, Frame),
    Event(Event<'static>),
}

/// A connection and what is on its way over it.
pub(crate) struct Connection<T> {
    reader: ReadHalf<T>,
    writer: WriteHalf<T>,
    codec: ClientCodec,
    input: BytesMut,
    output: Output,
    in_flight: VecDeque<InFlight>,
    bounds: Bounds,
    last_read: Instant,
    /// Writing failed. The server may have said why before it stopped reading; that is read until then.
    broken: Option<(CloseReason, Instant)>,
}

struct InFlight {
    ticket: Ticket,
    /// Where its line begins in what was ever put into `output`.
    begins_at: u64,
    pushed_at: Instant,
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
            last_read: Instant::now(),
            broken: None,
        }
    }

    /// Allows this many requests in flight from now on.
    pub(crate) fn set_in_flight_requests(&mut self, limit: usize) {
        self.bounds.in_flight_requests = limit;
    }

    /// Sends the first request and waits for its reply. Not cancel safe: drop the connection too.
    pub(crate) async fn exchange(&mut self, line: &[u8]) -> Result<Frame, CloseReason> {
        self.push(line, Ticket::Hello);
        loop {
            match self.incoming()? {
                Some(Incoming::Reply(_, frame)) => return Ok(frame),
                Some(Incoming::Event(_)) => {}
                None => self.turn(true).await?,
            }
        }
    }

    /// Puts a line on its way.
    pub(crate) fn push(&mut self, line: &[u8], ticket: Ticket) {
        let begins_at = self.output.push(line);
        self.in_flight.push_back(InFlight { ticket, begins_at, pushed_at: Instant::now() });
    }

    /// How many more calls may be taken now.
    pub(crate) fn room(&self) -> usize {
        if self.output.bytes.len() >= OUTPUT_BYTES || self.broken.is_some() {
            return 0;
        }
        self.bounds.in_flight_requests.saturating_sub(self.in_flight.len()).min(BATCH_REQUESTS)
    }

    /// Writes or reads once; without `may_read` only that what is written. Cancel safe: what was read is in `input`,
    /// what was not written in `output`.
    ///
    /// Writing comes first so that the order does not depend on chance. It cannot starve reading, because what there
    /// is to write is bounded by what may be in flight.
    pub(crate) async fn turn(&mut self, may_read: bool) -> Result<(), CloseReason> {
        self.input.reserve(READ_BYTES);
        let broken = self.broken.is_some();
        tokio::select! {
            biased;
            written = self.output.write_some(&mut self.writer), if !broken && !self.output.is_written() => {
                if let Err(error) = written {
                    self.broken = Some((failed(error), Instant::now() + LINGER));
                }
                Ok(())
            }
            read = read_some(&mut self.reader, &mut self.input, self.broken.as_ref()), if may_read => {
                self.last_read = Instant::now();
                read
            }
            else => pending().await,
        }
    }

    /// The next that is complete of what was read.
    pub(crate) fn incoming(&mut self) -> Result<Option<Incoming>, CloseReason> {
        let Some(frame) = self.decode()? else {
            return Ok(None);
        };
        if let Some(event) = event_of(&frame)? {
            return Ok(Some(Incoming::Event(event)));
        }
        let in_flight = self.in_flight.pop_front().ok_or(CloseReason::Unasked)?;
        Ok(Some(Incoming::Reply(in_flight.ticket, frame)))
    }

    /// When to look again whether the server owes a reply for too long; `None` if it owes none.
    ///
    /// # Errors
    /// It does now.
    pub(crate) fn reply_deadline(&self) -> Result<Option<Instant>, CloseReason> {
        let Some(oldest) = self.in_flight.front() else {
            return Ok(None);
        };
        let limit = self.bounds.reply_timeout;
        let deadline = later(oldest.pushed_at.max(self.last_read), limit);
        if Instant::now() < deadline {
            Ok(Some(deadline))
        } else {
            Err(CloseReason::Silent { limit })
        }
    }

    /// Whether the server owes no reply.
    pub(crate) fn is_owed_nothing(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// When something was last read.
    pub(crate) fn last_read(&self) -> Instant {
        self.last_read
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.output.is_written()
    }

    /// Ends the connection in order: this side's direction first, so that what the server still sends does not turn
    /// the end into a reset.
    pub(crate) async fn shut_down(mut self) {
        let _ = timeout(LINGER, async {
            self.writer.shutdown().await?;
            while self.reader.read_buf(&mut self.input).await? > 0 {
                self.input.clear();
            }
            io::Result::Ok(())
        })
        .await;
    }

    /// What was not answered, oldest first, and whether any of it was written.
    pub(crate) fn into_unanswered(self) -> impl Iterator<Item = (Ticket, bool)> {
        let written = self.output.written;
        self.in_flight
            .into_iter()
            .map(move |in_flight| (in_flight.ticket, in_flight.begins_at < written))
    }

    fn decode(&mut self) -> Result<Option<Frame>, CloseReason> {
        self.codec.decode(&mut self.input).map_err(|error| match error {
            CodecError::Io(error) => failed(error),
            _ => CloseReason::ReplyTooLong { max_reply_bytes: self.bounds.max_reply_bytes },
        })
    }
}

/// Bytes on their way out.
#[derive(Default)]
struct Output {
    bytes: BytesMut,
    unflushed: bool,
    /// How many bytes the stream has taken.
    written: u64,
    /// How many were ever pushed.
    pushed: u64,
}

impl Output {
    /// Returns where `line` begins.
    fn push(&mut self, line: &[u8]) -> u64 {
        let begins_at = self.pushed;
        self.bytes.extend_from_slice(line);
        self.pushed += length(line.len());
        begins_at
    }

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
            let written = writer.write_buf(&mut self.bytes).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += length(written);
        }
        Ok(())
    }
}

/// Cancel safe.
async fn read_some(
    reader: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
    broken: Option<&(CloseReason, Instant)>,
) -> Result<(), CloseReason> {
    let read = match broken {
        None => reader.read_buf(input).await,
        Some((reason, until)) => match timeout_at(*until, reader.read_buf(input)).await {
            Ok(Ok(1..)) => return Ok(()),
            _ => return Err(reason.clone()),
        },
    };
    match read.map_err(failed)? {
        0 if input.is_empty() => Err(CloseReason::EndOfStream),
        0 => Err(CloseReason::CutReply),
        _ => Ok(()),
    }
}

/// The event in a frame, if it is one. Replies begin with their status, which saves looking closer.
fn event_of(frame: &Frame) -> Result<Option<Event<'static>>, CloseReason> {
    if frame.as_bytes().starts_with(REPLY_START) {
        return Ok(None);
    }
    Event::decode(frame).map_err(|error| CloseReason::BadEvent(Arc::new(error)))
}

fn failed(error: io::Error) -> CloseReason {
    CloseReason::Io(Arc::new(error))
}

/// A time that may lie beyond what can be told.
pub(crate) fn later(time: Instant, wait: Duration) -> Instant {
    time.checked_add(wait).unwrap_or_else(|| time + FAR)
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

const REPLY_START: &[u8] = br#"{"status""#;
/// Room made for each read: several short replies, and a page of 1 MiB in a tolerable number of reads.
const READ_BYTES: usize = 16 * 1024;
/// Requests are no longer taken when this much waits to be written, so memory is bounded by this and one batch.
const OUTPUT_BYTES: usize = 64 * 1024;
/// The most requests taken at once.
const BATCH_REQUESTS: usize = 64;
/// How long the other side may take to end its direction, as the server gives its clients.
const LINGER: Duration = Duration::from_secs(2);
/// Ten years.
const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
