//! [`Audit`]: who changed which account through the control socket, for the log.

use super::wire::{Answer, Request};

/// What a request changes, if it does.
#[derive(Debug)]
pub(super) struct Audit {
    what: &'static str,
    username: Option<String>,
    new_username: Option<String>,
}

impl Audit {
    /// Nothing for what only looks, and for the parts of an import before its commit.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let (what, username) = match request {
            Request::Add { username, .. } => ("account added", Some(username)),
            Request::SetPassword { username, .. } => ("password set", Some(username)),
            Request::Rename { username, .. } => ("account renamed", Some(username)),
            Request::Remove { username } => ("account removed", Some(username)),
            Request::Release { username } => ("username released", Some(username)),
            Request::CommitImport => ("accounts imported", None),
            Request::Show { .. }
            | Request::List { .. }
            | Request::BeginImport
            | Request::StageImport { .. } => return None,
        };
        let new_username = match request {
            Request::Rename { new_username, .. } => new_username.clone(),
            _ => None,
        };
        Some(Self { what, username: username.cloned(), new_username })
    }

    /// Logs that it was done, and for whom: the number of the user at the other end.
    pub(super) fn log(self, answer: &Answer, uid: Option<u32>) {
        let Self { what, username, new_username } = self;
        let accounts = match answer {
            Answer::Imported { accounts } => Some(*accounts),
            _ => None,
        };
        tracing::info!(username, new_username, accounts, uid, "{what}");
    }
}
