//! Messages: storing, planning pages, delivery.

use std::sync::Arc;

use super::directory::{Recipient, lower_case};
use super::index::{Entry, entries, passed};
use super::log::{Keyed, Log, Record};
use super::mailbox::Head;
use super::mailboxes::Undeliverable;
use super::{Engine, State};
use crate::store::backend::{Placed, Plan};
use crate::store::request::{Answer, Operation, Outcome};
use crate::store::{
    AccountNumber, AckBasis, Message, Outgoing, Page, Receipt, SessionKey, Shown, StoreError,
};
use crate::{MessageBodyError, MessageId, Timestamp, check_body};

/// What was looked up for messages to come, in their order.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    recipients: std::vec::IntoIter<Option<Recipient>>,
    /// Whose keys are new.
    new_keys: std::vec::IntoIter<bool>,
    /// How often the directory had been changed then.
    changes: u64,
}

impl Ahead {
    /// The recipients of the next so many messages, as far as they were found, and whether their keys are new.
    fn take(&mut self, messages: usize) -> Vec<(Option<Recipient>, bool)> {
        let next = |_| (self.recipients.next().flatten(), self.new_keys.next().unwrap_or(false));
        (0..messages).map(next).collect()
    }
}

/// Who sends.
struct Sender {
    session: SessionKey,
    account: AccountNumber,
    username: Arc<str>,
    name: Arc<str>,
    /// How many keys it may still use, once that was looked up.
    room: Option<u64>,
}

impl<L: Log> Engine<L> {
    pub(super) fn send(&mut self, messages: Vec<Outgoing>, now: Timestamp) -> Outcome {
        let mut ahead = self.ahead.take(messages.len()).into_iter();
        self.can_write()?;
        let mut sender = None;
        let outcomes = messages.into_iter().map(|message| {
            let (found, new_key) = ahead.next().unwrap_or_default();
            // A connection's messages come from one session, as a rule: it is looked up once.
            if sender.as_ref().is_none_or(|sender: &Sender| sender.session != message.session) {
                sender = Some(self.sender(message.session, now)?);
            }
            let sender = sender.as_mut().ok_or(StoreError::Internal)?;
            self.send_one(sender, message, (found, new_key), now)
        });
        Ok(Answer::Sent(outcomes.collect()))
    }

    /// Looks up keys and recipients of a batch and has memory fetched what the messages need of mailboxes, if there are too
    /// many to be in the processor's cache: one after the other each message would wait for it, looked at together they wait
    /// at once.
    pub(super) fn look_ahead(&mut self, operations: &[Operation]) {
        let Some(state) = &mut self.state else { return };
        state.stretch.keys.fill_filters(&mut state.runs);
        let messages = operations.iter().flat_map(|operation| match operation {
            Operation::Send(messages) => messages.as_slice(),
            _ => &[],
        });
        let new_keys = state.new_keys(messages.clone()).into_iter();
        let changes = state.cache.directory.changes();
        let mut recipients = Vec::new();
        if state.cache.directory.len() >= TOO_MANY_TO_CACHE {
            recipients = state.cache.directory.get_all(messages.map(|message| &*message.to));
            state.mailboxes.glance(recipients.iter().flatten().map(|recipient| recipient.number));
        }
        self.ahead = Ahead { recipients: recipients.into_iter(), new_keys, changes };
    }

    fn sender(&mut self, session: SessionKey, now: Timestamp) -> Result<Sender, StoreError> {
        let account = self.user(session, now)?;
        let (username, name) = self.names(account)?;
        Ok(Sender { session, account, username, name, room: None })
    }

    fn send_one(
        &mut self,
        sender: &mut Sender,
        outgoing: Outgoing,
        (found, new_key): (Option<Recipient>, bool),
        now: Timestamp,
    ) -> Result<Receipt, StoreError> {
        let key = outgoing.key.map(|key| Keyed { key, request: outgoing.recipient_tag() });
        if let Some(keyed) = key.filter(|_| !new_key)
            && let Some(receipt) = self.receipt_of(sender.account, keyed, &outgoing)?
        {
            return Ok(receipt);
        }
        let Outgoing { to, body, origin, .. } = outgoing;
        let recipient = self.recipient(&to, found)?;
        check_body(&body, self.options.message_bytes).map_err(body_error)?;
        if key.is_some() && sender.room.is_none_or(|room| room == 0) {
            sender.room = Some(self.room_for_keys(sender.account)?);
        }
        let size = u32::try_from(body.len()).map_err(|_| StoreError::Internal)?;
        if self.watchers.watches(sender.account) {
            // The sender's other devices are told whom it went to.
            self.cached(recipient.number)?;
        }
        let id = self.deliver(recipient, sender.account, size)?;
        let (from, from_name) = (Arc::clone(&sender.username), Arc::clone(&sender.name));
        let message =
            Arc::new(Message { id, time: now, sender: sender.account, from, from_name, body });
        let position = self.state()?.pending.next();
        self.watchers.note_origin(position, origin);
        let id = self.state()?.push_message(recipient.number, message, key);
        if key.is_some() {
            sender.room = sender.room.and_then(|room| room.checked_sub(1));
        }
        Ok(Receipt { id, time: now, duplicate: false })
    }

