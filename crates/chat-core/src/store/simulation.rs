//! A store on a simulated disk, for deterministic simulation tests (feature `simulation`).
//!
//! [`SimulatedDisk::open`] gives a [`Store`] and the future of its actor, to be run on the simulation's own runtime. It
//! starts no thread: commits take no time, and passwords are hashed and pages read on the task that asks, after a wait
//! drawn from [`StoreOptions::random`]. Seed that source, set the [clock](StoreOptions::clock) yourself and pause tokio's
//! time, and the same calls in the same order give the same answers on any machine.
//!
//! The disk outlives its stores. It fails when told to. When the power is lost it keeps what was synced, and of the
//! writes after that only as many as the test says, in their order.

use std::sync::Arc;
use std::time::Duration;

use super::engine::{Bug, Engine, Fault, Moment, SimulatedLog};
use super::{Blocking, Durability, OpenError, Store, StoreOptions, WatchBounds};
use crate::account::{Hasher, PasswordParams};

/// A disk that outlives the stores on it. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    log: SimulatedLog,
}

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// The disk is full: writes are refused whole.
    NoSpace,
    /// Writes succeed but syncing them fails.
    SyncFailed,
    /// The machine goes down before the write.
    DownBeforeWrite,
    /// The machine goes down after the write and before its sync.
    DownBeforeSync,
    /// The machine goes down after the sync and before anybody learns of it.
    DownAfterSync,
}

/// A fault built in on purpose, to see that a simulation finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlantedBug {
    /// One commit in sixteen is acknowledged before it is synced; the next one's sync makes up for it.
    AckBeforeSync,
    /// The first slice of a flush claims that all of the log is in the index, while others are still to come.
    CoveredEarly,
    /// The flush leaves out how far a mailbox was delivered.
    CursorForgotten,
    /// The log does not keep the keys of messages.
    KeysForgotten,
}

/// What a disk held, for [`SimulatedDisk::put_back`].
#[derive(Debug, Clone)]
pub struct DiskCopy(SimulatedLog);

impl Default for SimulatedDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimulatedDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self { log: SimulatedLog::with_power_switch() }
    }

    /// Opens the store on it, and gives the actor that must be run for the store to answer. Passwords are hashed as cheaply
    /// as can be, and watches hold few events, so that they often lag. The store opened before must be gone: its actor
    /// dropped, or finished after [`Store::close`].
    ///
    /// # Errors
    /// [`OpenError::Engine`] if the disk fails, or holds what no store could have written.
    pub fn open(
        &self,
        mut options: StoreOptions,
    ) -> Result<(Store, impl Future<Output = ()> + Send + 'static + use<>), OpenError> {
        options.password = PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };
        options.watch = WatchBounds { events: 4, page_messages: 3, ..WatchBounds::SMALL };
        let engine = Engine::new(self.log.clone(), &options).map_err(|error| {
            OpenError::Engine { path: "(simulated)".into(), reason: error.to_string() }
        })?;
        let blocking = Blocking::Simulated(Arc::clone(&options.random), LONGEST_BLOCKING);
        let hasher = Hasher::simulated(options.password, blocking.clone());
        Ok(Store::with_actor(engine, &options, Some(Durability::PowerLoss), (hasher, blocking)))
    }

    /// Makes the disk fail like this from now on; `None` heals it, and undoes [`fail_at`](Self::fail_at).
    pub fn fail(&self, fault: Option<DiskFault>) {
        self.log.fail(fault.map(Fault::from));
    }

    /// Makes the n-th write from now, counted from 1, fail like this, and all after it.
    pub fn fail_at(&self, n: u64, fault: DiskFault) {
        self.log.fail_at(n, fault.into());
    }

    /// Whether the machine went down at a write. The test must then drop the store's actor: it may answer nobody any more.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.log.is_down()
    }

    /// How many writes are not synced.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.log.unsynced()
    }

    /// The power goes and comes back: of the writes that were not synced the first `keep` survive. Heals the disk.
    pub fn lose_power(&self, keep: usize) {
        self.log.pull_plug(keep);
    }

    /// The process ends and the machine goes on: everything written survives. Heals the disk.
    pub fn lose_process(&self) {
        self.log.pull_plug(usize::MAX);
    }

    /// A copy of what is synced now.
    #[must_use]
    pub fn copy(&self) -> DiskCopy {
        DiskCopy(self.log.copy())
    }

    /// Puts a copy in place of what is there. When `noticed`, the next store to open it can tell (a real one does when the
    /// file is another than it was).
    pub fn put_back(&self, copy: &DiskCopy, noticed: bool) {
        self.log.put_back(&copy.0, noticed);
    }

    /// Builds a fault in. It stays, whatever happens to the disk.
    pub fn plant(&self, bug: PlantedBug) {
        self.log.plant(match bug {
            PlantedBug::AckBeforeSync => Bug::AckBeforeSync,
            PlantedBug::CoveredEarly => Bug::CoveredEarly,
            PlantedBug::CursorForgotten => Bug::CursorForgotten,
            PlantedBug::KeysForgotten => Bug::KeysForgotten,
        });
    }
}

impl From<DiskFault> for Fault {
    fn from(fault: DiskFault) -> Self {
        match fault {
            DiskFault::NoSpace => Self::NoSpace,
            DiskFault::SyncFailed => Self::SyncFailed,
            DiskFault::DownBeforeWrite => Self::Down(Moment::Before),
            DiskFault::DownBeforeSync => Self::Down(Moment::Unsynced),
            DiskFault::DownAfterSync => Self::Down(Moment::Synced),
        }
    }
}

/// The longest wait before blocking work: long enough for commits to come between a page's plan and its reading.
const LONGEST_BLOCKING: Duration = Duration::from_millis(4);
