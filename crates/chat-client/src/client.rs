//! [`Client`]: the handle.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use chat_core::Token;
use chat_core::protocol::{Command, ErrorCode, HelloOptions, Reply, ReplyError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{Bounds, Connection, Inbound};
use crate::request::{Request, encode};
use crate::{ClientError, CloseReason, ConnectOptions, ServerError, ServerInfo};

/// A handle on a connection to a chat server.
///
/// Clones share the connection and the login. Requests of all handles go out in the order of the calls, many at
/// once, and each call gets its own reply. The connection ends when the last handle (or [`Delivery`](crate::Delivery)) is dropped,
/// or by [`close`](Self::close). It is not made again by itself: after [`ClientError::Closed`] connect anew and go on
/// with [`with_token`](Self::with_token).
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    login: Arc<Mutex<Option<Token>>>,
}

#[derive(Debug)]
struct Shared {
    requests: mpsc::Sender<Request>,
    closing: CancellationToken,
    closed: Arc<OnceLock<CloseReason>>,
    task: TaskTracker,
    server: ServerInfo,
    says_user_aktif: AtomicBool,
    options: ConnectOptions,
}

impl Client {
    /// Connects over TCP, says `hello`, and finds out what the server is.
    ///
    /// # Errors
    /// [`Connect`](ClientError::Connect), [`ConnectTimeout`](ClientError::ConnectTimeout) or
    /// [`NotChatServer`](ClientError::NotChatServer); and what [`over`](Self::over) gives, but `BadReply`.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the connection.
    pub async fn connect(options: impl Into<ConnectOptions>) -> Result<Self, ClientError> {
        let options = options.into();
        let limit = options.connect_timeout;
        let address = options.address().to_owned();
        timeout(limit, Self::connect_tcp(options))
            .await
            .unwrap_or(Err(ClientError::ConnectTimeout { address, limit }))
    }

    async fn connect_tcp(options: ConnectOptions) -> Result<Self, ClientError> {
        let connected = async {
            let stream = TcpStream::connect(options.address()).await?;
            // Small requests that wait for each other's replies are what Nagle's algorithm is bad at.
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = connected.await.map_err(|source| ClientError::Connect {
            address: options.address().to_owned(),
            source,
        })?;
        let address = options.address().to_owned();
        Self::over(stream, options).await.map_err(|error| match error {
            ClientError::BadReply(source) => ClientError::NotChatServer { address, source },
            error => error,
        })
    }

    /// Says `hello` over a stream that is already connected: a pipe, a tunnel, a test. Must be called on a Tokio
    /// runtime, where the connection's task then runs. Of the options the address and the connect timeout are not used.
    ///
    /// # Errors
    /// [`Closed`](ClientError::Closed), [`Timeout`](ClientError::Timeout) or [`BadReply`](ClientError::BadReply), the
    /// last of which usually means that no chat server is there; [`Server`](ClientError::Server) if it is busy.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn over<T>(stream: T, options: ConnectOptions) -> Result<Self, ClientError>
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let mut connection = Connection::new(
            stream,
            Bounds {
                in_flight_requests: options.in_flight_requests,
                max_reply_bytes: options.max_reply_bytes,
                finish_timeout: options.request_timeout,
            },
        );
        let server = say_hello(&mut connection, &options).await?;
        if server.is_legacy() {
            connection.set_in_flight_requests(1);
        }
        Ok(Self::start(connection, server, options))
    }

