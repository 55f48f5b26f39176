//! What became of a message: stored, delivered and when, and who may ask.

use super::rig::{Rig, TestClock, on_both_logs, options, outgoing};
use super::served::Served;
use crate::protocol::DeliveryState;
use crate::store::engine::SimulatedLog;
use crate::store::engine::log::Log;
use crate::store::request::{Answer, Operation};
use crate::store::{
    AccountNumber, DeliveryStatus, PrivacyChoice, PrivacySubject, SentId, SessionKey, StoreError,
};
use crate::{MessageId, Timestamp};

const DAY: i64 = 24 * 60 * 60 * 1000;
const GONE: Result<Seen, StoreError> = Err(StoreError::NoSuchMessage);

/// When it was stored and delivered, in milliseconds.
type Seen = (i64, Option<i64>);

fn send<L: Log>(rig: &mut Rig<L>, from: SessionKey, to: &str) -> SentId {
    let messages = vec![outgoing(from, to, "halo")];
    let Ok(Answer::Sent(mut sent)) = rig.run(Operation::Send(messages)) else { panic!("not sent") };
    sent.pop().unwrap().unwrap().id
}

fn ask<L: Log>(
    rig: &mut Rig<L>,
    session: SessionKey,
    id: SentId,
) -> Result<DeliveryStatus, StoreError> {
    match rig.run(Operation::Status { session, id })? {
        Answer::Status(status) => Ok(status),
        other => panic!("{other:?}"),
    }
}

/// The times, and that the state says the same.
fn seen<L: Log>(rig: &mut Rig<L>, session: SessionKey, id: SentId) -> Result<Seen, StoreError> {
    let status = ask(rig, session, id)?;
    assert_eq!(status.pushed, None);
    assert_eq!(status.state == DeliveryState::Delivered, status.delivered.is_some());
    Ok((status.stored.as_millis(), status.delivered.map(Timestamp::as_millis)))
}

fn receipts<L: Log>(rig: &mut Rig<L>, session: SessionKey, choice: PrivacyChoice) {
    let subject = PrivacySubject::Receipts;
    rig.run(Operation::SetPrivacy { session, subject, choice }).unwrap();
}

/// A sender, and a recipient who lets everybody know.
fn two<L: Log>(rig: &mut Rig<L>) -> (SessionKey, SessionKey) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    receipts(rig, lineker, PrivacyChoice::On);
    (messi, lineker)
}

fn a_message_is_stored_until_it_is_delivered<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = two(&mut rig);
    rig.clock.advance(5_000);
    let sent: Vec<_> = (0..4).map(|_| send(&mut rig, messi, "lineker")).collect();
    assert_eq!(seen(&mut rig, messi, sent[0]), Ok((5_000, None)));
    rig.clock.advance(2_000);
    rig.take(lineker, 2).unwrap();
    rig.clock.advance(2_000);
    rig.ack(lineker, 3).unwrap();
    let expected = [Some(7_000), Some(7_000), Some(9_000), None];
    let check = |rig: &mut Rig<L>| {
        for (id, delivered) in sent.iter().zip(expected) {
            assert_eq!(seen(rig, messi, *id), Ok((5_000, delivered)));
        }
    };
    check(&mut rig);
    // What was only in memory is made anew from the log, then comes from the tables, then from both.
    rig = rig.restart();
    check(&mut rig);
    rig.work(100);
    check(&mut rig);
    rig = rig.restart();
    check(&mut rig);
    rig.clock.advance(1_000);
    rig.ack(lineker, 4).unwrap();
    assert_eq!(seen(&mut rig, messi, sent[3]), Ok((5_000, Some(10_000))));
    assert_eq!(seen(&mut rig, messi, sent[0]), Ok((5_000, Some(7_000))));
}

fn notes_to_oneself_have_receipts_whatever_the_choice<L: Log>(mut rig: Rig<L>) {
    let messi = rig.join("messi");
    receipts(&mut rig, messi, PrivacyChoice::Off);
    let id = send(&mut rig, messi, "messi");
    rig.take(messi, 1).unwrap();
    assert_eq!(seen(&mut rig, messi, id), Ok((0, Some(0))));
}

