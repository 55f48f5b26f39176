//! [`ConnectOptions`]: where to connect, how long to wait, how much to hold.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::random::Source;
use crate::{Backoff, Random, SystemRandom};

/// Where to connect and within which limits.
///
/// Made from an address (`"host:port"`, `"host"`, a `SocketAddr`) or by [`ConnectOptions::new`], then changed
/// setter by setter:
///
/// ```
/// # use std::time::Duration;
/// # use chat_client::ConnectOptions;
/// let options = ConnectOptions::new("chat.example:8889").request_timeout(Duration::from_secs(5));
/// assert_eq!(options.address(), "chat.example:8889");
/// ```
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    address: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) queued_requests: usize,
    pub(crate) in_flight_requests: usize,
    pub(crate) max_reply_bytes: usize,
    pub(crate) reply_timeout: Duration,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) event_buffer: usize,
    pub(crate) random: Source,
}

impl ConnectOptions {
    /// Options for the server at `HOST:PORT`; without a port, 8889.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: with_port(address.into()),
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            queued_requests: QUEUED_REQUESTS,
            in_flight_requests: IN_FLIGHT_REQUESTS,
            max_reply_bytes: MAX_REPLY_BYTES,
            reply_timeout: REPLY_TIMEOUT,
            backoff: Some(Backoff::default()),
            keepalive: Some(KEEPALIVE),
            event_buffer: EVENT_BUFFER,
            random: Source(Arc::new(SystemRandom)),
        }
    }

    /// The server's address as `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How long a try to connect may take: resolving the name, connecting, and the first exchange together. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long a call may take until its reply is there, including the time it waits in the queue, for a new connection,
    /// or for a `post` to be repeated. Default: 30 s.
    #[must_use]
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// How many requests may wait to be written, at least 1. When that many wait, further calls wait too.
    /// Default: 256.
    #[must_use]
    pub fn queued_requests(mut self, limit: usize) -> Self {
        self.queued_requests = limit.max(1);
        self
    }

    /// How many requests may wait for a reply, at least 1. Default: 1024. Old servers are given one at a time
    /// whatever this says, because they answer only the first request of a packet.
    #[must_use]
    pub fn in_flight_requests(mut self, limit: usize) -> Self {
        self.in_flight_requests = limit.max(1);
        self
    }

    /// The longest reply taken, in bytes; a longer one ends the connection. Default: 16 MiB.
    #[must_use]
    pub fn max_reply_bytes(mut self, limit: usize) -> Self {
        self.max_reply_bytes = limit;
        self
    }

    /// How long the server may owe a reply and send nothing before the connection counts as dead and the client
    /// reconnects. Default: 20 s, less than the request timeout, so that there is time to repeat a request.
    #[must_use]
    pub fn reply_timeout(mut self, limit: Duration) -> Self {
        self.reply_timeout = limit;
        self
    }

    /// How long to wait before the tries to reconnect. Default: [`Backoff::default`]. With `None` the client does not
    /// reconnect and ends with its first connection.
    #[must_use]
    pub fn reconnect(mut self, backoff: impl Into<Option<Backoff>>) -> Self {
        self.backoff = backoff.into();
        self
    }

    /// After how long a silence a client that watches sends a `ping`, to find out whether the server is still there.
    /// `None` for never. Default: 60 s.
    #[must_use]
    pub fn keepalive(mut self, silence: impl Into<Option<Duration>>) -> Self {
        self.keepalive = silence.into();
        self
    }

    /// How many events a [`Watch`](crate::Watch) holds for its reader, at least 16; while a reply is awaited up to eight
    /// times as many. Default: 256.
    #[must_use]
    pub fn event_buffer(mut self, limit: usize) -> Self {
        self.event_buffer = limit.max(EVENT_BUFFER_MIN);
        self
    }

    /// The random source for the jitter of delays and the keys of messages. Default: [`SystemRandom`].
    #[must_use]
    pub fn random(mut self, source: impl Random) -> Self {
        self.random = Source(Arc::new(source));
        self
    }
}

impl Default for ConnectOptions {
    /// The server on this machine, at the usual port.
    fn default() -> Self {
        Self::new("127.0.0.1")
    }
}

impl From<&str> for ConnectOptions {
    fn from(address: &str) -> Self {
        Self::new(address)
    }
}

impl From<String> for ConnectOptions {
    fn from(address: String) -> Self {
        Self::new(address)
    }
}

impl From<SocketAddr> for ConnectOptions {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.to_string())
    }
}

fn with_port(address: String) -> String {
    if address.parse::<Ipv6Addr>().is_ok() {
        format!("[{address}]:{DEFAULT_PORT}")
    } else if address.ends_with(']') || !address.contains(':') {
        format!("{address}:{DEFAULT_PORT}")
    } else {
        address
    }
}

/// The protocol's usual port.
const DEFAULT_PORT: u16 = 8889;
/// Long enough for three lost SYNs (sent again after 1, 2 and 4 s), short enough for a person.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// As long as the server itself waits for a peer that makes no progress.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A full queue of the longest lines (64 KiB) is 16 MiB.
const QUEUED_REQUESTS: usize = 256;
/// Enough to keep a server's group commit full. Each costs its line until it is answered, because it may have to be sent
/// again.
const IN_FLIGHT_REQUESTS: usize = 1024;
/// The current server's pages end at 1 MiB; the old servers put a whole mailbox into one reply.
const MAX_REPLY_BYTES: usize = 16 * 1024 * 1024;
/// Longer than a healthy server's slowest answer (a password's hash in a queue), shorter than [`REQUEST_TIMEOUT`].
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
/// Often enough for address translators, seldom enough for a phone's radio.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// 4 MiB of the longest messages that servers take by default.
const EVENT_BUFFER: usize = 256;
/// Half of it holds what a stream is told between two messages, so that it always comes further.
const EVENT_BUFFER_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_port_is_the_usual_one() {
        for (given, meant) in [
            ("localhost", "localhost:8889"),
            ("localhost:1", "localhost:1"),
            ("::1", "[::1]:8889"),
            ("[::1]", "[::1]:8889"),
            ("[::1]:2", "[::1]:2"),
            ("10.0.0.1", "10.0.0.1:8889"),
        ] {
            assert_eq!(ConnectOptions::new(given).address(), meant);
        }
    }
}
