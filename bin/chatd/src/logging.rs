//! Log lines on stderr.

use std::io::{self, IsTerminal as _};

use crate::config::{Log, LogFormat};
use crate::environment::Environment;

/// Sets up logging for the whole process.
pub(crate) fn start(log: &Log, environment: &Environment) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(log.level.to_env_filter())
        .with_writer(io::stderr)
        // The complaint about a stderr that is gone would go to stderr, and panic.
        .log_internal_errors(false);
    match log.format {
        // The journal notes the time itself.
        LogFormat::Text if is_journal(environment) => {
            builder.with_ansi(false).without_time().init()
        }
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

/// Whether stderr leads to systemd's journal: `JOURNAL_STREAM` names its device and inode (systemd.exec(5)).
fn is_journal(environment: &Environment) -> bool {
    let Some(stream) = environment.value("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(io::stderr())
        .is_ok_and(|file| *stream == *format!("{}:{}", file.st_dev, file.st_ino))
}