fn nobody_learns_of_messages_that_are_not_theirs<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = two(&mut rig);
    let henderson = rig.join("henderson");
    let id = send(&mut rig, messi, "lineker");
    send(&mut rig, henderson, "lineker");
    // The recipient is not the sender either.
    for other in [lineker, henderson] {
        assert_eq!(seen(&mut rig, other, id), GONE);
    }
    let state = rig.engine.state.as_ref().unwrap();
    let incarnation = state.incarnations[0].1;
    let tag = super::super::opaque::tag(&incarnation);
    let sent =
        |mailbox, id, tag| state.opaque.sent(AccountNumber(mailbox), MessageId::new(id), tag);
    assert_eq!(sent(2, 1, tag), id);
    let wrong = [
        sent(2, 0, tag),
        sent(2, 2, tag),
        sent(2, 3, tag),
        sent(2, u64::MAX, tag),
        sent(2, 1, tag ^ 1),
        sent(1, 1, tag),
        sent(0, 1, tag),
        sent(99, 1, tag),
        sent(u64::from(u32::MAX), 1, tag),
    ];
    for id in wrong {
        assert_eq!(seen(&mut rig, messi, id), GONE);
    }
    for n in 0..1_000_u128 {
        let made_up = SentId((n * 0x1234_5678_9abc_def0_1357_9bdf).to_be_bytes());
        assert_eq!(seen(&mut rig, messi, made_up), GONE);
    }
    let unknown = SessionKey([9; 32]);
    assert_eq!(seen(&mut rig, unknown, id), Err(StoreError::NoSession));
}

fn a_removed_recipient_leaves_no_status<L: Log>(mut rig: Rig<L>) {
    let (messi, _) = two(&mut rig);
    let id = send(&mut rig, messi, "lineker");
    rig.run(Operation::Remove { username: "lineker".into() }).unwrap();
    assert_eq!(seen(&mut rig, messi, id), GONE);
    rig.work(100);
    rig = rig.restart();
    rig.run(Operation::Release { username: "lineker".into() }).unwrap();
    let lineker = rig.join("lineker");
    receipts(&mut rig, lineker, PrivacyChoice::On);
    send(&mut rig, messi, "lineker");
    assert_eq!(seen(&mut rig, messi, id), GONE, "the new account has a mailbox of its own");
}

fn times_live_as_long_as_the_message<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = two(&mut rig);
    let mut delivered: Vec<SentId> = Vec::new();
    for _ in 0..61 {
        delivered.push(send(&mut rig, messi, "lineker"));
        rig.take(lineker, 1).unwrap();
        rig.clock.advance(2_000);
    }
    // The last one lies in another index row than what is before it.
    let parked: Vec<_> = (0..3).map(|_| send(&mut rig, messi, "lineker")).collect();
    rig.work(100);
    let late = rig.clock_now();
    rig.clock.advance(20 * DAY);
    // Use keeps the sessions alive.
    rig.peek_all(messi).unwrap();
    rig.peek_all(lineker).unwrap();
    assert_eq!(seen(&mut rig, messi, delivered[60]), Ok((120_000, Some(120_000))));
    rig.clock.advance(11 * DAY);
    rig.work(100);
    assert!(delivered.iter().all(|id| seen(&mut rig, messi, *id) == GONE));
    rig = rig.restart();
    for id in &parked {
        assert_eq!(seen(&mut rig, messi, *id), Ok((late, None)));
    }
    // To whom the recipient tells nothing, not even that: delivered ones are gone by now.
    receipts(&mut rig, lineker, PrivacyChoice::Off);
    assert_eq!(seen(&mut rig, messi, parked[0]), GONE);
    receipts(&mut rig, lineker, PrivacyChoice::On);
    // Delivered after all: with its time, as long as it is there.
    rig.ack(lineker, 63).unwrap();
    let now = rig.clock_now();
    assert_eq!(seen(&mut rig, messi, parked[1]), Ok((late, Some(now))));
    assert_eq!(seen(&mut rig, messi, parked[2]), Ok((late, None)));
    rig = rig.restart();
    assert_eq!(seen(&mut rig, messi, parked[1]), Ok((late, Some(now))));
    rig.clock.advance(2 * 60 * 60 * 1000);
    rig.work(100);
    assert_eq!(seen(&mut rig, messi, parked[1]), GONE);
    assert_eq!(seen(&mut rig, messi, parked[2]), Ok((late, None)));
}

