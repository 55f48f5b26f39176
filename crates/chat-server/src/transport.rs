//! [`Transport`]: the bytes of one connection, and how it ends.

use std::future::{Future, pending};
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, Interest};
use tokio::net::TcpStream;

use crate::ServerConfig;

/// One connection: a stream of bytes each way, and the two ways it can end.
///
/// TCP and Unix sockets and tokio's in-memory pipes are transports; an embedder brings another by this trait. Only
/// [`close`](Self::close) has to be written: for most transports the `DuplexStream` implementation will do, which shuts
/// down on [`Close::Orderly`] and does nothing on [`Close::Reset`].
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Sets the options of a connection that was just accepted, such as keepalive. Called once, before the first read.
    /// Default: nothing.
    ///
    /// # Errors
    /// The connection cannot be used; it is dropped.
    fn configure(&mut self, config: &ServerConfig) -> io::Result<()> {
        let _ = config;
        Ok(())
    }

    /// Ends the connection in one of the two ways; nothing is written after it. Before an orderly end everything written
    /// so far goes out; a reset may throw it away. After a reset the transport is dropped, which must end it.
    ///
    /// # Errors
    /// The connection had failed already, or failed now.
    fn close(&mut self, how: Close) -> impl Future<Output = io::Result<()>> + Send;

    /// Whether the peer's end of stream has arrived, with nothing unread before it. Default, and where that cannot be
    /// told: `false`.
    fn peer_has_ended(&self) -> bool {
        false
    }

    /// Tries to write at once, without waiting for readiness, and returns how many bytes were accepted. Called when waiting
    /// to write took too long: a socket becomes writable only once a good part of its buffer is free, so a peer that reads
    /// slowly can look like one that does not read. Default: `WouldBlock`.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is accepted, or the connection's failure.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = bytes;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Waits until the connection fails, which may be never. Called when both directions have ended and reading shows
    /// nothing more. Default: waits for ever.
    ///
    /// # Cancel safety
    /// An implementation must be cancel safe.
    fn failure(&mut self) -> impl Future<Output = io::Error> + Send {
        pending()
    }
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// At once and as a failure: the peer's next read or write fails.
    Reset,
    /// By an end of stream: the peer reads what was sent, then an end. Reading goes on.
    Orderly,
}

impl Transport for TcpStream {
    /// Besides nodelay and keepalive it sets a zero linger, so that a connection that is dropped without [`close`], by a
    /// panic, a runtime that goes away or the death of the process, ends by a reset too: an existing client that waits for
    /// a reply fails at a reset and loops for ever at an end of stream.
    ///
    /// [`close`]: Transport::close
    fn configure(&mut self, config: &ServerConfig) -> io::Result<()> {
        let keepalive = TcpKeepalive::new()
            .with_time(config.keepalive)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_RETRIES);
        self.set_nodelay(true)?;
        SockRef::from(&*self).set_tcp_keepalive(&keepalive)?;
        self.set_zero_linger()
    }

    async fn close(&mut self, how: Close) -> io::Result<()> {
        match how {
            Close::Reset => {
                self.set_zero_linger()?;
                // Dropping the stream now resets it; the descriptor is the caller's.
                Ok(())
            }
            Close::Orderly => {
                SockRef::from(&*self).set_linger(None)?;
                self.shutdown().await
            }
        }
    }

    fn peer_has_ended(&self) -> bool {
        end_of_stream_waits(&SockRef::from(self))
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(&*self).send(bytes)
    }

    /// Once the peer's end of stream was read, Linux goes on reading "end" even when a reset comes; the error is shown
    /// only as such.
    async fn failure(&mut self) -> io::Error {
        match self.ready(Interest::ERROR).await {
            Ok(_) => self.take_error().ok().flatten().unwrap_or_else(unnamed_failure),
            Err(error) => error,
        }
    }
}

#[cfg(unix)]
impl Transport for tokio::net::UnixStream {
    /// A Unix socket knows no reset: either way the peer reads an end of stream, or a failure if it sent what was not read.
    async fn close(&mut self, how: Close) -> io::Result<()> {
        match how {
            Close::Reset => Ok(()),
            Close::Orderly => self.shutdown().await,
        }
    }

    fn peer_has_ended(&self) -> bool {
        end_of_stream_waits(&SockRef::from(self))
    }

    async fn failure(&mut self) -> io::Error {
        match self.ready(Interest::ERROR).await {
            Ok(_) => self.take_error().ok().flatten().unwrap_or_else(unnamed_failure),
            Err(error) => error,
        }
    }
}

impl Transport for DuplexStream {
    /// A pipe knows no reset: the peer reads an end of stream once this end is dropped.
    async fn close(&mut self, how: Close) -> io::Result<()> {
        match how {
            Close::Reset => Ok(()),
            Close::Orderly => self.shutdown().await,
        }
    }
}

/// Asks the socket itself, past the runtime's record of readiness, which may lag behind.
fn end_of_stream_waits(socket: &SockRef<'_>) -> bool {
    matches!(socket.peek(&mut [MaybeUninit::uninit()]), Ok(0))
}

fn unnamed_failure() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

/// With [`KEEPALIVE_RETRIES`] a dead peer is noticed a minute after the first question.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;
