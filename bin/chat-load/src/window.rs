//! [`Window`]: when a run is measured, and [`Bell`]: how its clients are told to do something.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The stretch of time that is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// When the clients are let loose.
    pub(crate) start: Instant,
    pub(crate) from: Instant,
    /// Nothing is sent from here on. `None` when clients do a given number of operations.
    pub(crate) until: Option<Instant>,
    /// Whether operations are due at a rate, so that a latency belongs to when its operation was due.
    pub(crate) is_open_loop: bool,
}

impl Window {
    /// Whether the latency of an operation is measured: in an open loop that of one which was due in the window,
    /// however late its reply; in a closed one that of one which was answered in it.
    pub(crate) fn holds_latency(&self, due: Instant, answered: Instant) -> bool {
        self.holds(if self.is_open_loop { due } else { answered })
    }

    /// Whether what is due or done at a moment is measured.
    pub(crate) fn holds(&self, at: Instant) -> bool {
        at >= self.from && !self.is_over(at)
    }

    /// Whether what is due or done at a moment comes too late to be measured.
    pub(crate) fn is_over(&self, at: Instant) -> bool {
        self.until.is_some_and(|until| at >= until)
    }

    /// How long was measured, when nobody does anything any more from `end` on: less than was planned if all clients
    /// were lost before.
    pub(crate) fn measured(&self, end: Instant) -> Duration {
        self.until.map_or(end, |until| until.min(end)).saturating_duration_since(self.from)
    }
}

/// Whether clients are to give up what is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GiveUp {
    No,
    /// The replies took too long: they count as unanswered.
    TimedOut,
    /// The run ends early: nobody waits for the replies.
    CutShort,
}

/// How a client is told that there is something to do, other than by a reply.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Notify,
    leave: AtomicBool,
}

impl Bell {
    /// An operation is due, or time is up.
    pub(crate) fn wake(&self) {
        self.rung.notify_one();
    }

    /// The connection is to be made anew.
    pub(crate) fn reconnect(&self) {
        self.leave.store(true, Ordering::Relaxed);
        self.rung.notify_one();
    }

    /// Whether the connection is to be made anew.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leave.load(Ordering::Relaxed)
    }

    /// The connection is closed, to be made anew.
    pub(crate) fn left(&self) {
        self.leave.store(false, Ordering::Relaxed);
    }

    /// Returns when there is, or was, something to do. Cancel safe.
    pub(crate) async fn rings(&self) {
        self.rung.notified().await;
    }
}
