//! [`Name`]: which connection the log speaks of.

use tracing::{Span, debug_span, info_span};

/// A connection's number, and who its peer is.
#[derive(Debug, Default)]
pub(crate) struct Name {
    number: u64,
    peer: Box<str>,
}

impl Name {
    pub(crate) fn new(number: u64, peer: String) -> Self {
        Self { number, peer: peer.into() }
    }

    /// A span for all that the connection does. For debugging only: one that is kept costs more memory than the connection.
    pub(crate) fn debug_span(&self) -> Span {
        debug_span!("connection", number = self.number, peer = %self.peer)
    }

    /// Logs something in the connection's span, which is made for it unless it is there.
    pub(crate) fn log(&self, event: impl FnOnce()) {
        if Span::current().is_none() {
            info_span!("connection", number = self.number, peer = %self.peer).in_scope(event);
        } else {
            event();
        }
    }
}
