//! [`Failure`]: why a command did not work, and the exit code that says so.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use chat_client::{ClientError, ErrorCode};

use crate::json::{Failed, Reason};
use crate::text::neutralise;

/// Why a command did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A watch that was not given up by this program.
    #[error("the watch has ended")]
    Watch(#[source] Arc<ClientError>),
    #[error("the login has ended: {reason}; `chat login USER` logs in")]
    LoginEnded { reason: String },
    #[error("not logged in to {server}; `chat login USER` logs in")]
    NoLogin { server: String },
    #[error("{0}")]
    Usage(String),
    #[error("{}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("there is no home directory to keep files in; set XDG_STATE_HOME")]
    NoStateDirectory,
    #[error(
        "cannot ask for the password on a terminal (`chat login USER --password-stdin` reads it from a pipe or file)"
    )]
    AskPassword(#[source] io::Error),
    #[error("cannot read the password from standard input")]
    Password(#[source] io::Error),
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    #[error("cannot use the terminal")]
    Terminal(#[source] io::Error),
    /// In a stream of messages, how far it got.
    #[error("line {line} was not sent ({sent} sent before it)")]
    Line {
        line: u64,
        sent: u64,
        #[source]
        source: Box<Self>,
    },
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("interrupted")]
    Interrupted,
}

/// What the process says when it ends. `--help` has the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Refused,
    Usage,
    Unreachable,
    NotLoggedIn,
    OutcomeUnknown,
    Local,
}

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Client(error) => exit_of(error),
            Self::Watch(error) => exit_of(error),
            Self::NoLogin { .. } | Self::LoginEnded { .. } => Exit::NotLoggedIn,
            Self::Usage(_) => Exit::Usage,
            Self::Line { source, .. } => source.exit(),
            Self::Interrupted => Exit::OutcomeUnknown,
            Self::File { .. }
            | Self::NoStateDirectory
            | Self::AskPassword(_)
            | Self::Password(_)
            | Self::Input(_)
            | Self::Output(_)
            | Self::Terminal(_)
            | Self::Runtime(_) => Exit::Local,
        }
    }

    /// The whole reason on one line, safe to show.
    pub(crate) fn message(&self) -> String {
        let mut message = with_sources(self);
        if self.exit() == Exit::OutcomeUnknown {
            message.push_str("; it may have been done or not");
        }
        neutralise(&message).into_owned()
    }

    /// The server's code for it, if the server said no.
    pub(crate) fn code(&self) -> Option<&ErrorCode> {
        match self {
            Self::Client(error) => error.code(),
            Self::Watch(error) => error.code(),
            Self::Line { source, .. } => source.code(),
            _ => None,
        }
    }

    /// For `--json`.
    pub(crate) fn as_json(&self) -> Failed<'_> {
        let code = self.code().map(ErrorCode::as_str);
        Failed { error: Reason { code, message: self.message(), exit: self.exit().number() } }
    }
}

impl Exit {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotLoggedIn => 4,
            Self::OutcomeUnknown => 5,
            Self::Local => 6,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// An error and what caused it, on one line.
pub(crate) fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn exit_of(error: &ClientError) -> Exit {
    match error {
        _ if error.is_outcome_unknown() => Exit::OutcomeUnknown,
        ClientError::NotLoggedIn => Exit::NotLoggedIn,
        ClientError::Server(_) if error.code() == Some(&ErrorCode::NoSession) => Exit::NotLoggedIn,
        ClientError::Server(_) | ClientError::Unsupported { .. } => Exit::Refused,
        ClientError::AlreadyWatching => Exit::Usage,
        ClientError::Invalid(_) => Exit::Usage,
        _ => Exit::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn timeout(command: &'static str) -> Failure {
        let limit = Duration::from_secs(1);
        ClientError::Timeout { command, limit, sent: true }.into()
    }

    #[test]
    fn a_lost_answer_to_a_send_is_its_own_exit_code() {
        assert_eq!(timeout("send").exit(), Exit::OutcomeUnknown);
        assert!(timeout("send").message().ends_with("may have been done or not"));
        assert_eq!(timeout("list").exit(), Exit::Unreachable);
    }

    #[test]
    fn a_failed_line_keeps_the_reason_and_its_exit_code() {
        let failure =
            Failure::Line { line: 3, sent: 2, source: Box::new(ClientError::NotLoggedIn.into()) };
        assert_eq!(failure.exit(), Exit::NotLoggedIn);
        assert_eq!(failure.message(), "line 3 was not sent (2 sent before it): not logged in");
    }
}
