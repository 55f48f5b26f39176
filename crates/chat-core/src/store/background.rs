//! [`Background`]: threads for work that takes long and can wait.

use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::StoreError;

/// A few threads that only run on what everybody else leaves of the cores. They start when there is work and end after 10 s
/// without any.
#[derive(Debug)]
pub(crate) struct Background(Option<Runtime>);

impl Background {
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        // Only its pool of blocking threads is used.
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(threads)
            .thread_name("chat-background")
            .thread_keep_alive(IDLE)
            .on_thread_start(step_back)
            .build()?;
        Ok(Self(Some(runtime)))
    }

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let runtime = self.0.as_ref().ok_or(StoreError::Unavailable)?;
        let (done, outcome) = mpsc::channel();
        // Nobody may be left who wants to know.
        runtime.spawn_blocking(move || drop(done.send(work())));
        // Blocking work of the caller's runtime as well: a test's paused clock stands still meanwhile.
        let outcome = tokio::task::spawn_blocking(move || outcome.recv()).await;
        outcome.ok().and_then(Result::ok).ok_or(StoreError::Unavailable)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Waits for nothing, as it may be dropped on a thread that must not block.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Lowers the priority of the thread that calls. Where that is not to be had it goes on as it is.
fn step_back() {
    // On Linux this is the thread's alone (man 2 setpriority, "C library/kernel differences").
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, LOWEST) {
        tracing::debug!(%error, "background threads have the priority of all others");
    }
}

/// How long a thread waits for more work before it ends.
const IDLE: Duration = Duration::from_secs(10);
/// The nicest there is (man 2 setpriority): a seventieth of an ordinary thread's share of a core that it must share, so that
/// nothing is ever starved.
#[cfg(target_os = "linux")]
const LOWEST: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn its_threads_step_back_and_others_do_not() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let background = Background::new(1).unwrap();
        assert_eq!(background.run(priority).await, Ok(LOWEST));
        assert_eq!(priority(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_stands_still_while_it_works() {
        let begun = tokio::time::Instant::now();
        let background = Background::new(1).unwrap();
        let work = background.run(|| (0..10_000).for_each(|_| std::thread::yield_now()));
        let (timer, worked) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>()),
            async {
                work.await.unwrap();
                begun.elapsed()
            }
        );
        assert!(timer.is_err());
        assert_eq!(worked, Duration::ZERO);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_next_work_is_done() {
        let background = Background::new(1).unwrap();
        assert_eq!(
            background.run(|| -> u8 { panic!("as planned") }).await,
            Err(StoreError::Unavailable)
        );
        assert_eq!(background.run(|| 1).await, Ok(1));
    }
}
