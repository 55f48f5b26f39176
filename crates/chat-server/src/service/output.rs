//! [`Output`]: encoded replies and events on their way out.

use bytes::BytesMut;
use chat_core::Timestamp;
use chat_core::protocol::{Event, Posted, Reply};
use chat_core::store::Receipt;

/// Encoded replies in the order of their requests, and whole events between them.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: BytesMut,
}

impl Output {
    /// Makes room for the replies to so many messages.
    pub(crate) fn reserve(&mut self, replies: usize, posted: bool) {
        self.bytes.reserve(replies * if posted { POSTED_BYTES } else { SENT_BYTES });
    }

    pub(crate) fn reply(&mut self, reply: &Reply<'_>) {
        reply.encode(&mut self.bytes);
    }

    /// The reply to a `post`; of the replies before it, that of the same moment is copied but for its id.
    pub(crate) fn posted(
        &mut self,
        receipt: Receipt,
        durability: &'static str,
        before: &mut Option<PostedFrame>,
    ) {
        let Receipt { id, time, duplicate } = receipt;
        if let Some(frame) = before.as_ref().filter(|frame| frame.of == (time, duplicate)) {
            self.bytes.extend_from_slice(POSTED_HEAD);
            self.bytes.extend_from_slice(&id.hex());
            self.bytes.extend_from_slice(&frame.tail);
            return;
        }
        let (from, hex) = (self.bytes.len(), id.to_string());
        let (id, durability) = (hex.as_str().into(), durability.into());
        self.reply(&Reply::Posted(Posted { id, time, duplicate, durability }));
        let reply = self.bytes.get(from..).and_then(|reply| reply.strip_prefix(POSTED_HEAD));
        let tail = reply.and_then(|reply| reply.strip_prefix(hex.as_bytes()));
        *before = tail.map(|tail| PostedFrame { of: (time, duplicate), tail: tail.into() });
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

/// What replies to posts of one moment have in common behind the id.
#[derive(Debug)]
pub(crate) struct PostedFrame {
    /// Time and whether it is a duplicate.
    of: (Timestamp, bool),
    tail: Box<[u8]>,
}

/// What the OK to a `send` takes, rounded up.
const SENT_BYTES: usize = 64;
/// The same of a `post`.
const POSTED_BYTES: usize = 160;
/// What stands before the id of a reply to `post`.
const POSTED_HEAD: &[u8] = b"{\"status\": \"OK\", \"id\": \"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_to_posts_are_the_same_copied_or_not() {
        let receipt = |id: u8, time, duplicate| Receipt {
            id: format!("{id:032x}").parse().unwrap(),
            time: Timestamp::from_millis(time),
            duplicate,
        };
        let receipts = [(1, 5, false), (2, 5, false), (3, 6, false), (4, 6, true), (5, 6, true)]
            .map(|(id, time, duplicate)| receipt(id, time, duplicate));
        let (mut output, mut expected) = (Output::default(), Output::default());
        let mut before: Option<PostedFrame> = None;
        let mut copied = 0;
        for Receipt { id, time, duplicate } in receipts {
            copied +=
                usize::from(before.as_ref().is_some_and(|frame| frame.of == (time, duplicate)));
            output.posted(Receipt { id, time, duplicate }, "memory", &mut before);
            let (id, durability) = (id.to_string().into(), "memory".into());
            expected.reply(&Reply::Posted(Posted { id, time, duplicate, durability }));
        }
        assert_eq!(output.bytes(), expected.bytes());
        assert_eq!(copied, 2);
    }
}
