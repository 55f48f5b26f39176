//! Watching, and what it brings.

use serde_json::Value;

use super::{Device, Style, id, text};
use crate::history::{Copy, Seen};
use crate::line::Lost;

impl Device {
    pub(super) async fn watch_or_stop(&mut self) -> Result<(), Lost> {
        match self.connection()?.stream.is_some() {
            true if self.rng.u32(0..4) == 0 => self.stop_watching().await,
            true => Ok(()),
            false if self.style == Style::Old => Ok(()),
            false => {
                let resumes = self.rng.u32(0..4) > 0;
                self.watch(resumes).await
            }
        }
    }

    /// Goes on watching, if it did before.
    pub(super) async fn watch_again(&mut self) -> Result<(), Lost> {
        match self.has.is_some() && self.connection()?.stream.is_none() {
            true => self.watch(true).await,
            false => Ok(()),
        }
    }

    /// Watches, from what it has if it shall go on from that.
    async fn watch(&mut self, resumes: bool) -> Result<(), Lost> {
        let before = self.has.clone().filter(|_| resumes);
        let words = before
            .as_ref()
            .map_or(String::new(), |has| format!(" {} {}", has.last, has.incarnation));
        let incarnation = self.incarnation()?;
        let question = self.world.history().ask(self.user, &incarnation);
        let Ok(reply) = self.ask_with_token("watch", &words, &[]).await? else {
            return Ok(());
        };
        let (incarnation, after) = (text(&reply, "incarnation"), id(&reply, "after"));
        let resume = text(&reply, "resume");
        let mut history = self.world.history();
        let expected = match &before {
            None => "undelivered",
            Some(before) if before.incarnation == incarnation => "exact",
            Some(_) => "gap",
        };
        let judged = match &before {
            None => history.watches(self.user, &incarnation, question, after),
            Some(before) => history.resumes(before, &incarnation, after),
        };
        drop(history);
        if resume != expected {
            self.world.fail(&format!("a watch resumes by {resume}, not {expected}"));
        }
        self.has = self.world.judge(judged);
        self.connection()?.stream = self.has.clone();
        Ok(())
    }

    async fn stop_watching(&mut self) -> Result<(), Lost> {
        if self.ask_with_token("unwatch", "", &[]).await?.is_ok() {
            self.connection()?.stream = None;
        }
        Ok(())
    }

    /// Reads events for ever.
    pub(super) async fn read_events(&mut self) -> Result<(), Lost> {
        loop {
            let frame = self.connection()?.line.wait().await?;
            if frame["event"].is_null() {
                self.world.fail(&format!("{} was told {frame} unasked", self.name));
            }
            self.take_in(&frame)?;
        }
    }

    /// Takes an event in.
    pub(super) fn take_in(&mut self, frame: &Value) -> Result<(), Lost> {
        self.world.note(&self.name, &format!("! {frame}"));
        let connection = self.connection.as_mut().ok_or_else(|| Lost("no connection".into()))?;
        let Some(stream) = &mut connection.stream else {
            self.world.fail(&format!("{} does not watch and was told {frame}", self.name));
            return Ok(());
        };
        let event = text(frame, "event");
        let mut history = self.world.history();
        let judged = match &*event {
            "message" => {
                let seen = Seen {
                    id: id(frame, "id"),
                    from: text(frame, "from"),
                    text: text(frame, "body"),
                };
                connection.shown = seen.id;
                history.push(stream, &seen).map(drop)
            }
            "sent" => {
                let copy = Copy {
                    id: text(frame, "id"),
                    to: text(frame, "to"),
                    text: text(frame, "body"),
                };
                history.sent_copy(self.user, &copy, Some(connection.line.number), connection.made)
            }
            "gap" => history.skip(stream, id(frame, "from"), id(frame, "to")),
            _ => Ok(()),
        };
        drop(history);
        self.world.judge(judged);
        self.has = Some(stream.clone());
        match &*event {
            "session_ended" => {
                connection.stream = None;
                self.session_ended(&text(frame, "reason"))
            }
            "message" | "sent" | "gap" | "lagging" | "live" | "presence" | "shutdown" => Ok(()),
            _ => Err(Lost(format!("an unknown event: {event}"))),
        }
    }

    fn session_ended(&mut self, reason: &str) -> Result<(), Lost> {
        if !self.has_logged_out || reason != "logout" {
            self.world.fail(&format!("{}: a session ended by {reason}", self.name));
        }
        Ok(())
    }
}
