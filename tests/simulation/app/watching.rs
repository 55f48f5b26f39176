//! Watching through the library.

use chat_client::{Event, GapReason, IncomingMessage, MessageId, Resume, WatchEnd};

use super::{App, Stopped};
use crate::history::{Copy, Seen};

impl App {
    /// Begins to watch, from what it has if it has something.
    pub(super) async fn watch(&mut self) -> Result<(), Stopped> {
        if self.running()?.watch.is_some() {
            return Ok(());
        }
        let client = self.running()?.client.clone();
        let who = client.whoami().await;
        self.heard("whoami", &who)?;
        let Ok(who) = who else {
            return Ok(());
        };
        let question = self.world.history().ask(self.user, &who.incarnation);
        let before = self.has.clone().filter(|_| self.rng.u32(0..4) > 0);
        self.world.note(&self.name, &format!("> watch {before:?}"));
        let answer = match &before {
            Some(has) => client.watch_from(MessageId::new(has.last), &has.incarnation).await,
            None => client.watch().await,
        };
        self.heard("watch", &answer)?;
        let Ok(watch) = answer else {
            return Ok(());
        };
        let mut history = self.world.history();
        let judged = match before {
            // Should it be another incarnation, the first event says so.
            Some(has) => Ok(has),
            None if watch.resume() != Resume::Undelivered => {
                drop(history);
                return Err(Stopped("it resumes from nothing".into()));
            }
            None => {
                let question = match watch.incarnation() == &*who.incarnation {
                    true => question,
                    false => history.ask(self.user, watch.incarnation()),
                };
                history.watches(self.user, watch.incarnation(), question, watch.after().get())
            }
        };
        drop(history);
        self.has = self.world.judge(judged);
        let has = self.has.clone();
        let running = self.running()?;
        (running.watch, running.stream) = (Some(watch), has);
        Ok(())
    }

    pub(super) fn stop_watching(&mut self) -> Result<(), Stopped> {
        let running = self.running()?;
        (running.watch, running.stream, running.unacked) = (None, None, None);
        Ok(())
    }

    /// Reads events until the watch is over.
    pub(super) async fn read_events(&mut self) {
        loop {
            let Some(watch) = self.running.as_mut().and_then(|running| running.watch.as_mut())
            else {
                return std::future::pending().await;
            };
            let event = watch.next().await;
            self.world.note(&self.name, &format!("! {event:?}"));
            let taken = self.take_in(event);
            self.go_on(taken);
        }
    }

    /// Acknowledges the last message it read.
    pub(super) async fn ack(&mut self) -> Result<(), Stopped> {
        let running = self.running()?;
        let (Some(message), Some(watch)) = (running.unacked.take(), &running.watch) else {
            return Ok(());
        };
        let (id, incarnation) = (message.id.get(), message.incarnation.to_string());
        let client = watch.client().clone();
        // Another device may have read on from what this one was never given.
        if self.world.history().seen_upto(self.user, &incarnation) < id {
            return Ok(());
        }
        self.world.history().acking(self.user, id);
        self.world.note(&self.name, &format!("> ack {id}"));
        let answer = client.ack(message.id, &message.incarnation).await;
        self.heard("ack", &answer)?;
        if answer.is_ok() {
            self.world.history().acked(self.user, &incarnation, id);
        }
        Ok(())
    }

    fn take_in(&mut self, event: Option<Event>) -> Result<(), Stopped> {
        let (user, world) = (self.user, std::sync::Arc::clone(&self.world));
        let running = self.running()?;
        let began = running.began;
        let Some(stream) = &mut running.stream else {
            return Err(Stopped("it does not watch".into()));
        };
        let mut history = world.history();
        let judged = match event {
            Some(Event::Message(message)) => {
                let judged = history.push(stream, &seen(&message)).map(drop);
                running.unacked = Some(message);
                judged
            }
            Some(Event::Sent(sent)) => {
                let copy = Copy {
                    id: sent.id.to_string(),
                    to: sent.to.to_string(),
                    text: sent.body.to_string(),
                };
                history.sent_copy(user, &copy, None, began)
            }
            Some(Event::Gap(gap)) => match (&gap.reason, gap.to) {
                (GapReason::Announced(_), Some(to)) => {
                    history.skip(stream, gap.from.get(), to.get())
                }
                (GapReason::Restored { .. }, _) => {
                    let after = stream.last.min(gap.from.get().saturating_sub(1));
                    history.resumes(stream, &gap.incarnation, after).map(|new| *stream = new)
                }
                _ => {
                    drop(history);
                    world.fail(&format!("a gap that nobody announced: {gap:?}"));
                    return Ok(());
                }
            },
            Some(Event::Ended(end)) => {
                drop(history);
                return self.watch_ended(&end);
            }
            _ => Ok(()),
        };
        let has = stream.clone();
        drop(history);
        self.has = Some(has);
        world.judge(judged);
        Ok(())
    }

    fn watch_ended(&mut self, end: &WatchEnd) -> Result<(), Stopped> {
        if !matches!(end, WatchEnd::Closed(_)) && !self.session_may_be_gone() {
            self.world.fail(&format!("{}: the watch ended: {end:?}", self.name));
        }
        Err(Stopped("the watch ended".into()))
    }
}

fn seen(message: &IncomingMessage) -> Seen {
    Seen { id: message.id.get(), from: message.from.clone(), text: message.body.clone() }
}
