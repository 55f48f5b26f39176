//! [`ServerCodec`] and [`ClientCodec`]: bytes to frames, and replies, events and commands to bytes.

use std::io;

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use super::{Command, Event, Frame, Reply};

/// The default limit of a request line, its end not counted, in bytes: 64 KiB.
pub const DEFAULT_MAX_FRAME_BYTES: usize = 64 * 1024;

/// The default limit of a reply that a client accepts, its end not counted, in bytes: 4 MiB. That is four of the largest
/// pages that a server sends, since one message alone may exceed a page, and escapes turn a byte into up to six.
pub const DEFAULT_MAX_REPLY_BYTES: usize = 4 * 1024 * 1024;

/// The server's side: decodes request lines, encodes replies.
///
/// A line ends at `\n`; one `\r` before it is dropped; empty lines are skipped. The only decoding error is
/// [`CodecError::FrameTooLong`]. It is final: every later call drops its input and returns the same error, because the
/// rest of the line cannot be trusted.
///
/// At the end of the stream an unfinished line is dropped without an error: it may be a message cut off half way.
///
/// ```
/// use bytes::BytesMut;
/// use chat_core::protocol::{Command, ServerCodec};
/// use tokio_util::codec::Decoder as _;
///
/// let mut codec = ServerCodec::default();
/// let mut input = BytesMut::from("auth messi surabaya \r\n\r\nlis");
/// let frame = codec.decode(&mut input)?.expect("a whole line");
/// assert!(matches!(Command::parse(&frame)?, Command::Auth { username: "messi", password: "surabaya" }));
/// assert!(codec.decode(&mut input)?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ServerCodec {
    scanner: Scanner,
}

/// The client's side: decodes replies, encodes commands.
///
/// A reply ends at `\r\n\r\n`. As in [`ServerCodec`], [`CodecError::FrameTooLong`] while decoding is final. A stream
/// that ends inside a reply is an [`io::ErrorKind::UnexpectedEof`].
///
/// ```
/// use bytes::BytesMut;
/// use chat_core::protocol::{ClientCodec, Command, Reply};
/// use tokio_util::codec::{Decoder as _, Encoder as _};
///
/// let mut codec = ClientCodec::default();
/// let mut output = BytesMut::new();
/// codec.encode(&Command::Ping { text: "halo" }, &mut output)?;
/// assert_eq!(output, "ping halo\r\n");
///
/// let mut input = BytesMut::from("{\"status\": \"OK\", \"text\": \"halo\"}\r\n\r\n");
/// let frame = codec.decode(&mut input)?.expect("a whole reply");
/// assert_eq!(Reply::decode("ping", &frame)?, Reply::Pong("halo".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ClientCodec {
    scanner: Scanner,
    max_request_bytes: usize,
}

/// Broken framing, a broken transport, or a command that cannot be framed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A received frame is longer than the limit. The connection cannot go on.
    #[error("a frame is longer than {max_frame_bytes} bytes")]
    FrameTooLong {
        /// The limit, in bytes.
        max_frame_bytes: usize,
    },
    /// A command cannot be written as one line that means the same. Nothing was written; the connection can go on.
    #[error("cannot encode `{command}`: {reason}")]
    Unencodable {
        /// The command's word.
        command: &'static str,
        /// Which argument, and what is wrong with it; never its value.
        reason: String,
    },
    /// The transport failed. The connection cannot go on.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ServerCodec {
    /// A codec that accepts request lines of up to `max_frame_bytes` bytes, their ends not counted.
    #[must_use]
    pub fn new(max_frame_bytes: usize) -> Self {
        Self { scanner: Scanner::new(max_frame_bytes) }
    }
}

impl Default for ServerCodec {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_FRAME_BYTES)
    }
}

impl Decoder for ServerCodec {
    type Item = Frame;
    type Error = CodecError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        self.scanner.refuse_if_poisoned(src)?;
        while let Some(end) = self.scanner.next_line_feed(src) {
            let length = without_line_end(src.get(..end).unwrap_or_default()).len();
            self.scanner.check_length(length, src)?;
            let frame = self.scanner.take(src, length, end);
            if length > 0 {
                return Ok(Some(frame));
            }
        }
        self.scanner.check_length(without_line_end(src).len(), src)?;
        Ok(None)
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        let frame = self.decode(src)?;
        if frame.is_none() {
            self.scanner.drop_all(src);
        }
        Ok(frame)
    }
}

impl Encoder<&Event<'_>> for ServerCodec {
    type Error = CodecError;

    /// Never fails.
    fn encode(&mut self, event: &Event<'_>, dst: &mut BytesMut) -> Result<(), CodecError> {
        event.encode(dst);
        Ok(())
    }
}

impl Encoder<&Reply<'_>> for ServerCodec {
    type Error = CodecError;

    /// Never fails.
    fn encode(&mut self, reply: &Reply<'_>, dst: &mut BytesMut) -> Result<(), CodecError> {
        reply.encode(dst);
        Ok(())
    }
}

