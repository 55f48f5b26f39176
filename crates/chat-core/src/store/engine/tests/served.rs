//! A [`Store`] whose requests the test serves itself, one at a time, with an engine that it holds.

use std::time::Duration;

use tokio::sync::mpsc;

use super::rig::{Rig, TestClock, roomy};
use crate::store::backend::Backend;
use crate::store::engine::log::Log;
use crate::store::request::Request;
use crate::store::{SessionKey, Store, StoreError, StoreOptions, Watch, WatchEvent, WatchFrom};
use crate::{MessageId, Timestamp};

pub(super) struct Served<L: Log> {
    pub(super) rig: Rig<L>,
    pub(super) store: Store,
    pub(super) requests: mpsc::Receiver<Request>,
}

impl<L: Log> Served<L> {
    pub(super) fn new(log: L) -> Self {
        let clock = TestClock::default();
        let options = roomy(&clock);
        Self::with(log, clock, &options)
    }

    pub(super) fn with(log: L, clock: TestClock, options: &StoreOptions) -> Self {
        let rig = Rig::with(log, clock, options).unwrap();
        let (store, requests) = Store::unserved(rig.engine.pages());
        Self { rig, store, requests }
    }

    /// Serves requests until the future is done.
    pub(super) async fn serve<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                biased;
                done = &mut future => return done,
                request = self.requests.recv() => {
                    let Some(Request::Run(operation, answer)) = request else { panic!("closed") };
                    let outcome = self.rig.run(operation);
                    answer.map(|answer| answer.send(outcome));
                }
            }
        }
    }

    pub(super) async fn watch(&mut self, session: SessionKey, from: WatchFrom) -> Watch {
        let store = self.store.clone();
        self.serve(store.watch(session, from)).await.unwrap()
    }

    pub(super) async fn undelivered(&mut self, session: SessionKey) -> Watch {
        self.watch(session, WatchFrom::Undelivered).await
    }

    /// What a watch has to tell, to the last that comes without anything else happening.
    pub(super) async fn told(&mut self, watch: &mut Watch) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            // Paused time moves only when nothing else can, a page being read included.
            let next =
                tokio::time::timeout(Duration::from_millis(1), self.serve(watch.next())).await;
            match next {
                Err(_) => return told,
                Ok(Ok(event)) => told.push(said(&event)),
                Ok(Err(error)) => {
                    told.push(error.to_string());
                    return told;
                }
            }
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        use crate::Clock as _;
        self.rig.clock.now()
    }

    pub(super) fn send(&mut self, from: SessionKey, to: &str, bodies: &[&str]) {
        for body in bodies {
            self.rig.send(from, to, body).unwrap();
        }
    }
}

pub(super) fn after(id: u64, incarnation: &str) -> WatchFrom {
    WatchFrom::After { id: MessageId::new(id), incarnation: incarnation.into() }
}

/// What an event says, in a word or two.
fn said(event: &WatchEvent) -> String {
    match event {
        WatchEvent::Message(message) => format!("{} {}", message.id, message.body),
        WatchEvent::Sent(sent) => format!("sent {}", sent.message.body),
        WatchEvent::Presence { username, active } => format!("{username} {active}"),
        WatchEvent::Gap(from, to) => format!("gap {from}-{to}"),
        WatchEvent::Lagging => "lagging".into(),
        WatchEvent::Live => "live".into(),
        WatchEvent::Ended(why) => format!("ended {}", why.as_str()),
    }
}

/// What [`Served::told`] says once the mailbox has a new incarnation.
pub(super) fn stale() -> String {
    StoreError::StaleIncarnation.to_string()
}
