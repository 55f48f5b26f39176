//! What a run does: the command line, checked and made ready.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::accounts::{Account, AccountsError, accounts};
use crate::args::LoadArgs;
use crate::process::{self, OpenFilesError};

/// Everything the clients share. Users are known by their place in `accounts`.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) server: String,
    pub(crate) address: SocketAddr,
    pub(crate) clients: usize,
    pub(crate) in_flight: usize,
    pub(crate) goal: Goal,
    pub(crate) body: Vec<u8>,
    pub(crate) accounts: Vec<Account>,
    /// How many of the accounts, from the first on, get messages.
    pub(crate) recipients: usize,
    /// With `--drain`: whether this user's mailbox was found full and is not read yet.
    full: Option<Vec<AtomicBool>>,
    pub(crate) threads: usize,
    pub(crate) pid: Option<u32>,
    pub(crate) timeout: Duration,
    pub(crate) seed: u64,
}

/// When a run is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    Duration { warmup: Duration, measured: Duration },
    Count(u64),
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error(transparent)]
    OpenFiles(#[from] OpenFilesError),
    #[error("cannot find {server}: {reason} (expected HOST:PORT)")]
    Address { server: String, reason: String },
    #[error("no process {pid} to measure: {source}")]
    Process { pid: u32, source: std::io::Error },
    #[error("--drain needs at least two clients, who read what they send each other")]
    NobodyDrains,
}

impl Plan {
    /// Checks what can be checked before the first connection.
    pub(crate) fn new(args: &LoadArgs) -> Result<Self, PlanError> {
        let accounts = accounts(&args.accounts)?;
        process::allow_open_files(args.clients)?;
        if let Some(pid) = args.pid {
            process::cpu_time(pid).map_err(|source| PlanError::Process { pid, source })?;
        }
        let recipients = if args.drain { accounts.len().min(args.clients) } else { accounts.len() };
        if recipients < 2 {
            return Err(PlanError::NobodyDrains);
        }
        Ok(Self {
            server: args.server.clone(),
            address: resolve(&args.server)?,
            clients: args.clients,
            in_flight: args.in_flight,
            goal: goal(args),
            body: b"x".repeat(args.size),
            full: args.drain.then(|| accounts.iter().map(|_| AtomicBool::default()).collect()),
            accounts,
            recipients,
            threads: args.threads.min(args.clients),
            pid: args.pid,
            timeout: args.timeout,
            seed: args.seed,
        })
    }

    /// How many of `--count` messages a client sends; the first clients send the odd ones.
    pub(crate) fn share(&self, client: usize) -> Option<u64> {
        let Goal::Count(count) = self.goal else {
            return None;
        };
        let clients = u64::try_from(self.clients).ok()?;
        let odd = u64::try_from(client).is_ok_and(|client| client < count % clients);
        Some(count / clients + u64::from(odd))
    }

    /// Whether a user's mailbox waits to be read; never without `--drain`.
    pub(crate) fn is_full(&self, user: usize) -> bool {
        let full = self.full.as_ref().and_then(|full| full.get(user));
        full.is_some_and(|full| full.load(Ordering::Relaxed))
    }

    /// Notes that a user's mailbox was found full, or that it was read.
    pub(crate) fn set_full(&self, user: usize, is_full: bool) {
        if let Some(full) = self.full.as_ref().and_then(|full| full.get(user)) {
            full.store(is_full, Ordering::Relaxed);
        }
    }

    /// The user that a client is.
    pub(crate) fn user_of(&self, client: usize) -> usize {
        client % self.accounts.len()
    }
}

fn goal(args: &LoadArgs) -> Goal {
    match args.count {
        Some(count) => Goal::Count(count),
        None => Goal::Duration { warmup: args.warmup, measured: args.duration },
    }
}

pub(crate) fn resolve(server: &str) -> Result<SocketAddr, PlanError> {
    let failed = |reason: String| PlanError::Address { server: server.to_owned(), reason };
    let mut found = server.to_socket_addrs().map_err(|error| failed(error.to_string()))?;
    found.next().ok_or_else(|| failed("no address".to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Args;

    fn plan(line: &str) -> Result<Plan, PlanError> {
        let words = std::iter::once("chat-load").chain(line.split_whitespace());
        Plan::new(&Args::try_parse_from(words).unwrap().load)
    }

    #[test]
    fn a_count_is_shared_out_in_full() {
        let plan = plan("--clients 3 --count 8").unwrap();
        let shares: Vec<_> = (0..3).map(|client| plan.share(client).unwrap()).collect();
        assert_eq!(shares, [3, 3, 2]);
    }

    #[test]
    fn what_cannot_work_is_refused_before_connecting() {
        assert!(matches!(plan("--drain --clients 1"), Err(PlanError::NobodyDrains)));
        assert!(matches!(plan("--server nowhere"), Err(PlanError::Address { .. })));
        assert!(matches!(plan("--pid 4294967295"), Err(PlanError::Process { .. })));
        assert!(matches!(
            plan("--clients 1000000000"),
            Err(PlanError::OpenFiles(OpenFilesError { .. }))
        ));
    }
}
