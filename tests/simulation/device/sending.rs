//! Sending and posting.

use super::{Answer, Device, outcome, text};
use crate::history::{Moment, Receipt, Tag};
use crate::line::Lost;
use crate::rng::percent;

/// What was posted and is to be answered yet.
#[derive(Debug, Clone)]
pub(super) struct Posting {
    tag: Tag,
    to: usize,
    text: String,
}

impl Posting {
    fn words(&self) -> String {
        format!(" k{} u{} {}", self.tag, self.to, self.text)
    }
}

impl Device {
    /// Sends one message, or several at once.
    pub(super) async fn send(&mut self) -> Result<(), Lost> {
        let count = if percent(&mut self.rng, 70) { 1 } else { self.rng.usize(2..8) };
        let (token, asked) = (self.token()?, self.world.history().moment());
        let (mut lines, mut tags) = (String::new(), Vec::new());
        for _ in 0..count {
            let (tag, to, text) = self.compose()?;
            lines.push_str(&format!("send {token} u{to} {text}\r\n"));
            tags.push(tag);
            self.world.note(&self.name, &format!("sends u{to} {text}"));
        }
        self.connection()?.line.say(&lines).await?;
        for tag in tags {
            let answer = self.answer(&["inbox_full", "not_allowed"]).await?;
            self.world.note(&self.name, &format!("m{tag}. {}", outcome(&answer)));
            let made = self.connection()?.made;
            if answer.is_ok() {
                self.world.history().stored(tag, made);
            }
            self.settle(tag, asked, &answer, true);
        }
        Ok(())
    }

    /// Posts a message. Without an answer it is posted again before anything else is.
    pub(super) async fn post(&mut self) -> Result<(), Lost> {
        if !self.open.is_empty() {
            return self.post_again().await;
        }
        let (tag, to, text) = self.compose()?;
        let posting = Posting { tag, to, text };
        self.open.push(posting.clone());
        self.try_to_post(&posting, true).await
    }

    /// Repeats what was not answered.
    pub(super) async fn post_again(&mut self) -> Result<(), Lost> {
        for posting in self.open.clone() {
            self.try_to_post(&posting, false).await?;
        }
        Ok(())
    }

    /// What was answered must be answered alike, and another message under its key refused.
    pub(super) async fn post_once_more(&mut self) -> Result<(), Lost> {
        let n = self.rng.usize(..);
        let Some((tag, _)) = self.world.history().receipt(self.user, n) else {
            return Ok(());
        };
        let (to, text) = self.world.history().message(tag);
        if self.rng.bool() {
            return self.try_to_post(&Posting { tag, to, text }, false).await;
        }
        if self.world.history().may_be_gone(tag) {
            return Ok(());
        }
        let words = format!(" k{tag} u{to} something else");
        let answer = self.ask_with_token("post", &words, &["key_conflict"]).await?;
        if answer.is_ok() {
            self.world.fail("another message was stored under the same key");
        }
        Ok(())
    }

    async fn try_to_post(&mut self, posting: &Posting, first: bool) -> Result<(), Lost> {
        let (tag, asked) = (posting.tag, self.world.history().moment());
        // Until there is an answer it counts as one that may be on its way.
        let open = self.world.history().open(tag);
        let expected = ["inbox_full", "not_allowed"];
        let answer = self.ask_with_token("post", &posting.words(), &expected).await?;
        let made = self.connection()?.made;
        self.world.history().closed(tag, open);
        if let Ok(reply) = &answer {
            let receipt = Receipt {
                id: text(reply, "id"),
                time: text(reply, "time"),
                duplicate: reply["duplicate"] == true,
            };
            let judged = self.world.history().posted(tag, made, receipt);
            self.world.judge(judged);
        }
        self.settle(tag, asked, &answer, first);
        if answer.as_ref().err().is_none_or(|code| code != "unavailable") {
            self.open.retain(|posting| posting.tag != tag);
        }
        Ok(())
    }

    fn compose(&mut self) -> Result<(Tag, usize, String), Lost> {
        let to = self.world.recipient(&mut self.rng);
        let number = self.connection()?.line.number;
        let longest = if percent(&mut self.rng, 90) { 30 } else { 600 };
        let filling = "x".repeat(self.rng.usize(0..longest));
        let (tag, text) = self.world.history().send(self.user, to, Some(number), &filling);
        Ok((tag, to, text))
    }

    /// Notes what a try came to that is not an OK.
    fn settle(&mut self, tag: Tag, asked: Moment, answer: &Answer, first: bool) {
        let mut history = self.world.history();
        let code = answer.as_ref().err().map(String::as_str);
        match code {
            None => {}
            Some("unavailable") => history.unknown(tag),
            Some(_) => history.refused(tag),
        }
        if first && code != Some("unavailable") {
            let judged = history.sent_against_block(tag, asked, code == Some("not_allowed"));
            drop(history);
            self.world.judge(judged);
        }
    }
}
