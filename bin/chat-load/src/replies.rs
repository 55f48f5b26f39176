//! Whole replies out of a stream of bytes.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use memchr::memmem;
use serde::Deserialize;

use crate::args::Protocol;
use crate::irc;

/// The bytes that came and were not yet taken, cut into replies.
#[derive(Debug)]
pub(crate) struct Replies {
    buffer: BytesMut,
    /// No end of a reply begins before this place in the buffer.
    scanned: usize,
    /// How much to read at once: what there is room for, doubled when it was not enough.
    read_bytes: usize,
    framing: Framing,
}

/// One reply, told apart as far as a load tester must.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A confirmation that needs no second look.
    Sent,
    /// Any other, without its end.
    Other(BytesMut),
}

/// How replies are told from each other.
#[derive(Debug)]
enum Framing {
    /// A reply ends at `\r\n\r\n`.
    Chat,
    /// Redis: a line, or a length and as many bytes.
    Resp,
    /// A confirmation is the answer to a PING; an error before it is about what the PING stood behind.
    Irc { is_registered: bool, refusal: Option<BytesMut>, pongs: BytesMut },
}

impl Replies {
    pub(crate) fn new(protocol: Protocol) -> Self {
        let framing = match protocol {
            Protocol::Chat | Protocol::Old => Framing::Chat,
            Protocol::Redis => Framing::Resp,
            Protocol::Irc => {
                Framing::Irc { is_registered: false, refusal: None, pongs: BytesMut::new() }
            }
        };
        Self { buffer: BytesMut::new(), scanned: 0, read_bytes: LEAST_READ_BYTES, framing }
    }

