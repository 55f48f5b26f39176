//! [`Interrupt`]: Ctrl-C ends a run early, and twice ends the program.

use std::future::pending;
use std::{io, process, thread};

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Tells that the run is to end early: SIGINT or SIGTERM came.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens until the program ends, from a thread of its own: a second signal must be heard while reports are written.
    pub(crate) fn listen() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let mut signals = {
            let _entered = runtime.enter();
            Signals::new()?
        };
        let (sender, receiver) = watch::channel(false);
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(move || {
            runtime.block_on(async {
                signals.next().await;
                sender.send_replace(true);
                signals.next().await;
                process::exit(STATUS.into())
            })
        })?;
        Ok(Self(receiver))
    }

    /// Returns when the run is to end, or was. Cancel safe.
    pub(crate) async fn came(&mut self) {
        if self.0.wait_for(|came| *came).await.is_err() {
            pending().await
        }
    }
}

#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        Ok(Self { interrupt: interrupt?, terminate: terminate? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What shells give for a program that Ctrl-C ended: 128 and the number of the signal.
pub(crate) const STATUS: u8 = 130;
