//! [`Connector`]: makes the streams that a client runs over.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Makes the streams that a [`Client`](crate::Client) runs over, a new one for each connection. [`TcpConnector`] is the
/// usual one; TLS, a Unix socket or a simulated network is another:
///
/// ```
/// use chat_client::Connector;
/// use tokio::net::UnixStream;
///
/// /// Connects to the Unix socket at the path that is given as address.
/// struct UnixConnector(std::path::PathBuf);
///
/// impl Connector for UnixConnector {
///     type Stream = UnixStream;
///
///     async fn connect(&self, _address: &str) -> std::io::Result<UnixStream> {
///         UnixStream::connect(&self.0).await
///     }
/// }
/// ```
pub trait Connector: Send + Sync + 'static {
    /// The type of its streams.
    type Stream: AsyncRead + AsyncWrite + Send + 'static;

    /// Connects to `HOST:PORT`, the address of [`ConnectOptions`](crate::ConnectOptions). The future is dropped when
    /// [`connect_timeout`](crate::ConnectOptions::connect_timeout) has passed.
    ///
    /// # Errors
    /// Why there is no stream. The client reports it at the first connection, and tries again at a later one.
    fn connect(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Connects over TCP, with Nagle's algorithm off. Its sockets notice a dead network by themselves: keepalive probes begin
/// after 60 s of silence, and on Linux a connection whose data is not acknowledged for 20 s fails.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct TcpConnector {}

impl Connector for TcpConnector {
    type Stream = TcpStream;

    async fn connect(&self, address: &str) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        // Small requests that wait for each other's replies are what Nagle's algorithm is bad at.
        stream.set_nodelay(true)?;
        find_dead_peers(&stream)?;
        Ok(stream)
    }
}

fn find_dead_peers(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT))?;
    Ok(())
}

/// Stands for the connector of a client that was given one stream and never connects again.
pub(crate) struct OneStream<T>(PhantomData<fn() -> T>);

impl<T> OneStream<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: AsyncRead + AsyncWrite + Send + 'static> Connector for OneStream<T> {
    type Stream = T;

    async fn connect(&self, _: &str) -> io::Result<T> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Often enough for the shortest common limits of address translators and firewalls (a few minutes).
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// Four lost probes in a minute are no coincidence.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
/// Below the default request timeout, so that a `post` has time to be repeated on another connection.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(20);
