//! A message is stored once for each key, however often it is posted.

use std::time::Duration;

use super::rig::{
    Rig, TestClock, bodies, on_a_synced_journal, on_both_logs, options, outgoing, posted,
};
use crate::store::backend::Backend as _;
use crate::store::engine::SimulatedLog;
use crate::store::engine::keys::InFull;
use crate::store::engine::log::{Batch, Keyed, Log, Record, RunChange, RunKind, Slice};
use crate::store::engine::runs::{Forward, Key, Writer};
use crate::store::engine::simulated::Fault;
use crate::store::request::{Answer, Operation};
use crate::store::{
    AccountNumber, Message, Outgoing, PostKey, Receipt, SentId, SessionKey, StoreError,
    StoreOptions,
};
use crate::{Clock as _, Timestamp};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const HOUR: Duration = Duration::from_secs(3_600);

/// Posts again and expects the first reply.
fn again<L: Log>(
    rig: &mut Rig<L>,
    from: SessionKey,
    (key, to, body): (&str, &str, &str),
    first: Receipt,
) {
    assert_eq!(rig.post(from, key, to, body), Ok(Receipt { duplicate: true, ..first }), "{key}");
}

/// Sends so much that what was posted before is flushed, and its run merged.
fn bury<L: Log>(rig: &mut Rig<L>, from: SessionKey, rounds: usize) {
    for round in 0..rounds {
        rig.post(from, &format!("bury{round}.{}", rig.clock.now_ms()), "well", "x").unwrap();
        rig.clock.advance(1);
        rig.work(20);
        rig.take_all("well");
    }
}

fn a_repeat_gets_the_first_reply_wherever_its_key_lies<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    rig.join("well");
    let post = ("key", "lineker", "halo");
    let first = rig.post(messi, post.0, post.1, post.2).unwrap();
    assert!(!first.duplicate);
    for round in 0..60 {
        rig.clock.advance(1_000);
        again(&mut rig, messi, post, first);
        bury(&mut rig, messi, 2);
        if round % 3 == 0 {
            rig = rig.restart();
        }
    }
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["halo"]);
}

fn another_message_under_the_key_is_a_conflict<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    rig.join("well");
    let first = rig.post(messi, "key", "Lineker", "halo").unwrap();
    for _ in 0..3 {
        let conflict = Err(StoreError::KeyConflict);
        assert_eq!(rig.post(messi, "key", "lineker", "halo "), conflict);
        assert_eq!(rig.post(messi, "key", "messi", "halo"), conflict);
        assert_eq!(rig.post(messi, "key", "nobody", "halo"), conflict);
        again(&mut rig, messi, ("key", "LINEKER", "halo"), first);
        bury(&mut rig, messi, 20);
        rig = rig.restart();
    }
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["halo"]);
    assert!(rig.peek_all(messi).unwrap().is_empty());
}

fn a_repeat_is_answered_whatever_became_of_the_recipient<L: Log>(mut rig: Rig<L>) {
    let (messi, henderson) = (rig.join("messi"), rig.join("henderson"));
    rig.join("lineker");
    rig.join("well");
    let first = rig.post(messi, "key", "lineker", "halo").unwrap();
    let post = ("key", "lineker", "halo");
    while rig.send(henderson, "lineker", "x").is_ok() {}
    while rig.send(messi, "lineker", "x").is_ok() {}
    assert_eq!(rig.post(messi, "other", "lineker", "halo"), Err(StoreError::InboxFull));
    again(&mut rig, messi, post, first);
    let new_username = Some("gary".parse().unwrap());
    let rename = Operation::Rename { username: "lineker".into(), new_username, new_name: None };
    rig.run(rename).unwrap();
    again(&mut rig, messi, post, first);
    rig.run(Operation::Remove { username: "gary".into() }).unwrap();
    bury(&mut rig, messi, 10);
    again(&mut rig, messi, post, first);
    rig.join("lineker");
    again(&mut rig, messi, post, first);
}

