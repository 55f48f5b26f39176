//! [`Client`]: the handle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use chat_core::protocol::{
    ActiveUsers, Command, Directory, ErrorCode, HelloOptions, List, Reply, ReplyError,
    SessionEntry, Whoami,
};
use chat_core::{FullName, MessageId, Token, check_body};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{Bounds, Connection, Inbound};
use crate::request::{Request, encode};
use crate::{
    ClientError, CloseReason, ConnectOptions, Delivery, InvalidRequest, ServerError, ServerInfo,
};

/// A handle on a connection to a chat server.
///
/// Clones share the connection and the login. Requests of all handles go out in the order of the calls, many at
/// once, and each call gets its own reply. The connection ends when the last handle (or [`Delivery`]) is dropped,
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
    /// An old server that answers `user_aktif` in place of `list`.
    says_user_aktif: AtomicBool,
    options: ConnectOptions,
}

impl Client {
    /// Connects over TCP, says `hello`, and finds out what the server is.
    ///
    /// # Errors
    /// [`Connect`](ClientError::Connect) or [`ConnectTimeout`](ClientError::ConnectTimeout); and what
    /// [`over`](Self::over) gives.
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
        Self::over(stream, options).await
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
        Self {
            shared: Arc::new(shared),
            login: Arc::default(),
        }
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
        Self {
            shared: Arc::clone(&self.shared),
            login: Arc::new(Mutex::new(Some(token))),
        }
    }

    /// Logs in; this handle and its clones use the login from now on. An earlier login is not ended.
    ///
    /// # Errors
    /// Codes `no_such_user`, `bad_password`, `busy`, `rate_limited`; and those of any request.
    ///
    /// # Cancel safety
    /// The server may have made a session that nobody has the token of; it expires by itself.
    pub async fn login(&self, username: &str, password: &str) -> Result<Token, ClientError> {
        match self.call(Command::Auth { username, password }).await? {
            Reply::LoggedIn(token) => {
                self.set_login(Some(token));
                Ok(token)
            }
            _ => Err(unexpected("auth")),
        }
    }

    /// Ends the login, on the server and in this handle and its clones.
    ///
    /// # Errors
    /// [`NotLoggedIn`](ClientError::NotLoggedIn); code `no_session` if the server had ended it already, in which case
    /// it is forgotten here too; and those of any request.
    ///
    /// # Cancel safety
    /// The server may have ended the session while this handle still uses it; calling it again is safe.
    pub async fn logout(&self) -> Result<(), ClientError> {
        let token = self.word()?;
        let answer = self.call(Command::Logout { token: &token }).await;
        let over = match &answer {
            Ok(_) => true,
            Err(error) => error.code() == Some(&ErrorCode::NoSession),
        };
        // Another login may have come in between; that one stays.
        if over && self.word().is_ok_and(|now| now == token) {
            self.set_login(None);
        }
        match answer? {
            Reply::LoggedOut => Ok(()),
            _ => Err(unexpected("logout")),
        }
    }

    /// Sends a message. Once this returns `Ok`, a current server keeps it through a crash of its machine.
    ///
    /// # Errors
    /// [`Invalid`](ClientError::Invalid) for what cannot be a message (empty, over the server's limit, a control
    /// character other than tab) or a recipient; codes `no_such_recipient`, `inbox_full`, `not_allowed`; and those of any
    /// request. After [`is_outcome_unknown`](ClientError::is_outcome_unknown), sending again may send it twice.
    ///
    /// # Cancel safety
    /// The message may have been sent.
    pub async fn send(&self, to: &str, body: &str) -> Result<(), ClientError> {
        check_body(body, self.shared.server.max_message_bytes()).map_err(InvalidRequest::from)?;
        let token = &self.word()?;
        match self.call(Command::Send { token, to, body }).await? {
            Reply::Sent => Ok(()),
            _ => Err(unexpected("send")),
        }
    }

    /// The undelivered messages, oldest first, a page at a time. They stay undelivered until [`Delivery::ack`]:
    /// calling this again without it gives the same ones.
    ///
    /// From an old server these are the messages' only appearance.
    ///
    /// # Errors
    /// Those of any request.
    ///
    /// # Cancel safety
    /// Nothing is delivered. (An old server may have given the messages up.)
    pub async fn inbox(&self) -> Result<Delivery, ClientError> {
        if !self.is_legacy() {
            return self.peek(None, None).await;
        }
        let (token, handle) = self.pinned()?;
        match self.call(Command::Inbox { token: &token }).await? {
            Reply::Inbox(page) => Ok(Delivery::legacy(handle, page.messages)),
            _ => Err(unexpected("inbox")),
        }
    }

    /// Undelivered messages with ids beyond `after`, at most `limit` of them (the server has a limit of its own).
    /// Acknowledging the result acknowledges all up to its last message, those before `after` too.
    ///
    /// # Errors
    /// [`Unsupported`](ClientError::Unsupported) by an old server; and those of any request.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn peek(
        &self,
        after: Option<MessageId>,
        limit: Option<u32>,
    ) -> Result<Delivery, ClientError> {
        let (token, handle) = self.pinned()?;
        let after = after.map(|id| id.to_string());
        let limit = limit.map(|limit| limit.to_string());
        let command = Command::Peek {
            token: &token,
            after: after.as_deref(),
            limit: limit.as_deref(),
        };
        match self.call_current(command).await? {
            Reply::Peek(page) => Ok(Delivery::current(handle, page)),
            _ => Err(unexpected("peek")),
        }
    }

    /// Acknowledges every message up to `id` of that incarnation of the mailbox. [`Delivery::ack`] is the usual way.
    ///
    /// # Errors
    /// Codes `stale_incarnation`, `bad_arguments` (beyond the end); [`Unsupported`](ClientError::Unsupported) by an old
    /// server; and those of any request. All change nothing.
    ///
    /// # Cancel safety
    /// Whether the messages are acknowledged is then not known; calling it again is safe.
    pub async fn ack(&self, id: MessageId, incarnation: &str) -> Result<(), ClientError> {
        let command = Command::Ack {
            token: &self.word()?,
            id: &id.to_string(),
            incarnation: Some(incarnation),
        };
        match self.call_current(command).await? {
            Reply::Acked => Ok(()),
            _ => Err(unexpected("ack")),
        }
    }

    /// Who is here, and from a current server the first page of who has an account.
    ///
    /// # Errors
    /// Those of any request.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn list(&self) -> Result<List<'static>, ClientError> {
        if self.is_legacy() {
            let active = self.legacy_active_users().await?;
            return Ok(List {
                active,
                directory: None,
            });
        }
        self.call_list(None, None).await
    }

    /// A page of who has an account, in order of username: those after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`Unsupported`](ClientError::Unsupported) by an old server; and those of any request.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn directory(
        &self,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Directory<'static>, ClientError> {
        let limit = limit.map(|limit| limit.to_string());
        self.current_only("list")?;
        let list = self.call_list(after, limit.as_deref()).await?;
        list.directory.ok_or_else(|| unexpected("list"))
    }

    /// Who is here: users with a session in use, oldest session first.
    ///
    /// # Errors
    /// Those of any request.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn active_users(&self) -> Result<ActiveUsers<'static>, ClientError> {
        if self.is_legacy() {
            return self.legacy_active_users().await;
        }
        self.call_active_users().await
    }

    /// Whose login this is, and until when.
    ///
    /// # Errors
    /// Code `no_session`; [`Unsupported`](ClientError::Unsupported) by an old server; and those of any request.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn whoami(&self) -> Result<Whoami<'static>, ClientError> {
        let token = &self.word()?;
        match self.call_current(Command::Whoami { token }).await? {
            Reply::Whoami(whoami) => Ok(whoami),
            _ => Err(unexpected("whoami")),
        }
    }

    /// The user's sessions, oldest first.
    ///
    /// # Errors
    /// As [`whoami`](Self::whoami).
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn sessions(&self) -> Result<Vec<SessionEntry<'static>>, ClientError> {
        let token = &self.word()?;
        match self.call_current(Command::Sessions { token }).await? {
            Reply::Sessions(sessions) => Ok(sessions),
            _ => Err(unexpected("sessions")),
        }
    }

    /// Ends one of the user's sessions, by its name in [`sessions`](Self::sessions).
    ///
    /// # Errors
    /// Code `no_such_session`; and as [`whoami`](Self::whoami).
    ///
    /// # Cancel safety
    /// The session may have been ended.
    pub async fn revoke(&self, session: &str) -> Result<(), ClientError> {
        let token = &self.word()?;
        match self
            .call_current(Command::Revoke { token, session })
            .await?
        {
            Reply::Revoked => Ok(()),
            _ => Err(unexpected("revoke")),
        }
    }

    /// Makes an account, where the server allows it. Does not log in.
    ///
    /// # Errors
    /// Codes `not_allowed`, `user_exists`, `bad_username`, `weak_password`; [`Unsupported`](ClientError::Unsupported) by
    /// an old server; and those of any request.
    ///
    /// # Cancel safety
    /// The account may have been made.
    pub async fn register(
        &self,
        username: &str,
        password: &str,
        name: Option<&FullName>,
    ) -> Result<(), ClientError> {
        let command = Command::Register {
            username,
            password,
            name: name.map(FullName::as_str),
        };
        match self.call_current(command).await? {
            Reply::Registered(_) => Ok(()),
            _ => Err(unexpected("register")),
        }
    }

    /// Changes the password and ends the user's other sessions. Returns how many those were.
    ///
    /// # Errors
    /// Codes `bad_password`, `weak_password`; and as [`whoami`](Self::whoami).
    ///
    /// # Cancel safety
    /// The password may have been changed.
    pub async fn change_password(&self, old: &str, new: &str) -> Result<u64, ClientError> {
        let token = &self.word()?;
        match self
            .call_current(Command::ChangePassword { token, old, new })
            .await?
        {
            Reply::PasswordChanged(sessions_ended) => Ok(sessions_ended),
            _ => Err(unexpected("passwd")),
        }
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

    async fn call_list(
        &self,
        after: Option<&str>,
        limit: Option<&str>,
    ) -> Result<List<'static>, ClientError> {
        let command = Command::List {
            token: &self.word()?,
            after,
            limit,
        };
        match self.call(command).await? {
            Reply::List(list) => Ok(list),
            _ => Err(unexpected("list")),
        }
    }

    async fn call_active_users(&self) -> Result<ActiveUsers<'static>, ClientError> {
        let token = &self.word()?;
        match self.call(Command::ActiveUsers { token }).await? {
            Reply::ActiveUsers(active) => Ok(active),
            _ => Err(unexpected("user_aktif")),
        }
    }

    /// The old servers answer `list` or `user_aktif`, never both. Which one is remembered.
    async fn legacy_active_users(&self) -> Result<ActiveUsers<'static>, ClientError> {
        let says_user_aktif = &self.shared.says_user_aktif;
        if !says_user_aktif.load(Ordering::Relaxed) {
            match self.call_list(None, None).await {
                Err(error) if error.code() == Some(&ErrorCode::BadCommand) => {
                    says_user_aktif.store(true, Ordering::Relaxed);
                }
                answer => return Ok(answer?.active),
            }
        }
        self.call_active_users().await
    }

    /// A command that the old servers do not have.
    async fn call_current(&self, command: Command<'_>) -> Result<Reply<'static>, ClientError> {
        self.current_only(command.name())?;
        self.call(command).await
    }

    fn current_only(&self, command: &'static str) -> Result<(), ClientError> {
        if self.is_legacy() {
            return Err(ClientError::Unsupported { command });
        }
        Ok(())
    }

    async fn call(&self, command: Command<'_>) -> Result<Reply<'static>, ClientError> {
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

    fn closed(&self, command: &'static str, sent: bool) -> ClientError {
        // Without a reason the task has not set one: its runtime is gone, or `close` is under way.
        let reason = self.close_reason().unwrap_or(CloseReason::ByClient);
        ClientError::Closed {
            command,
            sent,
            reason,
        }
    }

    /// The token as a word of a request.
    fn word(&self) -> Result<String, ClientError> {
        let token = self.token().ok_or(ClientError::NotLoggedIn)?;
        Ok(token.expose())
    }

    /// The token, and a handle that keeps it when this one logs in as somebody else.
    fn pinned(&self) -> Result<(String, Self), ClientError> {
        let token = self.token().ok_or(ClientError::NotLoggedIn)?;
        Ok((token.expose(), self.with_token(token)))
    }

    fn set_login(&self, token: Option<Token>) {
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
        .map_err(|reason| ClientError::Closed {
            command,
            sent: true,
            reason,
        })?;
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

fn unexpected(command: &'static str) -> ClientError {
    ReplyError::Malformed {
        command,
        reason: "it is the reply to another command".to_owned(),
    }
    .into()
}
