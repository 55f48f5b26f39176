//! What became of messages: `history`, `status`.

use std::borrow::Cow;

use chat_core::protocol::{Direction, HistoryMessage, HistoryPage, MessageStatus, Reply};
use chat_core::store::{
    Conversation, ConversationEntry, EntryId, HistoryCursor, Message, PageLimit, SentId,
    SessionKey, StoreError,
};

use super::{Exchange, page_limit};

impl Exchange<'_> {
    pub(super) async fn history(
        &mut self,
        token: &str,
        with: &str,
        cursor: Option<&str>,
        limit: Option<&str>,
    ) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        let Ok(cursor) = cursor.map(str::parse).transpose() else {
            let reason = "CURSOR is the `next` of a page of this conversation";
            return Err(self.bad_history(session, with, None, reason).await);
        };
        let Some(messages) = page_limit(limit, self.config.page_messages) else {
            let reason = "LIMIT is a number from 1 to 1000";
            return Err(self.bad_history(session, with, cursor, reason).await);
        };
        let limit = self.limit(messages.min(self.config.page_messages), history_cost);
        let page = self.store.history(session, with, cursor, limit).await?;
        self.reply(&Reply::History(HistoryPage {
            incarnation: page.incarnation.as_str().into(),
            messages: page.entries.iter().map(|entry| history_message(&page, entry)).collect(),
            next: page.next.map(|next| next.to_string().into()),
        }))
    }

    pub(super) async fn status(&mut self, token: &str, id: &str) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        let Ok(id) = id.parse::<SentId>() else {
            return Err(self.unless_no_session(session, StoreError::NoSuchMessage).await);
        };
        let status = self.store.status(session, id).await?;
        self.reply(&Reply::Status(MessageStatus {
            state: status.state,
            stored: status.stored,
            pushed: status.pushed,
            delivered: status.delivered,
        }))
    }

    /// A word of `history` is wrong. That is the answer unless what stands before it is wrong as well.
    async fn bad_history(
        &self,
        session: SessionKey,
        with: &str,
        cursor: Option<HistoryCursor>,
        reason: &'static str,
    ) -> StoreError {
        match self.store.history(session, with, cursor, PageLimit::bodies(1, 0)).await {
            Ok(_) => StoreError::BadArguments(reason),
            Err(error) => error,
        }
    }
}

fn history_message<'a>(page: &'a Conversation, entry: &'a ConversationEntry) -> HistoryMessage<'a> {
    let message = &*entry.message;
    let (direction, id, to) = match entry.id {
        EntryId::In(id) => (Direction::In, id.to_string(), &page.username),
        EntryId::Out(id) => (Direction::Out, id.to_string(), &page.peer),
    };
    HistoryMessage { to: (&**to).into(), ..shape(message, direction, id.into()) }
}

/// At most what a message adds to a page. The store knows neither its direction nor its recipient's name when it asks.
fn history_cost(message: &Message) -> usize {
    let longest = HistoryMessage {
        to: LONGEST_USERNAME.into(),
        ..shape(message, Direction::Out, LONGEST_ID.into())
    };
    longest.encoded_len_bound()
}

fn shape<'a>(message: &'a Message, direction: Direction, id: Cow<'a, str>) -> HistoryMessage<'a> {
    HistoryMessage {
        direction,
        id,
        time: message.time,
        from: (&*message.from).into(),
        from_name: (&*message.from_name).into(),
        to: "".into(),
        body: (&*message.body).into(),
    }
}

/// As long as the names and ids that a page may hold.
const LONGEST_USERNAME: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const LONGEST_ID: &str = "0123456789abcdef0123456789abcdef";
