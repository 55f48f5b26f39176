//! Posting, and asking the server about messages.

use chat_client::{Client, ClientError, DeliveryState, Direction, ErrorCode, HistoryMessage};
use tokio::task::JoinSet;

use super::{App, Stopped};
use crate::history::{Entry, Moment, Page, Receipt, Seen, State, Tag};

/// One try to post.
struct Try {
    tag: Tag,
    /// How many were open with it.
    open: usize,
    asked: Moment,
    answer: Result<chat_client::Receipt, ClientError>,
}

impl App {
    /// Posts a message, or several at the same time. Without an answer they are posted again before anything else is.
    pub(super) async fn post(&mut self) -> Result<(), Stopped> {
        if self.open.is_empty() {
            for _ in 0..self.rng.usize(1..4) {
                let message = self.compose();
                self.open.push(message);
            }
        }
        self.post_again().await
    }

    pub(super) async fn post_again(&mut self) -> Result<(), Stopped> {
        let (client, began) = (self.running()?.client.clone(), self.running()?.began);
        let mut tries = JoinSet::new();
        for (tag, to, text) in self.open.clone() {
            let open = self.world.history().open(tag);
            let asked = self.world.history().moment();
            self.world.note(&self.name, &format!("posts u{to} {text}"));
            tries.spawn(post(client.clone(), tag, to, text, (open, asked)));
        }
        while let Some(Ok(tried)) = tries.join_next().await {
            self.settle(began, tried)?;
        }
        Ok(())
    }

    /// Notes what a try came to.
    fn settle(&mut self, began: Moment, tried: Try) -> Result<(), Stopped> {
        let Try { tag, open, asked, answer } = tried;
        self.heard(&format!("m{tag}."), &answer)?;
        let code = answer.as_ref().err().map(ClientError::code);
        let blocked = matches!(code, Some(Some(ErrorCode::NotAllowed)));
        let full = matches!(code, Some(Some(ErrorCode::InboxFull)));
        if code.is_some() && !blocked && !full {
            // It may be on its way.
            return Ok(());
        }
        self.open.retain(|(other, ..)| *other != tag);
        let mut history = self.world.history();
        // The library may have tried more than once, and an earlier try may still be on its way.
        let judged = match answer {
            Ok(receipt) => {
                let receipt = Receipt {
                    id: receipt.id,
                    time: receipt.time.to_string(),
                    duplicate: receipt.duplicate,
                };
                history.posted(tag, began, receipt)
            }
            Err(_) if open > 1 => Ok(()),
            Err(_) => history.sent_against_block(tag, asked, blocked),
        };
        drop(history);
        self.world.judge(judged);
        Ok(())
    }

    pub(super) async fn ask_status(&mut self) -> Result<(), Stopped> {
        let n = self.rng.usize(..);
        let Some((tag, id)) = self.world.history().receipt(self.user, n) else {
            return Ok(());
        };
        let was_delivered = self.world.history().is_delivered(tag);
        self.world.note(&self.name, &format!("> status of m{tag}."));
        let answer = self.running()?.client.status(&id).await;
        self.heard("status", &answer)?;
        let judged = match answer {
            Ok(status) => {
                let state = match status.state {
                    DeliveryState::Delivered => State::Delivered,
                    _ => State::Stored,
                };
                self.world.history().status(tag, was_delivered, state)
            }
            Err(error) if error.code() == Some(&ErrorCode::NoSuchMessage) => {
                self.world.history().unknown_status(tag)
            }
            Err(_) => Ok(()),
        };
        self.world.judge(judged);
        Ok(())
    }

    pub(super) async fn read_conversation(&mut self) -> Result<(), Stopped> {
        let (other, limit) = (self.rng.usize(0..self.world.users), self.rng.u32(1..9));
        let asked = self.world.history().moment();
        let (began, client) = (self.running()?.began, self.running()?.client.clone());
        let answer = client.history(&format!("u{other}"), None, Some(limit)).await;
        self.heard("history", &answer)?;
        let Ok(page) = answer else {
            return Ok(());
        };
        let entries: Vec<_> = page.messages.iter().map(entry).collect();
        let judged = self.world.history().conversation(
            (self.user, other),
            &page.incarnation,
            (began, asked),
            &entries,
            page.next.is_none(),
        );
        self.world.judge(judged);
        Ok(())
    }

    /// Reads a page of what is undelivered.
    pub(super) async fn read_inbox(&mut self) -> Result<(), Stopped> {
        let client = self.running()?.client.clone();
        let before = client.whoami().await;
        self.heard("whoami", &before)?;
        let Ok(before) = before else {
            return Ok(());
        };
        let question = self.world.history().ask(self.user, &before.incarnation);
        let answer = client.inbox().await;
        self.heard("inbox", &answer)?;
        let after = client.whoami().await;
        self.heard("whoami", &after)?;
        let (Ok(delivery), Ok(after)) = (answer, after) else {
            return Ok(());
        };
        // Another incarnation may have begun in between, on another connection.
        if before.incarnation != after.incarnation {
            return Ok(());
        }
        let seen = |message: &chat_client::Message| Seen {
            id: message.id.map_or(0, |id| id.get()),
            from: message.from.clone(),
            text: message.body.clone(),
        };
        let page = Page {
            messages: delivery.messages().iter().map(seen).collect(),
            is_all: !delivery.more(),
            skips: false,
        };
        let judged = self.world.history().page(self.user, &after.incarnation, question, &page);
        self.world.judge(judged);
        Ok(())
    }
}

async fn post(client: Client, tag: Tag, to: usize, text: String, when: (usize, Moment)) -> Try {
    let answer = client.post(&format!("k{tag}"), &format!("u{to}"), &text).await;
    Try { tag, open: when.0, asked: when.1, answer }
}

fn entry(message: &HistoryMessage<'static>) -> Entry {
    Entry {
        incoming: message.direction == Direction::In,
        id: message.id.to_string(),
        from: message.from.to_string(),
        to: message.to.to_string(),
        text: message.body.to_string(),
    }
}
