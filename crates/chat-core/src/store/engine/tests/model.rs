//! The store agrees with a plain model after any sequence of operations, restarts included.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::follower::Follower;
use super::rig::{Rig, TestClock, hashed, holds_on_every_log, outgoing};
use crate::store::engine::log::Log;
use crate::store::request::{Answer, Operation};
use crate::store::{
    PrivacyChoice, PrivacySubject, Receipt, SentId, SessionEnd, SessionKey, StoreError,
};
use crate::{Clock as _, Timestamp};

const NAMES: [&str; 4] = ["messi", "lineker", "henderson", "arini"];

/// What a client, an operator or the machine may do. Users are numbers into [`NAMES`].
#[derive(Debug, Clone)]
enum Step {
    Join(usize),
    Send { from: usize, to: usize, bodies: Vec<u8> },
    Take { user: usize, most: usize },
    Ack { user: usize, back: u64 },
    Block { user: usize, other: usize, on: bool },
    Remove(usize),
    Release(usize),
    Logout(usize),
    Watch(usize),
    Rename(usize),
    Work(usize),
    Restart,
    Later,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let user = 0..NAMES.len();
    let step = prop_oneof![
        4 => user.clone().prop_map(Step::Join),
        20 => (user.clone(), user.clone(), prop::collection::vec(any::<u8>(), 1..6))
            .prop_map(|(from, to, bodies)| Step::Send { from, to, bodies }),
        4 => (user.clone(), 1..9usize).prop_map(|(user, most)| Step::Take { user, most }),
        3 => (user.clone(), 0..6u64).prop_map(|(user, back)| Step::Ack { user, back }),
        3 => (user.clone(), user.clone(), any::<bool>())
            .prop_map(|(user, other, on)| Step::Block { user, other, on }),
        1 => user.clone().prop_map(Step::Remove),
        1 => user.clone().prop_map(Step::Release),
        1 => user.clone().prop_map(Step::Logout),
        2 => user.clone().prop_map(Step::Watch),
        1 => user.prop_map(Step::Rename),
        6 => (1..4usize).prop_map(Step::Work),
        3 => Just(Step::Restart),
        1 => Just(Step::Later),
    ];
    prop::collection::vec(step, 1..120)
}

/// One account of the model.
#[derive(Debug, Clone, Default)]
struct Account {
    /// Undelivered: id, sender's name, body.
    waiting: Vec<(u64, usize, String)>,
    /// Bodies of all there ever was, by id.
    stored: Vec<String>,
    last: u64,
    session: Option<SessionKey>,
    full_name: String,
    /// The session it was made with: no two accounts have the same.
    made: Option<SessionKey>,
    sent: Vec<Sent>,
    /// When what was delivered was.
    delivered: BTreeMap<u64, Timestamp>,
    blocks: HashSet<SessionKey>,
}

/// What the sender of a message remembers.
#[derive(Debug, Clone)]
struct Sent {
    id: SentId,
    time: Timestamp,
    to: usize,
    recipient: Option<SessionKey>,
    number: u64,
}

#[derive(Debug, Default)]
struct Model {
    accounts: BTreeMap<usize, Account>,
    reserved: Vec<usize>,
    watchers: BTreeMap<usize, Follower>,
}

impl Model {
    /// Whoever has the name next is another sender.
    fn forget_sender(&mut self, user: usize) {
        let waiting = self.accounts.values_mut().flat_map(|account| &mut account.waiting);
        waiting.filter(|(_, sender, _)| *sender == user).for_each(|entry| entry.1 = usize::MAX);
    }

    /// The quota rule, straight from the contract: 40 messages and 2,000 bytes; from half full on a quarter a sender.
    fn admits(&self, to: usize, from: usize, body: &str) -> bool {
        let waiting = &self.accounts[&to].waiting;
        let bytes: usize = waiting.iter().map(|(_, _, body)| body.len()).sum();
        if waiting.len() >= 40 || bytes + body.len() > 2_000 {
            return false;
        }
        let mine = waiting.iter().filter(|(_, sender, _)| *sender == from);
        let (count, held) =
            mine.fold((0, 0), |(count, held), (_, _, body)| (count + 1, held + body.len()));
        (waiting.len() < 20 && bytes < 1_000) || (count < 10 && held + body.len() <= 500)
    }
}

impl Model {
    fn blocks(&self, user: usize, other: usize) -> bool {
        let made = self.accounts.get(&other).and_then(|account| account.made);
        made.is_some_and(|made| self.accounts[&user].blocks.contains(&made))
    }

    /// When a message was delivered, as far as its sender is let know; `None` if there is no such message.
    fn status(&self, from: usize, sent: &Sent) -> Option<Option<Timestamp>> {
        let recipient = self.accounts.get(&sent.to)?;
        if recipient.made != sent.recipient {
            return None;
        }
        let shown = from == sent.to
            || (receipts(sent.to) == PrivacyChoice::On && !self.blocks(sent.to, from));
        Some(recipient.delivered.get(&sent.number).copied().filter(|_| shown))
    }
}

