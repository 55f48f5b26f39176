//! Items: what a segment is a row of. A length, a kind, and bytes; a reader may begin at any of them.

use std::sync::Arc;

use crate::store::engine::index::{put_number, take_number};
use crate::store::engine::log::{AccountChange, Keyed, Record};
use crate::store::{AccountNumber, Message, PostKey};
use crate::{MessageId, Timestamp};

/// What an item is.
pub(super) mod kind {
    /// The head of a frame: see [`frame`](super::super::frame).
    pub(in super::super) const FRAME: u8 = 0;
    /// Rows of tables that the frame's batch changes.
    pub(in super::super) const ROWS: u8 = 1;
    /// Where records lie in a segment that is full: its last item.
    pub(in super::super) const INDEX: u8 = 2;
    pub(super) const MESSAGE: u8 = 16;
    pub(super) const POSTED: u8 = 17;
    pub(super) const CURSOR: u8 = 18;
    pub(super) const CREATED: u8 = 19;
    pub(super) const CHANGED: u8 = 20;
    pub(super) const REMOVED: u8 = 21;
    pub(super) const INCARNATION: u8 = 22;
}

/// What stands before an item's bytes: their length with the kind, and the kind.
pub(super) const ITEM_HEAD: usize = 5;

/// Adds an item. More than 4 GiB is refused where the frame is finished.
pub(super) fn put_item(bytes: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0, 0, 0, 0, kind]);
    fill(bytes);
    let length = bytes.len() - start - size_of::<u32>();
    patch(bytes, start, u32::try_from(length).unwrap_or(u32::MAX));
}

/// Puts a number in place of what is there.
pub(super) fn patch(bytes: &mut [u8], at: usize, number: u32) {
    if let Some(place) = bytes.get_mut(at..at + size_of::<u32>()) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

/// The kind of an item that holds a record, and so has a position.
pub(super) fn is_record(kind: u8) -> bool {
    kind >= kind::MESSAGE
}

pub(super) fn put_record(bytes: &mut Vec<u8>, record: &Record) {
    match record {
        Record::Message { mailbox, message, key } => {
            let kind = if key.is_some() { kind::POSTED } else { kind::MESSAGE };
            put_item(bytes, kind, |bytes| put_message(bytes, *mailbox, message, key.as_ref()));
        }
        Record::Cursor { mailbox, upto, time } => put_item(bytes, kind::CURSOR, |bytes| {
            put_number(bytes, mailbox.0);
            put_time(bytes, *time);
            put_number(bytes, upto.get());
        }),
        Record::Account { account, change, time } => {
            let kind = match change {
                AccountChange::Created => kind::CREATED,
                AccountChange::Changed => kind::CHANGED,
                AccountChange::Removed => kind::REMOVED,
            };
            put_bare(bytes, kind, *account, *time);
        }
        Record::Incarnation { mailbox, time } => {
            put_bare(bytes, kind::INCARNATION, *mailbox, *time);
        }
    }
}

fn put_bare(bytes: &mut Vec<u8>, kind: u8, mailbox: AccountNumber, time: Timestamp) {
    put_item(bytes, kind, |bytes| {
        put_number(bytes, mailbox.0);
        put_time(bytes, time);
    });
}

fn put_message(
    bytes: &mut Vec<u8>,
    mailbox: AccountNumber,
    message: &Message,
    key: Option<&Keyed>,
) {
    put_number(bytes, mailbox.0);
    put_time(bytes, message.time);
    put_number(bytes, message.id.get());
    put_number(bytes, message.sender.0);
    put_text(bytes, &message.from);
    put_text(bytes, &message.from_name);
    if let Some(Keyed { key, request }) = key {
        bytes.extend_from_slice(&key.0);
        bytes.extend_from_slice(request);
    }
    bytes.extend_from_slice(message.body.as_bytes());
}

pub(super) fn put_time(bytes: &mut Vec<u8>, time: Timestamp) {
    put_number(bytes, time.as_millis().cast_unsigned());
}

pub(super) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_number(bytes, u64::try_from(text.len()).unwrap_or(u64::MAX));
    bytes.extend_from_slice(text.as_bytes());
}

/// The record in an item; `None` if it is damaged or none.
pub(super) fn record(kind: u8, bytes: &[u8]) -> Option<Record> {
    let mut fields = Fields(bytes);
    let mailbox = AccountNumber(fields.number()?);
    let time = fields.time()?;
    let account = |change| Record::Account { account: mailbox, change, time };
    Some(match kind {
        kind::MESSAGE | kind::POSTED => message(kind, mailbox, time, &mut fields)?,
        kind::CURSOR => Record::Cursor { mailbox, upto: MessageId::new(fields.number()?), time },
        kind::CREATED => account(AccountChange::Created),
        kind::CHANGED => account(AccountChange::Changed),
        kind::REMOVED => account(AccountChange::Removed),
        kind::INCARNATION => Record::Incarnation { mailbox, time },
        _ => return None,
    })
}

fn message(
    kind: u8,
    mailbox: AccountNumber,
    time: Timestamp,
    fields: &mut Fields<'_>,
) -> Option<Record> {
    let id = MessageId::new(fields.number()?);
    let sender = AccountNumber(fields.number()?);
    let (from, from_name) = (fields.text()?.into(), fields.text()?.into());
    let key = match kind {
        kind::POSTED => Some(Keyed { key: PostKey(fields.array()?), request: fields.array()? }),
        _ => None,
    };
    let body = str::from_utf8(fields.0).ok()?.into();
    let message = Arc::new(Message { id, time, sender, from, from_name, body });
    Some(Record::Message { mailbox, message, key })
}

/// What is left of an item's bytes. Each field is `None` if they end too early.
#[derive(Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn number(&mut self) -> Option<u64> {
        take_number(&mut self.0)
    }

    pub(super) fn time(&mut self) -> Option<Timestamp> {
        Some(Timestamp::from_millis(self.number()?.cast_signed()))
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(text).ok()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}
