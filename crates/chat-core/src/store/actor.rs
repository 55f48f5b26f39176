//! The task that owns the backend.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::StoreError;
use super::backend::Backend;
use super::request::{Operation, Outcome, Request};
use crate::Clock;

/// How much one commit may carry, and where the time comes from.
#[derive(Clone)]
pub(crate) struct ActorOptions {
    /// Requests drained at once.
    pub(crate) batch: usize,
    pub(crate) clock: Arc<dyn Clock>,
}

/// How the store ended, once it has.
pub(crate) type End = Option<Result<(), StoreError>>;

/// Serves requests until it is told to close, or until every handle is gone.
pub(crate) async fn run<B: Backend>(
    mut requests: mpsc::Receiver<Request>,
    mut backend: B,
    options: ActorOptions,
    ended: watch::Sender<End>,
) {
    run_inner(&mut requests, &mut backend, &options).await;
    let end = backend.close();
    // Whoever waits for the end may open the directory again at once, so its lock goes first.
    drop(backend);
    ended.send_replace(Some(end));
}

async fn run_inner<B: Backend>(
    requests: &mut mpsc::Receiver<Request>,
    backend: &mut B,
    options: &ActorOptions,
) {
    let mut waiting = Vec::with_capacity(options.batch);
    let mut commits = Commits::new(backend, options);
    let mut rest = commits.work();
    loop {
        let received = match rest {
            // What is under way is waited for if there is nothing to do meanwhile.
            _ if requests.is_empty() && commits.are_under_way() => 0,
            // Whatever waits goes first, but background work is never starved: one step follows each commit.
            Some(Duration::ZERO) if requests.is_empty() && !requests.is_closed() => 0,
            Some(rest) => {
                tokio::time::timeout(rest, requests.recv_many(&mut waiting, options.batch))
                    .await
                    .unwrap_or(0)
            }
            None => requests.recv_many(&mut waiting, options.batch).await,
        };
        if received == 0 && requests.is_closed() && requests.is_empty() {
            commits.settle();
            return;
        }
        if received > 0 && commits.are_under_way() && !goes_ahead(&waiting) {
            // What comes while this has to wait anyway shares its commit.
            commits.settle();
            let more = std::iter::from_fn(|| requests.try_recv().ok());
            waiting.extend(more.take(options.batch - received));
        }
        let begun = Instant::now();
        let served = commits.serve(&mut waiting, || requests.close());
        let took = begun.elapsed();
        if received > 0 && commits.may_go_ahead() {
            continue;
        }
        rest = commits.work();
        if rest != Some(Duration::ZERO) && requests.len() < received {
            // The thread is the store's own and blocks in every commit as well.
            if let Some(pause) = served.pause(took) {
                std::thread::sleep(pause);
            }
        }
    }
}

/// What was served at once.
#[derive(Debug, Clone, Copy, Default)]
struct Served {
    requests: usize,
    /// Messages, more or less.
    weight: usize,
}

impl Served {
    /// How long to give those who were just answered to ask again, so that they share a commit. Without it the first of them
    /// gets one for itself, and callers who each wait for their answer fall into groups that wait for one another's commits.
    ///
    /// Not after a few, who would only be kept waiting; not where messages cost more than the commit that they share; and
    /// not where a commit is so short that a pause, which lasts some 50 µs longer than it should, is longer.
    fn pause(self, took: Duration) -> Option<Duration> {
        let pause = (took / PAUSE_PART).min(LONGEST_PAUSE);
        let pays = self.requests >= PAUSE_REQUESTS && self.weight <= PAUSE_WEIGHT;
        Some(pause).filter(|pause| pays && *pause >= SHORTEST_PAUSE)
    }
}

/// Runs what waits in commits of bounded size.
struct Commits<'a, B> {
    backend: &'a mut B,
    options: &'a ActorOptions,
    /// Who waits for the commit that is under way.
    under_way: Vec<Waiting>,
    /// How many were begun since there was time for background work.
    ahead: usize,
    /// Whether that has more to do at once.
    has_work: bool,
}

/// Where the outcome of an operation goes, if anywhere.
type Waiting = Option<oneshot::Sender<Outcome>>;

impl<'a, B: Backend> Commits<'a, B> {
    fn new(backend: &'a mut B, options: &'a ActorOptions) -> Self {
        Self { backend, options, under_way: Vec::new(), ahead: 0, has_work: false }
    }

