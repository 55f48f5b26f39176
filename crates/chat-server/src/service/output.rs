//! [`Output`]: encoded replies and events on their way out.

use bytes::BytesMut;
use chat_core::protocol::{Event, Reply};

/// Encoded replies in the order of their requests, and whole events between them.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: BytesMut,
}

impl Output {
    /// Makes room for so many short replies.
    pub(crate) fn reserve(&mut self, replies: usize) {
        self.bytes.reserve(replies * SHORT_REPLY_BYTES);
    }

    pub(crate) fn reply(&mut self, reply: &Reply<'_>) {
        reply.encode(&mut self.bytes);
    }

    pub(crate) fn event(&mut self, event: &Event<'_>) {
        event.encode(&mut self.bytes);
    }

    /// What is to be written; what was written is advanced over.
    pub(crate) fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// What the OK to a `send` takes, rounded up.
const SHORT_REPLY_BYTES: usize = 64;
