//! [`Store`]: the handle that programs call.

mod accounts;
mod history;
mod messages;
mod sessions;

pub(super) use messages::plan_and_read;

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::actor::{self, ActorOptions, End};
use super::backend::{Backend, Pages};
use super::blocking::Blocking;
use super::engine::{Engine, SimulatedLog};
use super::request::{Answer, Operation, Outcome, Request};
use super::{Durability, OpenError, StoreError, StoreOptions, WatchBounds};
#[cfg(feature = "embedded")]
use super::{SqliteOptions, engine};
use crate::Random;
use crate::account::Hasher;
use crate::{Clock, Timestamp};

/// A cheap, cloneable handle to a store. The [module](crate::store) has an example.
///
/// Every method may be called from any task of a tokio runtime with time enabled. Commits run on a thread of the store's
/// own, password hashes on a few threads of low priority, and pages that are not in memory are read on the runtime's
/// blocking threads.
///
/// # Waiting
/// Unless it says otherwise a method waits for a place in the store's [queue](StoreOptions::queue), and then for the
/// commit that makes its answer durable. So a full queue slows its callers down; nothing is refused or dropped.
///
/// # Cancel safety
/// A future that is dropped before it is done leaves it unknown whether its change takes place. Nothing is ever half
/// done.
///
/// # Errors
/// Every method may fail with
///
/// - [`StoreError::Unavailable`]: the disk refuses;
/// - [`StoreError::NoSpace`], if it changes something;
/// - [`StoreError::NoSession`], if it takes a session: that one is unknown, expired or ended;
/// - [`StoreError::Closed`], after [`close`](Self::close);
/// - [`StoreError::Internal`].
///
/// Further errors are named at the method.
#[derive(Clone)]
pub struct Store {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

/// What all handles of a store have in common.
struct Shared {
    pages: Arc<dyn Pages>,
    /// One permit for each page being read.
    readers: Arc<Semaphore>,
    hasher: Hasher,
    blocking: Blocking,
    random: Arc<dyn Random>,
    watch: WatchBounds,
    hide_unknown_users: bool,
    message_bytes: usize,
    durability: Option<Durability>,
    clock: Arc<dyn Clock>,
    ended: watch::Receiver<End>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// Opening and closing.
impl Store {
    /// A store in memory, empty at first. Nothing outlives the process.
    ///
    /// # Errors
    /// [`OpenError::Engine`] if no thread can be started.
    pub fn in_memory(options: StoreOptions) -> Result<Self, OpenError> {
        let engine = Engine::new(SimulatedLog::new(), &options)
            .map_err(|error| error.on_opening("(memory)".into()))?;
        Self::start(engine, &options, None)
    }

    /// Opens the store in a directory, making it if there is none, and recovers what was not closed cleanly. One process
    /// may have it open at a time. The blocking work runs off the runtime.
    ///
    /// # Errors
    /// See [`OpenError`].
    ///
    /// # Cancel safety
    /// Opening goes on in the background; the store is closed again once it is open.
    #[cfg(feature = "embedded")]
    pub async fn open(sqlite: SqliteOptions, options: StoreOptions) -> Result<Self, OpenError> {
        let path = sqlite.directory.clone();
        let opening = tokio::task::spawn_blocking(move || {
            let durability = sqlite.durability;
            let engine = Self::engine(sqlite, &options)?;
            Self::start(engine, &options, Some(durability))
        });
        opening.await.map_err(|error| OpenError::Engine { path, reason: error.to_string() })?
    }

    /// The same on the calling thread, and without a thread of the store's own: gives the actor, which must be run for the
    /// store to answer and blocks whoever runs it at each commit. So what a request costs can be counted on one thread.
    ///
    /// # Errors
    /// See [`OpenError`].
    #[cfg(feature = "counting")]
    pub fn open_unstarted(
        sqlite: SqliteOptions,
        options: &StoreOptions,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static + use<>), OpenError> {
        let durability = sqlite.durability;
        let engine = Self::engine(sqlite, options)?;
        let on_threads = (Hasher::new(options.password), Blocking::Threads);
        Ok(Self::with_actor(engine, options, Some(durability), on_threads))
    }

    /// Takes no more requests, serves those that wait, syncs and closes the files. After that every handle and every
    /// watch answers [`StoreError::Closed`], and the directory can be opened again. Dropping all handles and watches
    /// closes the store too, but nobody learns when it is done, or whether it worked.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::NoSpace`] if the files could not be closed cleanly; what was
    /// acknowledged is safe even so. [`StoreError::Lost`] if it is not, because somebody deleted the store's files.
    ///
    /// # Cancel safety
    /// The store closes all the same, and any handle may wait for it again.
    pub async fn close(&self) -> Result<(), StoreError> {
        // An error means that it is closed, or about to be.
        let _ = self.requests.send(Request::Close).await;
        let mut ended = self.shared.ended.clone();
        let end = ended.wait_for(Option::is_some).await.map_err(|_| StoreError::Internal)?;
        end.clone().unwrap_or(Err(StoreError::Internal))
    }

