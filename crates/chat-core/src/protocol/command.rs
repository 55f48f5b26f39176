//! [`Command`]: what a client asks for.

use super::{ErrorCode, Frame};

/// One request. Words are borrowed from the frame; those that can be wrong after the token (numbers, names) stay
/// words, because the contract has the token checked first.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'a> {
    /// `auth USER PASSWORD`
    Auth {
        username: &'a str,
        password: &'a str,
    },
    /// `send TOKEN USER MESSAGE…`
    Send {
        token: &'a str,
        to: &'a str,
        body: &'a str,
    },
    /// `inbox TOKEN`
    Inbox { token: &'a str },
    /// `list TOKEN [AFTER|- [LIMIT]]`
    List {
        token: &'a str,
        after: Option<&'a str>,
        limit: Option<&'a str>,
    },
    /// `user_aktif TOKEN`
    ActiveUsers { token: &'a str },
    /// `logout TOKEN`
    Logout { token: &'a str },
    /// `hello [OPTION…]`
    Hello(HelloOptions),
    /// `ping [TEXT]`
    Ping { text: &'a str },
    /// `register USER PASSWORD [FULL NAME…]`
    Register {
        username: &'a str,
        password: &'a str,
        name: Option<&'a str>,
    },
    /// `passwd TOKEN OLD NEW`
    ChangePassword {
        token: &'a str,
        old: &'a str,
        new: &'a str,
    },
    /// `whoami TOKEN`
    Whoami { token: &'a str },
    /// `sessions TOKEN`
    Sessions { token: &'a str },
    /// `revoke TOKEN SESSION`
    Revoke { token: &'a str, session: &'a str },
    /// `peek TOKEN [AFTER|- [LIMIT]]`
    Peek {
        token: &'a str,
        after: Option<&'a str>,
        limit: Option<&'a str>,
    },
    /// `ack TOKEN ID [INCARNATION]`
    Ack {
        token: &'a str,
        id: &'a str,
        incarnation: Option<&'a str>,
    },
}

/// What a client asks for in `hello`. Options this version does not know are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HelloOptions {
    /// Only `ack` confirms delivery on this connection.
    pub explicit_ack: bool,
}

/// A well-framed line that is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The first word is no command.
    #[error("unknown command")]
    BadCommand,
    /// Too few words, or too many for one of our own commands.
    #[error("too few or too many words")]
    BadArguments,
    /// Not UTF-8.
    #[error("not UTF-8")]
    BadUtf8,
}

impl ParseError {
    /// The code of the error reply this earns.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        todo!()
    }
}

impl<'a> Command<'a> {
    /// Understands one frame.
    pub fn parse(frame: &'a Frame) -> Result<Self, ParseError> {
        todo!()
    }
    /// The command's word.
    pub fn name(&self) -> &'static str {
        todo!()
    }
}
