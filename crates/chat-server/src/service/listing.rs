//! Who is here and who has an account: `list`, `user_aktif`.

use std::borrow::Cow;
use std::sync::Arc;

use chat_core::protocol::{ActiveUsers, Directory, DirectoryEntry, List, Reply};
use chat_core::store::{self, StoreError};

use super::{Exchange, page_limit};

impl Exchange<'_> {
    pub(super) async fn list(
        &mut self,
        token: &str,
        after: Option<&str>,
        limit: Option<&str>,
    ) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        let Some(limit) = page_limit(limit, DIRECTORY_ENTRIES) else {
            return Err(self.bad_arguments(session, "LIMIT is a number from 1 to 1000").await);
        };
        let listing = self.store.list(session, Some((after, limit))).await?;
        self.reply(&Reply::List(List {
            active: active(&listing.active, listing.more),
            directory: listing.directory.as_ref().map(directory),
        }))
    }

    pub(super) async fn active_users(&mut self, token: &str) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        let listing = self.store.list(session, None).await?;
        self.reply(&Reply::ActiveUsers(active(&listing.active, listing.more)))
    }
}

fn active(users: &[Arc<str>], more: bool) -> ActiveUsers<'_> {
    let users = users.iter().map(|user| Cow::Borrowed(&**user)).collect();
    ActiveUsers { users, more }
}

fn directory(page: &store::Directory) -> Directory<'_> {
    let last = page.entries.last().filter(|_| page.more);
    Directory {
        users: page.entries.iter().map(directory_entry).collect(),
        next: last.map(|entry| Cow::Borrowed(&*entry.username)),
    }
}

fn directory_entry(entry: &store::DirectoryEntry) -> DirectoryEntry<'_> {
    DirectoryEntry {
        username: (&*entry.username).into(),
        name: (&*entry.name).into(),
        active: entry.active,
    }
}

/// Accounts in a page unless LIMIT says otherwise, by the contract.
const DIRECTORY_ENTRIES: usize = 20;
