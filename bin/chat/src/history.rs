//! The end of a conversation, however many pages it takes.

use chat_client::{Client, HistoryMessage};

use crate::failure::Failure;

/// The last messages with somebody, at most `count`, oldest first.
pub(crate) async fn last_messages(
    client: &Client,
    with: &str,
    count: usize,
) -> Result<Vec<HistoryMessage<'static>>, Failure> {
    let mut newest_first = Vec::new();
    let mut cursor: Option<String> = None;
    while newest_first.len() < count {
        let limit = (count - newest_first.len()).min(PAGE);
        let limit = u32::try_from(limit).ok();
        let page = client.history(with, cursor.as_deref(), limit).await?;
        newest_first.extend(page.messages.into_iter().rev());
        match page.next {
            Some(next) => cursor = Some(next.into_owned()),
            None => break,
        }
    }
    newest_first.reverse();
    Ok(newest_first)
}

/// How many messages somebody asks for.
pub(crate) fn message_count(word: &str) -> Result<usize, Failure> {
    match word.parse() {
        Ok(count @ 1..=MAX_COUNT) => Ok(count),
        _ => Err(Failure::Usage(format!("N is a number from 1 to {MAX_COUNT}"))),
    }
}

/// As many as a server gives at once.
const PAGE: usize = 1000;
/// All of them are held until the oldest has come.
const MAX_COUNT: usize = 100_000;
