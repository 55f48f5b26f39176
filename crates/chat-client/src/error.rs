//! [`ClientError`]: what went wrong, by whose fault, and whether to try again.

use std::time::Duration;

use chat_core::MessageBodyError;
use chat_core::protocol::{ErrorCode, ErrorReply, ReplyError};

use crate::CloseReason;
use crate::request::is_repeatable;

/// Why a call failed.
///
/// For people, print the error with its sources. To decide what to do next: [`is_retryable`](Self::is_retryable),
/// [`is_outcome_unknown`](Self::is_outcome_unknown), [`code`](Self::code) and [`fault`](Self::fault).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection could be made.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address tried, as `HOST:PORT`.
        address: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No connection, or no answer to the first request, within the time allowed.
    #[error("no answer from {address} within {limit:?}")]
    ConnectTimeout {
        /// The address tried, as `HOST:PORT`.
        address: String,
        /// The limit ([`crate::ConnectOptions::connect_timeout`]).
        limit: Duration,
    },
    /// Something is there, but what it answered to the first request is no chat server's.
    #[error("{address} is not a chat server")]
    NotChatServer {
        /// The address connected to, as `HOST:PORT`.
        address: String,
        /// What is wrong with the answer.
        #[source]
        source: ReplyError,
    },
    /// The server answered with an error.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The call needs a login and there is none.
    #[error("not logged in")]
    NotLoggedIn,
    /// The arguments cannot be put into a request; nothing was sent.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// The server does not have this command (the old ones have six); nothing was sent.
    #[error("this server has no `{command}`")]
    Unsupported {
        /// The command's word.
        command: &'static str,
    },
    /// There is a [`Watch`](crate::Watch) on this connection already, made by this handle or another; a connection has one.
    #[error("there is a watch on this connection already")]
    AlreadyWatching,
    /// No reply within the time allowed. If `sent`, whether the server acted is not known.
    #[error("no reply to `{command}` within {limit:?}{}", if *sent { "" } else { "; it was never sent" })]
    Timeout {
        /// The command's word.
        command: &'static str,
        /// The limit ([`crate::ConnectOptions::request_timeout`]).
        limit: Duration,
        /// Whether the request may have reached the server. If not, it never will.
        sent: bool,
    },
    /// It is not known whether a [`send`](crate::Client::send) stored the message. Calling [`post`](crate::Client::post)
    /// with this key and the same recipient and body settles it: the message is stored if it was not, and never twice.
    #[error("whether the message was sent is not known")]
    Unconfirmed {
        /// The key it was posted under.
        key: String,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// The connection is over, or was lost on the way. If `sent`, whether the server acted is not known.
    #[error("the connection ended before the reply to `{command}`")]
    Closed {
        /// The command's word.
        command: &'static str,
        /// Whether the request may have reached the server.
        sent: bool,
        /// How the connection ended.
        #[source]
        reason: CloseReason,
    },
    /// What came is no reply to this request. Whether the server acted is not known. The connection goes on.
    #[error(transparent)]
    BadReply(#[from] ReplyError),
}

/// Who can do something about a [`ClientError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The caller: wrong arguments, not logged in, not allowed.
    User,
    /// The server, or the network on the way to it.
    Peer,
    /// This library, which sent what it should not have.
    Library,
}

impl ClientError {
    /// The stable code, if the server answered with an error. An old server sends none: its sentence is given the code it
    /// means.
    #[must_use]
    pub fn code(&self) -> Option<&ErrorCode> {
        match self {
            Self::Server(error) => error.code.as_ref(),
            Self::Unconfirmed { source, .. } => source.code(),
            _ => None,
        }
    }

    /// Whether the same call may succeed if it is repeated (after [`retry_after`](Self::retry_after)), and repeating it
    /// cannot do anything twice.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::ConnectTimeout { .. } => true,
            Self::Server(error) => error.is_retryable(),
            Self::Timeout { command, sent, .. } | Self::Closed { command, sent, .. } => {
                !sent || is_repeatable(command)
            }
            _ => false,
        }
    }

    /// How long the server asks to wait before the next try.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Server(error) => error.retry_after,
            Self::Unconfirmed { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// Whether a request may have been carried out although this error was returned, so that it matters: always no for a
    /// request that changes nothing or may simply be repeated. (A `post` may be repeated too, with its key, but counts.)
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Server(error) => error.is_outcome_unknown(),
            Self::Timeout { command, sent, .. } | Self::Closed { command, sent, .. } => {
                *sent && has_outcome(command)
            }
            Self::BadReply(ReplyError::Malformed { command, .. }) => has_outcome(command),
            Self::Unconfirmed { .. } => true,
            _ => false,
        }
    }

    /// Whether the server does not know the login (any more).
    pub(crate) fn is_session_over(&self) -> bool {
        self.code() == Some(&ErrorCode::NoSession)
    }

    /// Who has to do something about it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotLoggedIn
            | Self::Invalid(_)
            | Self::Unsupported { .. }
            | Self::AlreadyWatching => Fault::User,
            Self::Server(error) => error.fault(),
            Self::Unconfirmed { source, .. } => source.fault(),
            _ => Fault::Peer,
        }
    }
}

