//! [`Hasher`]: hashes passwords on a few threads of its own.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::password::{PasswordHash, PasswordHashError, PasswordParams};
use crate::store::{Blocking, StoreError};

/// Hashes and verifies passwords on threads of the lowest priority: one less than there are cores, but at least one. At
/// most 512 hashes a thread may wait, about ten seconds of work at the default cost; more are refused. Cheap to clone;
/// clones share the threads and the queue.
///
/// One core is left for syncs: when hashes run on all cores, whatever their priority, Linux may let the kernel's workers
/// that finish a sync wait for a core for a second (`docs/performance.md`).
///
/// # Cancel safety
/// Any of its futures may be dropped. A hash that has begun runs to its end on its thread; one that waits gives up its
/// place.
#[derive(Clone, Debug)]
pub struct Hasher {
    params: PasswordParams,
    /// What an unknown user's password is verified against.
    dummy: PasswordHash,
    /// Room to run in.
    threads: Arc<Semaphore>,
    /// Room to run or wait in.
    places: Arc<Semaphore>,
    blocking: Blocking,
}

impl Hasher {
    /// A hasher that makes hashes of this cost, with threads of its own. With parameters that [`PasswordParams::check`]
    /// refuses, every hash fails with [`StoreError::Internal`].
    #[must_use]
    pub fn new(params: PasswordParams) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = cores.saturating_sub(1).max(1);
        let blocking = Blocking::background(threads);
        Self::with_room(params, threads, threads.saturating_mul(MAX_WAITING), blocking)
    }

    fn with_room(
        params: PasswordParams,
        threads: usize,
        waiting: usize,
        blocking: Blocking,
    ) -> Self {
        Self {
            params,
            dummy: PasswordHash::dummy(params),
            threads: Arc::new(Semaphore::new(threads)),
            places: Arc::new(Semaphore::new(threads.saturating_add(waiting))),
            blocking,
        }
    }

    /// One that hashes elsewhere than on threads, with room for one at a time however many cores there are.
    #[cfg(feature = "simulation")]
    pub(crate) fn simulated(params: PasswordParams, blocking: Blocking) -> Self {
        Self::with_room(params, 1, MAX_WAITING, blocking)
    }

    /// Hashes a password with a random salt.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too many wait already; [`StoreError::Internal`] when there is no memory, or the
    /// runtime is shutting down.
    pub async fn hash(&self, password: Box<str>) -> Result<PasswordHash, StoreError> {
        let params = self.params;
        self.run(move || Self::hash_blocking(params, &password)).await
    }

    /// Whether the password matches the hash. `None` stands for an unknown user: the work is the same and the answer is
    /// no, so that the time it takes does not tell who exists.
    ///
    /// # Errors
    /// Those of [`hash`](Self::hash).
    pub async fn verify(
        &self,
        password: Box<str>,
        hash: Option<PasswordHash>,
    ) -> Result<bool, StoreError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.clone());
        let matches = self.run(move || hash.matches(&password)).await?;
        Ok(known && matches)
    }

    /// Whether a hash was made with other parameters than new ones are, and should be made again at the next login.
    #[must_use]
    pub fn is_outdated(&self, hash: &PasswordHash) -> bool {
        hash.params() != Ok(self.params)
    }

    /// Hashes on the calling thread, which it blocks: for import tools.
    ///
    /// # Errors
    /// When the parameters are out of their range, or there is no memory.
    pub fn hash_blocking(
        params: PasswordParams,
        password: &str,
    ) -> Result<PasswordHash, PasswordHashError> {
        PasswordHash::make(params, password)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordHashError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let busy = StoreError::Busy { retry_after: RETRY_AFTER };
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| busy)?;
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        let thread = thread.map_err(|_| StoreError::Internal)?;
        // The permits go along, so that work whose caller has gone still counts.
        let task = self.blocking.run(move || {
            let outcome = work();
            drop((thread, place));
            outcome
        });
        let outcome = task.await.map_err(|_| StoreError::Internal)?;
        outcome.map_err(|error| {
            tracing::error!(%error, "password hashing failed");
            StoreError::Internal
        })
    }
}

/// How many may wait for each thread: about ten seconds of work at the default cost. A login that waits longer is better
/// told so.
const MAX_WAITING: usize = 512;

/// In this time some fifty places per thread come free at the default cost.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// As cheap as Argon2id gets.
    const CHEAP: PasswordParams = PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };

    #[tokio::test]
    async fn verifies_and_says_no_to_unknown_users() {
        let hasher = Hasher::new(CHEAP);
        let hash = hasher.hash("surabaya".into()).await.unwrap();
        let verify = |password: &str, hash| hasher.verify(password.into(), hash);
        assert_eq!(verify("surabaya", Some(hash.clone())).await, Ok(true));
        assert_eq!(verify("wrong", Some(hash.clone())).await, Ok(false));
        assert_eq!(verify("surabaya", None).await, Ok(false));
        assert!(!hasher.is_outdated(&hash));
        assert!(Hasher::new(PasswordParams::default()).is_outdated(&hash));
    }

    #[tokio::test]
    async fn bad_parameters_are_an_error() {
        let bad = PasswordParams { lanes: 0, ..CHEAP };
        assert!(bad.check().is_err());
        let hasher = Hasher::new(bad);
        assert_eq!(hasher.hash("surabaya".into()).await, Err(StoreError::Internal));
        assert_eq!(hasher.verify("surabaya".into(), None).await, Err(StoreError::Internal));
    }

    #[tokio::test]
    async fn beyond_the_room_is_busy_and_places_come_back() {
        let hasher = Hasher::with_room(CHEAP, 1, 1, Blocking::background(1));
        let (open, gate) = mpsc::channel();
        let mut running = Box::pin(hasher.run(move || {
            gate.recv().unwrap();
            Ok(())
        }));
        let mut waiting = Box::pin(hasher.run(|| Ok(())));
        assert!(poll_once(&mut running).await.is_none());
        assert!(poll_once(&mut waiting).await.is_none());

        let busy = Err(StoreError::Busy { retry_after: RETRY_AFTER });
        assert_eq!(hasher.run(|| Ok(())).await, busy);
        drop(waiting);
        let mut waiting = Box::pin(hasher.run(|| Ok(())));
        assert!(poll_once(&mut waiting).await.is_none());

        // Work whose caller has gone keeps its place until it is done.
        drop(running);
        assert_eq!(hasher.run(|| Ok(())).await, busy);
        open.send(()).unwrap();
        assert_eq!(waiting.await, Ok(()));
        assert_eq!(hasher.run(|| Ok(())).await, Ok(()));
    }

    /// Polls once.
    async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
