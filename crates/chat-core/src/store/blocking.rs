//! [`Blocking`]: where work runs that blocks.

use std::sync::Arc;
#[cfg(feature = "simulation")]
use std::time::Duration;

use super::StoreError;
use super::background::Background;
#[cfg(feature = "simulation")]
use crate::Random;

/// Runs work that blocks where it holds nobody up.
#[derive(Clone)]
pub(crate) enum Blocking {
    /// On the runtime's blocking threads.
    Threads,
    /// On threads of its own, which step back behind all others.
    Background(Arc<Background>),
    /// On the task that asks, after a wait of up to so long: in a simulation a thread's time is nobody's.
    #[cfg(feature = "simulation")]
    Simulated(Arc<dyn Random>, Duration),
}

impl Blocking {
    /// On so many threads that step back behind all others, or where other work runs if there can be none.
    pub(crate) fn background(threads: usize) -> Self {
        Background::new(threads)
            .map_or(Self::Threads, |threads| Self::Background(Arc::new(threads)))
    }

    /// Does the work. Once it has begun it goes on to its end, though the future be dropped.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it panics, or the runtime is shutting down.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        match self {
            Self::Threads => {
                tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Unavailable)
            }
            Self::Background(threads) => threads.run(work).await,
            #[cfg(feature = "simulation")]
            Self::Simulated(random, longest) => {
                let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX).max(1);
                let wait = Duration::from_millis(random.next_u64() % longest);
                tokio::time::sleep(wait).await;
                Ok(work())
            }
        }
    }
}

impl std::fmt::Debug for Blocking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blocking")
    }
}