/// The server's ERROR reply to a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct ServerError {
    /// The word of the command it answers.
    pub command: &'static str,
    /// The stable code. `None` only from an old server whose sentence is not known.
    pub code: Option<ErrorCode>,
    /// The server's sentence for people. Written by the peer: neutralise control characters before showing it on a
    /// terminal.
    pub message: String,
    /// With `busy` and `rate_limited`: how long to wait before the next try.
    pub retry_after: Option<Duration>,
}

impl ServerError {
    pub(crate) fn new(command: &'static str, reply: ErrorReply<'static>) -> Self {
        Self {
            command,
            code: reply.code.or_else(|| code_of(&reply.message)),
            retry_after: reply.retry_after_ms.map(Duration::from_millis),
            message: reply.message.into_owned(),
        }
    }

    fn is_retryable(&self) -> bool {
        match self.code {
            Some(ErrorCode::Busy | ErrorCode::RateLimited) => true,
            Some(ErrorCode::Unavailable | ErrorCode::Internal) => is_repeatable(self.command),
            _ => false,
        }
    }

    fn is_outcome_unknown(&self) -> bool {
        matches!(self.code, Some(ErrorCode::Unavailable | ErrorCode::Internal))
            && has_outcome(self.command)
    }

    fn fault(&self) -> Fault {
        match self.code {
            None
            | Some(
                ErrorCode::Busy
                | ErrorCode::Unavailable
                | ErrorCode::Internal
                | ErrorCode::Other(_),
            ) => Fault::Peer,
            Some(ErrorCode::BadCommand | ErrorCode::BadUtf8 | ErrorCode::FrameTooLong) => {
                Fault::Library
            }
            Some(_) => Fault::User,
        }
    }
}

/// Why arguments cannot be put into a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// The message is empty, too long, or has control characters.
    #[error(transparent)]
    Body(#[from] MessageBodyError),
    /// The key of a `post` breaks the rule for keys.
    #[error("a key has 1 to 128 printable ASCII characters and no space")]
    Key,
    /// An argument cannot be written on the request's line, or the line is longer than the server takes.
    #[error("cannot write `{command}`: {reason}")]
    Argument {
        /// The command's word.
        command: &'static str,
        /// Which argument and what is wrong with it; never its value.
        reason: String,
    },
}

/// Whether it matters that it may have been done: what may be done twice need not be known.
fn has_outcome(command: &str) -> bool {
    command == "post" || !is_repeatable(command)
}

/// The code that an old server's sentence means.
fn code_of(message: &str) -> Option<ErrorCode> {
    match message {
        "User Tidak Tersedia, Silahkan Coba Lagi" | "User Tidak Ada" => Some(ErrorCode::NoSuchUser),
        "Password yang Anda Masukkan Salah, Silahkan Coba Lagi" | "Password Salah" => {
            Some(ErrorCode::BadPassword)
        }
        "User Tidak Ditemukan" => Some(ErrorCode::NoSuchRecipient),
        "Session Tidak Ditemukan" | "Informasi tidak ditemukan" => Some(ErrorCode::NoSession),
        "**Protocol Tidak Benar" => Some(ErrorCode::BadCommand),
        "--Protocol Tidak Benar" => Some(ErrorCode::BadArguments),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(command: &'static str, code: ErrorCode) -> ClientError {
        ServerError { command, code: Some(code), message: String::new(), retry_after: None }.into()
    }

    #[test]
    fn a_write_with_unknown_outcome_is_not_retryable() {
        for code in [ErrorCode::Unavailable, ErrorCode::Internal] {
            assert!(!server("send", code.clone()).is_retryable());
            assert!(server("send", code.clone()).is_outcome_unknown());
            assert!(server("peek", code.clone()).is_retryable());
            assert!(!server("peek", code).is_outcome_unknown());
        }
        assert!(server("send", ErrorCode::Busy).is_retryable());
        assert!(!server("send", ErrorCode::NoSuchRecipient).is_retryable());
    }

    #[test]
    fn a_request_that_was_never_sent_is_retryable() {
        let closed =
            |command, sent| ClientError::Closed { command, sent, reason: CloseReason::EndOfStream };
        assert!(closed("send", false).is_retryable());
        assert!(!closed("send", true).is_retryable());
        assert!(closed("send", true).is_outcome_unknown());
        assert!(closed("ack", true).is_retryable());
    }

    #[test]
    fn faults() {
        assert_eq!(ClientError::NotLoggedIn.fault(), Fault::User);
        assert_eq!(server("auth", ErrorCode::BadPassword).fault(), Fault::User);
        assert_eq!(server("send", ErrorCode::Unavailable).fault(), Fault::Peer);
        assert_eq!(server("send", ErrorCode::BadUtf8).fault(), Fault::Library);
    }

    #[test]
    fn old_sentences_have_codes() {
        let reply =
            ErrorReply { message: "Password Salah".into(), code: None, retry_after_ms: None };
        assert_eq!(ServerError::new("auth", reply).code, Some(ErrorCode::BadPassword));
    }
}