    fn start<T>(connection: Connection<T>, server: ServerInfo, options: ConnectOptions) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (requests, inbox) = mpsc::channel(options.queued_requests);
        let shared = Shared {
            requests,
            closing: CancellationToken::new(),
            closed: Arc::default(),
            task: TaskTracker::new(),
            server,
            says_user_aktif: AtomicBool::new(false),
            options,
        };
        shared.task.spawn(connection.run(Inbound {
            requests: inbox,
            closing: shared.closing.clone(),
            closed: Arc::clone(&shared.closed),
        }));
        shared.task.close();
        Self { shared: Arc::new(shared), login: Arc::default() }
    }

    /// What the server said of itself.
    #[must_use]
    pub fn server(&self) -> &ServerInfo {
        &self.shared.server
    }

    /// Whether it is one of the old servers ([`ServerInfo::Legacy`]).
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        self.shared.server.is_legacy()
    }

    /// How the connection ended, if it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.shared.closed.get().cloned()
    }

    /// Ends the connection in order, for all handles: takes no further requests, waits for the replies to those
    /// already made (at most the request timeout), and closes.
    ///
    /// # Cancel safety
    /// The connection closes all the same.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.task.wait().await;
    }

    /// The login of this handle and its clones, to be kept for later. It is a secret.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        *self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle on the same connection that uses a login kept from earlier, without asking the server about it
    /// ([`whoami`](Self::whoami) does). Other handles keep theirs.
    #[must_use]
    pub fn with_token(&self, token: Token) -> Self {
        Self { shared: Arc::clone(&self.shared), login: Arc::new(Mutex::new(Some(token))) }
    }

    /// Asks for a sign of life. Returns `text` as the server gave it back.
    ///
    /// # Errors
    /// [`Unsupported`](ClientError::Unsupported) by an old server; and those of any request.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn ping(&self, text: &str) -> Result<String, ClientError> {
        match self.call_current(Command::Ping { text }).await? {
            Reply::Pong(text) => Ok(text.into_owned()),
            _ => Err(unexpected("ping")),
        }
    }

    /// A command that the old servers do not have.
    pub(crate) async fn call_current(
        &self,
        command: Command<'_>,
    ) -> Result<Reply<'static>, ClientError> {
        self.current_only(command.name())?;
        self.call(command).await
    }

    pub(crate) fn current_only(&self, command: &'static str) -> Result<(), ClientError> {
        if self.is_legacy() {
            return Err(ClientError::Unsupported { command });
        }
        Ok(())
    }

    pub(crate) async fn call(&self, command: Command<'_>) -> Result<Reply<'static>, ClientError> {
        let line = encode(&command, self.shared.server.max_frame_bytes())?;
        let command = command.name();
        let limit = self.shared.options.request_timeout;
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            let request = Request { line, reply };
            if self.shared.requests.send(request).await.is_err() {
                return Err(self.closed(command, false));
            }
            answer.await.map_err(|_| self.closed(command, true))
        };
        let frame = timeout(limit, exchange)
            .await
            .map_err(|_| ClientError::Timeout { command, limit })??;
        understand(command, Reply::decode(command, &frame)?)
    }

    /// Whether this is the old server that answers `user_aktif` in place of `list`, as far as is known.
    pub(crate) fn says_user_aktif(&self) -> &AtomicBool {
        &self.shared.says_user_aktif
    }

    fn closed(&self, command: &'static str, sent: bool) -> ClientError {
        // Without a reason the task has not set one: its runtime is gone, or `close` is under way.
        let reason = self.close_reason().unwrap_or(CloseReason::ByClient);
        ClientError::Closed { command, sent, reason }
    }

    /// The token as a word of a request.
    pub(crate) fn word(&self) -> Result<String, ClientError> {
        let token = self.token().ok_or(ClientError::NotLoggedIn)?;
        Ok(token.expose())
    }

    /// The token, and a handle that keeps it when this one logs in as somebody else.
    pub(crate) fn pinned(&self) -> Result<(String, Self), ClientError> {
        let token = self.token().ok_or(ClientError::NotLoggedIn)?;
        Ok((token.expose(), self.with_token(token)))
    }

    pub(crate) fn set_login(&self, token: Option<Token>) {
        *self.login.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

async fn say_hello<T: AsyncRead + AsyncWrite>(
    connection: &mut Connection<T>,
    options: &ConnectOptions,
) -> Result<ServerInfo, ClientError> {
    let command = "hello";
    let limit = options.request_timeout;
    let hello = Command::Hello(HelloOptions { explicit_ack: true });
    let line = encode(&hello, chat_core::protocol::DEFAULT_MAX_FRAME_BYTES)?;
    let frame = timeout(limit, connection.exchange(line))
        .await
        .map_err(|_| ClientError::Timeout { command, limit })?
        .map_err(|reason| ClientError::Closed { command, sent: true, reason })?;
    match understand(command, Reply::decode(command, &frame)?) {
        Ok(Reply::Hello(hello)) => Ok(ServerInfo::Current(hello)),
        Ok(_) => Err(unexpected(command)),
        Err(error) if error.code() == Some(&ErrorCode::BadCommand) => Ok(ServerInfo::Legacy),
        Err(error) => Err(error),
    }
}

fn understand(command: &'static str, reply: Reply<'static>) -> Result<Reply<'static>, ClientError> {
    match reply {
        Reply::Error(error) => Err(ServerError::new(command, error).into()),
        reply => Ok(reply),
    }
}

pub(crate) fn unexpected(command: &'static str) -> ClientError {
    ReplyError::Malformed { command, reason: "it is the reply to another command".to_owned() }
        .into()
}
