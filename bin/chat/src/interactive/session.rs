//! [`Session`]: the connection and the login of an interactive client, made again when they are gone.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chat_client::{
    Backoff, Client, ClientError, ConnectOptions, ErrorCode, Message, ServerInfo, Token,
};
use jiff::tz::TimeZone;
use tokio::task::JoinSet;

use super::live::{self, Live};
use super::screen::Screen;
use super::typed::{Passwords, Typed};
use crate::connections::Connections;
use crate::failure::Failure;
use crate::history::{last_messages, message_count};
use crate::phrases;
use crate::privacy::{privacy_choice, privacy_subject};
use crate::text::{message_line, neutralise};

/// A connection if there is one, a login if there is one, and where to write.
pub(super) struct Session<W> {
    options: ConnectOptions,
    client: Option<Client>,
    token: Option<Token>,
    zone: TimeZone,
    out: W,
    /// Where to show what happens by itself; `None` in a pipe, whose output answers its input and nothing else.
    screen: Option<Screen>,
    /// What shows it: connections, and the login's messages.
    telling: JoinSet<()>,
    watching: JoinSet<()>,
    /// Set when the server has ended the login by itself.
    login_over: Arc<AtomicBool>,
    /// The newest message that this login was shown, by whatever way.
    shown: Arc<AtomicU64>,
    /// The id of the message sent last.
    last_sent: Option<String>,
}

impl<W: Write> Session<W> {
    pub(super) fn new(server: &str, out: W, screen: Option<Screen>) -> Self {
        Self {
            options: ConnectOptions::new(server).reconnect(BACKOFF),
            client: None,
            token: None,
            zone: TimeZone::system(),
            out,
            screen,
            telling: JoinSet::new(),
            watching: JoinSet::new(),
            login_over: Arc::default(),
            shown: Arc::default(),
            last_sent: None,
        }
    }

    pub(super) fn prompt(&mut self) -> String {
        if self.login_over.swap(false, Ordering::Relaxed) {
            self.token = None;
        }
        phrases::prompt(self.token)
    }

    /// Connects and says to what.
    pub(super) async fn greet(&mut self) -> Result<(), Failure> {
        let client = self.client().await?;
        let address = self.options.address();
        let greeting = match &*client.server() {
            ServerInfo::Current(hello) => {
                let (server, version) = (neutralise(&hello.server), neutralise(&hello.version));
                format!("Connected to {server} {version} at {address}. Type help for help.")
            }
            _ => format!("Connected to an old server at {address}. Type help for help."),
        };
        self.say(&greeting)
    }

    /// Does what was typed and says what came of it.
    pub(super) async fn perform(&mut self, typed: Typed) -> Result<(), Failure> {
        if let Some(refusal) = self.refusal(&typed) {
            self.say(refusal)?;
            return Err(ClientError::NotLoggedIn.into());
        }
        let outcome = self.perform_allowed(typed).await;
        if let Err(Failure::Client(error)) = &outcome
            && error.code() == Some(&ErrorCode::NoSession)
        {
            self.token = None;
        }
        outcome
    }

