//! [`Failure`]: what went wrong, in a sentence, and the exit code that says it to programs.

use std::fmt;
use std::process::ExitCode;

/// Why the program ends. The numbers are those of BSD's `sysexits.h`, and are listed in `chatd --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Wrong command line or config file.
    Usage = 64,
    /// What was given to work on breaks a rule.
    Data = 65,
    /// A file or directory to read is not there, or cannot be read.
    NoInput = 66,
    /// No such user.
    NoUser = 67,
    /// An address cannot be listened on, or the running daemon does not answer as it should.
    Unavailable = 69,
    /// A fault in the program.
    Software = 70,
    /// The system refuses something that is needed.
    System = 71,
    /// The data directory, or the control socket, cannot be made or used, or what is in it is damaged.
    CannotCreate = 73,
    /// The disk refuses, or files were deleted under the daemon.
    Io = 74,
    /// Another process has the data directory; or the server is busy.
    TryAgain = 75,
    /// Somebody else's files.
    NotPermitted = 77,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        #[expect(clippy::as_conversions, reason = "the numbers of the enum, all below 256")]
        Self::from(exit as u8)
    }
}

/// An exit code and the sentence that goes with it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { exit, message }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
