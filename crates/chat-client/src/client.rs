//! [`Client`]: the handle.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use chat_core::Token;
use chat_core::protocol::{Command, Frame, Reply, ReplyError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::connection::{Connection, later};
use crate::connector::OneStream;
use crate::driver::Driver;
use crate::open::{greet, open};
use crate::request::{Answer, Call, Request, encode};
use crate::status::Status;
use crate::{
    ClientError, CloseReason, ConnectOptions, ConnectionState, Connector, ServerError, ServerInfo,
    TcpConnector,
};

/// A handle on a connection to a chat server. The [crate](crate) has examples.
///
/// Clones share the connection and the login. Requests of all handles go out in the order of the calls, many at
/// once, and each call gets its own reply.
///
/// # Lost connections
/// The client reconnects, with growing pauses ([`Backoff`](crate::Backoff)), and [`state`](Self::state) tells of it. Calls
/// wait meanwhile, each at most its [request timeout](ConnectOptions::request_timeout). A request that was sent and not
/// answered is sent again if doing it twice does no harm; `auth`, `register`, `passwd`, `revoke` and the plain `send` fail
/// with [`Closed`](ClientError::Closed) instead. Logins outlive connections, since the server keeps them.
///
/// # Its end
/// It closes when the last handle ([`Delivery`](crate::Delivery) and [`Watch`](crate::Watch) hold one, too) is dropped, or
/// by [`close`](Self::close).
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    login: Arc<Mutex<Option<Token>>>,
}

#[derive(Debug)]
struct Shared {
    requests: mpsc::Sender<Request>,
    closing: CancellationToken,
    status: Arc<Status>,
    task: TaskTracker,
    says_user_aktif: AtomicBool,
    options: ConnectOptions,
    /// The last handle ends the connection.
    _end: DropGuard,
}

impl Client {
    /// Connects over TCP, says `hello`, and finds out what the server is. The first connection is tried once; when it is
    /// lost later, the client reconnects. Must be called on a Tokio runtime, where the client's task then runs.
    ///
    /// # Errors
    /// [`Connect`](ClientError::Connect), [`ConnectTimeout`](ClientError::ConnectTimeout) or
    /// [`NotChatServer`](ClientError::NotChatServer); [`Closed`](ClientError::Closed),
    /// [`Timeout`](ClientError::Timeout) or [`Server`](ClientError::Server) as [`over`](Self::over).
    ///
    /// # Cancel safety
    /// Dropping the future gives up the connection.
    pub async fn connect(options: impl Into<ConnectOptions>) -> Result<Self, ClientError> {
        Self::connect_with(TcpConnector::default(), options).await
    }

    /// The same over streams of another kind, such as TLS.
    ///
    /// For simulations: besides what the connector does, the client uses only Tokio's clock,
    /// [`ConnectOptions::random`](ConnectOptions::random) and one task on the current runtime. With Tokio's time paused and
    /// that source seeded it does the same every time.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// Dropping the future gives up the connection.
    pub async fn connect_with<C: Connector>(
        connector: C,
        options: impl Into<ConnectOptions>,
    ) -> Result<Self, ClientError> {
        let options = options.into();
        let (connection, server) = open(&connector, &options).await?;
        Ok(Self::start(connector, connection, server, options))
    }

