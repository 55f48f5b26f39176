//! The text of a message, and in it, for those who watch, when it was sent.

use std::io::Write;
use std::time::Duration;

use bytes::BufMut;
use tokio::time::Instant;

/// What messages are made of.
#[derive(Debug)]
pub(crate) struct Bodies {
    /// As long as the longest message.
    filler: Vec<u8>,
    /// Whether messages say when they were sent.
    stamped: bool,
    /// Tells messages of this run from those of earlier ones.
    run: u32,
    epoch: Instant,
}

/// One message's text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body<'a> {
    stamp: Option<[u8; STAMP_BYTES]>,
    filler: &'a [u8],
}

impl Bodies {
    pub(crate) fn new(longest: usize, stamped: bool) -> Self {
        Self {
            filler: b"x".repeat(longest),
            stamped,
            run: fastrand::u32(..),
            epoch: Instant::now(),
        }
    }

    /// A message of so many bytes, due or sent at a moment.
    pub(crate) fn body(&self, bytes: usize, at: Instant) -> Body<'_> {
        let stamp = self.stamped.then(|| self.stamp(at));
        let rest = bytes.saturating_sub(stamp.map_or(0, |stamp| stamp.len()));
        Body { stamp, filler: self.filler.get(..rest).unwrap_or(&self.filler) }
    }

    fn stamp(&self, at: Instant) -> [u8; STAMP_BYTES] {
        let mut stamp = [b' '; STAMP_BYTES];
        let ns = u64::try_from((at - self.epoch).as_nanos()).unwrap_or(u64::MAX);
        // The array has room for exactly this.
        let _ = write!(&mut stamp[..], "{MARK}{:08x}{ns:016x}", self.run);
        stamp
    }

    /// When a message of this run was sent; `None` for any other text.
    pub(crate) fn sent_at(&self, text: &str) -> Option<Instant> {
        let stamp = text.strip_prefix(MARK)?;
        let run = u32::from_str_radix(stamp.get(..8)?, 16).ok()?;
        let ns = u64::from_str_radix(stamp.get(8..24)?, 16).ok()?;
        (run == self.run).then(|| self.epoch.checked_add(Duration::from_nanos(ns)))?
    }

    /// Told apart from those of other runs, as far as chance allows.
    pub(crate) fn run(&self) -> u32 {
        self.run
    }
}

impl Body<'_> {
    pub(crate) fn len(&self) -> usize {
        self.stamp.map_or(0, |stamp| stamp.len()) + self.filler.len()
    }

    pub(crate) fn put(&self, to: &mut impl BufMut) {
        if let Some(stamp) = &self.stamp {
            to.put_slice(stamp);
        }
        to.put_slice(self.filler);
    }
}

const MARK: &str = "load:";
/// The mark, the run in 8 hexadecimal digits, and the nanoseconds since its beginning in 16.
pub(crate) const STAMP_BYTES: usize = MARK.len() + 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: Body<'_>) -> String {
        let mut bytes = Vec::new();
        body.put(&mut bytes);
        assert_eq!(bytes.len(), body.len());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_stamped_message_says_when_it_was_sent() {
        let bodies = Bodies::new(50, true);
        let at = bodies.epoch + Duration::from_nanos(123_456_789_012);
        for bytes in [STAMP_BYTES, 50] {
            let text = text(bodies.body(bytes, at));
            assert_eq!(text.len(), bytes);
            assert_eq!(bodies.sent_at(&text), Some(at));
        }
        let other = Bodies { run: !bodies.run, ..Bodies::new(50, true) };
        assert_eq!(other.sent_at(&text(bodies.body(50, at))), None);
    }

    #[test]
    fn any_text_may_come() {
        let bodies = Bodies::new(3, false);
        assert_eq!(text(bodies.body(2, Instant::now())), "xx");
        for odd in ["", "load:", "load:zzzzzzzz", "load:0000000\u{e9}0000000000000000", "halo"] {
            assert_eq!(bodies.sent_at(odd), None);
        }
    }
}
