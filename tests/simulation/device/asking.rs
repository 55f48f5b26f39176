//! A request and its reply.

use std::sync::atomic::Ordering;

use serde_json::Value;

use super::{Answer, Device, outcome, text};
use crate::line::Lost;

impl Device {
    pub(super) fn token(&self) -> Result<String, Lost> {
        let login = self.token.as_ref().ok_or_else(|| Lost("no login".into()))?;
        Ok(login.token.clone())
    }

    pub(super) fn incarnation(&mut self) -> Result<String, Lost> {
        self.connection()?.incarnation.clone().ok_or_else(|| Lost("no incarnation".into()))
    }

    pub(super) async fn ask_with_token(
        &mut self,
        command: &str,
        words: &str,
        expected: &[&str],
    ) -> Result<Answer, Lost> {
        let line = format!("{command} {}{words}", self.token()?);
        self.ask(&line, expected).await
    }

    /// Asks and hears the answer. An error must be one of those expected, or one that may always be.
    pub(super) async fn ask(&mut self, line: &str, expected: &[&str]) -> Result<Answer, Lost> {
        self.world.note(&self.name, &format!("> {line}"));
        self.connection()?.line.say(&format!("{line}\r\n")).await?;
        let answer = self.answer(expected).await?;
        self.world.note(&self.name, &format!("< {}", outcome(&answer)));
        Ok(answer)
    }

    pub(super) async fn answer(&mut self, expected: &[&str]) -> Result<Answer, Lost> {
        let reply = self.reply().await?;
        self.confirmed();
        if reply["status"] == "OK" {
            return Ok(Ok(reply));
        }
        let code = text(&reply, "code");
        if code == "no_session" && self.session_may_be_gone() {
            self.token = None;
            return Err(Lost("the session is over".into()));
        }
        if code != "unavailable" && !expected.contains(&code.as_str()) {
            self.world.fail(&format!("{} was answered {reply}", self.name));
        }
        Ok(Err(code))
    }

    /// The next reply. Events before it are taken in.
    async fn reply(&mut self) -> Result<Value, Lost> {
        loop {
            let frame = self.connection()?.line.hear().await?;
            if frame["event"].is_null() {
                return Ok(frame);
            }
            self.take_in(&frame)?;
        }
    }

    /// A request that confirms a page as any other does, but whose answer does not wait for the store: it says nothing of
    /// whether that is durable.
    pub(super) async fn ping(&mut self) -> Result<(), Lost> {
        if let Some((_, sure)) = &mut self.connection()?.unconfirmed {
            *sure = false;
        }
        self.ask("ping a", &[]).await.map(drop)
    }

    fn session_may_be_gone(&self) -> bool {
        let Some(login) = &self.token else {
            return false;
        };
        login.may_be_over || self.world.history().may_be_undone(login.asked, login.answered)
    }

    /// A request was answered, so the page before it is delivered.
    fn confirmed(&mut self) {
        let trouble = self.world.disk_trouble.load(Ordering::Relaxed);
        let Some(connection) = &mut self.connection else {
            return;
        };
        if let (Some((upto, sure)), Some(incarnation)) =
            (connection.unconfirmed.take(), &connection.incarnation)
            && sure
            && !trouble
        {
            self.world.history().acked(self.user, incarnation, upto);
        }
    }
}
