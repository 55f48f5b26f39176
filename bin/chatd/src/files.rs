//! Room for open files: one connection is one.

use std::num::NonZeroU32;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files if that many connections need it, and says how many connections there can be.
pub(crate) fn make_room(connections: NonZeroU32) -> NonZeroU32 {
    let wanted = u64::from(connections.get()).saturating_add(RESERVE);
    let limit = raise(wanted);
    if limit >= wanted {
        return connections;
    }
    let possible = u32::try_from(limit.saturating_sub(RESERVE)).unwrap_or(u32::MAX);
    let possible = NonZeroU32::new(possible).unwrap_or(NonZeroU32::MIN);
    tracing::warn!(
        open_files = limit,
        connections = possible,
        "the system's limit of open files allows fewer connections than configured: raise it (ulimit -Hn, or \
         LimitNOFILE= in the unit) to at least {wanted}, or lower connections.max"
    );
    possible
}

/// Raises the soft limit towards the hard one if it is below what is wanted; gives the soft limit then in force.
fn raise(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(current) = current.filter(|current| *current < wanted) else {
        return current.unwrap_or(u64::MAX);
    };
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(_) => current,
    }
}

/// Files the daemon needs beside its connections: listeners, the store's files and readers, the log, room for others.
const RESERVE: u64 = 64;
