//! [`Service`]: a request and what is known of the peer in, store calls, a reply out. It knows no socket.

mod conversation;
mod listing;
mod mailbox;
mod output;
mod privacy;
mod sending;
mod session;
mod watching;

pub(crate) use output::Output;

use std::sync::Arc;

use chat_core::protocol::{
    Command, ErrorCode, ErrorReply, Frame, Hello, HelloOptions, Limits, PAGE_OVERHEAD_BYTES, Reply,
};
use chat_core::store::{Message, PageLimit, SessionKey, Store, StoreError};

use crate::ServerConfig;
use crate::peer::{KnownSession, Peer};

/// Answers the requests of all connections.
#[derive(Debug)]
pub(crate) struct Service {
    store: Store,
    config: Arc<ServerConfig>,
}

/// One request being answered.
#[derive(Debug)]
struct Exchange<'a> {
    store: &'a Store,
    config: &'a ServerConfig,
    peer: &'a mut Peer,
    output: &'a mut Output,
}

impl Service {
    pub(crate) fn new(store: Store, config: Arc<ServerConfig>) -> Self {
        Self { store, config }
    }

    pub(crate) fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Takes a `send` or `post` that needs nothing asked first, to be stored by [`Service::finish`] together with those that
    /// follow it; no if it is another request, which is then to be [served](Self::request).
    pub(crate) fn gather(&self, frame: &Frame, peer: &mut Peer) -> bool {
        !peer.delivery.is_armed()
            && Command::parse(frame).is_ok_and(|command| sending::gather_if_known(peer, &command))
    }

    /// Serves one request, and stores what was gathered before it.
    pub(crate) async fn request(&self, frame: Frame, peer: &mut Peer, output: &mut Output) {
        let command = Command::parse(&frame);
        if let Ok(Command::Hello(HelloOptions { explicit_ack: true })) = command {
            peer.delivery.require_explicit_ack();
        }
        if peer.delivery.is_armed() {
            self.confirm(peer).await;
        }
        if !command.as_ref().is_ok_and(|command| sending::gather_if_known(peer, command)) {
            self.answer(command.map_err(|error| error.code()), peer, output).await;
        }
    }

    /// What is in flight to this connection is delivered.
    pub(crate) async fn confirm(&self, peer: &mut Peer) {
        for shown in peer.delivery.take() {
            self.store.confirm(shown).await;
        }
    }

    /// The transport accepted every event that was encoded.
    pub(crate) fn written(&self, peer: &mut Peer) {
        if let Some(watcher) = &mut peer.watcher {
            watcher.written(self.store.now());
            if watcher.has_ended() {
                peer.watcher = None;
            }
        }
    }

    /// The connection is gone.
    pub(crate) async fn leave(&self, peer: &mut Peer) {
        if let Some(session) = peer.attached.take() {
            self.store.detach(session.key).await;
        }
    }

    async fn answer(
        &self,
        command: Result<Command<'_>, ErrorCode>,
        peer: &mut Peer,
        output: &mut Output,
    ) {
        self.finish(peer, output).await;
        let mut exchange = Exchange { store: &self.store, config: &self.config, peer, output };
        let outcome = match command {
            Ok(command) => exchange.serve(command).await,
            Err(code) => {
                exchange.refuse_with(code);
                Ok(())
            }
        };
        if let Err(error) = outcome {
            output.reply(&Reply::Error(error_reply(&error)));
        }
    }
}

