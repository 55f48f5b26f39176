//! [`Disk`]: tables of which some are synced, and how writing them fails.

#[cfg(feature = "simulation")]
use super::bug::Bug;
use super::tables::{Tables, Write};
use crate::store::engine::log::LogError;

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) tables: Tables,
    /// What survives a loss of power: `tables` without `unsynced`. Kept only where a test may pull the plug.
    pub(super) synced: Option<Tables>,
    pub(super) unsynced: Vec<Write>,
    pub(super) fault: Option<Fault>,
    pub(super) writes: u64,
    /// The fault strikes at this write.
    pub(super) fault_at: Option<(u64, Fault)>,
    /// An older copy was put in place of what was there.
    pub(super) is_old_copy: bool,
    #[cfg(feature = "simulation")]
    pub(super) bug: Option<Bug>,
}

/// How the simulated disk shall fail.
#[cfg_attr(
    not(any(test, feature = "simulation")),
    expect(dead_code, reason = "a store in memory does not fail")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No room: the write is refused whole.
    NoSpace,
    /// The write went out but its sync failed.
    SyncFailed,
    /// The machine goes down, and nothing is written any more.
    #[cfg(feature = "simulation")]
    Down(Moment),
}

/// When, in the course of a write, the machine goes down.
#[cfg(feature = "simulation")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before anything is written.
    Before,
    /// Once it is written, before it is synced.
    Unsynced,
    /// Once it is synced.
    Synced,
}

impl Disk {
    #[cfg_attr(
        not(feature = "simulation"),
        expect(unused_mut, reason = "only a planted bug changes what is written")
    )]
    pub(super) fn write(&mut self, mut write: Write) -> Result<(), LogError> {
        self.writes += 1;
        let writes = self.writes;
        if let Some((_, fault)) = self.fault_at.take_if(|(at, _)| *at <= writes) {
            self.fault = Some(fault);
        }
        #[cfg(feature = "simulation")]
        if let Some(bug) = self.bug {
            bug.spoil(&mut write, &self.tables);
        }
        let is_append = matches!(write, Write::Batch(_));
        match self.fault {
            None => self.put(write, true),
            Some(Fault::NoSpace) => return Err(LogError::NoSpace("simulated".into())),
            Some(Fault::SyncFailed) => {
                self.put(write, false);
                if is_append {
                    return Err(LogError::Failed("simulated: sync failed".into()));
                }
            }
            #[cfg(feature = "simulation")]
            Some(Fault::Down(moment)) => {
                self.go_down(moment, write);
                return Err(LogError::Failed("simulated: the machine is down".into()));
            }
        }
        Ok(())
    }

    fn put(&mut self, write: Write, syncs: bool) {
        let is_append = matches!(write, Write::Batch(_));
        self.tables.apply(&write);
        if self.synced.is_none() {
            return;
        }
        #[cfg(feature = "simulation")]
        if is_append && self.bug.is_some_and(|bug| bug.forgets_sync(self.writes)) {
            self.sync();
            self.unsynced.push(write);
            return;
        }
        self.unsynced.push(write);
        if is_append && syncs {
            self.sync();
        }
    }

    pub(super) fn sync(&mut self) {
        if let Some(synced) = &mut self.synced {
            for write in self.unsynced.drain(..) {
                synced.apply(&write);
            }
        }
    }

    /// Has these tables, all of them synced, and no trouble.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn hold(&mut self, tables: Tables) {
        *self = Self {
            synced: Some(tables.clone()),
            tables,
            #[cfg(feature = "simulation")]
            bug: self.bug,
            ..Self::default()
        };
    }

    #[cfg(feature = "simulation")]
    fn go_down(&mut self, moment: Moment, write: Write) {
        match moment {
            Moment::Before => {}
            Moment::Unsynced => self.put(write, false),
            Moment::Synced => self.put(write, true),
        }
        self.fault = Some(Fault::Down(Moment::Before));
    }
}
