//! [`Timer`]: when something is due again.

use std::time::Duration;

use crate::Timestamp;

/// When something is due again, by a clock that may be set.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Timer(Option<Timestamp>);

impl Timer {
    pub(super) fn starting(now: Timestamp, every: Duration) -> Self {
        Self(Some(now.plus(every)))
    }

    /// Due from the start, when the time has come, and when it is further off than it can be: the clock went back.
    pub(super) fn is_due(self, now: Timestamp, every: Duration) -> bool {
        self.0.is_none_or(|due| now >= due) || self.is_ahead(now, every)
    }

    /// Whether it is further off than it can be.
    pub(super) fn is_ahead(self, now: Timestamp, every: Duration) -> bool {
        self.0.is_some_and(|due| now.plus(every) < due)
    }
}
