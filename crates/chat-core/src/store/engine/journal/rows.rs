//! The rows of a batch as bytes: what its commit changes in tables that the database keeps.

use super::item::{Fields, put_text, put_time};
use crate::account::PasswordHash;
use crate::store::engine::index::put_number;
use crate::store::engine::log::{
    AccountRow, Batch, BlockChange, ImportChange, SessionChange, SessionRow,
};
use crate::store::{AccountNumber, ImportId, PrivacyChoice, SessionKey};

/// Whether a batch changes any row.
pub(super) fn has_rows(batch: &Batch) -> bool {
    !batch.sessions.is_empty() || has_more_than_sessions(batch)
}

/// Whether a batch changes rows besides sessions.
pub(crate) fn has_more_than_sessions(batch: &Batch) -> bool {
    !batch.accounts.is_empty()
        || !batch.blocks.is_empty()
        || !batch.imports.is_empty()
        || batch.incarnation.is_some()
}

/// The rows of a batch alone.
pub(crate) fn rows_of(batch: &Batch) -> Batch {
    let Batch { first, accounts, sessions, blocks, imports, incarnation, records: _ } = batch;
    Batch {
        first: *first,
        records: Vec::new(),
        accounts: accounts.clone(),
        sessions: sessions.clone(),
        blocks: blocks.clone(),
        imports: imports.clone(),
        incarnation: *incarnation,
    }
}

pub(super) fn put_rows(bytes: &mut Vec<u8>, batch: &Batch) {
    put_all(bytes, &batch.accounts, put_account);
    put_all(bytes, &batch.sessions, put_session);
    put_all(bytes, &batch.blocks, |bytes, change| {
        put_number(bytes, change.account.0);
        put_number(bytes, change.blocked.0);
        bytes.push(u8::from(change.on));
    });
    put_all(bytes, &batch.imports, put_import);
    put_all(bytes, batch.incarnation.as_slice(), |bytes, name| bytes.extend_from_slice(name));
}

fn put_all<T>(bytes: &mut Vec<u8>, rows: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    put_number(bytes, u64::try_from(rows.len()).unwrap_or(u64::MAX));
    rows.iter().for_each(|row| put(bytes, row));
}

fn put_account(bytes: &mut Vec<u8>, row: &AccountRow) {
    put_number(bytes, row.number.0);
    put_option(bytes, row.key.as_deref(), put_text);
    put_text(bytes, &row.username);
    put_text(bytes, &row.name);
    put_text(bytes, row.hash.as_str());
    put_time(bytes, row.created);
    put_option(bytes, row.removed, put_time);
    put_option(bytes, row.import, |bytes, import| put_number(bytes, import.0));
    bytes.push(choice_byte(row.receipts));
    bytes.push(choice_byte(row.presence));
    put_number(bytes, row.blocks);
}

fn put_option<T>(bytes: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    bytes.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(bytes, value);
    }
}

fn choice_byte(choice: PrivacyChoice) -> u8 {
    match choice {
        PrivacyChoice::Default => 0,
        PrivacyChoice::On => 1,
        PrivacyChoice::Off => 2,
    }
}

fn put_session(bytes: &mut Vec<u8>, change: &SessionChange) {
    match change {
        SessionChange::Put(key, row) => {
            bytes.push(1);
            bytes.extend_from_slice(&key.0);
            put_number(bytes, row.number);
            put_number(bytes, row.account.0);
            put_time(bytes, row.created);
            put_time(bytes, row.last_used);
        }
        SessionChange::Delete(key) => {
            bytes.push(0);
            bytes.extend_from_slice(&key.0);
        }
    }
}

fn put_import(bytes: &mut Vec<u8>, change: &ImportChange) {
    match change {
        ImportChange::Begin(import, first) => {
            bytes.push(1);
            put_number(bytes, import.0);
            put_number(bytes, first.0);
        }
        ImportChange::End(import) => {
            bytes.push(0);
            put_number(bytes, import.0);
        }
    }
}

/// What [`put_rows`] made, as a batch without records; `None` if it is damaged.
pub(super) fn rows(first: u64, bytes: &[u8]) -> Option<Batch> {
    let fields = &mut Fields(bytes);
    Some(Batch {
        first,
        records: Vec::new(),
        accounts: all(fields, account)?,
        sessions: all(fields, session)?,
        blocks: all(fields, |fields| {
            Some(BlockChange {
                account: AccountNumber(fields.number()?),
                blocked: AccountNumber(fields.number()?),
                on: flag(fields)?,
            })
        })?,
        imports: all(fields, import)?,
        incarnation: all(fields, |fields| fields.array())?.pop(),
    })
}

fn all<T>(fields: &mut Fields<'_>, take: impl Fn(&mut Fields<'_>) -> Option<T>) -> Option<Vec<T>> {
    (0..fields.number()?).map(|_| take(fields)).collect()
}

fn account(fields: &mut Fields<'_>) -> Option<AccountRow> {
    Some(AccountRow {
        number: AccountNumber(fields.number()?),
        key: option(fields, |fields| fields.text().map(Into::into))?,
        username: fields.text()?.into(),
        name: fields.text()?.into(),
        hash: PasswordHash::trusted(fields.text()?.into()),
        created: fields.time()?,
        removed: option(fields, |fields| fields.time())?,
        import: option(fields, |fields| fields.number().map(ImportId))?,
        receipts: choice(fields)?,
        presence: choice(fields)?,
        blocks: fields.number()?,
    })
}

fn option<T>(
    fields: &mut Fields<'_>,
    take: impl FnOnce(&mut Fields<'_>) -> Option<T>,
) -> Option<Option<T>> {
    match flag(fields)? {
        true => take(fields).map(Some),
        false => Some(None),
    }
}

fn flag(fields: &mut Fields<'_>) -> Option<bool> {
    fields.array::<1>().map(|[byte]| byte != 0)
}

fn choice(fields: &mut Fields<'_>) -> Option<PrivacyChoice> {
    match fields.array()? {
        [0] => Some(PrivacyChoice::Default),
        [1] => Some(PrivacyChoice::On),
        [2] => Some(PrivacyChoice::Off),
        _ => None,
    }
}

fn session(fields: &mut Fields<'_>) -> Option<SessionChange> {
    let put = flag(fields)?;
    let key = SessionKey(fields.array()?);
    if !put {
        return Some(SessionChange::Delete(key));
    }
    let row = SessionRow {
        number: fields.number()?,
        account: AccountNumber(fields.number()?),
        created: fields.time()?,
        last_used: fields.time()?,
    };
    Some(SessionChange::Put(key, row))
}

fn import(fields: &mut Fields<'_>) -> Option<ImportChange> {
    let begins = flag(fields)?;
    let import = ImportId(fields.number()?);
    Some(match begins {
        true => ImportChange::Begin(import, AccountNumber(fields.number()?)),
        false => ImportChange::End(import),
    })
}
