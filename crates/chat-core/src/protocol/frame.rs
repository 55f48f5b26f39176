//! [`Frame`]: one delimited unit of bytes, not yet understood.

use std::fmt;

use bytes::Bytes;

/// One request line or one reply, without its end.
///
/// A frame may hold a password, a token or a message, so `Debug` shows only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(pub(super) Bytes);

impl Frame {
    /// Its bytes, which need not be UTF-8. Never log them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_keeps_secrets() {
        let frame = Frame(Bytes::from_static(b"auth messi surabaya"));
        assert_eq!(format!("{frame:?}"), "Frame(19 bytes)");
    }
}