    /// Writes one line.
    pub(super) fn say(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.out, "{line}").and_then(|()| self.out.flush()).map_err(Failure::Output)
    }

    /// Says why something failed. What `perform` has explained already is not said again.
    pub(super) fn explain(&mut self, failure: &Failure, to_a_person: bool) -> Result<(), Failure> {
        if matches!(failure, Failure::Client(ClientError::NotLoggedIn)) {
            return Ok(());
        }
        if matches!(failure, Failure::Interrupted) {
            // The terminal has shown `^C` on this line.
            self.say("")?;
        }
        self.say(&phrases::error(&failure.message()))?;
        let gone = matches!(
            failure,
            Failure::Client(
                ClientError::Connect { .. }
                    | ClientError::ConnectTimeout { .. }
                    | ClientError::Closed { .. }
            )
        );
        if gone && to_a_person {
            self.say(phrases::TRY_AGAIN)?;
        }
        Ok(())
    }

    /// Ends the login, since nobody will have its token any more. The server ends it later if that fails now.
    pub(super) async fn end(&mut self) {
        let Some(client) = self.client.take() else {
            return;
        };
        let _ = tokio::time::timeout(END_TIMEOUT, async {
            self.telling.shutdown().await;
            self.watching.shutdown().await;
            let _ = client.logout().await;
            client.close().await;
        })
        .await;
    }

    /// What is said in place of doing it, before login.
    fn refusal(&self, typed: &Typed) -> Option<&'static str> {
        if self.token.is_some() {
            return None;
        }
        match typed {
            Typed::Logout => Some(phrases::LOG_IN_FIRST),
            Typed::Nothing
            | Typed::Help
            | Typed::Quit
            | Typed::Auth { .. }
            | Typed::Register { .. } => None,
            _ => Some(phrases::NOT_AUTHORIZED),
        }
    }

    async fn perform_allowed(&mut self, typed: Typed) -> Result<(), Failure> {
        match typed {
            Typed::Nothing | Typed::Quit => Ok(()),
            Typed::Help => self.say(phrases::HELP),
            Typed::Auth { username, password } => {
                self.log_in(&username, &password.unwrap_or_default()).await
            }
            Typed::Send { to, body } => self.send(&to, &body).await,
            Typed::Inbox => self.inbox().await,
            Typed::ActiveUsers => self.active_users().await,
            Typed::Logout => self.log_out().await,
            Typed::Whoami => {
                let whoami = self.client().await?.whoami().await?;
                self.say(&phrases::whoami(&whoami, &self.zone))
            }
            Typed::Sessions => self.sessions().await,
            Typed::Revoke { session } => {
                self.client().await?.revoke(&session).await?;
                self.say(&format!("session {} ended", neutralise(&session)))
            }
            Typed::Register { username, password, name } => {
                self.register(&username, password, name).await
            }
            Typed::ChangePassword(passwords) => self.change_password(passwords).await,
            Typed::History { with, count } => self.history(&with, count.as_deref()).await,
            Typed::Status { id } => self.status(id).await,
            Typed::Block { username } => {
                self.client().await?.block(&username).await?;
                self.say(&phrases::blocked(&username))
            }
            Typed::Unblock { username } => {
                self.client().await?.unblock(&username).await?;
                self.say(&phrases::unblocked(&username))
            }
            Typed::Privacy { subject, choice } => {
                let (subject, choice) = (privacy_subject(&subject)?, privacy_choice(&choice)?);
                self.client().await?.privacy(subject, choice).await?;
                self.say(phrases::PRIVACY_SET)
            }
        }
    }

    async fn send(&mut self, to: &str, body: &str) -> Result<(), Failure> {
        let sent = self.client().await?.send(to, body).await?;
        self.last_sent = sent.receipt().map(|receipt| receipt.id.clone());
        self.say(&phrases::sent_to(to))
    }

    async fn history(&mut self, with: &str, count: Option<&str>) -> Result<(), Failure> {
        let count = message_count(count.unwrap_or(HISTORY_COUNT))?;
        let client = self.client().await?;
        for message in last_messages(&client, with, count).await? {
            let line = message_line(&message, &self.zone);
            self.say(&line)?;
        }
        Ok(())
    }

    async fn status(&mut self, id: Option<String>) -> Result<(), Failure> {
        let Some(id) = id.or_else(|| self.last_sent.clone()) else {
            return self.say(phrases::NOTHING_SENT);
        };
        let status = self.client().await?.status(&id).await?;
        self.say(&phrases::message_status(&status, &self.zone))
    }

    async fn log_in(&mut self, username: &str, password: &str) -> Result<(), Failure> {
        let client = self.client().await?;
        let token = client.login(username, password).await?;
        if let Some(earlier) = self.token.replace(token) {
            // Nobody has its token any more; if the server cannot end it now, it expires.
            let _ = client.with_token(earlier).logout().await;
        }
        self.last_sent = None;
        self.say(&phrases::logged_in(username, token))?;
        self.watch(&client).await
    }

    /// Says how much waits, and from here on shows what comes.
    async fn watch(&mut self, client: &Client) -> Result<(), Failure> {
        self.watching.shutdown().await;
        self.login_over = Arc::default();
        self.shown = Arc::default();
        let Some(screen) = self.screen.clone().filter(|_| client.server().lists("watch")) else {
            return Ok(());
        };
        if let Some(unread) = phrases::unread(&client.inbox().await?) {
            self.say(&unread)?;
        }
        let (zone, over) = (self.zone.clone(), Arc::clone(&self.login_over));
        let watch = client.watch().await?;
        let live = Live::new(watch, screen, zone, over, Arc::clone(&self.shown));
        self.watching.spawn(live.run());
        Ok(())
    }

    async fn log_out(&mut self) -> Result<(), Failure> {
        // What is not shown any more shall not be told of either.
        self.watching.shutdown().await;
        self.client().await?.logout().await?;
        self.token = None;
        self.say(phrases::LOGGED_OUT)
    }

    /// Shows a page, and says that it has arrived once it is written out.
    async fn inbox(&mut self) -> Result<(), Failure> {
        let delivery = self.client().await?.inbox().await?;
        // What came by itself and is not acknowledged yet is not shown again.
        let new = |message: &&Message| message.id.is_none_or(|id| live::is_new(&self.shown, id));
        let messages: Vec<_> = delivery.messages().iter().filter(new).collect();
        for message in &messages {
            let line = message_line(*message, &self.zone);
            writeln!(self.out, "{line}").map_err(Failure::Output)?;
        }
        self.out.flush().map_err(Failure::Output)?;
        delivery.ack().await?;
        if messages.is_empty() && !delivery.more() {
            self.say(phrases::NO_MESSAGES)
        } else if delivery.more() {
            self.say(phrases::MORE_MESSAGES)
        } else {
            Ok(())
        }
    }

    async fn active_users(&mut self) -> Result<(), Failure> {
        let active = self.client().await?.active_users().await?;
        self.say(phrases::ACTIVE_USERS)?;
        for user in &active.users {
            self.say(&neutralise(user))?;
        }
        if active.more {
            self.say("…")?;
        }
        Ok(())
    }

    async fn sessions(&mut self) -> Result<(), Failure> {
        let sessions = self.client().await?.sessions().await?;
        for session in &sessions {
            let line = phrases::session(session, &self.zone);
            self.say(&line)?;
        }
        Ok(())
    }

    async fn register(
        &mut self,
        username: &str,
        password: Option<String>,
        name: Option<String>,
    ) -> Result<(), Failure> {
        let name = name
            .map(|name| name.parse())
            .transpose()
            .map_err(|error| Failure::Usage(format!("{error}")))?;
        let password = password.unwrap_or_default();
        let client = self.client().await?;
        client.register(username, &password, name.as_ref()).await?;
        let username = neutralise(username);
        self.say(&format!("account {username} made; auth {username} logs in"))
    }

    async fn change_password(&mut self, passwords: Option<Passwords>) -> Result<(), Failure> {
        let Some(Passwords { old, new }) = passwords else {
            return Ok(());
        };
        let ended = self.client().await?.change_password(&old, &new).await?;
        self.say(&format!("password changed, {ended} other logins ended"))
    }

    /// The connection; a new one, with the login so far, if there is none. One that is lost is made again by itself.
    async fn client(&mut self) -> Result<Client, Failure> {
        if let Some(client) = self.client.as_ref().filter(|client| client.close_reason().is_none())
        {
            return Ok(client.clone());
        }
        let mut client = Client::connect(self.options.clone()).await?;
        if let Some(token) = self.token {
            client = client.with_token(token);
        }
        if let Some(screen) = &self.screen {
            self.telling.spawn(live::tell(Connections::of(&client), screen.clone()));
        }
        self.client = Some(client.clone());
        Ok(client)
    }
}

/// Somebody sits there and waits.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
/// What is typed for `history` without a number.
const HISTORY_COUNT: &str = "20";
/// How long leaving may take.
const END_TIMEOUT: Duration = Duration::from_secs(2);
