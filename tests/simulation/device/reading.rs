//! Reading pages, acknowledging, and asking what became of what was sent.

use std::sync::atomic::Ordering;

use serde_json::Value;

use super::{Device, Style, id, text};
use crate::history::{Entry, Page, Seen, State};
use crate::line::Lost;

impl Device {
    /// Reads a page as its style does.
    pub(super) async fn read(&mut self) -> Result<(), Lost> {
        match self.style {
            Style::Old => self.inbox().await,
            Style::Explicit if self.rng.u32(0..4) == 0 => self.inbox().await,
            Style::Explicit => {
                let (page, _) = self.peek(None, None).await?;
                match page.last() {
                    Some(last) if self.rng.bool() => self.ack(*last, true).await,
                    _ => Ok(()),
                }
            }
        }
    }

    async fn inbox(&mut self) -> Result<(), Lost> {
        let incarnation = self.incarnation()?;
        // The request may confirm the page before, and what it gives comes behind that.
        let confirms = self.connection()?.unconfirmed;
        let question = self.world.history().ask(self.user, &incarnation);
        let Ok(reply) = self.ask_with_token("inbox", "", &[]).await? else {
            return Ok(());
        };
        let mut messages: Vec<Seen> = reply["messages"]
            .as_object()
            .into_iter()
            .flatten()
            .flat_map(|(sender, list)| {
                list.as_array().into_iter().flatten().map(move |message| (sender, message))
            })
            .map(|(sender, message)| Seen {
                id: id(message, "id"),
                from: sender.clone(),
                text: text(message, "msg"),
            })
            .collect();
        messages.sort_by_key(|seen| seen.id);
        // What was shown here already is not shown again.
        let is_first = confirms.is_none() && !self.connection()?.has_read_inbox;
        let is_all = reply["more"] != true && is_first;
        // What is in flight on this connection comes before it, and is neither shown nor delivered.
        let page = Page { messages, is_all, skips: !is_first && self.style == Style::Explicit };
        let last = page.messages.last().map(|seen| seen.id);
        let judged = self.world.history().page(self.user, &incarnation, question, &page);
        self.world.judge(judged);
        if let Some(last) = last {
            if self.style == Style::Old {
                let sure = !self.world.disk_trouble.load(Ordering::Relaxed);
                self.world.history().acking(self.user, last);
                self.connection()?.unconfirmed = Some((last, sure));
            }
            let explicit = self.style == Style::Explicit;
            let connection = self.connection()?;
            connection.has_read_inbox = explicit;
            connection.shown = last;
        }
        Ok(())
    }

    pub(super) async fn peek_somewhere(&mut self) -> Result<(), Lost> {
        let incarnation = self.incarnation()?;
        let seen = self.world.history().newest(self.user, &incarnation);
        let after = self.rng.bool().then(|| self.rng.u64(0..seen + 3));
        let limit = self.rng.bool().then(|| self.rng.u64(1..5));
        self.peek(after, limit).await.map(drop)
    }

    /// Asks for a page; the ids it gave, and whether more waits.
    pub(super) async fn peek(
        &mut self,
        after: Option<u64>,
        limit: Option<u64>,
    ) -> Result<(Vec<u64>, bool), Lost> {
        let incarnation = self.incarnation()?;
        let question = self.world.history().ask(self.user, &incarnation);
        let word = |word: Option<u64>| word.map_or("-".into(), |number| number.to_string());
        let words = format!(" {} {}", word(after), word(limit));
        let Ok(reply) = self.ask_with_token("peek", &words, &[]).await? else {
            return Ok((Vec::new(), false));
        };
        if text(&reply, "incarnation") != incarnation {
            self.world.fail("the incarnation changed under a connection");
        }
        let messages = reply["messages"].as_array().into_iter().flatten();
        let seen = |message: &Value| Seen {
            id: id(message, "id"),
            from: text(message, "from"),
            text: text(message, "body"),
        };
        let more = reply["more"] == true;
        let page = Page {
            messages: messages.map(seen).collect(),
            is_all: !more && after.is_none(),
            skips: after.is_some(),
        };
        let ids: Vec<_> = page.messages.iter().map(|seen| seen.id).collect();
        let judged = self.world.history().page(self.user, &incarnation, question, &page);
        self.world.judge(judged);
        if let Some(last) = ids.last() {
            self.connection()?.shown = *last;
        }
        Ok((ids, more))
    }

