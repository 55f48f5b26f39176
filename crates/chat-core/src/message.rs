//! [`MessageId`], and the rules for what a message may say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The default limit of a message body, in bytes (`docs/protocol.md`, accounts and limits).
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// The sequence number of a message in its recipient's mailbox: 1, 2, 3 and so on, without a hole. Comparable only within
/// one incarnation of the mailbox. On the wire, and for serde, a string of decimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MessageId(u64);

impl MessageId {
    /// Before the first message; no message has it.
    pub const ZERO: Self = Self(0);

    /// From its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Checks a message body: 1 to `max_bytes` bytes, no control character (Unicode category Cc) other than tab.
///
/// ```
/// use chat_core::{MAX_MESSAGE_BYTES, MessageBodyError, check_body};
///
/// assert_eq!(check_body("apa kabar", MAX_MESSAGE_BYTES), Ok(()));
/// assert_eq!(check_body("two\nlines", MAX_MESSAGE_BYTES), Err(MessageBodyError::ControlCharacter));
/// ```
///
/// # Errors
/// Which rule the body breaks. The error never quotes the body.
pub fn check_body(body: &str, max_bytes: usize) -> Result<(), MessageBodyError> {
    if body.is_empty() {
        return Err(MessageBodyError::Empty);
    }
    if body.len() > max_bytes {
        return Err(MessageBodyError::TooLong { max_bytes });
    }
    if has_control_characters(body) {
        return Err(MessageBodyError::ControlCharacter);
    }
    Ok(())
}

/// Whether there is a character of category Cc other than tab. Those are U+0000 to U+001F, U+007F, and U+0080 to U+009F;
/// only the last have two bytes, the first of them C2.
fn has_control_characters(body: &str) -> bool {
    // Without a branch a byte, so that the compiler looks at many at once.
    let suspect = body.bytes().fold(false, |suspect, byte| {
        suspect | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f) | (byte == 0xc2)
    });
    suspect && body.chars().any(|c| c.is_control() && c != '\t')
}

/// Why a text cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageBodyError {
    /// It is empty.
    #[error("a message has at least one byte")]
    Empty,
    /// More bytes than the server takes.
    #[error("a message has at most {max_bytes} bytes")]
    TooLong {
        /// The limit, in bytes.
        max_bytes: usize,
    },
    /// A control character other than tab.
    #[error("a message has no control characters other than tab")]
    ControlCharacter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        assert_eq!(check_body(" halo\t\u{1F600} ", 100), Ok(()));
        assert_eq!(check_body("", 100), Err(MessageBodyError::Empty));
        assert_eq!(check_body("abc", 2), Err(MessageBodyError::TooLong { max_bytes: 2 }));
        assert_eq!(check_body("\u{a0}\u{bf}", 100), Ok(()), "C2, and no control");
        for bad in ["a\0", "a\rb", "\u{7f}", "\u{85}"] {
            assert_eq!(check_body(bad, 100), Err(MessageBodyError::ControlCharacter), "{bad:?}");
        }
    }
}