fn a_refused_message_leaves_its_key_free<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    assert_eq!(rig.post(messi, "key", "nobody", "halo"), Err(StoreError::NoSuchRecipient));
    let control = rig.post(messi, "key", "lineker", "\u{7}");
    assert!(matches!(control, Err(StoreError::BadArguments(_))));
    let long = rig.post(messi, "key", "lineker", &"x".repeat(20_000));
    assert!(matches!(long, Err(StoreError::MessageTooLong { .. })));
    rig = rig.restart();
    assert!(!rig.post(messi, "key", "lineker", "halo").unwrap().duplicate);
    let nobody = rig.post(SessionKey([9; 32]), "key", "lineker", "halo");
    assert_eq!(nobody, Err(StoreError::NoSession));
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["halo"]);
}

fn in_one_commit_the_second_is_a_repeat_of_the_first<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let post = |key, body| posted(messi, key, "lineker", body);
    let messages = vec![
        post("a", "one"),
        post("a", "one"),
        post("a", "two"),
        outgoing(messi, "lineker", "one"),
        post("b", "one"),
    ];
    let Ok(Answer::Sent(sent)) = rig.run(Operation::Send(messages)) else { panic!("not sent") };
    let first = sent[0].clone().unwrap();
    assert_eq!(sent[1], Ok(Receipt { duplicate: true, ..first }));
    assert_eq!(sent[2], Err(StoreError::KeyConflict));
    assert!(sent[3..].iter().all(|sent| sent.as_ref().is_ok_and(|sent| !sent.duplicate)));
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["one"; 3]);
}

fn each_account_has_keys_of_its_own<L: Log>(mut rig: Rig<L>) {
    let users = ["messi", "lineker", "well"].map(|name| rig.join(name));
    let firsts = users.map(|user| rig.post(user, "key", "messi", "halo").unwrap());
    bury(&mut rig, users[0], 10);
    for (user, first) in users.into_iter().zip(firsts) {
        again(&mut rig, user, ("key", "messi", "halo"), first);
    }
    rig.run(Operation::Remove { username: "lineker".into() }).unwrap();
    rig.run(Operation::Release { username: "lineker".into() }).unwrap();
    let second = rig.join("lineker");
    assert!(!rig.post(second, "key", "messi", "halo").unwrap().duplicate);
}

fn keys_live_for_a_day_of_running_time_whatever_the_clock_says<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    rig.join("well");
    let first = rig.post(messi, "key", "lineker", "halo").unwrap();
    for hour in 0..24 {
        // There and back again, and a few days ahead.
        rig.clock.advance(if hour % 2 == 0 { -3_600_000 } else { 2 * 86_400_000 });
        bury(&mut rig, messi, 10);
        again(&mut rig, messi, ("key", "lineker", "halo"), first);
        rig.run_for(HOUR);
        if hour % 5 == 0 {
            rig.engine.close().unwrap();
            rig = rig.restart();
        }
    }
    rig.work(1_000);
    assert!(rig.engine.state.as_ref().unwrap().runs.keys.len() <= 28);
    rig.run_for(HOUR * 2);
    rig.work(1_000);
    let later = rig.post(messi, "key", "lineker", "something else").unwrap();
    assert!(!later.duplicate);
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["halo", "something else"]);
    rig.run_for(HOUR * 30);
    bury(&mut rig, messi, 10);
    rig.work(1_000);
    assert_eq!(rig.engine.state.as_ref().unwrap().runs.keys.len(), 1);
}

fn a_crash_makes_keys_live_longer_not_shorter<L: Log>(mut rig: Rig<L>) {
    let messi = rig.join("messi");
    rig.join("well");
    let first = rig.post(messi, "key", "well", "halo").unwrap();
    rig.take_all("well");
    for _ in 0..10 {
        rig.run_for(HOUR * 23);
        rig = rig.restart();
        rig.work(100);
        again(&mut rig, messi, ("key", "well", "halo"), first);
    }
}

