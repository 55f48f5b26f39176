//! [`Client`]'s calls about who is here and who has an account.

use std::sync::atomic::Ordering;

use chat_core::protocol::{ActiveUsers, Command, Directory, ErrorCode, List, Reply};

use crate::client::unexpected;
use crate::{Client, ClientError};

impl Client {
    /// Who is active, and from a current server the first page of the directory of accounts.
    ///
    /// # Errors
    /// Those of any request.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn list(&self) -> Result<List<'static>, ClientError> {
        if self.is_legacy() {
            let active = self.legacy_active_users().await?;
            return Ok(List { active, directory: None });
        }
        self.call_list(None, None).await
    }

    /// A page of the directory of accounts, in order of username: those after the username `after`, at most `limit`
    /// (1 to 1,000; the server's default is its own). [`Directory::next`] is the `after` of the next page.
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

    /// Who is active: users with a session in use or used within the last five minutes, oldest session first.
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

    async fn call_list(
        &self,
        after: Option<&str>,
        limit: Option<&str>,
    ) -> Result<List<'static>, ClientError> {
        let command = Command::List { token: &self.word()?, after, limit };
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
        let says_user_aktif = self.says_user_aktif();
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
}
