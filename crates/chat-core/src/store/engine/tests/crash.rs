//! Pulling the plug at every write of a scripted run.

use std::collections::BTreeMap;

use super::rig::{Rig, outgoing};
use crate::store::StoreError;
use crate::store::engine::SimulatedLog;
use crate::store::engine::simulated::Fault;
use crate::store::request::{Answer, Operation};

/// What clients were told.
#[derive(Debug, Default)]
struct Told {
    /// By recipient: bodies in the order they were acknowledged, as far as the recipient has not confirmed them.
    acknowledged: BTreeMap<&'static str, Vec<String>>,
    /// Sent, but the outcome is unknown.
    unknown: Vec<String>,
    /// Whose page was being confirmed, and how many messages it had: they may be there again.
    confirming: Option<(&'static str, usize)>,
    /// The highest id anybody was shown, by recipient.
    shown: BTreeMap<&'static str, u64>,
}

const USERS: [&str; 3] = ["messi", "lineker", "henderson"];

/// Sends, reads and works in the background, in an order that visits flushes at every stage; stops at the first
/// failure.
fn script(rig: &mut Rig<SimulatedLog>, told: &mut Told) -> Result<(), StoreError> {
    let sessions: Vec<_> = USERS.iter().map(|name| rig.try_join(name)).collect::<Result<_, _>>()?;
    for round in 0..40_usize {
        let (from, to) = (round % 3, USERS[(round * 7 + 1) % 3]);
        let texts: Vec<_> = (0..=round % 4).map(|n| format!("{round}.{n}")).collect();
        let message = |text: &String| outgoing(sessions[from], to, text);
        told.unknown.extend(texts.iter().cloned());
        let all = Operation::Send(texts.iter().map(message).collect());
        let outcomes = match round % 3 {
            0 => vec![rig.run(all)],
            1 => rig.run_ahead(vec![all]),
            _ => rig
                .run_ahead(texts.iter().map(|text| Operation::Send(vec![message(text)])).collect()),
        };
        for outcome in outcomes {
            let Answer::Sent(sent) = outcome? else { panic!("not sent") };
            assert!(sent.iter().all(Result::is_ok));
            told.acknowledged.entry(to).or_default().extend(told.unknown.drain(..sent.len()));
        }
        if round % 5 == 4 {
            let reader = (round / 5) % 3;
            let (taken, shown) = rig.inbox(sessions[reader], 20)?;
            let Some(shown) = shown else { continue };
            told.shown.insert(USERS[reader], shown.last.get());
            told.confirming = Some((USERS[reader], taken.len()));
            rig.run(Operation::Confirm(shown))?;
            told.confirming = None;
            let waiting = told.acknowledged.entry(USERS[reader]).or_default();
            for (message, expected) in taken.iter().zip(waiting.drain(..taken.len())) {
                assert_eq!(*expected, *message.body);
            }
        }
        rig.work(round % 3);
    }
    Ok(())
}

/// After the crash: everything acknowledged is there, in order, once; nothing is there that was not sent; no id that
/// was shown belongs to another message.
fn verify(log: SimulatedLog, told: &Told) {
    let mut rig = Rig::new(log, super::rig::TestClock::default());
    let mut joined = Vec::new();
    for name in USERS {
        let Ok(Answer::Credentials { account, .. }) =
            rig.run(Operation::Credentials { username: name.into() })
        else {
            assert!(!told.acknowledged.contains_key(name), "{name} is gone");
            continue;
        };
        let session = super::rig::session_of(account);
        let Ok(found) = rig.peek_all(session) else {
            continue;
        };
        let bodies: Vec<_> = found.iter().map(|message| message.body.to_string()).collect();
        let mut expected = told.acknowledged.get(name).cloned().unwrap_or_default();
        let known: Vec<_> =
            bodies.iter().filter(|body| !told.unknown.contains(body)).cloned().collect();
        if let Some((_, count)) = told.confirming.filter(|(reader, _)| *reader == name)
            && known.len() < expected.len()
        {
            expected.drain(..count);
        }
        assert_eq!(known, expected, "{name}");
        let ids: Vec<_> = found.iter().map(|message| message.id.get()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{name} has a hole: {ids:?}");
        // What comes next is new.
        let last = ids.last().copied().unwrap_or(0).max(told.shown.get(name).copied().unwrap_or(0));
        rig.send(session, name, "next").unwrap();
        let next = rig.peek_all(session).unwrap().pop().unwrap();
        assert!(next.id.get() > last, "{name}: id {} was given before", next.id);
        assert_eq!(&*next.body, "next");
        joined.push((session, next.id, found.len() + 1));
    }
    // The disk knows of nothing that it lacks: what comes in its place would be taken for that at the next start.
    let mut rig = rig.restart();
    for (session, last, count) in joined {
        let found = rig.peek_all(session).unwrap();
        assert_eq!(found.last().map(|message| message.id), Some(last));
        assert_eq!(found.len(), count);
    }
}

/// How many writes the whole script makes.
fn writes() -> u64 {
    let (mut rig, log) = Rig::simulated();
    script(&mut rig, &mut Told::default()).unwrap();
    log.writes()
}

/// Has each write of the script fail in turn, and all after it, and then pulls the plug. Of the writes that were not
/// synced none, one or two survive.
fn fail_each_write(fault: Fault) {
    for n in 1..=writes() {
        for keep in 0..3 {
            let (mut rig, log) = Rig::simulated();
            let mut told = Told::default();
            log.fail_at(n, fault);
            let _ = script(&mut rig, &mut told);
            if keep <= log.unsynced() {
                log.pull_plug(keep);
                verify(log, &told);
            }
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_whichever_write_is_the_last() {
    fail_each_write(Fault::NoSpace);
}

#[test]
fn nothing_acknowledged_is_lost_whichever_sync_fails() {
    fail_each_write(Fault::SyncFailed);
}

#[test]
fn a_cut_between_operations_loses_nothing_at_all() {
    let (mut rig, log) = Rig::simulated();
    let mut told = Told::default();
    script(&mut rig, &mut told).unwrap();
    log.pull_plug(0);
    verify(log, &told);
}