fn running_time_is_written_with_each_flush<L: Log>(mut rig: Rig<L>) {
    let messi = rig.join("messi");
    rig.join("well");
    for hours in 1..4 {
        rig.run_for(HOUR);
        bury(&mut rig, messi, 10);
        rig = rig.restart();
        assert!(rig.engine.running() >= HOUR * hours);
    }
}

/// Puts a run as earlier versions wrote them, with one key that was used just now.
fn put_in_full<L: Log>(rig: &mut Rig<L>, outgoing: &Outgoing, from: AccountNumber, id: SentId) {
    let written = InFull { request: outgoing.digest(), id, time: Timestamp::from_millis(77) };
    let (mut slice, number) = (Slice::default(), rig.engine.run_numbers + 1);
    let mut writer = Writer::new(number, RunKind::KeysInFull, 1);
    writer.push(outgoing.key.unwrap().in_full(from), &written.bytes(), &mut slice);
    writer.finish(rig.engine.running().as_secs(), &mut slice);
    slice.running = Some(rig.engine.running());
    rig.engine.log.put(&slice).unwrap();
}

fn keys_that_an_earlier_version_wrote_live_on<L: Log>(mut rig: Rig<L>) {
    let messi = rig.join("messi");
    rig.join("well");
    let account = rig.engine.live_account("messi").unwrap().number;
    let id = SentId([7; 16]);
    put_in_full(&mut rig, &posted(messi, "key", "Well", "halo"), account, id);
    let first = Receipt { id, time: Timestamp::from_millis(77), duplicate: false };
    for round in 0..23 {
        rig = rig.restart();
        again(&mut rig, messi, ("key", "wELL", "halo"), first);
        assert_eq!(rig.post(messi, "key", "well", "x"), Err(StoreError::KeyConflict));
        assert!(!rig.post(messi, &format!("other{round}"), "well", "halo").unwrap().duplicate);
        rig.run_for(HOUR);
        bury(&mut rig, messi, 10);
    }
    rig.run_for(HOUR * 2);
    rig.work(1_000);
    assert!(rig.engine.state.as_ref().unwrap().runs.keys_in_full.is_empty());
    assert!(!rig.post(messi, "key", "well", "x").unwrap().duplicate);
}

/// Puts a run as earlier versions wrote them in place of those that are there.
fn put_by_account<L: Log>(rig: &mut Rig<L>) {
    let (engine, mut slice, mut keys) = (&mut rig.engine, Slice::default(), Vec::new());
    let runs = &engine.state.as_ref().unwrap().runs;
    for run in &runs.keys {
        let mut found = Forward::from(&engine.log, RunKind::Keys, run.number, Key([0; 3])).unwrap();
        while let Some(Key([_, position, _])) = found.key() {
            let Some(Record::Message { message, key, .. }) = engine.log.posted(position).unwrap()
            else {
                panic!("no message");
            };
            let Key([owner, start, _]) = key.unwrap().key.by_account(message.sender);
            keys.push(Key([owner, start, position]));
            found.advance(&engine.log).unwrap();
        }
        slice.runs.push(RunChange::Drop { run: run.number, blocks: 1_000 });
    }
    keys.sort_unstable();
    let mut writer = Writer::new(engine.run_numbers + 1, RunKind::KeysByAccount, 1_000);
    keys.iter().for_each(|key| writer.push(*key, &[], &mut slice));
    writer.finish(engine.running().as_secs(), &mut slice);
    slice.running = Some(engine.running());
    engine.log.put(&slice).unwrap();
}

