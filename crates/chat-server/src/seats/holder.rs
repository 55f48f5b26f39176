//! [`Holder`]: who has a place, as far as others must know.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// One a connection, so it is kept small: a token to cancel and the future to wait for it take three times the room.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) number: u64,
    pub(super) room: u32,
    /// When it last sent anything.
    pub(super) heard_ms: AtomicU64,
    is_guest: AtomicBool,
    asked: Mutex<Asked>,
}

/// Why a connection is asked to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Close {
    /// The server stops.
    Stop,
    /// Somebody else needs the place.
    MakeRoom,
    /// What it holds for its peer is needed.
    FreeMemory,
}

/// What the holder of a place was asked, and whom to wake when it is.
#[derive(Debug, Default)]
struct Asked {
    what: Option<Close>,
    waiting: Option<Waker>,
}

impl Holder {
    /// A guest.
    pub(super) fn new(number: u64, room: u32, heard_ms: u64) -> Self {
        Self {
            number,
            room,
            heard_ms: AtomicU64::new(heard_ms),
            is_guest: AtomicBool::new(true),
            asked: Mutex::default(),
        }
    }

    pub(super) fn is_guest(&self) -> bool {
        self.is_guest.load(Ordering::Relaxed)
    }

    /// Whether it was asked to close.
    pub(super) fn is_asked(&self) -> bool {
        self.asked().what.is_some()
    }

    /// From now on it is not asked to make room.
    pub(super) fn keep(&self) {
        self.is_guest.store(false, Ordering::Relaxed);
    }

    /// Of several reasons the most pressing one counts.
    pub(super) fn ask(&self, what: Close) {
        let mut asked = self.asked();
        asked.what = asked.what.max(Some(what));
        if let Some(waiting) = asked.waiting.take() {
            waiting.wake();
        }
    }

    pub(super) fn poll_asked(&self, cx: &Context<'_>) -> Poll<Close> {
        let mut asked = self.asked();
        if let Some(what) = asked.what {
            return Poll::Ready(what);
        }
        match &mut asked.waiting {
            Some(waiting) => waiting.clone_from(cx.waker()),
            waiting => *waiting = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
