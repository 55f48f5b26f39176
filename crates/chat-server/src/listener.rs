//! [`Listener`]: where connections come from, and what to do when accepting fails.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, error, info};

use crate::Transport;

/// Where connections come from. `examples/own_listener.rs` has one of in-memory pipes.
pub trait Listener: Send {
    /// The type of its connections.
    type Transport: Transport;

    /// Waits for the next connection. Returns it with the peer's name for the log, such as its address.
    ///
    /// # Errors
    /// A connection failed before it was accepted, or none can be accepted now. The server logs that and calls again: at
    /// once when the kind of the error says that only the peer failed (such as `ConnectionAborted`), else after a pause of
    /// 100 ms that doubles up to 1 s. A listener that will never have another connection waits for ever instead.
    ///
    /// # Cancel safety
    /// An implementation must be cancel safe: dropping the future must not lose a connection.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Transport, String)>> + Send;
}

impl Listener for TcpListener {
    type Transport = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, String)> {
        let (stream, peer) = Self::accept(self).await?;
        Ok((stream, peer.to_string()))
    }
}

#[cfg(unix)]
impl Listener for tokio::net::UnixListener {
    type Transport = tokio::net::UnixStream;

    async fn accept(&mut self) -> io::Result<(tokio::net::UnixStream, String)> {
        let (stream, _) = Self::accept(self).await?;
        Ok((stream, "unix".into()))
    }
}

/// The next connection, however often accepting fails before. Logs the first failure of a row, not each.
///
/// Cancel safe, but that the pause starts over.
pub(crate) async fn accept<L: Listener>(listener: &mut L) -> (L::Transport, String) {
    let mut pause = SHORTEST_PAUSE;
    let mut failures = 0_u64;
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                if failures > 0 {
                    info!(failures, "accepting connections again");
                }
                return accepted;
            }
            Err(error) if is_the_peers(&error) => {
                debug!(%error, "a connection failed before it was accepted")
            }
            Err(error) => {
                if failures == 0 {
                    error!(%error, "cannot accept connections; trying on");
                }
                failures += 1;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Whether one peer failed, and not the listener. Linux reports failures of a connection's network from `accept` too
/// (accept(2), "Error handling").
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::Interrupted
    )
}

/// When no more files can be opened another may be closed any moment; asking oftener would only burn the processor.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::io::{DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    struct Scripted(VecDeque<io::ErrorKind>);

    impl Listener for Scripted {
        type Transport = DuplexStream;

        async fn accept(&mut self) -> io::Result<(DuplexStream, String)> {
            match self.0.pop_front() {
                Some(kind) => Err(kind.into()),
                None => Ok((duplex(1).0, "pipe".into())),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peers_own_failure_goes_on_at_once() {
        let begun = Instant::now();
        let kinds = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];
        accept(&mut Scripted(kinds.into())).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn any_other_failure_pauses_longer_each_time_up_to_a_second() {
        let begun = Instant::now();
        accept(&mut Scripted([io::ErrorKind::Other; 6].into())).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(100 + 200 + 400 + 800 + 1000 + 1000));
    }
}