impl ClientCodec {
    /// A codec that accepts replies of up to `max_reply_bytes` bytes, their ends not counted, and encodes request lines
    /// of up to [`DEFAULT_MAX_FRAME_BYTES`].
    #[must_use]
    pub fn new(max_reply_bytes: usize) -> Self {
        Self { scanner: Scanner::new(max_reply_bytes), max_request_bytes: DEFAULT_MAX_FRAME_BYTES }
    }

    /// Sets the longest request line that the server accepts, in bytes ([`Limits::frame_bytes`](super::Limits)). Encoding a
    /// longer one fails with [`CodecError::Unencodable`], since the server would end the connection over it.
    pub fn set_max_request_bytes(&mut self, max_request_bytes: usize) {
        self.max_request_bytes = max_request_bytes;
    }
}

impl Default for ClientCodec {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_REPLY_BYTES)
    }
}

impl Decoder for ClientCodec {
    type Item = Frame;
    type Error = CodecError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        self.scanner.refuse_if_poisoned(src)?;
        while let Some(end) = self.scanner.next_line_feed(src) {
            // JSON escapes line ends inside strings, so the first such end is the reply's.
            let line = src.get(..end).unwrap_or_default();
            if let Some(reply) = line.strip_suffix(REPLY_END) {
                let length = reply.len();
                self.scanner.check_length(length, src)?;
                return Ok(Some(self.scanner.take(src, length, end)));
            }
        }
        // All but the last byte of an end may have come.
        let length = src.len().saturating_sub(REPLY_END.len() - 1);
        self.scanner.check_length(length, src)?;
        Ok(None)
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        let frame = self.decode(src)?;
        if frame.is_none() && !src.is_empty() {
            self.scanner.drop_all(src);
            let error = "the stream ended inside a reply";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error).into());
        }
        Ok(frame)
    }
}

impl Encoder<&Command<'_>> for ClientCodec {
    type Error = CodecError;

    /// Appends the command's line. On an error `dst` is as it was.
    fn encode(&mut self, command: &Command<'_>, dst: &mut BytesMut) -> Result<(), CodecError> {
        let start = dst.len();
        let outcome = command.encode(dst).and_then(|()| {
            if dst.len() - start > self.max_request_bytes + REQUEST_END.len() {
                return Err(format!("longer than {} bytes", self.max_request_bytes));
            }
            Ok(())
        });
        outcome.map_err(|reason| {
            dst.truncate(start);
            CodecError::Unencodable { command: command.name(), reason }
        })
    }
}

/// Finds the ends of frames in a buffer that grows, looking at each byte once, and keeps the limit.
#[derive(Debug, Clone)]
struct Scanner {
    max_frame_bytes: usize,
    /// How much of the buffer is known to hold no end of a frame.
    scanned: usize,
    poisoned: bool,
}

impl Scanner {
    fn new(max_frame_bytes: usize) -> Self {
        Self { max_frame_bytes, scanned: 0, poisoned: false }
    }

    /// The position after the next line feed; each is found once.
    fn next_line_feed(&mut self, src: &[u8]) -> Option<usize> {
        let unseen = src.get(self.scanned..).unwrap_or_default();
        if let Some(offset) = memchr::memchr(b'\n', unseen) {
            self.scanned += offset + 1;
            Some(self.scanned)
        } else {
            self.scanned = src.len();
            None
        }
    }

    /// Splits off the first `end` bytes, of which `length` are the frame.
    fn take(&mut self, src: &mut BytesMut, length: usize, end: usize) -> Frame {
        self.scanned = 0;
        let mut frame = src.split_to(end);
        frame.truncate(length);
        Frame(frame.freeze())
    }

    fn drop_all(&mut self, src: &mut BytesMut) {
        self.scanned = 0;
        src.clear();
    }

    fn check_length(&mut self, length: usize, src: &mut BytesMut) -> Result<(), CodecError> {
        self.poisoned = length > self.max_frame_bytes;
        self.refuse_if_poisoned(src)
    }

    fn refuse_if_poisoned(&mut self, src: &mut BytesMut) -> Result<(), CodecError> {
        if !self.poisoned {
            return Ok(());
        }
        self.drop_all(src);
        Err(CodecError::FrameTooLong { max_frame_bytes: self.max_frame_bytes })
    }
}

