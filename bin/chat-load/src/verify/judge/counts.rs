//! [`Counts`]: how much of what a run saw.

use serde::Serialize;

use super::super::fact::{Ending, Fact, Via};

/// Figures of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Attempts to send; more than messages where some were repeated.
    pub(crate) attempts: u64,
    /// Messages whose sending was answered.
    pub(crate) answered: u64,
    /// Of those, the ones that an earlier attempt had stored.
    pub(crate) stored_before: u64,
    /// Attempts refused with nothing changed.
    pub(crate) refused: u64,
    /// Attempts answered with an outcome that is not known.
    pub(crate) unsure: u64,
    /// Messages read through `inbox`.
    pub(crate) read_by_inbox: u64,
    /// Messages read through `peek`.
    pub(crate) read_by_peek: u64,
    /// Messages read through `watch`.
    pub(crate) read_by_watch: u64,
    /// Of all those read, the ones that somebody had read before.
    pub(crate) redelivered: u64,
    /// Confirmations that were answered.
    pub(crate) confirmations: u64,
    /// Announced gaps.
    pub(crate) gaps: u64,
    /// How often a watch fell behind and was caught up from the store.
    pub(crate) lagged: u64,
    /// Connections that were opened.
    pub(crate) connections: u64,
    /// Connections that the client reset.
    pub(crate) reset: u64,
    /// Connections that the client closed.
    pub(crate) closed: u64,
    /// Connections that were lost.
    pub(crate) lost_connections: u64,
    /// How often the server was killed.
    pub(crate) kills: u64,
}

impl Counts {
    pub(super) fn add(&mut self, fact: &Fact) {
        match fact {
            Fact::Sent { .. } => self.attempts += 1,
            Fact::Answered { repeat, .. } => {
                self.answered += 1;
                self.stored_before += u64::from(*repeat);
            }
            Fact::Refused { .. } => self.refused += 1,
            Fact::Unsure { .. } => self.unsure += 1,
            Fact::Shown { via, .. } => match via {
                Via::Inbox => self.read_by_inbox += 1,
                Via::Peek => self.read_by_peek += 1,
                Via::Watch => self.read_by_watch += 1,
            },
            Fact::Confirmed { .. } => self.confirmations += 1,
            Fact::Gap { .. } => self.gaps += 1,
            Fact::Lagging { .. } => self.lagged += 1,
            Fact::Opened { .. } => self.connections += 1,
            Fact::Ended { how: Ending::Reset, .. } => self.reset += 1,
            Fact::Ended { how: Ending::Closed, .. } => self.closed += 1,
            Fact::Ended { how: Ending::Lost, .. } => self.lost_connections += 1,
            Fact::Killed => self.kills += 1,
            Fact::Emptied { .. }
            | Fact::Living { .. }
            | Fact::Asked { .. }
            | Fact::Watching { .. }
            | Fact::Unwatched { .. }
            | Fact::Strange { .. }
            | Fact::Confirming { .. }
            | Fact::Restarted => {}
        }
    }

    /// Messages read, again or for the first time.
    pub(crate) fn read(&self) -> u64 {
        self.read_by_inbox + self.read_by_peek + self.read_by_watch
    }
}