impl Exchange<'_> {
    /// Serves any command; those of one subject stand together in a submodule.
    async fn serve(&mut self, command: Command<'_>) -> Result<(), StoreError> {
        match command {
            Command::Auth { username, password } => self.auth(username, password).await,
            Command::Send { token, to, body } => self.send(token, to, body).await,
            Command::Inbox { token } => self.inbox(token).await,
            Command::List { token, after, limit } => self.list(token, after, limit).await,
            Command::ActiveUsers { token } => self.active_users(token).await,
            Command::Logout { token } => self.logout(token).await,
            Command::Hello(_) => self.hello(),
            Command::Ping { text } => self.reply(&Reply::Pong(text.into())),
            Command::Register { username, password, name } => {
                self.register(username, password, name).await
            }
            Command::ChangePassword { token, old, new } => {
                self.change_password(token, old, new).await
            }
            Command::Whoami { token } => self.whoami(token).await,
            Command::Sessions { token } => self.sessions(token).await,
            Command::Revoke { token, session } => self.revoke(token, session).await,
            Command::Peek { token, after, limit } => self.peek(token, after, limit).await,
            Command::Ack { token, id, incarnation } => self.ack(token, id, incarnation).await,
            Command::Post { token, key, to, body } => self.post(token, key, to, body).await,
            Command::Status { token, id } => self.status(token, id).await,
            Command::History { token, with, cursor, limit } => {
                self.history(token, with, cursor, limit).await
            }
            Command::Watch { token, after } => self.watch(token, after).await,
            Command::Unwatch { token } => self.unwatch(token).await,
            Command::Block { token, username } => self.block(token, username, true).await,
            Command::Unblock { token, username } => self.block(token, username, false).await,
            Command::Privacy { token, subject, choice } => {
                self.privacy(token, subject, choice).await
            }
            // One that the protocol knows and this server does not.
            _ => {
                self.refuse_with(ErrorCode::BadCommand);
                Ok(())
            }
        }
    }

    fn hello(&mut self) -> Result<(), StoreError> {
        self.peer.greeted = true;
        let offered = |command: &&str| self.config.registration || *command != "register";
        let hello = Hello {
            server: self.config.name.as_str().into(),
            version: self.config.version.as_str().into(),
            protocol: PROTOCOL_VERSION,
            commands: COMMANDS.iter().copied().filter(offered).map(Into::into).collect(),
            limits: Limits {
                frame_bytes: wire(self.config.frame_bytes),
                message_bytes: wire(self.store.message_bytes()),
                page_messages: wire(self.config.page_messages),
                page_bytes: wire(self.config.hello_page_bytes),
            },
            features: FEATURES.iter().copied().map(Into::into).collect(),
        };
        self.reply(&Reply::Hello(hello))
    }

    /// The session of a token. One that was not in use on this connection is from now on, if it exists; whether one that
    /// was still exists the store says at the next call.
    async fn session(&mut self, token: &str) -> Result<SessionKey, StoreError> {
        let session = self.peer.session(token).ok_or(StoreError::NoSession)?;
        if self.peer.attached != Some(session) {
            self.attach(session).await?;
        }
        Ok(session.key)
    }

    /// From now on this session is in use here, in place of any other. After a failure none is.
    async fn attach(&mut self, session: KnownSession) -> Result<(), StoreError> {
        let before = self.peer.attached.take().map(|before| before.key);
        self.store.attach(session.key, before).await?;
        self.peer.attached = Some(session);
        self.peer.logged_in = true;
        Ok(())
    }

    /// A word after the token is wrong. That is the answer unless the token is wrong as well.
    async fn bad_arguments(&self, session: SessionKey, reason: &'static str) -> StoreError {
        self.unless_no_session(session, StoreError::BadArguments(reason)).await
    }

    async fn unless_no_session(&self, session: SessionKey, error: StoreError) -> StoreError {
        self.store.whoami(session).await.err().unwrap_or(error)
    }

    /// How much a page may hold on this connection.
    fn limit(&self, messages: usize, cost: fn(&Message) -> usize) -> PageLimit {
        let bytes =
            if self.peer.greeted { self.config.hello_page_bytes } else { self.config.page_bytes };
        PageLimit { messages, bytes: bytes.saturating_sub(PAGE_OVERHEAD_BYTES), cost }
    }

    fn reply(&mut self, reply: &Reply<'_>) -> Result<(), StoreError> {
        self.output.reply(reply);
        Ok(())
    }

    fn refuse_with(&mut self, code: ErrorCode) {
        self.output.reply(&Reply::Error(code.into()));
    }
}

/// The reply's text is the standard one of its code, unless the store knows more.
fn error_reply(error: &StoreError) -> ErrorReply<'static> {
    let mut reply = ErrorReply::from(error.code());
    match error {
        StoreError::BadUsername(_)
        | StoreError::WeakPassword(_)
        | StoreError::MessageTooLong { .. }
        | StoreError::NoSpace
        | StoreError::TooManyKeys { .. }
        | StoreError::BadArguments(_) => reply.message = error.to_string().into(),
        _ => {}
    }
    if let StoreError::Busy { retry_after } | StoreError::TooManyKeys { retry_after } = error {
        reply.retry_after_ms = Some(u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX));
    }
    reply
}

/// A word of decimal digits and nothing else.
fn number(word: &str) -> Option<u64> {
    let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| word.parse().ok()).flatten()
}

/// The LIMIT of a command: 1 to the most messages or names a reply may hold.
fn page_limit(word: Option<&str>, default: usize) -> Option<usize> {
    let Some(word) = word else {
        return Some(default);
    };
    number(word)
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| (1..=MOST_ENTRIES).contains(limit))
}

fn wire(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// `docs/protocol.md` describes version 1.
const PROTOCOL_VERSION: u32 = 1;
/// The largest LIMIT, by the contract.
const MOST_ENTRIES: usize = 1_000;
const FEATURES: &[&str] = &["explicit_ack"];
const COMMANDS: &[&str] = &[
    "auth",
    "send",
    "inbox",
    "list",
    "user_aktif",
    "logout",
    "hello",
    "ping",
    "register",
    "passwd",
    "whoami",
    "sessions",
    "revoke",
    "peek",
    "ack",
    "post",
    "status",
    "history",
    "watch",
    "unwatch",
    "block",
    "unblock",
    "privacy",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_alone() {
        assert_eq!(number("007"), Some(7));
        for word in ["", "+1", "-1", "1 ", "1.0", "99999999999999999999"] {
            assert_eq!(number(word), None, "{word:?}");
        }
    }

    #[test]
    fn limits_have_a_range() {
        assert_eq!(page_limit(None, 20), Some(20));
        assert_eq!(page_limit(Some("1000"), 20), Some(1000));
        for word in ["0", "1001", "x"] {
            assert_eq!(page_limit(Some(word), 20), None, "{word}");
        }
    }
}