/// The line without its `\n`, if it is there already, and one `\r` before that.
fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What ends a request line as we write it.
pub(super) const REQUEST_END: &[u8] = b"\r\n";
/// What ends a reply.
pub(super) const REPLY_END: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(
        codec: &mut impl Decoder<Item = Frame, Error = CodecError>,
        input: &str,
    ) -> Vec<String> {
        let mut src = BytesMut::from(input);
        let mut frames = Vec::new();
        while let Some(frame) = codec.decode(&mut src).unwrap() {
            frames.push(String::from_utf8(frame.as_bytes().to_vec()).unwrap());
        }
        frames
    }

    fn is_too_long<T>(outcome: &Result<T, CodecError>) -> bool {
        matches!(outcome, Err(CodecError::FrameTooLong { .. }))
    }

    #[test]
    fn lines_end_in_every_way_clients_end_them() {
        assert_eq!(
            frames(&mut ServerCodec::default(), "a \r\nb\r\n\r\nc\n\n\r\n\nd\r\r\n\re\nf"),
            ["a ", "b", "c", "d\r", "\re"]
        );
    }

    #[test]
    fn replies_end_in_two_line_ends_only() {
        assert_eq!(
            frames(&mut ClientCodec::default(), "{}\r\n\r\n{\n}\r\n \r\n\r\n\r\n\r\n{"),
            ["{}", "{\n}\r\n ", ""]
        );
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        for end in ["\n", "\r\n"] {
            assert_eq!(frames(&mut ServerCodec::new(4), &format!("abcd{end}")), ["abcd"]);
            let mut src = BytesMut::from(format!("abcde{end}").as_str());
            assert!(is_too_long(&ServerCodec::new(4).decode(&mut src)));
        }
        assert_eq!(frames(&mut ClientCodec::new(2), "{}\r\n\r\n"), ["{}"]);
        let mut src = BytesMut::from("{ }\r\n\r\n");
        assert!(is_too_long(&ClientCodec::new(2).decode(&mut src)));
    }

    #[test]
    fn the_limit_holds_before_the_end_has_come() {
        let mut codec = ServerCodec::new(4);
        let mut src = BytesMut::from("abcd\r");
        assert!(codec.decode(&mut src).unwrap().is_none());
        src.extend_from_slice(b"x");
        assert!(is_too_long(&codec.decode(&mut src)));

        let mut src = BytesMut::from("abcde");
        assert!(is_too_long(&ServerCodec::new(4).decode(&mut src)));
        let mut src = BytesMut::from("{abc\r\n");
        assert!(is_too_long(&ClientCodec::new(2).decode(&mut src)));
    }

    #[test]
    fn after_a_frame_too_long_everything_is_dropped() {
        let mut codec = ServerCodec::new(4);
        let mut src = BytesMut::from("abcdefgh\nping\n");
        for _ in 0..2 {
            assert!(is_too_long(&codec.decode(&mut src)));
            assert!(src.is_empty());
            src.extend_from_slice(b"ping\n");
        }
        assert!(is_too_long(&codec.decode_eof(&mut src)));
    }

    #[test]
    fn a_byte_is_looked_at_once() {
        let line = "x".repeat(1000);
        let mut server = ServerCodec::new(2000);
        let mut client = ClientCodec::new(2000);
        let mut src = BytesMut::new();
        for (index, byte) in line.bytes().enumerate() {
            assert_eq!(server.scanner.scanned, index);
            assert_eq!(client.scanner.scanned, index);
            src.extend_from_slice(&[byte]);
            assert!(server.decode(&mut src).unwrap().is_none());
            assert!(client.decode(&mut src).unwrap().is_none());
        }
        src.extend_from_slice(b"\r\n\r\n");
        let mut same = src.clone();
        assert!(server.decode(&mut src).unwrap().is_some());
        assert!(client.decode(&mut same).unwrap().is_some());
        assert_eq!((server.scanner.scanned, client.scanner.scanned), (0, 0));
        assert_eq!((&src[..], &same[..]), (&b"\r\n"[..], &b""[..]));
    }

    #[test]
    fn an_unfinished_line_at_the_end_is_no_request() {
        let mut codec = ServerCodec::default();
        let mut src = BytesMut::from("ping a\nsend x y hal");
        assert!(codec.decode_eof(&mut src).unwrap().is_some());
        assert!(codec.decode_eof(&mut src).unwrap().is_none());
        assert!(src.is_empty());
    }

    #[test]
    fn an_unfinished_reply_at_the_end_is_an_error() {
        let mut codec = ClientCodec::default();
        let mut src = BytesMut::from("{}\r\n\r\n{\"status\": ");
        assert!(codec.decode_eof(&mut src).unwrap().is_some());
        let error = codec.decode_eof(&mut src).unwrap_err();
        assert!(matches!(error, CodecError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof));
        assert!(codec.decode_eof(&mut src).unwrap().is_none());
    }

    #[test]
    fn a_command_that_cannot_be_framed_leaves_the_buffer_as_it_was() {
        let mut codec = ClientCodec::default();
        codec.set_max_request_bytes(20);
        let (long, mut dst) = ("x".repeat(16), BytesMut::from("before"));
        for command in [
            Command::Auth { username: "a", password: "b c" },
            Command::Auth { username: "", password: "b" },
            Command::Inbox { token: "a\n" },
            Command::Send { token: "a", to: "b", body: "" },
            Command::Send { token: "a", to: "b", body: "c\r\nlogout a" },
            Command::List { token: "a", after: Some("-"), limit: None },
            Command::Ping { text: &long },
        ] {
            let error = codec.encode(&command, &mut dst).unwrap_err();
            assert!(matches!(error, CodecError::Unencodable { .. }), "{command:?}");
            assert_eq!(dst, "before");
        }
        codec.encode(&Command::Ping { text: &long[1..] }, &mut dst).unwrap();
    }
}
