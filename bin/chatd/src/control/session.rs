//! [`Session`]: carries out requests on a store, whichever way they came.

use chat_core::store::{HashedAccount, ImportId, NewAccount, Store, StoreError};
use chat_core::{FullName, Username};

use super::wire::{Answer, Refusal, RefusalKind, Request, StagedAccount};

/// One operator at work: a store, and the import under way, if any.
#[derive(Debug)]
pub(crate) struct Session {
    store: Store,
    import: Option<ImportId>,
}

impl Session {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, import: None }
    }

    /// Does what is asked. Each request is carried out whole or not at all.
    pub(crate) async fn execute(&mut self, request: Request) -> Result<Answer, Refusal> {
        match request {
            Request::Add { username, name, password } => {
                self.add(&username, name.as_deref(), password.0).await
            }
            Request::SetPassword { username, password } => {
                let sessions = self.store.set_password(&username, &password.0).await;
                sessions
                    .map(|sessions| Answer::SessionsEnded { sessions })
                    .map_err(|error| about(&username, error))
            }
            Request::Rename { username, new_username, new_name } => {
                self.rename(&username, new_username.as_deref(), new_name.as_deref()).await
            }
            Request::Show { username } => self.show(&username).await,
            Request::Remove { username } => {
                let undelivered = self.store.remove_account(&username).await;
                undelivered
                    .map(|undelivered| Answer::Removed { undelivered })
                    .map_err(|error| about(&username, error))
            }
            Request::Release { username } => self.release(&username).await,
            Request::List { after, limit } => self.list(after.as_deref(), limit).await,
            Request::BeginImport => self.begin_import().await,
            Request::StageImport { accounts } => self.stage_import(accounts).await,
            Request::CommitImport => self.commit_import().await,
        }
    }

    /// Forgets an import that was not committed.
    pub(crate) async fn end(&mut self) {
        if let Some(import) = self.import.take()
            && let Err(error) = self.store.abort_import(import).await
        {
            tracing::warn!(%error, "an import could not be aborted; it is forgotten at the next start");
        }
    }

    async fn add(
        &self,
        username: &str,
        name: Option<&str>,
        password: Box<str>,
    ) -> Result<Answer, Refusal> {
        let username: Username = username.parse().map_err(Refusal::invalid)?;
        let name = match name {
            Some(name) => name.parse().map_err(Refusal::invalid)?,
            None => FullName::from(&username),
        };
        let account = NewAccount { username: username.clone(), name, password };
        match self.store.create_account(account).await {
            Ok(_) => Ok(Answer::Done),
            Err(error) => Err(self.explain(username.as_str(), error).await),
        }
    }

    async fn rename(
        &self,
        username: &str,
        new_username: Option<&str>,
        new_name: Option<&str>,
    ) -> Result<Answer, Refusal> {
        let wanted: Option<Username> =
            new_username.map(str::parse).transpose().map_err(Refusal::invalid)?;
        let name = new_name.map(str::parse).transpose().map_err(Refusal::invalid)?;
        match self.store.rename_account(username, wanted, name).await {
            Ok(()) => Ok(Answer::Done),
            Err(error @ StoreError::UserExists) => {
                Err(self.explain(new_username.unwrap_or(username), error).await)
            }
            Err(error) => Err(about(username, error)),
        }
    }

    async fn release(&self, username: &str) -> Result<Answer, Refusal> {
        match self.store.release_username(username).await {
            Ok(()) => Ok(Answer::Done),
            Err(StoreError::NoSuchUser) if self.store.account(username).await.is_ok() => {
                let why = "there is an account; only the username of a removed one can be freed";
                Err(Refusal::invalid(format_args!("{username}: {why}")))
            }
            Err(error) => Err(about(username, error)),
        }
    }

    async fn show(&self, username: &str) -> Result<Answer, Refusal> {
        match self.store.account(username).await {
            Ok(account) => Ok(Answer::Account { account: account.into() }),
            Err(error) => Err(about(username, error)),
        }
    }

    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Answer, Refusal> {
        let accounts = self.store.accounts(after, limit.min(MAX_PAGE)).await?;
        let accounts = accounts.into_iter().map(Into::into).collect();
        Ok(Answer::Accounts { accounts })
    }

    async fn begin_import(&mut self) -> Result<Answer, Refusal> {
        self.end().await;
        self.import = Some(self.store.begin_import().await?);
        Ok(Answer::Done)
    }

    async fn stage_import(&self, accounts: Vec<StagedAccount>) -> Result<Answer, Refusal> {
        let import = self.open_import()?;
        let accounts = accounts.into_iter().map(checked).collect::<Result<_, _>>()?;
        let taken = self.store.stage_import(import, accounts).await?;
        let taken = taken.iter().map(Username::to_string).collect();
        Ok(Answer::Staged { taken })
    }

    async fn commit_import(&mut self) -> Result<Answer, Refusal> {
        let accounts = self.store.commit_import(self.open_import()?).await?;
        self.import = None;
        Ok(Answer::Imported { accounts })
    }

    fn open_import(&self) -> Result<ImportId, Refusal> {
        self.import.ok_or_else(|| Refusal::invalid("no import was begun"))
    }

    /// Says when a taken username is only reserved.
    async fn explain(&self, username: &str, error: StoreError) -> Refusal {
        let is_taken = matches!(error, StoreError::UserExists);
        let refusal = about(username, error);
        let account = self.store.account(username).await;
        if !is_taken || !account.is_ok_and(|account| account.removed.is_some()) {
            return refusal;
        }
        Refusal::invalid(format_args!(
            "{username}: the username is reserved, as its account was removed; `chatd user release {username}` frees it"
        ))
    }
}

fn checked(account: StagedAccount) -> Result<HashedAccount, Refusal> {
    Ok(HashedAccount {
        username: account.username.parse().map_err(Refusal::invalid)?,
        name: account.name.parse().map_err(Refusal::invalid)?,
        hash: account.phc.0.parse().map_err(Refusal::invalid)?,
    })
}

fn about(username: &str, error: StoreError) -> Refusal {
    let Refusal { kind, message } = Refusal::from(error);
    match kind {
        RefusalKind::NoSuchUser | RefusalKind::Invalid => {
            Refusal { kind, message: format!("{username}: {message}") }
        }
        _ => Refusal { kind, message },
    }
}

/// A page fits in a line of the protocol.
const MAX_PAGE: usize = 1_000;