    /// What an acknowledged message survives; `None` if it is only in memory.
    #[must_use]
    pub fn durability(&self) -> Option<Durability> {
        self.shared.durability
    }

    /// The time by the store's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// The longest message body it takes, in bytes.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        self.shared.message_bytes
    }

    #[cfg(feature = "embedded")]
    fn engine(
        sqlite: SqliteOptions,
        options: &StoreOptions,
    ) -> Result<Engine<engine::SqliteLog>, OpenError> {
        let path = sqlite.directory.clone();
        let begun = tokio::time::Instant::now();
        let log = engine::SqliteLog::open(sqlite)?;
        let engine = Engine::new(log, options).map_err(|error| error.on_opening(path))?;
        engine.tell_replayed(begun.elapsed());
        Ok(engine)
    }

    /// Runs the actor on a thread of its own, since every commit blocks.
    fn start<B: Backend>(
        backend: B,
        options: &StoreOptions,
        durability: Option<Durability>,
    ) -> Result<Self, OpenError> {
        let on_threads = (Hasher::new(options.password), Blocking::Threads);
        let (store, actor) = Self::with_actor(backend, options, durability, on_threads);
        let failed = |error: std::io::Error| OpenError::Engine {
            path: "(thread)".into(),
            reason: error.to_string(),
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        std::thread::Builder::new()
            .name("chat-store".into())
            .spawn(move || runtime.block_on(actor))
            .map_err(failed)?;
        Ok(store)
    }

    /// A handle, and the actor that is to be run for it.
    pub(super) fn with_actor<B: Backend>(
        backend: B,
        options: &StoreOptions,
        durability: Option<Durability>,
        (hasher, blocking): (Hasher, Blocking),
    ) -> (Self, impl Future<Output = ()> + Send + 'static + use<B>) {
        let (requests, receiver) = mpsc::channel(options.queue.max(1));
        let (ending, ended) = watch::channel(None);
        let shared = Arc::new(Shared {
            ended,
            message_bytes: options.message_bytes,
            durability,
            clock: Arc::clone(&options.clock),
            pages: backend.pages(),
            readers: Arc::new(Semaphore::new(READERS)),
            hasher,
            blocking,
            random: Arc::clone(&options.random),
            watch: options.watch,
            hide_unknown_users: options.hide_unknown_users,
        });
        let actor = ActorOptions { batch: options.batch.max(1), clock: Arc::clone(&options.clock) };
        (Self { requests, shared }, actor::run(receiver, backend, actor, ending))
    }
}

#[cfg(test)]
impl Store {
    /// A handle whose requests the test serves itself.
    pub(super) fn unserved(pages: Arc<dyn Pages>) -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(16);
        let options = StoreOptions::default();
        let shared = Arc::new(Shared {
            ended: watch::channel(None).1,
            message_bytes: options.message_bytes,
            durability: None,
            clock: options.clock,
            pages,
            readers: Arc::new(Semaphore::new(READERS)),
            hasher: Hasher::new(options.password),
            blocking: Blocking::Threads,
            random: options.random,
            watch: options.watch,
            hide_unknown_users: false,
        });
        (Self { requests, shared }, receiver)
    }
}

/// Talking to the actor.
impl Store {
    /// What a watch may hold in memory.
    pub(super) fn watch_bounds(&self) -> WatchBounds {
        self.shared.watch
    }

    pub(super) async fn ask(&self, operation: Operation) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let request = Request::Run(operation, Some(answer));
        self.requests.send(request).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Unavailable)?
    }

    async fn tell(&self, operation: Operation) {
        // A closed store has nothing left to tell.
        let _ = self.requests.send(Request::Run(operation, None)).await;
    }

    async fn done(&self, operation: Operation) -> Result<(), StoreError> {
        self.ask(operation).await.map(drop)
    }

    async fn count(&self, operation: Operation) -> Result<u64, StoreError> {
        match self.ask(operation).await {
            Ok(Answer::Count(count)) => Ok(count),
            other => unexpected(other),
        }
    }
}

/// An error, or an answer to another question, which is a fault of the backend's.
pub(super) fn unexpected<T>(outcome: Outcome) -> Result<T, StoreError> {
    Err(outcome.err().unwrap_or(StoreError::Internal))
}

/// Pages read from disk at once: they take turns at the disk anyway, and each holds a page in memory.
const READERS: usize = 4;