    /// Gives a message its place in the mailbox and in the log.
    fn deliver(
        &mut self,
        recipient: Recipient,
        sender: AccountNumber,
        size: u32,
    ) -> Result<MessageId, StoreError> {
        let Recipient { number, blocks } = recipient;
        if blocks && self.cached(number)?.blocks.contains(sender) {
            return Err(StoreError::NotAllowed);
        }
        let state = self.state()?;
        let entry = Entry { position: state.pending.next(), sender, size };
        match state.mailboxes.deliver(number, entry) {
            Ok(id) => Ok(id),
            Err(Undeliverable::NotLoaded | Undeliverable::NeedsShares) => {
                self.prepare(number)?;
                self.state()?.mailboxes.deliver(number, entry).map_err(refusal)
            }
            Err(refused) => Err(refusal(refused)),
        }
    }

    /// Takes a mailbox into memory and counts, if need be, who holds how much of it.
    fn prepare(&mut self, recipient: AccountNumber) -> Result<(), StoreError> {
        let quota = self.quota();
        self.mailbox(recipient)?;
        let Self { state: Some(State { mailboxes, runs, .. }), log, .. } = self else {
            return Err(StoreError::Unavailable);
        };
        let mailbox = mailboxes.get(recipient).ok_or(StoreError::Internal)?;
        if mailbox.needs_shares(quota) {
            let Head { cursor, last, .. } = mailbox.head;
            let waiting = entries(log, runs, recipient, mailbox, cursor, last);
            mailbox.share_out(waiting.map_err(Self::unreadable)?);
        }
        Ok(())
    }

    /// Who has a username, if nobody was found to have it when it was looked ahead, or that may not hold any more.
    fn recipient(
        &mut self,
        username: &str,
        found: Option<Recipient>,
    ) -> Result<Recipient, StoreError> {
        let changes = self.state()?.cache.directory.changes();
        if let Some(recipient) = found.filter(|_| self.ahead.changes == changes) {
            return Ok(recipient);
        }
        let mut lower = [0; 64];
        let key = lower_case(username, &mut lower).ok_or(StoreError::NoSuchRecipient)?;
        if let Some(recipient) = self.state()?.cache.directory.get(key) {
            return Ok(recipient);
        }
        match self.live_account(key) {
            Ok(row) => Ok(self.state()?.cache.know(&row)),
            Err(StoreError::NoSuchUser) => Err(StoreError::NoSuchRecipient),
            Err(error) => Err(error),
        }
    }

    pub(super) fn inbox(
        &mut self,
        session: SessionKey,
        in_flight: &[Shown],
        messages: usize,
        now: Timestamp,
    ) -> Outcome {
        let account = self.user(session, now)?;
        let incarnation = self.incarnation(account)?;
        let mine = in_flight
            .iter()
            .filter(|shown| shown.account == account && shown.incarnation == incarnation);
        let after = mine.map(|shown| shown.last).max();
        self.plan(account, after, messages)
    }

    pub(super) fn peek(
        &mut self,
        session: SessionKey,
        after: Option<MessageId>,
        messages: usize,
        now: Timestamp,
    ) -> Outcome {
        let account = self.user(session, now)?;
        self.plan(account, after, messages)
    }

    /// Plans a page of undelivered messages after an id.
    fn plan(
        &mut self,
        account: AccountNumber,
        after: Option<MessageId>,
        messages: usize,
    ) -> Outcome {
        let cursor = self.head(account)?.cursor;
        let after = after.map_or(cursor, |after| after.max(cursor));
        self.plan_after(account, after, messages).map(Answer::Plan)
    }

