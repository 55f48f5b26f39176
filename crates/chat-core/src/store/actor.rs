//! The task that owns the backend.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

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
    let mut rest = backend.work(options.clock.now());
    loop {
        let received = match rest {
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
            return;
        }
        serve(backend, &mut waiting, options, || requests.close());
        rest = backend.work(options.clock.now());
    }
}

/// Runs what waits in commits of bounded size.
fn serve<B: Backend>(
    backend: &mut B,
    waiting: &mut Vec<Request>,
    options: &ActorOptions,
    mut close: impl FnMut(),
) {
    let mut commit = Commit::default();
    for request in waiting.drain(..) {
        match request {
            Request::Run(operation, answer) => {
                commit.weight += operation.weight();
                commit.operations.push(operation);
                commit.answers.push(answer);
                if commit.weight >= MAX_COMMIT_WEIGHT {
                    commit.run(backend, options);
                }
            }
            Request::Close => close(),
        }
    }
    commit.run(backend, options);
}

#[derive(Default)]
struct Commit {
    operations: Vec<Operation>,
    answers: Vec<Option<oneshot::Sender<Outcome>>>,
    weight: usize,
}

impl Commit {
    fn run<B: Backend>(&mut self, backend: &mut B, options: &ActorOptions) {
        let Self { operations, answers, .. } = std::mem::take(self);
        if operations.is_empty() {
            return;
        }
        let outcomes = backend.run(operations, options.clock.now());
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // A caller that gave up has dropped its end.
            let _ = answer.map(|answer| answer.send(outcome));
        }
    }
}

/// Most messages in one commit, so that one burst cannot hold up everybody else for long: about 10 ms, as the store's
/// thread takes two thirds of the 3.4 µs of CPU of a send (`docs/performance.md`).
const MAX_COMMIT_WEIGHT: usize = 4_096;
