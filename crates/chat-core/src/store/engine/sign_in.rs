//! Sessions: opening, using and ending them.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::log::{AccountChange, Log, LogError};
use super::timer::Timer;
use crate::account::PasswordHash;
use crate::store::request::{Answer, Outcome};
use crate::store::{
    AccountNumber, Directory, DirectoryEntry, Listing, PrivacyChoice, SessionEnd, SessionInfo,
    SessionKey, StoreError, Whoami,
};
use crate::{Timestamp, Username};

impl<L: Log> Engine<L> {
    /// Whose session it is, with this use noted.
    pub(super) fn user(
        &mut self,
        session: SessionKey,
        now: Timestamp,
    ) -> Result<AccountNumber, StoreError> {
        let healthy = self.can_write().is_ok();
        let state = self.state()?;
        let (row, change) = state.sessions.touch(session, now).ok_or(StoreError::NoSession)?;
        // That a session was used is not worth refusing a read for when the disk is full.
        state.pending.sessions.extend(change.filter(|_| healthy));
        Ok(row.account)
    }

    pub(super) fn credentials(&mut self, username: &str) -> Outcome {
        let row = self.live_account(username)?;
        let username: Username = row.username.parse().map_err(|_| StoreError::Internal)?;
        Ok(Answer::Credentials { account: row.number, username, hash: row.hash })
    }

    pub(super) fn own_credentials(&mut self, session: SessionKey, now: Timestamp) -> Outcome {
        let account = self.user(session, now)?;
        let row = self.account_row(account)?.ok_or(StoreError::NoSession)?;
        let username: Username = row.username.parse().map_err(|_| StoreError::Internal)?;
        Ok(Answer::Credentials { account, username, hash: row.hash })
    }

    pub(super) fn open_session(
        &mut self,
        account: AccountNumber,
        verified: &PasswordHash,
        session: SessionKey,
        rehash: Option<PasswordHash>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.can_write()?;
        let row = self
            .account_row(account)?
            .filter(|row| row.removed.is_none())
            .ok_or(StoreError::NoSuchUser)?;
        // The password may have been changed while this one was verified.
        if row.hash != *verified {
            return Err(StoreError::BadPassword);
        }
        if let Some(hash) = rehash {
            let mut row = row;
            row.hash = hash;
            self.change_account(row, AccountChange::Changed, now)?;
        }
        let most = self.options.sessions_per_account;
        let changes = self.state()?.sessions.open(session, account, now, most);
        self.watchers.note_ending(account, &changes, SessionEnd::Revoked);
        self.state()?.pending.sessions.extend(changes);
        Ok(())
    }

    pub(super) fn attach(
        &mut self,
        session: SessionKey,
        instead_of: Option<SessionKey>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if let Some(other) = instead_of {
            self.detach(other);
        }
        self.user(session, now)?;
        self.presence.attach(session);
        Ok(())
    }

    pub(super) fn logout(&mut self, session: SessionKey, now: Timestamp) -> Result<(), StoreError> {
        self.can_write()?;
        let account = self.user(session, now)?;
        let state = self.state()?;
        let ended = state.sessions.end(session);
        self.watchers.note_ending(account, &ended, SessionEnd::Logout);
        let state = self.state()?;
        state.pending.sessions.extend(ended);
        Ok(())
    }

    pub(super) fn whoami(&mut self, session: SessionKey, now: Timestamp) -> Outcome {
        let account = self.user(session, now)?;
        let incarnation = self.incarnation(account)?;
        let (username, name) = self.names(account)?;
        let state = self.state()?;
        let row =
            state.sessions.of(account, now).find(|(key, _)| *key == session).map(|(_, row)| row);
        let row = row.ok_or(StoreError::NoSession)?;
        let expires = state.sessions.expiry(&row);
        Ok(Answer::Whoami(Whoami {
            account,
            username,
            name,
            incarnation,
            created: row.created,
            expires,
        }))
    }

    pub(super) fn sessions(&mut self, session: SessionKey, now: Timestamp) -> Outcome {
        let account = self.user(session, now)?;
        let sessions = &self.state()?.sessions;
        let info = |(key, row): (SessionKey, super::log::SessionRow)| SessionInfo {
            name: key.public_name(),
            created: row.created,
            last_used: row.last_used,
            expires: sessions.expiry(&row),
            current: key == session,
        };
        Ok(Answer::Sessions(sessions.of(account, now).map(info).collect()))
    }

    pub(super) fn revoke(
        &mut self,
        session: SessionKey,
        name: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.can_write()?;
        let account = self.user(session, now)?;
        let state = self.state()?;
        let named = state
            .sessions
            .of(account, now)
            .map(|(key, _)| key)
            .find(|key| key.public_name() == name);
        let ended = state.sessions.end(named.ok_or(StoreError::NoSuchSession)?);
        self.watchers.note_ending(account, &ended, SessionEnd::Revoked);
        let state = self.state()?;
        state.pending.sessions.extend(ended);
        Ok(())
    }

