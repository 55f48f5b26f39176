//! [`Socket`]: one end of a connection, as a stream, and as the transport that a server has.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use chat_server::{Close, ServerConfig, Transport};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::wire::{Segment, Wire};

/// One end of a connection.
pub(crate) struct Socket {
    wire: Arc<Mutex<Wire>>,
    side: usize,
    /// Whether letting go of it resets the connection.
    resets: bool,
    read_timer: Pin<Box<Sleep>>,
    write_timer: Pin<Box<Sleep>>,
}

impl Socket {
    pub(super) fn new(wire: Arc<Mutex<Wire>>, side: usize) -> Self {
        let timer = || Box::pin(sleep(Duration::ZERO));
        Self { wire, side, resets: false, read_timer: timer(), write_timer: timer() }
    }

    /// Breaks the connection off.
    pub(crate) fn reset(mut self) {
        self.resets = true;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.wire.lock().unwrap().let_go(self.side, self.resets);
    }
}

/// Waits until that time; `Ready` if it has come.
fn wait(timer: &mut Pin<Box<Sleep>>, until: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(until) = until else {
        return Poll::Pending;
    };
    timer.as_mut().reset(until);
    timer.as_mut().poll(cx)
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut wire = this.wire.lock().unwrap();
        if wire.jitters() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if let Some(read) = wire.read(this.side, buffer) {
                return Poll::Ready(read);
            }
            let next = wire.ends[this.side].arriving.front().map(|(at, _)| wire.due(*at));
            wire.ends[this.side].reader = Some(cx.waker().clone());
            if wait(&mut this.read_timer, next, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut wire = this.wire.lock().unwrap();
        if wire.jitters() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if let Some(written) = wire.write(this.side, bytes) {
                return Poll::Ready(written);
            }
            let failure = wire.failure_at(this.side);
            wire.ends[this.side].writer = Some(cx.waker().clone());
            if wait(&mut this.write_timer, failure, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.wire.lock().unwrap();
        if let Some(kind) = wire.failure(self.side) {
            return Poll::Ready(Err(kind.into()));
        }
        if !std::mem::replace(&mut wire.ends[self.side].shut, true) {
            wire.send(1 - self.side, Segment::End);
        }
        Poll::Ready(Ok(()))
    }
}

impl Transport for Socket {
    fn configure(&mut self, _: &ServerConfig) -> io::Result<()> {
        self.resets = true;
        Ok(())
    }

    async fn close(&mut self, how: Close) -> io::Result<()> {
        match how {
            Close::Reset => Ok(()),
            Close::Orderly => {
                self.resets = false;
                self.shutdown().await
            }
        }
    }

    fn peer_has_ended(&self) -> bool {
        let wire = self.wire.lock().unwrap();
        let front = wire.ends[self.side].arriving.front();
        front.is_some_and(|(at, segment)| matches!(segment, Segment::End) && wire.is_due(*at))
    }

    async fn failure(&mut self) -> io::Error {
        poll_fn(|cx| {
            let mut wire = self.wire.lock().unwrap();
            loop {
                if let Some(kind) = wire.failure(self.side) {
                    return Poll::Ready(kind.into());
                }
                let failure = wire.failure_at(self.side);
                wire.ends[self.side].writer = Some(cx.waker().clone());
                if wait(&mut self.write_timer, failure, cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}