/// A body that tells who sent what, of a length that varies.
fn body(from: usize, n: u8) -> String {
    format!("{from}:{n}:{}", "x".repeat(usize::from(n) % 90))
}

fn step<L: Log>(mut rig: Rig<L>, model: &mut Model, step: Step) -> Rig<L> {
    match step {
        Step::Join(user) => join(&mut rig, model, user),
        Step::Send { from, to, bodies } => send(&mut rig, model, from, to, &bodies),
        Step::Take { user, most } => {
            let Some(session) = session(model, user) else {
                return rig;
            };
            let taken = rig.take(session, most).unwrap();
            let account = model.accounts.get_mut(&user).unwrap();
            let waiting = &mut account.waiting;
            let expected: Vec<_> = waiting.drain(..most.min(waiting.len())).collect();
            assert_eq!(taken.len(), expected.len());
            for (message, (id, _, body)) in taken.iter().zip(expected) {
                assert_eq!((message.id.get(), &*message.body), (id, &*body));
                account.delivered.insert(id, rig.clock.now());
            }
        }
        Step::Ack { user, back } => {
            let Some(session) = session(model, user) else {
                return rig;
            };
            let account = model.accounts.get_mut(&user).unwrap();
            let upto = account.last.saturating_sub(back);
            rig.ack(session, upto).unwrap();
            for (id, _, _) in account.waiting.extract_if(.., |(id, _, _)| *id <= upto) {
                account.delivered.insert(id, rig.clock.now());
            }
            assert!(matches!(rig.ack(session, account.last + 1), Err(StoreError::BadArguments(_))));
        }
        Step::Block { user, other, on } => block(&mut rig, model, user, other, on),
        Step::Remove(user) => {
            let outcome = rig.run(Operation::Remove { username: NAMES[user].into() });
            match model.accounts.remove(&user) {
                Some(account) => {
                    assert!(
                        matches!(outcome, Ok(Answer::Count(n)) if usize::try_from(n) == Ok(account.waiting.len()))
                    );
                    model.reserved.push(user);
                    model.forget_sender(user);
                }
                None => assert_eq!(outcome.unwrap_err(), StoreError::NoSuchUser),
            }
        }
        Step::Release(user) => {
            let reserved = model.reserved.contains(&user);
            let outcome = rig.run(Operation::Release { username: NAMES[user].into() });
            assert_eq!(outcome.is_ok(), reserved);
            model.reserved.retain(|other| *other != user);
        }
        Step::Logout(user) => {
            let Some(session) = session(model, user) else {
                return rig;
            };
            rig.run(Operation::Logout { session }).unwrap();
            assert_eq!(rig.run(Operation::Whoami { session }).unwrap_err(), StoreError::NoSession);
            model.accounts.get_mut(&user).unwrap().session = None;
        }
        Step::Rename(user) => {
            let name = format!("{} II", NAMES[user]);
            let new_name = Some(name.parse().unwrap());
            let outcome = rig.run(Operation::Rename {
                username: NAMES[user].into(),
                new_username: None,
                new_name,
            });
            assert_eq!(outcome.is_ok(), model.accounts.contains_key(&user));
            if let Some(account) = model.accounts.get_mut(&user) {
                account.full_name = name;
            }
        }
        Step::Watch(user) => {
            if let Some(session) = session(model, user) {
                model.watchers.insert(user, Follower::new(&mut rig, session));
            }
        }
        Step::Work(steps) => rig.work(steps),
        Step::Restart => {
            rig = rig.restart();
            let watchers = std::mem::take(&mut model.watchers).into_iter();
            model.watchers =
                watchers.map(|(user, watcher)| (user, watcher.again(&mut rig))).collect();
        }
        Step::Later => rig.clock.advance(90_000),
    }
    rig
}

fn session(model: &Model, user: usize) -> Option<SessionKey> {
    model.accounts.get(&user)?.session
}

fn join<L: Log>(rig: &mut Rig<L>, model: &mut Model, user: usize) {
    if model.accounts.contains_key(&user) || model.reserved.contains(&user) {
        let outcome = rig.run(Operation::Create(hashed(&NAMES[user].to_uppercase())));
        assert_eq!(outcome.unwrap_err(), StoreError::UserExists);
        return;
    }
    let session = rig.join(NAMES[user]);
    let (subject, choice) = (PrivacySubject::Receipts, receipts(user));
    rig.run(Operation::SetPrivacy { session, subject, choice }).unwrap();
    let session = Some(session);
    let full_name = NAMES[user].into();
    let account = Account { session, full_name, made: session, ..Account::default() };
    model.accounts.insert(user, account);
}

/// Half of the users let everybody know what was delivered, the others nobody.
fn receipts(user: usize) -> PrivacyChoice {
    if user.is_multiple_of(2) { PrivacyChoice::On } else { PrivacyChoice::Off }
}

