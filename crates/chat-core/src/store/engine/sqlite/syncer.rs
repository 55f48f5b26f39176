//! [`Syncer`]: a thread that syncs a file while the store goes on.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Syncs one file at a time. Its thread begins with the first and ends when this is dropped. Not a `Worker`, which makes a channel
/// for each thing it does: that is 2,000 instructions, and there are thousands of syncs a second.
#[derive(Debug, Default)]
pub(super) struct Syncer {
    thread: Option<Thread>,
    under_way: Option<Arc<File>>,
}

#[derive(Debug)]
struct Thread {
    files: Sender<Arc<File>>,
    ends: Receiver<io::Result<()>>,
}

impl Syncer {
    /// Begins to sync a file; [`end`](Self::end) has to be called before the next.
    pub(super) fn begin(&mut self, file: Arc<File>) {
        if self.thread.is_none() {
            self.thread = Thread::start().inspect_err(no_thread).ok();
        }
        let sent = self.thread.as_ref().map(|thread| thread.files.send(Arc::clone(&file)));
        if !matches!(sent, Some(Ok(()))) {
            self.thread = None;
        }
        self.under_way = Some(file);
    }

    /// Waits until the file is synced, and says how that went. Without a thread it is done here.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let Some(file) = self.under_way.take() else { return Ok(()) };
        match &self.thread {
            Some(thread) => thread.ends.recv().map_err(io::Error::other)?,
            None => file.sync_data(),
        }
    }
}

impl Thread {
    fn start() -> io::Result<Self> {
        let (files, to_sync) = channel::<Arc<File>>();
        let (end, ends) = channel();
        let work = move || {
            while let Ok(file) = to_sync.recv() {
                if end.send(file.sync_data()).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("chat-sync".into()).spawn(work)?;
        Ok(Self { files, ends })
    }
}

fn no_thread(error: &io::Error) {
    tracing::warn!(%error, "no thread for syncs; the store's does them");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sync_is_waited_for_by_itself() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut syncer = Syncer::default();
        assert!(syncer.end().is_ok(), "nothing was begun");
        for _ in 0..3 {
            syncer.begin(Arc::clone(&file));
            syncer.end().unwrap();
            assert!(syncer.end().is_ok());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_sync_that_fails_is_told_of_and_the_next_one_goes_on() {
        // What cannot be synced: a device without a disk.
        let null = Arc::new(File::options().write(true).open("/dev/null").unwrap());
        let mut syncer = Syncer::default();
        syncer.begin(null);
        assert!(syncer.end().is_err());
        syncer.begin(Arc::new(tempfile::tempfile().unwrap()));
        assert!(syncer.end().is_ok());
    }
}
