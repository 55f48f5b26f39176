//! [`Watchers`]: who watches, as far as telling them of others needs.

use std::sync::Arc;

use crate::store::AccountNumber;
use crate::{MessageId, Timestamp};

#[derive(Debug, Default)]
pub(super) struct Watchers;

impl Watchers {
    /// Whether nobody watches.
    #[expect(clippy::unused_self, reason = "nobody can watch yet")]
    pub(super) fn is_empty(&self) -> bool {
        true
    }

    /// Tells the watches of an account that somebody came or went.
    #[expect(clippy::unused_self, reason = "nobody can watch yet")]
    pub(super) fn notify_presence(&self, to: AccountNumber, username: &Arc<str>, active: bool) {
        let _ = (to, username, active);
    }

    /// When a message was written to a connection of its recipient's, to the second.
    #[expect(clippy::unused_self, reason = "nobody can watch yet")]
    pub(super) fn pushed(&self, account: AccountNumber, id: MessageId) -> Option<Timestamp> {
        let _ = (account, id);
        None
    }
}
