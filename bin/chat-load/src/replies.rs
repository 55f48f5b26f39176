//! Whole replies out of a stream of bytes.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use memchr::memmem;
use serde::Deserialize;

/// The bytes that came and were not yet taken, cut into replies. A reply ends at `\r\n\r\n`.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    buffer: BytesMut,
    /// No end of a reply begins before this place in the buffer.
    scanned: usize,
}

/// One reply, told apart as far as a load tester must.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The reply to `send`, byte for byte as most servers give it.
    Sent,
    /// Any other, without its end.
    Other(BytesMut),
}

impl Replies {
    /// Where to read into.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ_BYTES);
        &mut self.buffer
    }

    /// The next whole reply.
    pub(crate) fn next(&mut self) -> Option<Reply> {
        if self.scanned == 0 && self.buffer.starts_with(SENT) {
            self.buffer.advance(SENT.len());
            return Some(Reply::Sent);
        }
        let found = self.buffer.get(self.scanned..).and_then(|rest| memmem::find(rest, END));
        let Some(at) = found else {
            self.scanned = self.buffer.len().saturating_sub(END.len() - 1);
            return None;
        };
        let reply = self.buffer.split_to(self.scanned + at);
        self.buffer.advance(END.len());
        self.scanned = 0;
        Some(Reply::Other(reply))
    }
}

/// What may stand in a reply and matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    status: String,
    #[serde(deserialize_with = "text_or_nothing")]
    message: String,
    code: Option<String>,
    pub(crate) tokenid: Option<String>,
    pub(crate) more: bool,
    retry_after_ms: Option<u64>,
}

impl Fields {
    /// Reads a reply; what is no JSON object earns an error named for it.
    pub(crate) fn parse(reply: &[u8]) -> Result<Self, String> {
        let fields: Self = serde_json::from_slice(reply).map_err(|_| "not_a_reply".to_owned())?;
        if fields.status == "OK" { Ok(fields) } else { Err(fields.into_cause()) }
    }

    /// As [`parse`](Self::parse), but an ERROR's fields are wanted too.
    pub(crate) fn parse_any(reply: &[u8]) -> Option<Self> {
        serde_json::from_slice(reply).ok()
    }

    /// Whether the server asks to be asked again.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.code.as_deref(), Some("busy" | "rate_limited"))
    }

    /// When it wants to be asked again.
    pub(crate) fn retry_after(&self, default: Duration) -> Duration {
        self.retry_after_ms.map_or(default, Duration::from_millis)
    }

    /// What an error is counted under: its code, or the sentence of servers that have no codes.
    pub(crate) fn into_cause(self) -> String {
        self.code.unwrap_or(self.message)
    }
}

/// Whether a reply to `send` is a confirmation. Only the beginning is looked at.
pub(crate) fn is_ok(reply: &[u8]) -> bool {
    reply.starts_with(OK)
}

fn text_or_nothing<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(value.as_str().unwrap_or_default().to_owned())
}

/// The reply to a `send` that was stored.
pub(crate) const SENT: &[u8] = b"{\"status\": \"OK\", \"message\": \"Message Sent\"}\r\n\r\n";
/// Where a reply ends.
pub(crate) const END: &[u8] = b"\r\n\r\n";
const OK: &[u8] = b"{\"status\": \"OK\"";
/// Room for the replies to 340 sends.
const READ_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<Reply> {
        let mut replies = Replies::default();
        let mut found = Vec::new();
        for piece in pieces {
            replies.buffer().extend_from_slice(piece);
            found.extend(std::iter::from_fn(|| replies.next()));
        }
        assert!(replies.buffer.is_empty());
        found
    }

    #[test]
    fn any_split_gives_the_same_replies() {
        let other = b"{\"status\": \"ERROR\", \"message\": \"x\", \"code\": \"inbox_full\"}";
        let stream = [SENT, other, END, SENT].concat();
        let expected = [Reply::Sent, Reply::Other(BytesMut::from(&other[..])), Reply::Sent];
        for at in 0..=stream.len() {
            let (left, right) = stream.split_at(at);
            let as_other = |reply: &Reply| matches!(reply, Reply::Other(text) if is_ok(text));
            for (reply, expected) in all(&[left, right]).iter().zip(&expected) {
                // A confirmation that came in two pieces is told by its beginning.
                assert!(reply == expected || as_other(reply) && *expected == Reply::Sent, "{at}");
            }
        }
    }

    #[test]
    fn errors_are_counted_by_code_or_by_sentence() {
        let cause = |text: &str| Fields::parse(text.as_bytes()).unwrap_err();
        assert_eq!(cause(r#"{"status": "ERROR", "message": "m", "code": "busy"}"#), "busy");
        assert_eq!(cause(r#"{"status": "ERROR", "message": "Password Salah"}"#), "Password Salah");
        assert_eq!(cause("hello"), "not_a_reply");
        assert!(Fields::parse(br#"{"status": "OK", "messages": {}, "more": true}"#).unwrap().more);
    }
}
