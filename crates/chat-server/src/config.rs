//! [`ServerConfig`]: limits and times, checked before anything is bound.

use std::time::Duration;

use chat_core::protocol::DEFAULT_MAX_FRAME_BYTES;

/// How a [`Server`](crate::Server) behaves. `Default` gives the documented defaults; set what should differ:
///
/// ```
/// let mut config = chat_server::ServerConfig::default();
/// config.connections = 500;
/// assert_eq!(config.check(), Ok(()));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The program's name, told in the reply to `hello`. Default `chatd`.
    pub name: String,
    /// Its version, told in the reply to `hello`. Default the version of this crate.
    pub version: String,
    /// Longest request line, its end not counted, in bytes. Default 64 KiB. At least 256, which holds any command with a
    /// short text.
    pub frame_bytes: usize,
    /// Whether the command `register` makes accounts. Default off.
    pub registration: bool,
    /// Most connections at once, over all listeners. When all places are taken, a new connection takes that of the one
    /// that never logged in and was silent the longest, or waits. Default 10,000. At least 1.
    pub connections: usize,
    /// Most memory for unfinished request lines and unread output of all connections together, in bytes. The first 1 KiB
    /// of each connection is not counted. When more is held, the connection that has held it the longest is closed, those
    /// that never logged in first. Default 64 MiB, a thousand of the longest lines. At least
    /// [`least_buffer_bytes`](Self::least_buffer_bytes).
    pub buffer_bytes: usize,
    /// How long a request line may stay unfinished, from its first byte. Default 30 s. At least 1 s.
    pub line_timeout: Duration,
    /// How long output may wait for a peer that takes none of it. A slow peer may take as long as it likes for the whole.
    /// Default 30 s. At least 1 s.
    pub write_timeout: Duration,
    /// How long a connection is kept once the server has sent its last byte, for the peer to read it and to close. Default
    /// 2 s.
    pub linger: Duration,
    /// After how long without traffic TCP asks whether the peer is still there. Default 60 s. At least 1 s.
    pub keepalive: Duration,
    /// How long shutdown waits for connections to finish before it cuts them off. Default 10 s.
    pub shutdown_deadline: Duration,
    /// How many bytes of encoded replies are gathered before they are written: the reply that reaches this is the last one
    /// before the write. While half of [`buffer_bytes`](Self::buffer_bytes) is in use, 4 KiB. Default 256 KiB. At least 1.
    pub turn_bytes: usize,
    /// Most messages in a reply. Default 1,000. At least 1.
    pub page_messages: usize,
    /// Most bytes of an encoded page of messages, except that a page has at least one. Holds for connections that did not
    /// say `hello`: existing clients print a page piece by piece. Default 64 KiB. At least 1.
    pub page_bytes: usize,
    /// The same for connections that said `hello`. Default 1 MiB. At least 1.
    pub hello_page_bytes: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            name: "chatd".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            registration: false,
            connections: 10_000,
            buffer_bytes: 64 * 1024 * 1024,
            line_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            keepalive: Duration::from_secs(60),
            shutdown_deadline: Duration::from_secs(10),
            turn_bytes: 256 * 1024,
            page_messages: 1_000,
            page_bytes: 64 * 1024,
            hello_page_bytes: 1024 * 1024,
        }
    }
}

impl ServerConfig {
    /// Checks that a server can run with these values.
    ///
    /// # Errors
    /// The first value found that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let numbers = [
            ("frame_bytes", self.frame_bytes, SMALLEST_FRAME_BYTES),
            ("connections", self.connections, 1),
            ("buffer_bytes", self.buffer_bytes, self.least_buffer_bytes()),
            ("turn_bytes", self.turn_bytes, 1),
            ("page_messages", self.page_messages, 1),
            ("page_bytes", self.page_bytes, 1),
            ("hello_page_bytes", self.hello_page_bytes, 1),
        ];
        let times = [
            ("line_timeout", self.line_timeout),
            ("write_timeout", self.write_timeout),
            // TCP counts it in whole seconds.
            ("keepalive", self.keepalive),
        ];
        for (name, value, least) in numbers {
            if value < least {
                return Err(ConfigError::TooSmall { name, value, least });
            }
        }
        for (name, value) in times {
            if value < Duration::from_secs(1) {
                return Err(ConfigError::TooShort { name, value });
            }
        }
        // More permits than a semaphore can count.
        if self.connections > tokio::sync::Semaphore::MAX_PERMITS {
            return Err(ConfigError::TooManyConnections);
        }
        Ok(())
    }

    /// The least that [`buffer_bytes`](Self::buffer_bytes) may be, in bytes: enough for four connections that each hold a
    /// whole line, the replies of a turn, and one more page.
    #[must_use]
    pub fn least_buffer_bytes(&self) -> usize {
        let page_bytes = self.page_bytes.max(self.hello_page_bytes);
        let one = self.frame_bytes.saturating_add(self.turn_bytes).saturating_add(page_bytes);
        one.saturating_mul(4)
    }
}

/// Why a server cannot run with a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number below its least value.
    #[error("{name} is {value}, it must be at least {least}")]
    TooSmall {
        /// The field.
        name: &'static str,
        /// Its value.
        value: usize,
        /// The least it may be.
        least: usize,
    },
    /// A time limit below one second.
    #[error("{name} is {value:?}, it must be at least 1s")]
    TooShort {
        /// The field.
        name: &'static str,
        /// Its value.
        value: Duration,
    },
    /// More connections than can be counted.
    #[error("connections is larger than can be counted")]
    TooManyConnections,
}

/// Room for every command with a token, two usernames of full length and a short text.
const SMALLEST_FRAME_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_right_and_nonsense_is_refused() {
        assert_eq!(ServerConfig::default().check(), Ok(()));
        let mut config = ServerConfig { connections: 0, ..ServerConfig::default() };
        assert!(matches!(config.check(), Err(ConfigError::TooSmall { name: "connections", .. })));
        config.connections = usize::MAX;
        assert_eq!(config.check(), Err(ConfigError::TooManyConnections));
        config = ServerConfig { line_timeout: Duration::ZERO, ..ServerConfig::default() };
        assert!(matches!(config.check(), Err(ConfigError::TooShort { name: "line_timeout", .. })));
    }
}