fn block<L: Log>(rig: &mut Rig<L>, model: &mut Model, user: usize, other: usize, on: bool) {
    let Some(session) = session(model, user) else {
        return;
    };
    let outcome = rig.run(Operation::Block { session, username: NAMES[other].into(), on });
    let made = model.accounts.get(&other).and_then(|account| account.made);
    let blocks = &mut model.accounts.get_mut(&user).unwrap().blocks;
    match (made, on) {
        _ if user == other => assert!(matches!(outcome, Err(StoreError::BadArguments(_)))),
        (Some(made), true) => {
            outcome.unwrap();
            blocks.insert(made);
        }
        (Some(made), false) => {
            outcome.unwrap();
            blocks.remove(&made);
        }
        (None, false) if model.reserved.contains(&other) => drop(outcome.unwrap()),
        (None, _) => assert_eq!(outcome.unwrap_err(), StoreError::NoSuchUser),
    }
}

fn send<L: Log>(rig: &mut Rig<L>, model: &mut Model, from: usize, to: usize, bodies: &[u8]) {
    let Some(session) = session(model, from) else {
        return;
    };
    let texts: Vec<_> = bodies.iter().map(|n| body(from, *n)).collect();
    let messages = texts.iter().map(|text| outgoing(session, NAMES[to], text)).collect();
    let Ok(Answer::Sent(outcomes)) = rig.run(Operation::Send(messages)) else { panic!("not sent") };
    for (text, outcome) in texts.into_iter().zip(outcomes) {
        if !model.accounts.contains_key(&to) {
            assert_eq!(outcome.unwrap_err(), StoreError::NoSuchRecipient);
        } else if model.blocks(to, from) {
            assert_eq!(outcome.unwrap_err(), StoreError::NotAllowed);
        } else if model.admits(to, from, &text) {
            let Receipt { id, time, .. } = outcome.unwrap();
            let account = model.accounts.get_mut(&to).unwrap();
            account.last += 1;
            account.stored.push(text.clone());
            account.waiting.push((account.last, from, text));
            let (recipient, number) = (account.made, account.last);
            let sent = Sent { id, time, to, recipient, number };
            model.accounts.get_mut(&from).unwrap().sent.push(sent);
        } else {
            assert_eq!(outcome.unwrap_err(), StoreError::InboxFull);
        }
    }
}

/// Each watcher sees what was stored since it looked last, or that its session is over.
fn look<L: Log>(rig: &mut Rig<L>, model: &mut Model) {
    let Model { accounts, watchers, .. } = model;
    watchers.retain(|user, watcher| {
        let seen = usize::try_from(watcher.last).unwrap();
        let (bodies, ended) = watcher.drain(rig);
        match accounts.get(user) {
            None => assert_eq!((bodies.len(), ended), (0, Some(SessionEnd::AccountRemoved))),
            Some(account) => {
                assert_eq!(bodies, account.stored[seen..]);
                let expected = account.session.is_none().then_some(SessionEnd::Logout);
                assert_eq!(ended, expected);
            }
        }
        ended.is_none()
    });
}

/// Reads everything back and compares.
fn compare<L: Log>(rig: &mut Rig<L>, model: &Model) {
    for (user, account) in &model.accounts {
        let Ok(Answer::Summaries(summary)) =
            rig.run(Operation::Account { username: NAMES[*user].into() })
        else {
            panic!("{} is gone", NAMES[*user])
        };
        assert_eq!(usize::try_from(summary[0].undelivered), Ok(account.waiting.len()));
        assert_eq!(&*summary[0].name, account.full_name);
        let Some(session) = account.session else {
            continue;
        };
        let found = rig.peek_all(session).unwrap();
        let found: Vec<_> = found.iter().map(|m| (m.id.get(), m.body.to_string())).collect();
        let expected: Vec<_> =
            account.waiting.iter().map(|(id, _, body)| (*id, body.clone())).collect();
        assert_eq!(found, expected);
        for sent in &account.sent {
            compare_status(rig, session, sent, model.status(*user, sent));
        }
    }
}

fn compare_status<L: Log>(
    rig: &mut Rig<L>,
    session: SessionKey,
    sent: &Sent,
    expected: Option<Option<Timestamp>>,
) {
    match (rig.run(Operation::Status { session, id: sent.id }), expected) {
        (Ok(Answer::Status(status)), Some(delivered)) => {
            assert_eq!((status.stored, status.delivered), (sent.time, delivered));
        }
        (outcome, expected) => {
            assert_eq!(outcome.unwrap_err(), StoreError::NoSuchMessage);
            assert_eq!(expected, None);
        }
    }
}

fn check<L: Log>(log: L, steps: Vec<Step>) {
    let mut model = Model::default();
    let mut rig = Rig::new(log, TestClock::default());
    for one in steps {
        rig = step(rig, &mut model, one);
        look(&mut rig, &mut model);
    }
    compare(&mut rig, &model);
    compare(&mut rig.restart(), &model);
}

holds_on_every_log!(check(steps()));
