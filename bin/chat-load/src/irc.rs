//! IRC (RFC 2812), as far as relaying messages between nicks needs it.
//!
//! A server does not confirm a PRIVMSG, but it answers in order: the PONG for a PING right behind it says that the
//! message was handed on, or refused before.

use bytes::{BufMut, BytesMut};

/// A line from a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Numeric 001: registration is complete.
    Welcome,
    Pong,
    /// The server asks for an answer with this text.
    Ping(&'a [u8]),
    /// A numeric from 400 to 599.
    Refused,
    /// ERROR: the connection ends.
    Ended,
    Other,
}

/// Tells a line by its command.
pub(crate) fn read(line: &[u8]) -> Line<'_> {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let mut command = words.next().unwrap_or_default();
    if command.starts_with(b":") {
        command = words.next().unwrap_or_default();
    }
    match command {
        b"PONG" => Line::Pong,
        b"PING" => {
            let text = line.get(b"PING ".len()..).unwrap_or_default();
            Line::Ping(text.strip_prefix(b":").unwrap_or(text))
        }
        b"001" => Line::Welcome,
        // No message of the day: said to everybody who registers.
        b"422" => Line::Other,
        b"ERROR" => Line::Ended,
        [b'4' | b'5', b'0'..=b'9', b'0'..=b'9'] => Line::Refused,
        _ => Line::Other,
    }
}

/// What an error is counted under.
pub(crate) fn cause(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    // `:server 401 me them :No such nick`: the nicks would make each its own cause.
    let numeric = text.split(' ').nth(1).unwrap_or_default();
    match text.rsplit_once(" :") {
        Some((_, reason)) if line.starts_with(b":") => format!("{numeric} {reason}"),
        _ => text.into_owned(),
    }
}

/// Numeric 433.
pub(crate) fn is_nick_in_use(line: &[u8]) -> bool {
    line.split(|byte| *byte == b' ').nth(1) == Some(b"433")
}

pub(crate) fn put_nick(nick: &[u8], to: &mut BytesMut) {
    to.put_slice(b"NICK ");
    to.put_slice(nick);
    to.put_slice(b"\r\n");
}

/// What, with a nick that is free, completes the registration.
pub(crate) fn put_user(nick: &[u8], to: &mut BytesMut) {
    to.put_slice(b"USER ");
    to.put_slice(nick);
    to.put_slice(b" 0 * :chat-load\r\n");
}

pub(crate) fn put_pong(token: &[u8], to: &mut BytesMut) {
    to.put_slice(b"PONG :");
    to.put_slice(token);
    to.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_by_their_command() {
        for (line, expected) in [
            (&b":s 001 me :Welcome"[..], Line::Welcome),
            (b"PING 123", Line::Ping(b"123")),
            (b"PING :a b", Line::Ping(b"a b")),
            (b":s PONG s :x", Line::Pong),
            (b":s 433 * me :Nickname is already in use", Line::Refused),
            (b":s 422 me :MOTD File is missing", Line::Other),
            (b"ERROR :Closing link", Line::Ended),
            (b":a!b@c PRIVMSG me :PONG 401", Line::Other),
            (b"", Line::Other),
        ] {
            assert_eq!(read(line), expected, "{line:?}");
        }
    }

    #[test]
    fn causes_leave_the_nicks_out() {
        assert_eq!(cause(b":s 401 load0 load7 :No such nick"), "401 No such nick");
        assert_eq!(cause(b"ERROR :Closing link"), "ERROR :Closing link");
    }
}