fn keys_that_an_earlier_version_wrote_by_account_live_on<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    rig.join("well");
    let posts: Vec<_> = (0..30).map(|n| format!("key{n}")).collect();
    let mut firsts = Vec::new();
    for key in &posts {
        firsts.push(rig.post(messi, key, "lineker", "halo").unwrap());
        rig.take(lineker, 10).unwrap();
    }
    bury(&mut rig, messi, 10);
    put_by_account(&mut rig);
    rig = rig.restart();
    let count = |rig: &Rig<L>| rig.engine.state.as_ref().unwrap().runs.keys_by_account.len();
    assert_eq!(count(&rig), 1);
    for round in 0..23 {
        for (key, first) in posts.iter().zip(&firsts) {
            again(&mut rig, messi, (key, "lineker", "halo"), *first);
            assert_eq!(rig.post(messi, key, "lineker", "x"), Err(StoreError::KeyConflict));
        }
        assert!(!rig.post(messi, &format!("other{round}"), "well", "halo").unwrap().duplicate);
        assert!(!rig.post(lineker, &format!("key{round}"), "well", "halo").unwrap().duplicate);
        rig.run_for(HOUR);
        bury(&mut rig, messi, 10);
        rig.work(1_000);
        assert_eq!(rig.engine.state.as_ref().unwrap().runs.alone(), 0, "all are gathered");
        if round % 4 == 0 {
            rig = rig.restart();
        }
    }
    rig.run_for(HOUR * 2);
    rig.work(1_000);
    assert_eq!(count(&rig), 0);
    assert!(!rig.post(messi, "key0", "lineker", "x").unwrap().duplicate);
}

fn a_message_that_an_earlier_version_stored_answers_too<L: Log>(mut rig: Rig<L>) {
    let messi = rig.join("messi");
    rig.join("well");
    let first = rig.post(messi, "key", "well", "halo").unwrap();
    // The same, but for what was kept to tell what was asked.
    let asked = posted(messi, "other", "Well", "halo");
    let position = rig.engine.state.as_ref().unwrap().pending.first;
    let Some(Record::Message { mailbox, message, .. }) =
        rig.engine.log.record(position - 1).unwrap()
    else {
        panic!("no message");
    };
    let message = Message { id: crate::MessageId::new(message.id.get() + 1), ..(*message).clone() };
    let keyed = Keyed { key: asked.key.unwrap(), request: asked.digest() };
    let record = Record::Message { mailbox, message: message.into(), key: Some(keyed) };
    let batch = Batch { first: position, records: vec![record], ..Batch::default() };
    rig.engine.log.append(&batch).unwrap();
    for _ in 0..2 {
        rig = rig.restart();
        let repeat = rig.post(messi, "other", "wELL", "halo").unwrap();
        assert!(repeat.duplicate && repeat.id != first.id);
        assert_eq!(rig.post(messi, "other", "well", "x"), Err(StoreError::KeyConflict));
        bury(&mut rig, messi, 10);
    }
}

fn what_was_posted_is_kept_as_long_as_its_key_lives<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    rig.join("well");
    let first = rig.post(messi, "key", "lineker", "halo").unwrap();
    rig.take(lineker, 10).unwrap();
    bury(&mut rig, messi, 10);
    for _ in 0..20 {
        // Use keeps the session alive.
        rig.clock.advance(DAY_MS * 10);
        again(&mut rig, messi, ("key", "lineker", "halo"), first);
        rig.work(1_000);
    }
    rig = rig.restart();
    again(&mut rig, messi, ("key", "lineker", "halo"), first);
    let oldest = rig.engine.state.as_ref().unwrap().runs.oldest_posted().unwrap();
    assert!(rig.engine.log.record(oldest).unwrap().is_none(), "retention goes on");
    rig.run_for(HOUR * 25);
    rig.work(1_000);
    assert!(!rig.post(messi, "key", "lineker", "halo").unwrap().duplicate);
}

