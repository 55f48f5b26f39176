//! A run from start to end.

use std::io;
use std::sync::Arc;

use tokio::time::sleep;

use super::args::CrowdArgs;
use super::arrival::{Route, arrive};
use super::bounds::missed;
use super::client::{Causes, Client};
use super::entry::Entry;
use super::memory::{Memory, follow};
use super::report::{Idle, Report};
use super::sessions::{SessionsError, address};
use super::talk::{Topic, talk};
use crate::interrupt::Interrupt;
use crate::tokens::Session;

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error(transparent)]
    Server(#[from] SessionsError),
    #[error("cannot measure the server's memory (--pid): {0}")]
    Memory(#[from] io::Error),
}

/// Has the clients come, be silent, talk and go. Where not all are served, or it is cut short, it ends early, and the report
/// says so.
pub(super) async fn run(
    args: &CrowdArgs,
    entries: Vec<Entry>,
    interrupt: &mut Interrupt,
) -> Result<Report, RunError> {
    let server = address(&args.address()).await?;
    let route =
        Route { server, from: args.from.clone(), timeout: args.timeout, coming: args.coming };
    let mut run = Run {
        args,
        report: Report { server: args.address(), clients: args.clients, ..Report::default() },
        clients: Vec::with_capacity(args.clients),
        sessions: Vec::with_capacity(args.clients),
    };
    let outcome = tokio::select! {
        outcome = run.through(Arc::new(route), entries) => Some(outcome?),
        () = interrupt.came() => None,
    };
    match outcome {
        Some(outcome) => {
            run.report.errors = outcome.err().unwrap_or_default();
            run.report.missed = missed(&args.bounds, &run.report);
        }
        // What was not come to is no fault of the server's.
        None => run.report.cut_short = true,
    }
    Ok(run.report)
}

struct Run<'a> {
    args: &'a CrowdArgs,
    report: Report,
    clients: Vec<Client>,
    /// Each client's.
    sessions: Vec<Session>,
}

impl Run<'_> {
    async fn through(
        &mut self,
        route: Arc<Route>,
        entries: Vec<Entry>,
    ) -> Result<Result<(), Causes>, RunError> {
        self.report.before = self.memory()?;
        let first = self.args.first.unwrap_or(0).min(entries.len());
        let (first, rest) = entries.split_at(first);
        for group in [first, rest] {
            if !group.is_empty()
                && let Err(causes) = self.arrive(&route, group).await?
            {
                return Ok(Err(causes));
            }
        }
        let arrivals = self.report.arrivals.iter().map(|arrival| arrival.seconds);
        self.report.answered_seconds = Some(arrivals.sum());
        if !self.args.talk.is_zero()
            && let Err(causes) = self.talk().await?
        {
            return Ok(Err(causes));
        }
        self.clients = Vec::new();
        if let (Some(pid), Some(before)) = (self.args.pid, self.report.before) {
            self.report.aftermath = Some(follow(pid, before, self.args.follow).await?);
        }
        Ok(Ok(()))
    }

    async fn arrive(
        &mut self,
        route: &Arc<Route>,
        entries: &[Entry],
    ) -> Result<Result<(), Causes>, RunError> {
        let (clients, outcome) = arrive(route, entries).await;
        for (client, session) in clients {
            self.clients.push(client);
            self.sessions.push(session);
        }
        match outcome {
            Ok(arrival) => self.report.arrivals.push(arrival),
            Err(causes) => return Ok(Err(causes)),
        }
        if let Some(before) = self.report.before {
            sleep(self.args.settle).await;
            let memory = self.memory()?.unwrap_or(before);
            self.report.idle.push(Idle::new(self.clients.len(), before, memory));
        }
        Ok(Ok(()))
    }

    async fn talk(&mut self) -> Result<Result<(), Causes>, RunError> {
        let topic = Arc::new(Topic {
            sessions: std::mem::take(&mut self.sessions),
            body: "x".repeat(self.args.size),
            time: self.args.talk,
            timeout: self.args.timeout,
            seed: self.args.seed,
        });
        let (clients, outcome) = talk(std::mem::take(&mut self.clients), &topic).await;
        self.clients = clients;
        match outcome {
            Ok(talk) => self.report.talk = Some(talk),
            Err(causes) => return Ok(Err(causes)),
        }
        self.report.after_talk = self.memory()?;
        Ok(Ok(()))
    }

    fn memory(&self) -> io::Result<Option<Memory>> {
        self.args.pid.map(Memory::of).transpose()
    }
}