    /// Plans a page of messages after an id, delivered or not.
    pub(super) fn plan_after(
        &mut self,
        account: AccountNumber,
        after: MessageId,
        messages: usize,
    ) -> Result<Box<Plan>, StoreError> {
        let incarnation = self.incarnation(account)?;
        let (username, name) = self.names(account)?;
        self.mailbox(account)?;
        let state = self.state()?;
        let mailbox = state.mailboxes.get(account).ok_or(StoreError::Internal)?;
        let from = after.get().saturating_add(1);
        let placed_from = from.max(mailbox.tail_first());
        let reach = u64::try_from(messages).unwrap_or(u64::MAX);
        let upto = mailbox.head.last.get().min(from.saturating_add(reach));
        let place = |entry: Entry| match state.recent.get(entry.position) {
            Some(message) => Placed::Here(Arc::clone(message)),
            None => match state.pending.get(entry.position) {
                Some(Record::Message { message, .. }) => Placed::Here(Arc::clone(message)),
                _ => Placed::At(entry.position),
            },
        };
        let placed =
            (placed_from..=upto).map_while(|id| mailbox.tail_entry(id)).map(place).collect();
        let last = mailbox.head.last;
        let page = Page { account, username, name, incarnation, messages: Vec::new(), more: false };
        let (from, placed_from) = (MessageId::new(from), MessageId::new(placed_from));
        let index = Arc::clone(&state.runs.index_order);
        Ok(Box::new(Plan { page, from, last, placed_from, placed, index }))
    }

    pub(super) fn ack(
        &mut self,
        session: SessionKey,
        upto: MessageId,
        basis: &AckBasis,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let account = self.user(session, now)?;
        let current = self.incarnation(account)?;
        let head = self.head(account)?;
        if matches!(basis, AckBasis::Incarnation(named) if **named != *current.as_str()) {
            return Err(StoreError::StaleIncarnation);
        }
        if upto > head.last {
            return Err(StoreError::BadArguments("the id is beyond the end of the mailbox"));
        }
        if upto <= head.cursor {
            return Ok(());
        }
        if let AckBasis::Shown(shown) = basis {
            let has = |shown: &&Shown| {
                shown.account == account && shown.first <= upto && upto <= shown.last
            };
            match shown.iter().rev().find(has) {
                Some(shown) if shown.incarnation != current => {
                    return Err(StoreError::StaleIncarnation);
                }
                Some(_) => {}
                None => {
                    return Err(StoreError::BadArguments("this connection was not shown the id"));
                }
            }
        }
        self.can_write()?;
        self.advance(account, upto, now)
    }

    pub(super) fn confirm(&mut self, shown: &Shown, now: Timestamp) -> Result<(), StoreError> {
        self.can_write()?;
        let current = self.incarnation(shown.account)?;
        let removed = self.cached(shown.account)?.removed;
        let head = self.head(shown.account)?;
        let stands = !removed && shown.incarnation == current;
        if stands && shown.last > head.cursor && shown.last <= head.last {
            self.advance(shown.account, shown.last, now)?;
        }
        Ok(())
    }

    /// Moves a mailbox's cursor forward.
    fn advance(
        &mut self,
        account: AccountNumber,
        upto: MessageId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let quota = self.quota();
        self.mailbox(account)?;
        let Self { state: Some(state), log, .. } = self else {
            return Err(StoreError::Unavailable);
        };
        let mailbox = state.mailboxes.get(account).ok_or(StoreError::Internal)?;
        let delivered = passed(log, &state.runs, account, mailbox, upto);
        let delivered = delivered.map_err(Self::unreadable)?;
        state.mailboxes.touch(account);
        let mailbox = state.mailboxes.get(account).ok_or(StoreError::Internal)?;
        mailbox.advance(upto, delivered, now, quota);
        state.pending.records.push(Record::Cursor { mailbox: account, upto, time: now });
        self.watchers.delivered(account, upto);
        Ok(())
    }
}

fn refusal(undeliverable: Undeliverable) -> StoreError {
    match undeliverable {
        Undeliverable::Full => StoreError::InboxFull,
        // It was just loaded and counted.
        Undeliverable::NotLoaded | Undeliverable::NeedsShares => StoreError::Internal,
    }
}

fn body_error(error: MessageBodyError) -> StoreError {
    match error {
        MessageBodyError::TooLong { max_bytes } => StoreError::MessageTooLong { max_bytes },
        MessageBodyError::ControlCharacter => {
            StoreError::BadArguments("a message has no control characters other than tab")
        }
        MessageBodyError::Empty => StoreError::BadArguments("a message has at least one byte"),
    }
}

/// Accounts of which what every message needs, about 50 bytes, is more than a processor's own cache holds.
const TOO_MANY_TO_CACHE: usize = if cfg!(test) { 1 } else { 50_000 };