    /// Acknowledges something that the user has seen all of.
    pub(super) async fn ack_something(&mut self) -> Result<(), Lost> {
        let incarnation = self.incarnation()?;
        let seen = self.world.history().seen_upto(self.user, &incarnation);
        if seen == 0 {
            return Ok(());
        }
        let shown = self.connection()?.shown;
        if self.rng.bool() && (1..=seen).contains(&shown) {
            return self.ack(shown, false).await;
        }
        let upto = self.rng.u64(seen.saturating_sub(5).max(1)..=seen);
        self.ack(upto, true).await
    }

    pub(super) async fn ack(&mut self, upto: u64, named: bool) -> Result<(), Lost> {
        let incarnation = self.incarnation()?;
        let words = match named {
            true => format!(" {upto} {incarnation}"),
            false => format!(" {upto}"),
        };
        self.world.history().acking(self.user, upto);
        if self.ask_with_token("ack", &words, &[]).await?.is_ok() {
            self.world.history().acked(self.user, &incarnation, upto);
        }
        Ok(())
    }

    /// What must be refused and change nothing.
    pub(super) async fn ack_nonsense(&mut self) -> Result<(), Lost> {
        let incarnation = self.incarnation()?;
        let (words, code) = match self.rng.bool() {
            true => (format!(" 1000000 {incarnation}"), "bad_arguments"),
            false => (" 1 0000000000000000".into(), "stale_incarnation"),
        };
        let answer = self.ask_with_token("ack", &words, &[code]).await?;
        if answer.is_ok() {
            self.world.fail("nonsense was acknowledged");
        }
        Ok(())
    }

    pub(super) async fn ask_status(&mut self) -> Result<(), Lost> {
        let n = self.rng.usize(..);
        let Some((tag, id)) = self.world.history().receipt(self.user, n) else {
            return Ok(());
        };
        let was_delivered = self.world.history().is_delivered(tag);
        let answer = self.ask_with_token("status", &format!(" {id}"), &["no_such_message"]).await?;
        let judged = match answer {
            Ok(reply) => {
                let state = match &*text(&reply, "state") {
                    "delivered" => State::Delivered,
                    _ => State::Stored,
                };
                self.world.history().status(tag, was_delivered, state)
            }
            Err(code) if code == "no_such_message" => self.world.history().unknown_status(tag),
            Err(_) => Ok(()),
        };
        self.world.judge(judged);
        Ok(())
    }

    pub(super) async fn read_some_conversation(&mut self) -> Result<(), Lost> {
        let (other, pages) = (self.rng.usize(0..self.world.users), self.rng.usize(1..4));
        self.read_conversation(other, pages).await
    }

    /// Reads so many pages of a conversation, newest first.
    pub(super) async fn read_conversation(
        &mut self,
        other: usize,
        pages: usize,
    ) -> Result<(), Lost> {
        let asked = self.world.history().moment();
        let (mut cursor, mut entries) = (String::from("-"), Vec::new());
        let incarnation = self.incarnation()?;
        for _ in 0..pages {
            let words = format!(" u{other} {cursor} {}", self.rng.u64(1..6));
            let Ok(reply) = self.ask_with_token("history", &words, &[]).await? else {
                return Ok(());
            };
            let page = reply["messages"].as_array().into_iter().flatten();
            let page: Vec<_> = page.map(entry).collect();
            entries.splice(0..0, page);
            cursor = text(&reply, "next");
            if cursor.is_empty() {
                break;
            }
        }
        let is_all = cursor.is_empty();
        let connected = self.connection()?.made;
        let judged = self.world.history().conversation(
            (self.user, other),
            &incarnation,
            (connected, asked),
            &entries,
            is_all,
        );
        self.world.judge(judged);
        Ok(())
    }

    pub(super) async fn block_or_not(&mut self) -> Result<(), Lost> {
        let (other, on) = (self.rng.usize(0..self.world.users), self.rng.u32(0..3) == 0);
        if other == self.user {
            return Ok(());
        }
        let asked = self.world.history().blocking(self.user, other);
        let command = if on { "block" } else { "unblock" };
        if self.ask_with_token(command, &format!(" u{other}"), &[]).await?.is_ok() {
            self.world.history().blocked(self.user, other, asked, on);
        }
        Ok(())
    }
}

fn entry(message: &Value) -> Entry {
    Entry {
        incoming: message["direction"] == "in",
        id: text(message, "id"),
        from: text(message, "from"),
        to: text(message, "to"),
        text: text(message, "body"),
    }
}