    /// Says `hello` over a stream that is already connected: a pipe, a tunnel, a test. The client does not reconnect and
    /// ends with this stream. Must be called on a Tokio runtime, where the client's task then runs. The options for the
    /// address, the connect timeout and reconnecting are not used.
    ///
    /// # Errors
    /// [`Closed`](ClientError::Closed) or [`Timeout`](ClientError::Timeout); [`BadReply`](ClientError::BadReply), which
    /// usually means that no chat server is there; [`Server`](ClientError::Server) if it is busy.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn over<T>(stream: T, options: ConnectOptions) -> Result<Self, ClientError>
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let options = options.reconnect(None);
        let (connection, server) = greet(stream, &options).await?;
        Ok(Self::start(OneStream::new(), connection, server, options))
    }

    fn start<C: Connector>(
        connector: C,
        connection: Connection<C::Stream>,
        server: ServerInfo,
        options: ConnectOptions,
    ) -> Self {
        let (requests, inbox) = mpsc::channel(options.queued_requests);
        let closing = CancellationToken::new();
        let status = Arc::new(Status::new(server));
        let driver =
            Driver::new(connector, options.clone(), Arc::clone(&status), inbox, closing.clone());
        let task = TaskTracker::new();
        task.spawn(driver.run(connection));
        task.close();
        let shared = Shared {
            requests,
            _end: closing.clone().drop_guard(),
            closing,
            status,
            task,
            says_user_aktif: AtomicBool::new(false),
            options,
        };
        Self { shared: Arc::new(shared), login: Arc::default() }
    }

    /// What the server said of itself when the connection was last made.
    #[must_use]
    pub fn server(&self) -> Arc<ServerInfo> {
        self.shared.status.server()
    }

    /// Whether it is one of the old servers ([`ServerInfo::Legacy`]).
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        self.server().is_legacy()
    }

    /// The state of the connection, now and whenever it changes.
    ///
    /// ```no_run
    /// # async fn example(client: chat_client::Client) {
    /// use chat_client::ConnectionState;
    ///
    /// let mut state = client.state();
    /// while state.changed().await.is_ok() {
    ///     match &*state.borrow_and_update() {
    ///         ConnectionState::Reconnecting { delay, .. } => println!("lost, trying in {delay:?}"),
    ///         ConnectionState::Connected { .. } => println!("connected"),
    ///         _ => break,
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.status.subscribe()
    }

    /// How the client ended: `None` as long as it is connected or reconnecting.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.shared.status.close_reason()
    }

    /// Closes the connection for all handles: takes no further requests, waits for the replies to those already made (at
    /// most the [request timeout](ConnectOptions::request_timeout)), and ends the stream. Does nothing if it is closed
    /// already.
    ///
    /// # Cancel safety
    /// The connection closes all the same.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.task.wait().await;
    }

    /// The login of this handle and its clones, to be kept for a later [`with_token`](Self::with_token). It is a secret.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        *self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle on the same connection that uses a login kept from earlier. Whether that is still valid is not asked
    /// ([`whoami`](Self::whoami) does). Other handles keep their logins.
    #[must_use]
    pub fn with_token(&self, token: Token) -> Self {
        Self { shared: Arc::clone(&self.shared), login: Arc::new(Mutex::new(Some(token))) }
    }

    /// Asks the server for a sign of life. Returns `text` as it came back.
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

    /// Fails unless the server says that it has this command.
    pub(crate) fn require(&self, command: &'static str) -> Result<(), ClientError> {
        if self.server().lists(command) {
            Ok(())
        } else {
            Err(ClientError::Unsupported { command })
        }
    }

    /// A command that not every current server has.
    pub(crate) async fn call_listed(
        &self,
        command: Command<'_>,
    ) -> Result<Reply<'static>, ClientError> {
        self.require(command.name())?;
        self.call(command).await
    }

    pub(crate) async fn call(&self, command: Command<'_>) -> Result<Reply<'static>, ClientError> {
        self.call_until(command, self.deadline()).await
    }

    /// When a call made now has taken too long.
    pub(crate) fn deadline(&self) -> Instant {
        later(Instant::now(), self.options().request_timeout)
    }

    pub(crate) async fn call_until(
        &self,
        command: Command<'_>,
        deadline: Instant,
    ) -> Result<Reply<'static>, ClientError> {
        let name = command.name();
        let answer = self.exchange(command, deadline).await?;
        self.understand(name, &answer)
    }

    /// What came for a command, not yet understood.
    pub(crate) async fn exchange(
        &self,
        command: Command<'_>,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let line = encode(&command, self.server().max_frame_bytes())?;
        let command = command.name();
        let (call, stage, answer) = Call::new(command, line);
        let exchange = async {
            self.submit(Request::Call(call), command).await?;
            answer.await.map_err(|_| self.closed(command, true))?.map_err(|lost| {
                ClientError::Closed { command, sent: lost.sent, reason: lost.reason }
            })
        };
        timeout_at(deadline, exchange).await.unwrap_or_else(|_| {
            let limit = self.options().request_timeout;
            Err(ClientError::Timeout { command, limit, sent: stage.give_up() })
        })
    }

    /// The reply, if it is no error.
    pub(crate) fn understand(
        &self,
        command: &'static str,
        answer: &Answer,
    ) -> Result<Reply<'static>, ClientError> {
        understand(command, &answer.frame).inspect_err(|error| {
            if error.is_session_over() {
                self.shared.status.set_session_ended(true);
            }
        })
    }

    /// Hands a request to the task.
    pub(crate) async fn submit(
        &self,
        request: Request,
        command: &'static str,
    ) -> Result<(), ClientError> {
        self.shared.requests.send(request).await.map_err(|_| self.closed(command, false))
    }

    pub(crate) fn options(&self) -> &ConnectOptions {
        &self.shared.options
    }

    /// Whether this is the old server that answers `user_aktif` in place of `list`, as far as is known.
    pub(crate) fn says_user_aktif(&self) -> &AtomicBool {
        &self.shared.says_user_aktif
    }

    pub(crate) fn closed(&self, command: &'static str, sent: bool) -> ClientError {
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
        if token.is_some() {
            self.shared.status.set_session_ended(false);
        }
    }
}

/// The reply in a frame, if it is no error.
pub(crate) fn understand(
    command: &'static str,
    frame: &Frame,
) -> Result<Reply<'static>, ClientError> {
    match Reply::decode(command, frame)? {
        Reply::Error(error) => Err(ServerError::new(command, error).into()),
        reply => Ok(reply),
    }
}

pub(crate) fn unexpected(command: &'static str) -> ClientError {
    ReplyError::Malformed { command, reason: "it is the reply to another command".to_owned() }
        .into()
}
