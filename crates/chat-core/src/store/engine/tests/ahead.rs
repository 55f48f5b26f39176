//! Batches that are carried out while the one before them is on its way to the disk.

use super::rig::{Rig, TestClock, outgoing};
use crate::Clock as _;
use crate::store::backend::Backend as _;
use crate::store::engine::SimulatedLog;
use crate::store::engine::log::Log;
use crate::store::engine::simulated::Fault;
use crate::store::request::{Answer, Operation, Outcome};
use crate::store::{SessionKey, StoreError};

impl<L: Log> Rig<L> {
    /// Sends one message ahead; gives how the one before it went, if there was one.
    fn send_ahead(&mut self, from: SessionKey, body: &str) -> Option<Result<(), StoreError>> {
        let send = Operation::Send(vec![outgoing(from, "lineker", body)]);
        went(self.engine.run_ahead(vec![send], self.clock.now()))
    }

    fn settle(&mut self) -> Option<Result<(), StoreError>> {
        went(self.engine.settle())
    }

    fn bodies(&mut self, session: SessionKey) -> Vec<String> {
        let (messages, _) = self.inbox(session, 100).unwrap();
        messages.iter().map(|message| message.body.to_string()).collect()
    }
}

fn went(mut outcomes: Vec<Outcome>) -> Option<Result<(), StoreError>> {
    let outcome = outcomes.pop()?;
    assert!(outcomes.is_empty());
    Some(outcome.and_then(|answer| match answer {
        Answer::Sent(mut receipts) => receipts.pop().unwrap().map(drop),
        other => panic!("{other:?}"),
    }))
}

fn in_order<L: Log>(log: L) {
    let mut rig = Rig::new(log, TestClock::default());
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    assert_eq!(rig.settle(), None, "nothing was begun");
    assert_eq!(rig.send_ahead(messi, "1"), None);
    assert_eq!(rig.send_ahead(messi, "2"), Some(Ok(())));
    assert_eq!(rig.send_ahead(messi, "3"), Some(Ok(())));
    assert_eq!(rig.settle(), Some(Ok(())));
    assert_eq!(rig.settle(), None);
    rig.send(messi, "lineker", "4").unwrap();
    assert_eq!(rig.bodies(lineker), ["1", "2", "3", "4"]);
    assert_eq!(rig.restart().bodies(lineker), ["1", "2", "3", "4"]);
}

#[test]
fn each_is_answered_once_it_is_durable() {
    in_order(SimulatedLog::with_power_switch());
}

#[cfg(feature = "embedded")]
#[test]
fn each_is_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let options = crate::store::SqliteOptions::new(directory.path());
    in_order(crate::store::engine::SqliteLog::open(options).unwrap());
}

#[test]
fn what_was_answered_survives_and_what_was_not_may() {
    let (mut rig, log) = Rig::simulated();
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    rig.send_ahead(messi, "1");
    rig.send_ahead(messi, "2");
    log.pull_plug(0);
    let mut rig = Rig::new(log, TestClock::default());
    assert_eq!(rig.bodies(lineker).first().map(String::as_str), Some("1"));
}

#[test]
fn what_was_built_on_a_batch_that_failed_fails_with_it() {
    for (fault, refusal) in
        [(Fault::NoSpace, StoreError::NoSpace), (Fault::SyncFailed, StoreError::Unavailable)]
    {
        let (mut rig, log) = Rig::simulated();
        let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
        rig.send_ahead(messi, "lost");
        log.fail(Some(fault));
        assert_eq!(rig.send_ahead(messi, "built on it"), Some(Err(refusal.clone())));
        assert_eq!(rig.settle(), Some(Err(refusal)), "{fault:?}");
        log.fail(None);
        let mut rig = Rig::new(log, TestClock::default());
        rig.send(messi, "lineker", "later").unwrap();
        let bodies = rig.bodies(lineker);
        assert!(!bodies.contains(&"built on it".to_owned()), "{fault:?}");
        assert_eq!(bodies.last().map(String::as_str), Some("later"), "{fault:?}");
    }
}
