//! [`Deaf`]: a peer that sends and does not read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use chat_server::{Close, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Sends the same requests again and again, as fast as they are read, takes the first so many writes, and then nothing.
#[derive(Debug)]
pub(crate) struct Deaf {
    requests: Vec<u8>,
    times: usize,
    /// What was read of the requests that are sent now.
    position: usize,
    writes: usize,
    seen: Arc<Seen>,
}

/// What a deaf peer sees of the server.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    read: AtomicUsize,
    offered: AtomicUsize,
    stuck: Notify,
}

impl Deaf {
    /// Sends its requests so many times, and takes so many writes.
    pub(crate) fn new(requests: String, times: usize, writes: usize) -> (Self, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        let requests = requests.into_bytes();
        (Self { requests, times, position: 0, writes, seen: Arc::clone(&seen) }, seen)
    }
}

impl Seen {
    /// Waits for a write that is not taken; how many bytes the server has read then, and how many it has offered at once.
    pub(crate) async fn stuck(&self) -> (usize, usize) {
        self.stuck.notified().await;
        (self.read.load(Ordering::Relaxed), self.offered.load(Ordering::Relaxed))
    }
}

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.times > 0 && buffer.remaining() > 0 {
            let rest = &self.requests[self.position..];
            let piece = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..piece]);
            self.seen.read.fetch_add(piece, Ordering::Relaxed);
            self.position += piece;
            if self.position == self.requests.len() {
                (self.position, self.times) = (0, self.times - 1);
            }
        }
        if buffer.filled().is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.seen.offered.fetch_max(bytes.len(), Ordering::Relaxed);
        if self.writes > 0 {
            self.writes -= 1;
            return Poll::Ready(Ok(bytes.len()));
        }
        self.seen.stuck.notify_one();
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Transport for Deaf {
    async fn close(&mut self, _: Close) -> io::Result<()> {
        Ok(())
    }
}