    fn serve(&mut self, waiting: &mut Vec<Request>, mut close: impl FnMut()) -> Served {
        let mut commit = Commit::default();
        let mut served = Served { requests: waiting.len(), weight: 0 };
        for request in waiting.drain(..) {
            match request {
                Request::Run(operation, answer) => {
                    served.weight += operation.weight();
                    commit.add(operation, answer);
                    if commit.weight >= MAX_COMMIT_WEIGHT {
                        self.run(std::mem::take(&mut commit));
                    }
                }
                Request::Close => close(),
            }
        }
        self.run(commit);
        served
    }

    fn run(&mut self, commit: Commit) {
        let Commit { operations, answers, weight, has_others } = commit;
        let now = self.options.clock.now();
        if !has_others && weight >= AHEAD_WEIGHT {
            let settled = self.backend.run_ahead(operations, now);
            tell(std::mem::replace(&mut self.under_way, answers), settled);
            self.ahead += 1;
            return;
        }
        self.settle();
        if !operations.is_empty() {
            tell(answers, self.backend.run(operations, now));
        }
    }

    fn are_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Whether more may be carried out before what is under way is settled.
    fn may_go_ahead(&self) -> bool {
        self.are_under_way() && self.ahead < MOST_AHEAD && !self.has_work
    }

    fn settle(&mut self) {
        tell(std::mem::take(&mut self.under_way), self.backend.settle());
    }

    /// One step of background work. What of it needs no disk is done while that is busy with a commit.
    fn work(&mut self) -> Option<Duration> {
        let now = self.options.clock.now();
        if self.are_under_way() {
            self.backend.prepare(now);
        }
        self.settle();
        self.ahead = 0;
        let rest = self.backend.work(now);
        self.has_work = rest == Some(Duration::ZERO);
        rest
    }
}

/// Whether these can be carried out, as far as they fit into one commit, before what is under way is settled.
fn goes_ahead(requests: &[Request]) -> bool {
    let mut weight = 0;
    for request in requests {
        match request {
            Request::Run(operation @ Operation::Send(_), _) => weight += operation.weight(),
            _ => return false,
        }
    }
    weight >= AHEAD_WEIGHT
}

fn tell(waiting: Vec<Waiting>, outcomes: Vec<Outcome>) {
    for (answer, outcome) in waiting.into_iter().zip(outcomes) {
        // A caller that gave up has dropped its end.
        let _ = answer.map(|answer| answer.send(outcome));
    }
}

/// What is carried out and committed together.
#[derive(Default)]
struct Commit {
    operations: Vec<Operation>,
    answers: Vec<Waiting>,
    weight: usize,
    has_others: bool,
}

impl Commit {
    fn add(&mut self, operation: Operation, answer: Waiting) {
        self.weight += operation.weight();
        self.has_others |= !matches!(operation, Operation::Send(_));
        self.operations.push(operation);
        self.answers.push(answer);
    }
}

/// Most messages in one commit, so that one burst cannot hold up everybody else for long: some 4 ms, as the store's thread
/// takes about 0.9 µs of CPU for a send. Repeats of posts that are no longer in memory take 30 to 40 µs each, so a commit
/// of nothing else up to 160 ms (both from `docs/performance.md`).
const MAX_COMMIT_WEIGHT: usize = 4_096;
/// Messages that cost about as much as the sync of their commit: so many are carried out while the commit before them is
/// synced by another thread, which for fewer costs more than it saves. Tests have few.
const AHEAD_WEIGHT: usize = if cfg!(any(test, feature = "simulation")) { 1 } else { 256 };
/// Commits in a row before there is time for background work.
const MOST_AHEAD: usize = 16;
/// A pause is this part of what the commit before it took, so that it costs no more than that where nobody asks again,
const PAUSE_PART: u32 = 8;
/// this at least: what took less than 160 µs is better done again,
const SHORTEST_PAUSE: Duration = Duration::from_micros(20);
/// and this at most, when the disk was slow.
const LONGEST_PAUSE: Duration = Duration::from_micros(200);
/// Fewer requests than this are followed by no pause.
const PAUSE_REQUESTS: usize = 4;
/// Nor are more messages.
const PAUSE_WEIGHT: usize = 256;

#[cfg(test)]
mod tests;
