//! [`Worker`]: a thread that does something while the store goes on.

use std::sync::mpsc::{Receiver, SendError, Sender, TryRecvError, channel};

use super::log::LogError;

/// Does one thing after another, on a thread that begins with the first and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    /// The thread's name; without one each thing is done at once by whoever begins it.
    name: Option<&'static str>,
    jobs: Option<Sender<Job>>,
}

type Job = Box<dyn FnOnce() + Send>;

/// Something that a worker does. Dropping it waits until that is over, so that nothing it used is in use after that.
#[derive(Debug)]
pub(crate) struct Task<T>(Receiver<T>);

impl Worker {
    /// Has a thread of its own.
    #[cfg(any(test, feature = "embedded"))]
    pub(crate) fn on_thread(name: &'static str) -> Self {
        Self { name: Some(name), jobs: None }
    }

    /// Has none, so that the same happens each time.
    pub(crate) fn at_once() -> Self {
        Self { name: None, jobs: None }
    }

    pub(crate) fn begin<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Task<T> {
        let (end, ended) = channel();
        let job = move || {
            // Nobody waits for it only if it was leaked.
            let _ = end.send(work());
        };
        if let Err(job) = self.hand_over(Box::new(job)) {
            job();
        }
        Task(ended)
    }

    /// Gives a job to the thread, or back if there is none.
    fn hand_over(&mut self, job: Job) -> Result<(), Job> {
        if let (None, Some(name)) = (&self.jobs, self.name) {
            self.jobs = start(name);
        }
        let Some(jobs) = &self.jobs else { return Err(job) };
        jobs.send(job).map_err(|SendError(job)| {
            // It panicked. The next job gets another.
            self.jobs = None;
            job
        })
    }
}

fn start(name: &'static str) -> Option<Sender<Job>> {
    let (jobs, to_do) = channel::<Job>();
    let work = move || to_do.into_iter().for_each(|job| job());
    match std::thread::Builder::new().name(name.into()).spawn(work) {
        Ok(_) => Some(jobs),
        Err(error) => {
            tracing::warn!(%error, name, "cannot start a thread; the store's does its work");
            None
        }
    }
}

impl<T> Task<T> {
    /// What came of it; `None` if it is not over. What was given is not given again.
    pub(crate) fn poll(&self) -> Option<Result<T, LogError>> {
        match self.0.try_recv() {
            Ok(done) => Some(Ok(done)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(panicked())),
        }
    }

    /// Waits for what comes of it.
    pub(crate) fn wait(&self) -> Result<T, LogError> {
        self.0.recv().map_err(|_| panicked())
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        let _ = self.0.recv();
    }
}

fn panicked() -> LogError {
    LogError::Failed("a thread of the store panicked".into())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn it_does_one_thing_after_another_while_its_owner_goes_on() {
        for mut worker in [Worker::on_thread("test"), Worker::at_once()] {
            let done = Arc::new(AtomicU64::new(0));
            let tasks: Vec<_> = (0..10)
                .map(|_| {
                    let done = Arc::clone(&done);
                    worker.begin(move || done.fetch_add(1, Ordering::Relaxed))
                })
                .collect();
            let order: Vec<_> = tasks.iter().map(|task| task.wait().unwrap()).collect();
            assert_eq!(order, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_not_over_is_not_there_and_is_waited_for_when_it_is_dropped() {
        let mut worker = Worker::on_thread("test");
        let lock = Arc::new(Mutex::new(0));
        let held = lock.lock().unwrap();
        let task = worker.begin({
            let lock = Arc::clone(&lock);
            move || *lock.lock().unwrap() += 1
        });
        assert!(task.poll().is_none());
        drop(held);
        drop(task);
        assert_eq!(*lock.lock().unwrap(), 1);
        assert_eq!(Arc::strong_count(&lock), 1);
    }

    #[test]
    fn what_panics_fails_and_the_next_thing_is_done() {
        let mut worker = Worker::on_thread("test");
        let bad = worker.begin(|| panic!("meant to"));
        assert!(matches!(bad.wait(), Err::<(), _>(LogError::Failed(_))));
        assert!(matches!(bad.poll(), Some(Err(LogError::Failed(_)))));
        // The thread that ends may be given one more, which fails, too.
        let mut again = std::iter::repeat_with(|| worker.begin(|| 7).wait()).take(10);
        assert_eq!(again.find_map(Result::ok), Some(7));
    }
}
