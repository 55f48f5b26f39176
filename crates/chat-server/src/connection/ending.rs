//! How a connection ends, by why it does.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use chat_core::protocol::Event;
use chat_core::store::StoreError;
use tokio::time::{sleep_until, timeout};
use tracing::{debug, warn};

use super::Connection;
use super::receive::receive;
use crate::{Close, Transport};

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    #[error("the peer sends no more")]
    PeerEnded,
    #[error("the server stops or needs the place")]
    Asked,
    #[error("a line stayed unfinished for too long")]
    UnfinishedLine,
    #[error("the memory of its unfinished line is needed")]
    MemoryNeeded,
    /// It is answered.
    #[error("a line was too long")]
    FrameTooLong,
    #[error("its watch cannot go on: {0}")]
    WatchFailed(StoreError),
    #[error("the peer does not read")]
    Stalled,
    #[error("the transport failed: {0}")]
    Broken(io::Error),
}

impl<T: Transport> Connection<T> {
    pub(super) async fn end(&mut self, ending: Ending) {
        let watched = self.peer.watcher.take().is_some();
        if let Ending::WatchFailed(error) = &ending
            && *error != StoreError::StaleIncarnation
        {
            let why = "closing a connection whose watch cannot go on";
            self.peer.name.log(|| warn!(%error, "{why}"));
        }
        let closed = match ending {
            Ending::PeerEnded => self.end_with_peer().await,
            Ending::Asked if watched => self.part_from_watcher().await,
            Ending::Asked
            | Ending::UnfinishedLine
            | Ending::MemoryNeeded
            | Ending::WatchFailed(_) => self.part().await,
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
            if let Ok(failure) =
                timeout(self.service.config().linger, self.transport.failure()).await
            {
                return Err(failure);
            }
            self.service.confirm(&mut self.peer).await;
        }
        Ok(())
    }

    /// Ends a connection that has nothing unanswered. An existing client fails at a reset and loops for ever at an end of
    /// stream, so only who said `hello` gets one.
    async fn part(&mut self) -> io::Result<()> {
        (self.input, self.unfinished) = (BytesMut::new(), None);
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

    async fn part_from_watcher(&mut self) -> io::Result<()> {
        self.output.event(&Event::Shutdown);
        match self.write().await {
            Ok(()) => self.part().await,
            Err(_) => self.close(Close::Reset).await,
        }
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
        timeout(self.service.config().linger, self.transport.close(how)).await?
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
        timeout(self.service.config().linger, discarding).await.unwrap_or(false)
    }
}

/// How long after the last write a connection is reset at the earliest. A reset throws away what the peer's system has not
/// acknowledged, and on some systems what its program has not read; there is no portable way to learn of either.
const RESET_GRACE: Duration = Duration::from_millis(200);