fn what_age_took_is_gone_though_it_is_still_in_memory<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = two(&mut rig);
    let id = send(&mut rig, messi, "lineker");
    rig.take(lineker, 1).unwrap();
    rig.clock.advance(29 * DAY);
    rig.peek_all(messi).unwrap();
    assert_eq!(seen(&mut rig, messi, id), Ok((0, Some(0))));
    rig.clock.advance(2 * DAY);
    rig.work(100);
    assert_eq!(seen(&mut rig, messi, id), GONE);
}

fn a_clock_set_back_leaves_the_times_as_they_were<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = two(&mut rig);
    rig.clock.advance(DAY);
    let sent: Vec<_> = (0..3).map(|_| send(&mut rig, messi, "lineker")).collect();
    rig.ack(lineker, 1).unwrap();
    rig.clock.advance(-3_600_000);
    rig.ack(lineker, 2).unwrap();
    let early = send(&mut rig, messi, "lineker");
    rig.clock.advance(10_000);
    rig.ack(lineker, 4).unwrap();
    for _ in 0..2 {
        // Nothing is delivered before it was stored.
        for id in &sent {
            assert_eq!(seen(&mut rig, messi, *id), Ok((DAY, Some(DAY))));
        }
        let stored = DAY - 3_600_000;
        assert_eq!(seen(&mut rig, messi, early), Ok((stored, Some(stored + 10_000))));
        rig.work(100);
        rig = rig.restart();
    }
}

fn delivery_is_not_before_storing<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = two(&mut rig);
    send(&mut rig, messi, "lineker");
    rig.take(lineker, 1).unwrap();
    rig.clock.advance(900);
    let second = send(&mut rig, messi, "lineker");
    rig.take(lineker, 1).unwrap();
    assert_eq!(seen(&mut rig, messi, second), Ok((900, Some(900))));
}

on_both_logs! {
    a_message_is_stored_until_it_is_delivered
    notes_to_oneself_have_receipts_whatever_the_choice
    nobody_learns_of_messages_that_are_not_theirs
    a_removed_recipient_leaves_no_status
    times_live_as_long_as_the_message
    what_age_took_is_gone_though_it_is_still_in_memory
    a_clock_set_back_leaves_the_times_as_they_were
    delivery_is_not_before_storing
}

#[test]
fn one_time_a_second_is_kept() {
    let log = SimulatedLog::new();
    let mut options = options(&TestClock::default());
    options.stretch = 1_000;
    let clock = TestClock::default();
    options.clock = std::sync::Arc::new(clock.clone());
    let mut rig = Rig::with(log.clone(), clock, &options).unwrap();
    let (messi, lineker) = two(&mut rig);
    for _ in 0..300 {
        send(&mut rig, messi, "lineker");
        rig.take(lineker, 1).unwrap();
        rig.clock.advance(10);
    }
    rig.clock.advance(2 * 60 * 60 * 1000);
    rig.work(1_000);
    assert_eq!(log.deliveries(), 3);
}

#[test]
fn times_go_with_what_is_beyond_the_count() {
    let log = SimulatedLog::new();
    let clock = TestClock::default();
    let mut options = options(&clock);
    options.retention_messages = 100;
    let mut rig = Rig::with(log.clone(), clock, &options).unwrap();
    let (messi, lineker) = two(&mut rig);
    let mut sent = Vec::new();
    for _ in 0..400 {
        sent.push(send(&mut rig, messi, "lineker"));
        rig.take(lineker, 1).unwrap();
        rig.clock.advance(2_000);
        rig.work(10);
    }
    // 100 and what lies in the same index row.
    assert!((100..=164).contains(&log.deliveries()), "{}", log.deliveries());
    for id in &sent[300..] {
        let (stored, delivered) = seen(&mut rig, messi, *id).unwrap();
        assert_eq!(delivered, Some(stored));
    }
    assert!(sent[..200].iter().all(|id| seen(&mut rig, messi, *id) == GONE));
}

