//! [`Delivery`]: what a connection was shown of mailboxes, and when that counts as delivered.

use chat_core::MessageId;
use chat_core::store::Shown;

/// A connection's side of guarantee 3 (`docs/protocol.md`).
///
/// What replies to `inbox` carried is in flight. It is *armed* when something is read while all replies were accepted by
/// the transport and no input was held; then the next request confirms it, or the peer's orderly end.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    explicit_ack: bool,
    armed: bool,
    /// Of a connection that was shown anything.
    ranges: Option<Box<Ledger>>,
}

#[derive(Debug, Default)]
struct Ledger {
    in_flight: Ranges<MOST_IN_FLIGHT>,
    shown: Ranges<MOST_SHOWN>,
}

/// Ranges of consecutive messages, joined where they meet; at most `MOST`, the latest.
#[derive(Debug, Default)]
struct Ranges<const MOST: usize>(Vec<Shown>);

impl Delivery {
    /// From now on only `ack` confirms, pages already in flight included.
    pub(crate) fn require_explicit_ack(&mut self) {
        self.explicit_ack = true;
        self.armed = false;
    }

    /// A reply to `inbox` carries these.
    pub(crate) fn carried(&mut self, shown: Shown) {
        let ranges = self.ranges.get_or_insert_default();
        ranges.shown.add(shown.clone());
        ranges.in_flight.add(shown);
    }

    /// A reply showed these, and left them undelivered.
    pub(crate) fn showed(&mut self, shown: Shown) {
        self.ranges.get_or_insert_default().shown.add(shown);
    }

    /// What the next page must not repeat.
    pub(crate) fn in_flight(&self) -> &[Shown] {
        self.ranges.as_ref().map_or(&[], |ranges| &ranges.in_flight.0)
    }

    /// What `ack` may name without an incarnation.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        self.ranges.as_ref().map_or_else(Vec::new, |ranges| ranges.shown.0.clone())
    }

    /// Whether anything is in flight that the connection itself may yet confirm.
    pub(crate) fn is_open(&self) -> bool {
        !self.explicit_ack && !self.in_flight().is_empty()
    }

    /// The first byte of a line was read while nothing was held, in or out.
    pub(crate) fn arm(&mut self) {
        self.armed = self.is_open();
    }

    /// Whether the next request confirms what is in flight.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed
    }

    /// Takes what is in flight, to be confirmed.
    pub(crate) fn take(&mut self) -> Vec<Shown> {
        self.armed = false;
        self.ranges.as_mut().map_or_else(Vec::new, |ranges| std::mem::take(&mut ranges.in_flight.0))
    }
}

impl<const MOST: usize> Ranges<MOST> {
    fn add(&mut self, mut new: Shown) {
        self.0.retain(|old| {
            let joined = meet(old, &new);
            if joined {
                new.first = new.first.min(old.first);
                new.last = new.last.max(old.last);
            }
            !joined
        });
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(new);
    }
}

/// Whether two ranges are of one mailbox and overlap, or one follows the other.
fn meet(a: &Shown, b: &Shown) -> bool {
    let after = |shown: &Shown| MessageId::new(shown.last.get().saturating_add(1));
    a.account == b.account
        && a.incarnation == b.incarnation
        && a.first <= after(b)
        && b.first <= after(a)
}

/// A connection reads one mailbox, rarely a few. To forget the oldest range only means that its messages are given again.
const MOST_IN_FLIGHT: usize = 8;
/// What `ack` may name without an incarnation: pages of `peek` follow one another as a rule, and are one range then.
const MOST_SHOWN: usize = 64;
