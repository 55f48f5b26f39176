//! [`ServerInfo`]: what the server said about itself.

use chat_core::MAX_MESSAGE_BYTES;
use chat_core::protocol::{DEFAULT_MAX_FRAME_BYTES, Hello};

/// What the server is, found out on connecting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerInfo {
    /// It answered `hello`.
    Current(Hello<'static>),
    /// It does not know `hello`: one of the two old servers. It has only the six old commands, takes one request
    /// at a time, and its `inbox` gives each message once and forgets it.
    Legacy,
}

impl ServerInfo {
    /// Whether it is one of the old servers.
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        matches!(self, Self::Legacy)
    }

    /// What it said to `hello`; `None` from an old server.
    #[must_use]
    pub fn hello(&self) -> Option<&Hello<'static>> {
        match self {
            Self::Current(hello) => Some(hello),
            Self::Legacy => None,
        }
    }

    /// The longest message it takes, in bytes. Old servers announce none; they get the protocol's default.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.limit(|hello| hello.limits.message_bytes, MAX_MESSAGE_BYTES)
    }

    /// The longest request line it takes, its end not counted, in bytes.
    #[must_use]
    pub fn max_frame_bytes(&self) -> usize {
        self.limit(|hello| hello.limits.frame_bytes, DEFAULT_MAX_FRAME_BYTES)
    }

    /// Whether the server said that it has this command (`post`, say). Old servers do not say, so always no for them.
    #[must_use]
    pub fn lists(&self, command: &str) -> bool {
        self.hello().is_some_and(|hello| hello.commands.iter().any(|listed| listed == command))
    }

    fn limit(&self, announced: impl Fn(&Hello<'static>) -> u64, default: usize) -> usize {
        self.hello()
            .map_or(default, |hello| usize::try_from(announced(hello)).unwrap_or(usize::MAX))
    }
}
