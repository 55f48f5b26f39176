//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once. Other signals people send to daemons
//! are answered with a line in the log.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::exit::{Exit, Failure};

/// The signals that end the daemon.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    repeats: Repeats,
    /// Answers the other signals, until this is dropped.
    _others: JoinSet<()>,
}

impl Signals {
    /// From here on the signals no longer end the process by themselves.
    pub(crate) fn catch() -> Result<Self, Failure> {
        let harmless = Harmless {
            hangup: catch(SignalKind::hangup())?,
            user1: catch(SignalKind::user_defined1())?,
            user2: catch(SignalKind::user_defined2())?,
        };
        let mut others = JoinSet::new();
        others.spawn(harmless.explain());
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            repeats: Repeats::default(),
            _others: others,
        })
    }

    /// Waits for the next one; repeats of the last are passed over. Cancel safe.
    pub(crate) async fn next(&mut self) -> SignalKind {
        loop {
            let kind = tokio::select! {
                _ = self.interrupt.recv() => SignalKind::interrupt(),
                _ = self.terminate.recv() => SignalKind::terminate(),
            };
            if !self.repeats.is_one_more() {
                return kind;
            }
        }
    }

    /// Does the last work of the process; another signal ends the process at once, with the exit code of that signal.
    pub(crate) async fn last_work<F: Future>(&mut self, work: F) -> F::Output {
        tokio::select! {
            output = work => output,
            kind = self.next() => {
                tracing::warn!("a second signal: ending at once");
                std::process::exit(128 + kind.as_raw_value());
            }
        }
    }
}

/// Tells a second wish from one that was sent twice, as timeout(1) does: to its child and to its process group.
#[derive(Debug, Default)]
struct Repeats {
    heeded: Option<Instant>,
}

impl Repeats {
    /// Whether the signal that came just now is one more of the last that counted.
    fn is_one_more(&mut self) -> bool {
        let is_repeat = self.heeded.is_some_and(|heeded| heeded.elapsed() < REPEAT);
        if !is_repeat {
            self.heeded = Some(Instant::now());
        }
        is_repeat
    }
}

/// Signals that would end the process if nobody caught them, and mean nothing here.
struct Harmless {
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Harmless {
    /// Says so for each, as long as the daemon runs.
    async fn explain(mut self) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    tracing::info!("SIGHUP: there is nothing to reload; a restart takes a changed config in");
                }
                _ = self.user1.recv() => tracing::info!("SIGUSR1 is ignored"),
                _ = self.user2.recv() => tracing::info!("SIGUSR2 is ignored"),
            }
        }
    }
}

fn catch(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind)
        .map_err(|error| Failure::new(Exit::System, format!("cannot catch signals: {error}")))
}

/// Quicker than anybody presses a key twice on purpose, and much slower than two signals of one program.
const REPEAT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_signal_sent_twice_at_once_counts_once() {
        let mut repeats = Repeats::default();
        assert!(!repeats.is_one_more());
        for _ in 0..4 {
            tokio::time::advance(REPEAT / 5).await;
            assert!(repeats.is_one_more());
        }
        // However many there were, the next after the time is a wish of its own.
        tokio::time::advance(REPEAT / 5).await;
        assert!(!repeats.is_one_more());
        assert!(repeats.is_one_more());
    }
}