fn keys_that_runs_cannot_tell_apart_are_told_apart<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    rig.join("well");
    let post = |rig: &mut Rig<L>, last: u8| {
        let mut key = [9; 16];
        key[15] = last;
        let mut message = outgoing(messi, "lineker", &last.to_string());
        message.key = Some(PostKey(key));
        let sent = rig.run(Operation::Send(vec![message]));
        let Ok(Answer::Sent(mut sent)) = sent else { panic!("not sent") };
        sent.pop().unwrap().unwrap()
    };
    let mut firsts = Vec::new();
    for last in 0..4 {
        firsts.push(post(&mut rig, last));
        bury(&mut rig, messi, 5);
    }
    for _ in 0..2 {
        for (last, first) in (0..).zip(&firsts) {
            assert!(!first.duplicate);
            assert_eq!(post(&mut rig, last), Receipt { duplicate: true, ..*first });
        }
        rig = rig.restart();
        rig.work(1_000);
    }
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["0", "1", "2", "3"]);
}

fn after_a_start_the_shared_filters_get_all_keys<L: Log>(mut rig: Rig<L>) {
    let messi = rig.join("messi");
    rig.join("well");
    let keys: Vec<_> = (0..200).map(|n| format!("key{n}")).collect();
    let mut firsts = Vec::new();
    for key in &keys {
        firsts.push(rig.post(messi, key, "well", "x").unwrap());
        rig.take_all("well");
        rig.work(3);
    }
    rig = rig.restart();
    for steps in [0, 1, 2, 5, 10, 1_000] {
        rig.work(steps);
        for (key, first) in keys.iter().zip(&firsts) {
            again(&mut rig, messi, (key, "well", "x"), *first);
        }
    }
    let runs = &rig.engine.state.as_ref().unwrap().runs;
    assert!(!runs.keys.is_empty() && runs.alone() == 0);
}

fn a_repeat_meets_what_is_still_being_committed<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let ahead = |rig: &mut Rig<L>, body: &str| {
        let post = Operation::Send(vec![posted(messi, "key", "lineker", body)]);
        rig.engine.run_ahead(vec![post], rig.clock.now())
    };
    assert!(ahead(&mut rig, "halo").is_empty());
    let mut outcomes = ahead(&mut rig, "halo");
    outcomes.extend(ahead(&mut rig, "another"));
    outcomes.extend(rig.engine.settle());
    let sent = outcomes.into_iter().map(|outcome| match outcome.unwrap() {
        Answer::Sent(mut sent) => sent.pop().unwrap(),
        other => panic!("{other:?}"),
    });
    let sent: Vec<_> = sent.collect();
    let first = sent[0].clone().unwrap();
    assert_eq!(sent[1], Ok(Receipt { duplicate: true, ..first }));
    assert_eq!(sent[2], Err(StoreError::KeyConflict));
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["halo"]);
}

on_a_synced_journal! {
    a_repeat_gets_the_first_reply_wherever_its_key_lies
    what_was_posted_is_kept_as_long_as_its_key_lives
    after_a_start_the_shared_filters_get_all_keys
    a_repeat_meets_what_is_still_being_committed
    running_time_is_written_with_each_flush
}

on_both_logs! {
    keys_that_an_earlier_version_wrote_live_on
    keys_that_an_earlier_version_wrote_by_account_live_on
    a_message_that_an_earlier_version_stored_answers_too
    what_was_posted_is_kept_as_long_as_its_key_lives
    keys_that_runs_cannot_tell_apart_are_told_apart
    after_a_start_the_shared_filters_get_all_keys
    a_repeat_meets_what_is_still_being_committed
    running_time_is_written_with_each_flush
    a_repeat_gets_the_first_reply_wherever_its_key_lies
    another_message_under_the_key_is_a_conflict
    a_repeat_is_answered_whatever_became_of_the_recipient
    a_refused_message_leaves_its_key_free
    in_one_commit_the_second_is_a_repeat_of_the_first
    each_account_has_keys_of_its_own
    keys_live_for_a_day_of_running_time_whatever_the_clock_says
    a_crash_makes_keys_live_longer_not_shorter
}