#[cfg(feature = "embedded")]
#[test]
fn ids_from_before_a_copy_was_put_back_tell_of_no_other_message() {
    use crate::store::backend::Backend as _;
    use crate::store::engine::SqliteLog;
    use crate::store::engine::log::View as _;
    use crate::store::engine::tests::rig::{copy_store, relaxed, remove_store, roomy};

    let directory = tempfile::tempdir().unwrap();
    let backup = tempfile::tempdir().unwrap();
    let clock = TestClock::default();
    let open = || Rig::with(relaxed(directory.path()), clock.clone(), &roomy(&clock)).unwrap();
    let mut rig = open();
    let (messi, _) = two(&mut rig);
    let kept = send(&mut rig, messi, "lineker");
    rig.engine.close().unwrap();
    drop(rig);
    copy_store(directory.path(), backup.path());
    let mut rig = open();
    let lost = send(&mut rig, messi, "lineker");
    assert_eq!(seen(&mut rig, messi, lost), Ok((0, None)));
    rig.engine.close().unwrap();
    drop(rig);
    remove_store(directory.path());
    copy_store(backup.path(), directory.path());
    let mut rig = open();
    clock.advance(1_000);
    let next = send(&mut rig, messi, "lineker");
    let check = |rig: &mut Rig<SqliteLog>| {
        assert_eq!(seen(rig, messi, kept), Ok((0, None)));
        assert_eq!(seen(rig, messi, lost), GONE);
        assert_eq!(seen(rig, messi, next), Ok((1_000, None)));
    };
    check(&mut rig);
    // When they leave the log, too.
    for _ in 0..70 {
        send(&mut rig, messi, "lineker");
    }
    rig.work(100);
    clock.advance(29 * DAY);
    rig.peek_all(messi).unwrap();
    clock.advance(2 * DAY);
    rig.work(100);
    assert!(rig.engine.log.records(1, 1).unwrap().is_empty());
    check(&mut rig);
}

#[tokio::test(start_paused = true)]
async fn what_was_written_to_a_watch_is_pushed_until_it_is_delivered_or_the_store_restarts() {
    let mut served = Served::new(SimulatedLog::new());
    let (messi, lineker) = two(&mut served.rig);
    let watch = served.undelivered(lineker).await;
    let ids: Vec<_> = (0..3).map(|_| send(&mut served.rig, messi, "lineker")).collect();
    served.rig.clock.advance(3_000);
    watch.pushed(MessageId::new(2), served.now());
    let state = |rig: &mut Rig<SimulatedLog>, at: usize| {
        let status = ask(rig, messi, ids[at]).unwrap();
        (status.state, status.pushed.map(Timestamp::as_millis))
    };
    let rig = &mut served.rig;
    let pushed = (DeliveryState::Pushed, Some(3_000));
    assert_eq!([0, 1, 2].map(|at| state(rig, at)), [pushed, pushed, (DeliveryState::Stored, None)]);
    // Whom it does not concern is not told that either.
    receipts(rig, lineker, PrivacyChoice::Off);
    assert_eq!(state(rig, 0), (DeliveryState::Stored, None));
    receipts(rig, lineker, PrivacyChoice::On);
    rig.ack(lineker, 1).unwrap();
    assert_eq!(state(rig, 0).0, DeliveryState::Delivered);
    assert_eq!(state(rig, 1), pushed);
    let mut rig = served.rig.restart();
    assert_eq!(state(&mut rig, 0).0, DeliveryState::Delivered);
    assert_eq!(state(&mut rig, 1), (DeliveryState::Stored, None));
}
