//! [`Client`]'s calls about accounts and sessions.

use chat_core::protocol::{Command, Reply, SessionEntry, Whoami};
use chat_core::{FullName, Token};

use crate::client::unexpected;
use crate::{Client, ClientError};

impl Client {
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
        let command = Command::Logout { token: &token };
        let answer = self.exchange(command, self.deadline()).await?;
        let reply = self.understand("logout", &answer);
        let was_over = reply.as_ref().is_err_and(ClientError::is_session_over);
        // Another login may have come in between; that one stays.
        if (reply.is_ok() || was_over) && self.word().is_ok_and(|now| now == token) {
            self.set_login(None);
        }
        match reply {
            Ok(Reply::LoggedOut) => Ok(()),
            // The first of several tries had ended it.
            Err(_) if was_over && answer.repeated => Ok(()),
            Ok(_) => Err(unexpected("logout")),
            Err(error) => Err(error),
        }
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
        match self.call_current(Command::Revoke { token, session }).await? {
            Reply::Revoked => Ok(()),
            _ => Err(unexpected("revoke")),
        }
    }

    /// Makes an account, where the server allows it. Does not log in.
    ///
    /// # Errors
    /// Codes `not_allowed`, `user_exists`, `bad_username`, `weak_password`; [`Unsupported`](ClientError::Unsupported)
    /// by an old server; and those of any request.
    ///
    /// # Cancel safety
    /// The account may have been made.
    pub async fn register(
        &self,
        username: &str,
        password: &str,
        name: Option<&FullName>,
    ) -> Result<(), ClientError> {
        let command = Command::Register { username, password, name: name.map(FullName::as_str) };
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
        match self.call_current(Command::ChangePassword { token, old, new }).await? {
            Reply::PasswordChanged(sessions_ended) => Ok(sessions_ended),
            _ => Err(unexpected("passwd")),
        }
    }
}
