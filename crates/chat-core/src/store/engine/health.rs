//! [`Health`]: whether the disk takes writes, and what follows one that failed.

use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use super::log::{Log, LogError};
use crate::store::StoreError;

/// Whether the disk takes writes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Health {
    Good,
    /// Writes are refused until a probe goes through.
    Poor {
        retry: Instant,
        backoff: Duration,
        /// There is no room.
        full: bool,
        /// When the log last said that it lasts.
        told: Instant,
    },
}

impl Health {
    /// How long to wait once one more write has failed.
    fn next_backoff(self) -> Duration {
        match self {
            Self::Good => FIRST_BACKOFF,
            Self::Poor { backoff, .. } => (backoff * 2).min(LONGEST_BACKOFF),
        }
    }
}

impl<L: Log> Engine<L> {
    pub(super) fn can_write(&self) -> Result<(), StoreError> {
        match self.health {
            Health::Good => Ok(()),
            Health::Poor { full: true, .. } => Err(StoreError::NoSpace),
            Health::Poor { .. } => Err(StoreError::Unavailable),
        }
    }

    /// Takes writes no more, and makes the state anew from what the log kept.
    pub(super) fn fail(&mut self, error: LogError) {
        let backoff = self.health.next_backoff();
        match &error {
            LogError::NoSpace(_) => {
                tracing::error!(%error, "the disk is full: changes are refused until there is room; reading goes on");
            }
            _ => {
                tracing::error!(%error, retry_in = ?backoff, "a write failed; refusing writes until one goes through");
            }
        }
        let (now, full) = (Instant::now(), matches!(error, LogError::NoSpace(_)));
        self.health = Health::Poor { retry: now + backoff, backoff, full, told: now };
        self.watchers.unsettle_all();
        self.state = None;
        let restored = match error {
            LogError::NoSpace(_) => self.rebuild(),
            _ => self.log.reopen().and_then(|()| self.rebuild()),
        };
        if let Err(error) = restored {
            tracing::error!(%error, "cannot reopen the store; trying again");
            self.state = None;
        }
    }

    /// Tries whether writes go through again, once it is time to.
    pub(super) fn probe(&mut self) -> Option<Duration> {
        let Health::Poor { retry, mut told, .. } = self.health else { return None };
        let now = Instant::now();
        if now < retry {
            return Some(retry - now);
        }
        let reopened = match &self.state {
            Some(_) => Ok(()),
            None => self.log.reopen().and_then(|()| self.rebuild()),
        };
        match reopened.and_then(|()| self.log.probe()) {
            Ok(()) => {
                tracing::info!("writes go through again");
                self.health = Health::Good;
                None
            }
            Err(error) => {
                if told + TELL_EVERY <= now {
                    tracing::warn!(%error, "writes still fail");
                    told = now;
                }
                let backoff = self.health.next_backoff();
                let full = matches!(error, LogError::NoSpace(_));
                self.health = Health::Poor { retry: now + backoff, backoff, full, told };
                Some(backoff)
            }
        }
    }
}

/// The first wait before a failed write is tried again.
pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// How often the log says that writes still fail.
const TELL_EVERY: Duration = Duration::from_secs(60);
