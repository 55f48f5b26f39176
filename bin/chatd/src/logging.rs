//! Log lines on stderr.

use std::io::{self, IsTerminal as _};

use crate::config::{Log, LogFormat};

/// Sets up logging for the whole process.
pub(crate) fn start(log: &Log) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(log.level.to_env_filter())
        .with_writer(io::stderr)
        // The complaint about a stderr that is gone would go to stderr, and panic.
        .log_internal_errors(false);
    match log.format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
