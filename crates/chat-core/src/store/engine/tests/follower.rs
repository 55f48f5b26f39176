//! A watcher without a runtime: what [`Watch`](crate::store::Watch) does, in plain steps on an engine.

use std::sync::Arc;

use super::rig::Rig;
use crate::MessageId;
use crate::store::backend::{Plan, Watching};
use crate::store::engine::log::Log;
use crate::store::feed::{Feed, Taken};
use crate::store::request::{Answer, Operation};
use crate::store::{AccountNumber, Incarnation, SessionEnd, SessionKey, WatchEvent, WatchFrom};

#[derive(Debug)]
pub(super) struct Follower {
    feed: Arc<Feed>,
    pub(super) session: SessionKey,
    account: AccountNumber,
    incarnation: Incarnation,
    /// The last id it was shown.
    pub(super) last: u64,
    /// The page to read, until the feed takes over.
    plan: Option<Box<Plan>>,
}

impl Follower {
    /// Watches what is undelivered and what comes.
    pub(super) fn new<L: Log>(rig: &mut Rig<L>, session: SessionKey) -> Self {
        Self::open(rig, session, WatchFrom::Undelivered)
    }

    /// Goes on with another engine, right behind what it was shown.
    pub(super) fn again<L: Log>(self, rig: &mut Rig<L>) -> Self {
        let (id, incarnation) = (MessageId::new(self.last), self.incarnation.as_str().into());
        let from = WatchFrom::After { id, incarnation };
        let follower = Self::open(rig, self.session, from);
        // Where durability is relaxed a restart begins another incarnation, and shares all that was stored.
        assert_eq!(follower.last, self.last);
        follower
    }

    fn open<L: Log>(rig: &mut Rig<L>, session: SessionKey, from: WatchFrom) -> Self {
        let Ok(Answer::Watching(watching)) = rig.run(Operation::Watch { session, from }) else {
            panic!("not watching")
        };
        let Watching { feed, resumed, replay } = *watching;
        assert!(replay.gap.is_none() && resumed.gap.is_none_or(|(from, to)| from > to));
        let incarnation = replay.plan.page.incarnation.clone();
        let (account, last) = (replay.plan.page.account, resumed.after.get());
        let plan = Some(replay.plan);
        Self { feed, session, account, incarnation, last, plan }
    }

    /// Takes everything there is, ids that follow one another; gives the bodies, and how the watch ended.
    pub(super) fn drain<L: Log>(&mut self, rig: &mut Rig<L>) -> (Vec<String>, Option<SessionEnd>) {
        let mut bodies = Vec::new();
        loop {
            if let Some(plan) = self.plan.take() {
                let found = rig.read(&plan, 3).unwrap();
                for message in found.messages {
                    self.show(message.id, &message.body, &mut bodies);
                }
                if found.more {
                    self.ask(rig);
                }
                continue;
            }
            match self.feed.take() {
                None => return (bodies, None),
                Some(Taken::Ended(why)) => return (bodies, Some(why)),
                Some(Taken::Lagging) => self.ask(rig),
                Some(Taken::Event(WatchEvent::Message(message))) => {
                    self.show(message.id, &message.body, &mut bodies);
                }
                Some(Taken::Event(_)) => {}
            }
        }
    }

    fn ask<L: Log>(&mut self, rig: &mut Rig<L>) {
        let outcome = rig.run(Operation::CatchUp {
            account: self.account,
            watch: self.feed.id,
            incarnation: self.incarnation.clone(),
            after: MessageId::new(self.last),
        });
        let Ok(Answer::Replay(replay)) = outcome else { panic!("{outcome:?}") };
        assert!(replay.gap.is_none());
        self.plan = Some(replay.plan);
    }

    fn show(&mut self, id: MessageId, body: &str, bodies: &mut Vec<String>) {
        assert_eq!(id.get(), self.last + 1, "a hole or a repeat");
        self.last += 1;
        bodies.push(body.into());
    }
}