    /// Where to read into.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        self.grow();
        self.buffer.reserve(self.read_bytes);
        &mut self.buffer
    }

    /// The next whole reply.
    pub(crate) fn next(&mut self) -> Option<Reply> {
        self.grow();
        match self.framing {
            Framing::Chat => self.next_chat(),
            Framing::Resp => self.next_resp(),
            Framing::Irc { .. } => self.next_irc(),
        }
    }

    /// Takes the next reply if it is whole and the confirmation of a `post`, which is long and all but the same each time.
    pub(crate) fn take_posted(&mut self) -> bool {
        self.grow();
        let whole =
            matches!(self.framing, Framing::Chat).then_some(&*self.buffer).and_then(|bytes| {
                let rest = bytes.strip_prefix(POSTED)?;
                // A reply's end begins with the only such byte in it.
                let end = memchr::memchr(b'\r', rest)?;
                rest.get(end..)?.starts_with(END).then_some(POSTED.len() + end + END.len())
            });
        self.buffer.advance(whole.unwrap_or(0));
        self.scanned = if whole.is_some() { 0 } else { self.scanned };
        whole.is_some()
    }

    /// Moves what the server is to be answered without being asked.
    pub(crate) fn take_answers(&mut self, to: &mut BytesMut) {
        if let Framing::Irc { pongs, .. } = &mut self.framing {
            to.unsplit(pongs.split());
        }
    }

    /// Reads more at once from now on if that was full: replies that come together are to be taken together, or what is in
    /// flight falls into small groups.
    fn grow(&mut self) {
        if self.buffer.len() >= self.read_bytes && self.read_bytes < MOST_READ_BYTES {
            self.read_bytes *= 2;
        }
    }

    fn next_chat(&mut self) -> Option<Reply> {
        if self.scanned == 0 && self.buffer.starts_with(SENT) {
            self.buffer.advance(SENT.len());
            return Some(Reply::Sent);
        }
        self.up_to(END).map(Reply::Other)
    }

    fn next_resp(&mut self) -> Option<Reply> {
        let line_end = memmem::find(&self.buffer, LINE_END)?;
        let (first, line) = self.buffer.get(..line_end)?.split_first()?;
        let length = match first {
            b'$' => std::str::from_utf8(line).ok().and_then(|digits| digits.parse().ok()),
            b'+' | b':' => None,
            _ => return self.up_to(LINE_END).map(Reply::Other),
        };
        let whole = line_end + LINE_END.len() + length.map_or(0, |n: usize| n + LINE_END.len());
        if self.buffer.len() < whole {
            return None;
        }
        self.buffer.advance(whole);
        Some(Reply::Sent)
    }

    fn next_irc(&mut self) -> Option<Reply> {
        loop {
            let line = self.up_to(LINE_END)?;
            let Framing::Irc { is_registered, refusal, pongs } = &mut self.framing else {
                return None;
            };
            match irc::read(&line) {
                irc::Line::Pong => return Some(refusal.take().map_or(Reply::Sent, Reply::Other)),
                irc::Line::Welcome => {
                    *is_registered = true;
                    return Some(Reply::Sent);
                }
                irc::Line::Refused if !*is_registered => return Some(Reply::Other(line)),
                irc::Line::Refused => *refusal = Some(line),
                irc::Line::Ended => return Some(Reply::Other(line)),
                irc::Line::Ping(token) => irc::put_pong(token, pongs),
                irc::Line::Other => {}
            }
        }
    }

    /// What stands before the next `end`, which is taken too.
    fn up_to(&mut self, end: &[u8]) -> Option<BytesMut> {
        let found = self.buffer.get(self.scanned..).and_then(|rest| memmem::find(rest, end));
        let Some(at) = found else {
            self.scanned = self.buffer.len().saturating_sub(end.len() - 1);
            return None;
        };
        let reply = self.buffer.split_to(self.scanned + at);
        self.buffer.advance(end.len());
        self.scanned = 0;
        Some(reply)
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
        if fields.is_ok() { Ok(fields) } else { Err(fields.into_cause()) }
    }

    /// As [`parse`](Self::parse), but an ERROR's fields are wanted too.
    pub(crate) fn parse_any(reply: &[u8]) -> Option<Self> {
        serde_json::from_slice(reply).ok()
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.status == "OK"
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
/// How the reply to a `post` that was stored begins.
const POSTED: &[u8] = b"{\"status\": \"OK\", \"id\": \"";
/// Where a reply ends.
pub(crate) const END: &[u8] = b"\r\n\r\n";
const OK: &[u8] = b"{\"status\": \"OK\"";
const LINE_END: &[u8] = b"\r\n";
/// Room for the replies to ten sends, and little enough for tens of thousands of connections.
const LEAST_READ_BYTES: usize = 512;
/// A page of an inbox.
const MOST_READ_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<Reply> {
        all_of(Protocol::Chat, pieces)
    }

    fn all_of(protocol: Protocol, pieces: &[&[u8]]) -> Vec<Reply> {
        let mut replies = Replies::new(protocol);
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
    fn confirmations_of_posts_are_taken_whole_and_nothing_else_is() {
        let posted = b"{\"status\": \"OK\", \"id\": \"0a\", \"duplicate\": false}\r\n\r\n";
        for at in 0..posted.len() {
            let mut replies = Replies::new(Protocol::Chat);
            replies.buffer().extend_from_slice(&posted[..at]);
            assert!(!replies.take_posted() && replies.next().is_none(), "{at}");
            replies.buffer().extend_from_slice(&posted[at..]);
            replies.buffer().extend_from_slice(SENT);
            assert!(replies.take_posted() && !replies.take_posted(), "{at}");
            assert_eq!(replies.next(), Some(Reply::Sent));
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

    #[test]
    fn redis_replies_in_any_split() {
        let stream = b"$15\r\n1526919030474-0\r\n-ERR no\r\n+OK\r\n:1\r\n$2\r\n\r\n\r\n";
        let expected = [
            Reply::Sent,
            Reply::Other(b"-ERR no"[..].into()),
            Reply::Sent,
            Reply::Sent,
            Reply::Sent,
        ];
        for at in 0..=stream.len() {
            let (left, right) = stream.split_at(at);
            assert_eq!(all_of(Protocol::Redis, &[left, right]), expected, "{at}");
        }
    }

    #[test]
    fn irc_confirmations_are_the_answers_to_pings() {
        let mut replies = Replies::new(Protocol::Irc);
        replies.buffer().extend_from_slice(
            b":s 001 load0 :Welcome\r\n:load1!u@h PRIVMSG load0 :x\r\n:s PONG s :k\r\nPING :cookie\r\n\
              :s 401 load0 load9 :No such nick\r\n:s PONG s :k\r\n:s PONG s k\r\n",
        );
        let seen: Vec<_> = std::iter::from_fn(|| replies.next()).collect();
        let refused = Reply::Other(b":s 401 load0 load9 :No such nick"[..].into());
        assert_eq!(seen, [Reply::Sent, Reply::Sent, refused, Reply::Sent]);
        let mut answers = BytesMut::new();
        replies.take_answers(&mut answers);
        assert_eq!(answers, b"PONG :cookie\r\n"[..]);
    }

    #[test]
    fn many_short_replies_at_once_make_room_for_longer_reads() {
        let mut replies = Replies::new(Protocol::Chat);
        for _ in 0..3 {
            let most = replies.read_bytes;
            let whole = most / SENT.len() + 1;
            replies.buffer().extend_from_slice(&SENT.repeat(whole));
            assert_eq!(std::iter::from_fn(|| replies.next()).count(), whole);
            assert_eq!(replies.read_bytes, 2 * most);
        }
    }

    #[test]
    fn a_long_reply_makes_room_for_longer_reads() {
        let mut replies = Replies::new(Protocol::Chat);
        for _ in 0..MOST_READ_BYTES {
            let room = replies.buffer();
            let spare = room.capacity() - room.len();
            room.extend_from_slice(&b"x".repeat(spare.min(1000)));
            if room.len() > 4 * MOST_READ_BYTES {
                break;
            }
        }
        assert_eq!((replies.read_bytes, replies.next()), (MOST_READ_BYTES, None));
    }
}
