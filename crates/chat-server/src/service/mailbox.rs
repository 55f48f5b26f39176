//! What waits for a user: `inbox`, `peek`, `ack`.

use chat_core::MessageId;
use chat_core::protocol::{InboxMessage, InboxPage, PeekMessage, PeekPage, Reply};
use chat_core::store::{AckBasis, Message, Page, StoreError};

use super::{Exchange, number, page_limit};

impl Exchange<'_> {
    pub(super) async fn inbox(&mut self, token: &str) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        let cost = |message: &Message| inbox_message(message, "").encoded_len_bound();
        let limit = self.limit(self.config.page_messages, cost);
        let in_flight = self.peer.delivery.in_flight();
        let mut page = self.store.inbox(session, in_flight, limit).await?;
        let name = page.name.clone();
        fit(&mut page, limit.bytes, |message| inbox_message(message, &name).encoded_len_bound());
        if let Some(shown) = page.shown() {
            self.peer.delivery.carried(shown);
        }
        self.reply(&Reply::Inbox(InboxPage {
            messages: page.messages.iter().map(|message| inbox_message(message, &name)).collect(),
            more: page.more,
        }))
    }

    pub(super) async fn peek(
        &mut self,
        token: &str,
        after: Option<&str>,
        limit: Option<&str>,
    ) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        let Some(after) = optional_id(after) else {
            return Err(self.bad_arguments(session, "AFTER is the id of a message or -").await);
        };
        let Some(messages) = page_limit(limit, self.config.page_messages) else {
            return Err(self.bad_arguments(session, "LIMIT is a number from 1 to 1000").await);
        };
        let cost = |message: &Message| peek_message(message, "").encoded_len_bound();
        let limit = self.limit(messages.min(self.config.page_messages), cost);
        let mut page = self.store.peek(session, after, limit).await?;
        let to = page.username.clone();
        fit(&mut page, limit.bytes, |message| peek_message(message, &to).encoded_len_bound());
        if let Some(shown) = page.shown() {
            self.peer.delivery.showed(shown);
        }
        self.reply(&Reply::Peek(PeekPage {
            incarnation: page.incarnation.as_str().into(),
            messages: page.messages.iter().map(|message| peek_message(message, &to)).collect(),
            more: page.more,
        }))
    }

    pub(super) async fn ack(
        &mut self,
        token: &str,
        id: &str,
        incarnation: Option<&str>,
    ) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        let Some(upto) = number(id).map(MessageId::new) else {
            return Err(self.bad_arguments(session, "ID is the id of a message").await);
        };
        let basis = match incarnation {
            Some(incarnation) => AckBasis::Incarnation(incarnation.into()),
            None => AckBasis::Shown(self.peer.delivery.shown()),
        };
        self.store.ack(session, upto, basis).await?;
        self.reply(&Reply::Acked)
    }
}

/// Cuts a page down to what it may cost, its first message excepted. The store measured it without the owner's name, which
/// it knows only once it has the page.
fn fit(page: &mut Page, bytes: usize, cost: impl Fn(&Message) -> usize) {
    let mut total = 0_usize;
    let fitting = page.messages.iter().take_while(|message| {
        total = total.saturating_add(cost(message));
        total <= bytes
    });
    let fitting = fitting.count().max(1);
    if fitting < page.messages.len() {
        page.messages.truncate(fitting);
        page.more = true;
    }
}

fn inbox_message<'a>(message: &'a Message, to_name: &'a str) -> InboxMessage<'a> {
    InboxMessage {
        from: (&*message.from).into(),
        from_name: (&*message.from_name).into(),
        to_name: to_name.into(),
        body: (&*message.body).into(),
        id: Some(message.id),
        time: Some(message.time),
    }
}

fn peek_message<'a>(message: &'a Message, to: &'a str) -> PeekMessage<'a> {
    PeekMessage {
        id: message.id,
        time: message.time,
        from: (&*message.from).into(),
        from_name: (&*message.from_name).into(),
        to: to.into(),
        body: (&*message.body).into(),
    }
}

/// An id that may be left out; `None` if it is no id.
fn optional_id(word: Option<&str>) -> Option<Option<MessageId>> {
    match word {
        Some(word) => number(word).map(MessageId::new).map(Some),
        None => Some(None),
    }
}