    pub(super) fn change_password(
        &mut self,
        session: SessionKey,
        verified: &PasswordHash,
        new: PasswordHash,
        now: Timestamp,
    ) -> Outcome {
        self.can_write()?;
        let account = self.user(session, now)?;
        let mut row = self.account_row(account)?.ok_or(StoreError::NoSession)?;
        if row.hash != *verified {
            return Err(StoreError::BadPassword);
        }
        row.hash = new;
        self.change_account(row, AccountChange::Changed, now)?;
        self.end_sessions(account, Some(session), SessionEnd::PasswordChanged)
    }

    pub(super) fn end_sessions(
        &mut self,
        account: AccountNumber,
        but: Option<SessionKey>,
        why: SessionEnd,
    ) -> Outcome {
        let ended = self.state()?.sessions.end_all(account, but);
        self.watchers.note_ending(account, &ended, why);
        let state = self.state()?;
        let count = u64::try_from(ended.len()).unwrap_or(u64::MAX);
        state.pending.sessions.extend(ended);
        Ok(Answer::Count(count))
    }

    /// Ends expired sessions once an hour; until then they are only refused.
    pub(super) fn expiry_step(&mut self, now: Timestamp) -> Result<bool, LogError> {
        let Some(state) = &mut self.state else {
            return Ok(false);
        };
        if !state.expiry_timer.is_due(now, EXPIRY_EVERY) {
            return Ok(false);
        }
        state.expiry_timer = Timer::starting(now, EXPIRY_EVERY);
        let ended = state.sessions.expire(now);
        if !ended.is_empty() {
            self.watchers.note_expired(&ended);
            state.pending.sessions.extend(ended);
            // A failure has been dealt with already.
            let _ = self.commit();
        }
        Ok(false)
    }

    pub(super) fn list(
        &mut self,
        session: SessionKey,
        directory: Option<(Box<str>, usize)>,
        now: Timestamp,
    ) -> Outcome {
        let asker = self.user(session, now)?;
        let Self { state: Some(state), presence, .. } = self else {
            return Err(StoreError::Unavailable);
        };
        let (active, more) = state.sessions.active(presence, now, MOST_ACTIVE);
        let mut listing = Listing { more, ..Listing::default() };
        for account in active {
            let cached = self.cached(account)?;
            let blocked = cached.blocks.contains(asker);
            if !blocked && shows(cached.presence, account, asker) {
                listing.active.push(Arc::clone(&cached.username));
            }
        }
        if let Some((after, limit)) = directory {
            listing.directory = Some(self.directory(asker, &after, limit, now)?);
        }
        Ok(Answer::Listing(listing))
    }

    /// Accounts as anybody sees them: those removed or still being imported are not there. What the batch in hand
    /// changes is not there yet either; nobody was told of it.
    fn directory(
        &mut self,
        asker: AccountNumber,
        after: &str,
        limit: usize,
        now: Timestamp,
    ) -> Result<Directory, StoreError> {
        let mut directory = Directory::default();
        let mut after: Box<str> = after.into();
        while directory.entries.len() <= limit {
            let rows = self.log.accounts_after(&after, limit + 1).map_err(Self::unreadable)?;
            let Some(last) = rows.last().and_then(|row| row.key.clone()) else {
                break;
            };
            after = last;
            for row in rows {
                let Self { state: Some(state), presence, .. } = self else {
                    return Err(StoreError::Unavailable);
                };
                if row.removed.is_some() || state.is_hidden(&row) {
                    continue;
                }
                let active = shows(row.presence, row.number, asker)
                    && state.sessions.is_active(row.number, presence, now);
                // Of who is not active there is nothing to hide.
                let active = active && !self.cached(row.number)?.blocks.contains(asker);
                let entry = DirectoryEntry { username: row.username, name: row.name, active };
                directory.entries.push(entry);
            }
        }
        directory.more = directory.entries.len() > limit;
        directory.entries.truncate(limit);
        Ok(directory)
    }
}

/// Whether the lists of one user show that another is here: they are for everybody, but for who wants nobody to know.
fn shows(presence: PrivacyChoice, of: AccountNumber, to: AccountNumber) -> bool {
    presence != PrivacyChoice::Off || of == to
}

/// Most names in a list of active users (`docs/protocol.md`).
const MOST_ACTIVE: usize = 1_000;

/// How often expired sessions are cleared away.
const EXPIRY_EVERY: Duration = Duration::from_secs(60 * 60);
