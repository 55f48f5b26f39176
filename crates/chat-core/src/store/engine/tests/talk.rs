//! Posting and reading conversations agrees with a plain model after any sequence of operations, restarts included.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::rig::{Rig, TestClock, holds_on_every_log, roomy};
use crate::store::backend::Backend;
use crate::store::engine::log::Log;
use crate::store::request::Operation;
use crate::store::{EntryId, Receipt, SentId, SessionKey, StoreError};

const NAMES: [&str; 4] = ["messi", "lineker", "henderson", "arini"];

/// Users are numbers into [`NAMES`].
#[derive(Debug, Clone)]
enum Step {
    Join(usize),
    Send {
        from: usize,
        to: usize,
        body: u8,
    },
    Post {
        from: usize,
        to: usize,
        key: u8,
        body: u8,
    },
    Read {
        user: usize,
        with: usize,
        most: usize,
    },
    Remove(usize),
    Release(usize),
    /// The store runs on for hours, and the clock jumps.
    Run {
        hours: u64,
        jump_ms: i64,
    },
    Work(usize),
    Restart {
        clean: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let user = 0..NAMES.len();
    let pair = (user.clone(), user.clone());
    let step = prop_oneof![
        3 => user.clone().prop_map(Step::Join),
        6 => (pair.clone(), 0..9u8).prop_map(|((from, to), body)| Step::Send { from, to, body }),
        20 => (pair.clone(), 0..12u8, 0..2u8)
            .prop_map(|((from, to), key, body)| Step::Post { from, to, key, body }),
        4 => (pair, 1..9usize).prop_map(|((user, with), most)| Step::Read { user, with, most }),
        1 => user.clone().prop_map(Step::Remove),
        1 => user.prop_map(Step::Release),
        2 => (0..9u64, -90_000..90_000i64).prop_map(|(hours, jump_ms)| Step::Run { hours, jump_ms }),
        8 => (1..9usize).prop_map(Step::Work),
        2 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
    ];
    prop::collection::vec(step, 1..250)
}

/// What was said, by the sessions that the accounts were made with, which no two have in common.
#[derive(Debug)]
struct Said {
    from: SessionKey,
    to: SessionKey,
    id: SentId,
    body: String,
}

/// What an account's key stands for.
#[derive(Debug)]
struct Key {
    to: usize,
    body: String,
    receipt: Receipt,
    /// The running time at which it was used.
    used: Duration,
}

#[derive(Debug, Default)]
struct Model {
    /// Everybody whose name is taken, and whether they were removed.
    accounts: BTreeMap<usize, (SessionKey, bool)>,
    said: Vec<Said>,
    keys: BTreeMap<([u8; 32], u8), Key>,
    running: Duration,
}

impl Model {
    fn session(&self, user: usize) -> Option<SessionKey> {
        self.accounts.get(&user).filter(|(_, removed)| !removed).map(|(session, _)| *session)
    }
}

fn step<L: Log>(mut rig: Rig<L>, model: &mut Model, step: &Step) -> Rig<L> {
    match *step {
        Step::Join(user) => {
            model.accounts.entry(user).or_insert_with(|| (rig.join(NAMES[user]), false));
        }
        Step::Send { from, to, body } => send(&mut rig, model, (from, to), None, body),
        Step::Post { from, to, key, body } => send(&mut rig, model, (from, to), Some(key), body),
        Step::Read { user, with, most } => read(&mut rig, model, user, with, most),
        Step::Remove(user) => {
            let outcome = rig.run(Operation::Remove { username: NAMES[user].into() });
            assert_eq!(outcome.is_ok(), model.session(user).is_some());
            if let Some((_, removed)) = model.accounts.get_mut(&user) {
                *removed = true;
            }
        }
        Step::Release(user) => {
            let outcome = rig.run(Operation::Release { username: NAMES[user].into() });
            let removed = model.accounts.get(&user).is_some_and(|(_, removed)| *removed);
            assert_eq!(outcome.is_ok(), removed);
            model.accounts.retain(|other, _| !removed || *other != user);
        }
        Step::Run { hours, jump_ms } => {
            rig.run_for(Duration::from_secs(hours * 3_600));
            model.running += Duration::from_secs(hours * 3_600);
            rig.clock.advance(jump_ms);
        }
        Step::Work(steps) => rig.work(steps),
        Step::Restart { clean } => {
            if clean {
                rig.engine.close().unwrap();
            }
            let options = roomy(&rig.clock);
            rig = rig.restart_with(&options);
        }
    }
    rig
}

fn send<L: Log>(
    rig: &mut Rig<L>,
    model: &mut Model,
    (from, to): (usize, usize),
    key: Option<u8>,
    body: u8,
) {
    let Some(session) = model.session(from) else { return };
    let body = format!("{from}:{body}");
    let outcome = match key {
        Some(key) => rig.post(session, &format!("key{key}"), NAMES[to], &body),
        None => rig.send_one(session, NAMES[to], &body),
    };
    if let Some(known) = key.and_then(|key| model.keys.get(&(session.0, key))) {
        let expected = match (known.to, &known.body) == (to, &body) {
            true => Ok(Receipt { duplicate: true, ..known.receipt }),
            false => Err(StoreError::KeyConflict),
        };
        // Once a key is old the store may know it still, or not.
        if outcome == expected {
            return;
        }
        let age = model.running - known.used;
        assert!(age >= Duration::from_secs(86_400), "forgotten after {age:?}: {outcome:?}");
    }
    let Some(recipient) = model.session(to) else {
        assert_eq!(outcome, Err(StoreError::NoSuchRecipient));
        return;
    };
    let receipt = outcome.unwrap();
    assert!(!receipt.duplicate);
    if let Some(key) = key {
        let used = model.running;
        model.keys.insert((session.0, key), Key { to, body: body.clone(), receipt, used });
    }
    model.said.push(Said { from: session, to: recipient, id: receipt.id, body });
}

fn read<L: Log>(rig: &mut Rig<L>, model: &Model, user: usize, with: usize, most: usize) {
    let Some(session) = model.session(user) else { return };
    let Some((peer, _)) = model.accounts.get(&with) else {
        let outcome = rig.history(session, NAMES[with], None, most);
        assert_eq!(outcome.unwrap_err(), StoreError::NoSuchUser);
        return;
    };
    let between = |said: &&Said| {
        (said.from, said.to) == (session, *peer) || (said.to, said.from) == (session, *peer)
    };
    let found = rig.whole_history(session, NAMES[with], most).unwrap();
    let expected: Vec<_> = model.said.iter().filter(between).collect();
    assert_eq!(found.len(), expected.len());
    for (found, said) in found.iter().zip(expected) {
        assert_eq!(*found.message.body, *said.body);
        match found.id {
            EntryId::Out(id) => assert_eq!((id, said.from), (said.id, session)),
            EntryId::In(id) => assert_eq!((id, said.to), (found.message.id, session)),
        }
    }
}

fn check<L: Log>(log: L, steps: Vec<Step>) {
    let (clock, mut model) = (TestClock::default(), Model::default());
    let mut rig = Rig::with(log, clock.clone(), &roomy(&clock)).unwrap();
    for one in steps {
        rig = step(rig, &mut model, &one);
    }
    for restart in [false, true] {
        if restart {
            rig = step(rig, &mut model, &Step::Restart { clean: false });
            rig.work(10_000);
        }
        for user in 0..NAMES.len() {
            for with in 0..NAMES.len() {
                read(&mut rig, &model, user, with, 5);
            }
        }
    }
}

holds_on_every_log!(check(steps()));
