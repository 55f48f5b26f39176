//! [`Progress`]: a bar on a terminal, a line now and then anywhere else.

use std::io::{self, IsTerminal as _};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::terminal::complain;

/// How far a long piece of work has come. May be advanced from several threads.
#[derive(Debug)]
pub(super) enum Progress {
    Bar(ProgressBar),
    Lines { what: &'static str, total: usize, state: Mutex<State> },
}

#[derive(Debug)]
pub(super) struct State {
    done: usize,
    said: Instant,
}

impl Progress {
    pub(super) fn new(what: &'static str, total: usize) -> Self {
        if !io::stderr().is_terminal() {
            let state = State { done: 0, said: Instant::now() };
            return Self::Lines { what, total, state: Mutex::new(state) };
        }
        let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX)).with_prefix(what);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    pub(super) fn advance(&self, by: usize) {
        match self {
            Self::Bar(bar) => bar.inc(u64::try_from(by).unwrap_or(0)),
            Self::Lines { what, total, state } => {
                let Ok(mut state) = state.lock() else { return };
                state.done += by;
                if state.said.elapsed() >= EVERY {
                    state.said = Instant::now();
                    complain(format_args!("{what}: {} of {total}", state.done));
                }
            }
        }
    }

    pub(super) fn finish(&self) {
        match self {
            Self::Bar(bar) => bar.finish(),
            Self::Lines { what, total, .. } => complain(format_args!("{what}: {total} of {total}")),
        }
    }
}

const TEMPLATE: &str = "{prefix} {wide_bar} {pos}/{len} {per_sec} eta {eta}";
/// Often enough to see that it lives, and not so often that a log fills.
const EVERY: Duration = Duration::from_secs(5);