#[test]
fn an_account_has_so_many_keys_and_no_more() {
    let clock = TestClock::default();
    let options = StoreOptions { keys_per_account: 40, ..options(&clock) };
    let mut rig = Rig::with(SimulatedLog::new(), clock.clone(), &options).unwrap();
    let messi = rig.join("messi");
    let others = ["well", "lineker"].map(|name| rig.join(name));
    let mut keys = 0;
    let refused = loop {
        match rig.post(messi, &format!("key{keys}"), "well", "x") {
            Ok(_) => keys += 1,
            Err(error) => break error,
        }
        rig.post(others[1], &format!("key{keys}"), "lineker", "x").unwrap();
        rig.take_all("well");
        rig.take_all("lineker");
        rig.work(5);
        if keys == 20 {
            rig.run_for(HOUR);
            rig.work(100);
            rig = rig.restart_with(&options);
        }
        // Whoever has few keys is not held up.
        rig.post(others[0], &format!("few{}", keys / 10), "well", "x").unwrap();
    };
    // In each run it may be taken to have as many as the one who has fewest there.
    assert!((30..=40).contains(&keys), "{keys}");
    let StoreError::TooManyKeys { retry_after } = refused else { panic!("{refused}") };
    assert!(rig.post(messi, "key3", "well", "x").unwrap().duplicate, "repeats are answered");
    rig.send(messi, "well", "without a key").unwrap();
    assert!(retry_after <= HOUR * 24);
    rig.run_for(retry_after);
    rig.work(1_000);
    rig.post(messi, "again", "well", "x").unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_not_committed_uses_no_key_up() {
    let (mut rig, log) = Rig::simulated();
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    log.fail(Some(Fault::NoSpace));
    for _ in 0..2 {
        let refused = rig.post(messi, "key", "lineker", "halo");
        assert_eq!(refused, Err(StoreError::NoSpace));
    }
    log.fail(None);
    tokio::time::advance(Duration::from_secs(10)).await;
    rig.work(1);
    assert!(!rig.post(messi, "key", "lineker", "halo").unwrap().duplicate);
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["halo"]);
}

/// The number of the oldest file of the journal.
#[cfg(feature = "embedded")]
fn oldest_file(directory: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(directory.join("journal")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.map(|name| name[..8].parse().unwrap()).min().unwrap()
}

#[cfg(feature = "embedded")]
#[test]
fn a_file_goes_when_the_time_of_the_last_key_that_leads_into_it_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(super::rig::synced(directory.path()), TestClock::default());
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let post = ("key", "lineker", "halo");
    let talk = |rig: &mut Rig<_>| {
        for _ in 0..40 {
            rig.send(messi, "lineker", "more").unwrap();
            rig.take(lineker, 10).unwrap();
        }
        rig.work(1_000);
    };
    talk(&mut rig);
    let first = rig.post(messi, post.0, post.1, post.2).unwrap();
    talk(&mut rig);
    // Use keeps the sessions alive.
    for _ in 0..4 {
        rig.clock.advance(DAY_MS * 10);
        rig.peek_all(messi).unwrap();
        rig.peek_all(lineker).unwrap();
        rig.work(1_000);
    }
    let kept = oldest_file(directory.path());
    assert!(kept > 1, "what is before it has gone");
    for _ in 0..2 {
        assert!(
            super::super::log::View::record(&rig.engine.log, 4).unwrap().is_none(),
            "retention went on"
        );
        again(&mut rig, messi, post, first);
        rig.run_for(HOUR * 11);
        rig.work(1_000);
        assert_eq!(oldest_file(directory.path()), kept);
        crate::store::backend::Backend::close(&mut rig.engine).unwrap();
        rig = rig.restart();
        rig.work(1_000);
    }
    again(&mut rig, messi, post, first);
    rig.run_for(HOUR * 3);
    rig.clock.advance(60_000);
    rig.work(1_000);
    rig.clock.advance(60_000);
    rig.work(1_000);
    assert!(oldest_file(directory.path()) > kept);
    assert!(!rig.post(messi, post.0, post.1, post.2).unwrap().duplicate);
    rig = rig.restart();
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["halo"]);
}
