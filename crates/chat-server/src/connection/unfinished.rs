//! [`Unfinished`]: a line whose rest is waited for.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Sleep, sleep};

use crate::seats::Claim;

/// The limits on a line that came in part: the time it has, and what it may hold.
#[derive(Debug)]
pub(super) struct Unfinished {
    time: Pin<Box<Sleep>>,
    claim: Claim,
}

impl Unfinished {
    /// Its time begins.
    pub(super) fn new(input: &mut BytesMut, time: Duration, claim: Claim) -> Self {
        fit(input);
        Self { time: Box::pin(sleep(time)), claim }
    }

    /// Counts what is held of the line, and waits until its time is over.
    pub(super) fn poll_over(&mut self, input: &BytesMut, cx: &mut Context<'_>) -> Poll<()> {
        self.claim.hold(input.capacity());
        self.time.as_mut().poll(cx)
    }
}

/// Lets a buffer hold what is in it and no more. As parts of it are taken out it keeps their room, and does not tell.
pub(super) fn fit(buffer: &mut BytesMut) {
    *buffer = BytesMut::from(&buffer[..]);
}
