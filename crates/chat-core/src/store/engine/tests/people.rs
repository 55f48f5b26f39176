//! Blocking, and who learns of what was delivered.

use super::rig::{Rig, TestClock, bodies, hashed, on_both_logs, outgoing};
use crate::protocol::DeliveryState::{self, Delivered, Stored};
use crate::store::engine::log::Log;
use crate::store::engine::simulated::Fault;
use crate::store::request::{Answer, Operation};
use crate::store::{PrivacyChoice, PrivacySubject, SentId, SessionKey, StoreError};

fn block<L: Log>(
    rig: &mut Rig<L>,
    session: SessionKey,
    username: &str,
    on: bool,
) -> Result<(), StoreError> {
    rig.run(Operation::Block { session, username: username.into(), on }).map(drop)
}

/// Sends and has it delivered; gives what the sender sees of it.
fn state<L: Log>(
    rig: &mut Rig<L>,
    from: SessionKey,
    to: (SessionKey, &str),
) -> Result<DeliveryState, StoreError> {
    let id = sent(rig, from, to.1);
    rig.take(to.0, 100)?;
    state_of(rig, from, id)
}

fn sent<L: Log>(rig: &mut Rig<L>, from: SessionKey, to: &str) -> SentId {
    let messages = vec![outgoing(from, to, "halo")];
    let Ok(Answer::Sent(mut sent)) = rig.run(Operation::Send(messages)) else { panic!("not sent") };
    sent.pop().unwrap().unwrap().id
}

fn state_of<L: Log>(
    rig: &mut Rig<L>,
    session: SessionKey,
    id: SentId,
) -> Result<DeliveryState, StoreError> {
    match rig.run(Operation::Status { session, id })? {
        Answer::Status(status) => Ok(status.state),
        other => panic!("{other:?}"),
    }
}

fn receipts<L: Log>(rig: &mut Rig<L>, session: SessionKey, choice: PrivacyChoice) {
    let subject = PrivacySubject::Receipts;
    rig.run(Operation::SetPrivacy { session, subject, choice }).unwrap();
}

const REFUSED: Result<(), StoreError> = Err(StoreError::NotAllowed);

fn a_blocked_sender_is_refused_and_nobody_else<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let henderson = rig.join("henderson");
    rig.send(messi, "lineker", "before").unwrap();
    block(&mut rig, lineker, "MESSI", true).unwrap();
    for _ in 0..3 {
        assert_eq!(rig.send(messi, "lineker", "refused"), REFUSED);
        rig.send(henderson, "lineker", "from another").unwrap();
        rig.send(lineker, "messi", "the other way").unwrap();
        // Out of memory and in again.
        rig.work(100);
        rig = rig.restart();
    }
    let expected = ["before", "from another", "from another", "from another"];
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), expected);
    block(&mut rig, lineker, "messi", false).unwrap();
    for _ in 0..2 {
        rig.send(messi, "lineker", "again").unwrap();
        rig.work(100);
        rig = rig.restart();
    }
}

fn blocking_again_changes_nothing<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    block(&mut rig, lineker, "messi", false).unwrap();
    for _ in 0..2 {
        block(&mut rig, lineker, "messi", true).unwrap();
        block(&mut rig, lineker, "Messi", true).unwrap();
        assert_eq!(rig.send(messi, "lineker", "refused"), REFUSED);
        rig = rig.restart();
    }
    block(&mut rig, lineker, "messi", false).unwrap();
    rig = rig.restart();
    rig.send(messi, "lineker", "once is enough").unwrap();
}

fn changes_within_one_commit_come_in_order<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let block = |on| Operation::Block { session: lineker, username: "messi".into(), on };
    let send = || Operation::Send(vec![outgoing(messi, "lineker", "halo")]);
    let outcomes =
        rig.run_all(vec![send(), block(true), send(), block(false), send(), block(true), send()]);
    let sent: Vec<_> = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome.unwrap() {
            Answer::Sent(mut sent) => Some(sent.pop().unwrap().map(drop)),
            _ => None,
        })
        .collect();
    assert_eq!(sent, [Ok(()), REFUSED, Ok(()), REFUSED]);
    rig = rig.restart();
    assert_eq!(rig.send(messi, "lineker", "halo"), REFUSED);
}

fn refusal_comes_behind_what_the_sender_did_wrong_and_before_the_quota<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let henderson = rig.join("henderson");
    block(&mut rig, lineker, "messi", true).unwrap();
    let control = rig.send(messi, "lineker", "\u{7}");
    assert!(matches!(control, Err(StoreError::BadArguments(_))));
    assert_eq!(rig.send(messi, "nobody", "halo"), Err(StoreError::NoSuchRecipient));
    while rig.send(henderson, "lineker", "halo").is_ok() {}
    assert_eq!(rig.send(messi, "lineker", "full or not"), REFUSED);
}

fn only_others_who_exist_can_be_blocked<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    for on in [true, false] {
        let own = block(&mut rig, lineker, "LINEKER", on);
        assert!(matches!(own, Err(StoreError::BadArguments(_))));
        assert_eq!(block(&mut rig, lineker, "nobody", on), Err(StoreError::NoSuchUser));
        assert_eq!(block(&mut rig, lineker, "", on), Err(StoreError::NoSuchUser));
        let no_session = block(&mut rig, SessionKey([9; 32]), "messi", on);
        assert_eq!(no_session, Err(StoreError::NoSession));
    }
    rig.send(lineker, "lineker", "a note").unwrap();
    block(&mut rig, lineker, "messi", true).unwrap();
    rig.run(Operation::Remove { username: "messi".into() }).unwrap();
    assert_eq!(block(&mut rig, lineker, "messi", true), Err(StoreError::NoSuchUser));
    block(&mut rig, lineker, "messi", false).unwrap();
    // Who comes under the same name is somebody else.
    block(&mut rig, lineker, "messi", false).unwrap();
    rig.run(Operation::Release { username: "messi".into() }).unwrap();
    assert_eq!(block(&mut rig, lineker, "messi", false), Err(StoreError::NoSuchUser));
    let second = rig.join("messi");
    assert_ne!(second, messi);
    rig.send(second, "lineker", "halo").unwrap();
}

fn a_thousand_can_be_blocked_not_counting_who_is_gone<L: Log>(mut rig: Rig<L>) {
    let lineker = rig.join("lineker");
    let name = |n: u32| format!("user{n}");
    let create = (0..1_002).map(|n| Operation::Create(hashed(&name(n)))).collect();
    assert!(rig.run_all(create).iter().all(Result::is_ok));
    let blocks = (0..1_000).map(|n| Operation::Block {
        session: lineker,
        username: name(n).into(),
        on: true,
    });
    let blocks = blocks.collect();
    assert!(rig.run_all(blocks).iter().all(Result::is_ok));
    rig = rig.restart();
    let one_more = block(&mut rig, lineker, "user1000", true);
    assert!(matches!(one_more, Err(StoreError::BadArguments(_))));
    block(&mut rig, lineker, "user7", true).unwrap();
    rig.run(Operation::Remove { username: "user7".into() }).unwrap();
    rig.run(Operation::Release { username: "user7".into() }).unwrap();
    block(&mut rig, lineker, "user1000", true).unwrap();
    rig = rig.restart();
    let one_more = block(&mut rig, lineker, "user1001", true);
    assert!(matches!(one_more, Err(StoreError::BadArguments(_))));
    block(&mut rig, lineker, "user8", false).unwrap();
    block(&mut rig, lineker, "user1001", true).unwrap();
}

fn receipts_go_to_whom_the_choice_names<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let to = (lineker, "lineker");
    assert_eq!(state(&mut rig, messi, to), Ok(Stored), "lineker never wrote to messi");
    receipts(&mut rig, lineker, PrivacyChoice::On);
    assert_eq!(state(&mut rig, messi, to), Ok(Delivered));
    rig.work(100);
    rig = rig.restart();
    assert_eq!(state(&mut rig, messi, to), Ok(Delivered));
    receipts(&mut rig, lineker, PrivacyChoice::Off);
    rig.send(lineker, "messi", "halo").unwrap();
    assert_eq!(state(&mut rig, messi, to), Ok(Stored));
    receipts(&mut rig, lineker, PrivacyChoice::Default);
    assert_eq!(state(&mut rig, messi, to), Ok(Delivered), "lineker wrote to messi");
    let henderson = rig.join("henderson");
    rig.send(henderson, "messi", "halo").unwrap();
    assert_eq!(state(&mut rig, henderson, to), Ok(Stored), "and not to henderson");
}

fn whom_the_recipient_wrote_to_long_ago_still_learns<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    rig.send(lineker, "messi", "halo").unwrap();
    for _ in 0..3 {
        rig.clock.advance(2 * 60 * 60 * 1000);
        rig.work(100);
        rig = rig.restart();
        assert_eq!(state(&mut rig, messi, (lineker, "lineker")), Ok(Delivered));
    }
}

fn a_repeat_of_what_was_stored_is_answered_though_the_sender_is_blocked<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let post = |rig: &mut Rig<L>, key: &str| {
        let mut message = outgoing(messi, "lineker", "halo");
        message.key = crate::store::PostKey::new(key);
        match rig.run(Operation::Send(vec![message])).unwrap() {
            Answer::Sent(mut sent) => sent.pop().unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let first = post(&mut rig, "one").unwrap();
    block(&mut rig, lineker, "messi", true).unwrap();
    let repeat = post(&mut rig, "one").unwrap();
    assert_eq!((repeat.id, repeat.duplicate), (first.id, true));
    assert_eq!(post(&mut rig, "two").unwrap_err(), StoreError::NotAllowed);
    block(&mut rig, lineker, "messi", false).unwrap();
    let second = post(&mut rig, "two").unwrap();
    assert!(!second.duplicate, "what was refused does not use the key up");
}

fn a_choice_holds_for_what_was_sent_before<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let id = sent(&mut rig, messi, "lineker");
    rig.take(lineker, 1).unwrap();
    for (choice, expected) in [(PrivacyChoice::On, Delivered), (PrivacyChoice::Off, Stored)] {
        receipts(&mut rig, lineker, choice);
        assert_eq!(state_of(&mut rig, messi, id), Ok(expected));
    }
}

fn who_is_blocked_learns_nothing<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    receipts(&mut rig, lineker, PrivacyChoice::On);
    let id = sent(&mut rig, messi, "lineker");
    rig.take(lineker, 1).unwrap();
    assert_eq!(state_of(&mut rig, messi, id), Ok(Delivered));
    block(&mut rig, lineker, "messi", true).unwrap();
    assert_eq!(state_of(&mut rig, messi, id), Ok(Stored));
    block(&mut rig, lineker, "messi", false).unwrap();
    assert_eq!(state_of(&mut rig, messi, id), Ok(Delivered));
}

/// Whether messi is listed among the active, and as active in the directory.
fn lists_messi<L: Log>(rig: &mut Rig<L>, session: SessionKey) -> (bool, bool) {
    let directory = Some(("".into(), 10));
    match rig.run(Operation::List { session, directory }).unwrap() {
        Answer::Listing(listing) => {
            let entries = listing.directory.unwrap().entries;
            let messi = entries.iter().find(|entry| &*entry.username == "messi").unwrap();
            (listing.active.iter().any(|user| &**user == "messi"), messi.active)
        }
        other => panic!("{other:?}"),
    }
}

fn lists_leave_out_who_wants_nobody_to_know<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let choose = |rig: &mut Rig<L>, choice| {
        let subject = PrivacySubject::Presence;
        rig.run(Operation::SetPrivacy { session: messi, subject, choice }).unwrap();
    };
    choose(&mut rig, PrivacyChoice::Off);
    assert_eq!(lists_messi(&mut rig, lineker), (false, false));
    assert_eq!(lists_messi(&mut rig, messi), (true, true), "to oneself");
    choose(&mut rig, PrivacyChoice::Default);
    assert_eq!(lists_messi(&mut rig, lineker), (true, true));
}

fn lists_do_not_tell_who_is_blocked<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker, arini) = (rig.join("messi"), rig.join("lineker"), rig.join("arini"));
    block(&mut rig, messi, "lineker", true).unwrap();
    assert_eq!(lists_messi(&mut rig, lineker), (false, false));
    assert_eq!(lists_messi(&mut rig, arini), (true, true));
    assert_eq!(lists_messi(&mut rig, messi), (true, true), "to oneself");
    block(&mut rig, messi, "lineker", false).unwrap();
    assert_eq!(lists_messi(&mut rig, lineker), (true, true));
}

on_both_logs! {
    lists_do_not_tell_who_is_blocked
    lists_leave_out_who_wants_nobody_to_know
    a_blocked_sender_is_refused_and_nobody_else
    blocking_again_changes_nothing
    changes_within_one_commit_come_in_order
    refusal_comes_behind_what_the_sender_did_wrong_and_before_the_quota
    only_others_who_exist_can_be_blocked
    a_thousand_can_be_blocked_not_counting_who_is_gone
    receipts_go_to_whom_the_choice_names
    whom_the_recipient_wrote_to_long_ago_still_learns
    a_repeat_of_what_was_stored_is_answered_though_the_sender_is_blocked
    a_choice_holds_for_what_was_sent_before
    who_is_blocked_learns_nothing
}

#[tokio::test(start_paused = true)]
async fn what_was_not_committed_does_not_block() {
    let (mut rig, log) = Rig::simulated();
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    for (on, expected) in [(true, Ok(())), (false, REFUSED)] {
        log.fail(Some(Fault::NoSpace));
        assert_eq!(block(&mut rig, lineker, "messi", on), Err(StoreError::NoSpace));
        log.fail(None);
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        rig.work(1);
        assert_eq!(rig.send(messi, "lineker", "halo"), expected);
        block(&mut rig, lineker, "messi", on).unwrap();
    }
    rig.send(messi, "lineker", "halo").unwrap();
}

#[test]
fn a_lifted_block_stays_lifted_when_the_plug_is_pulled() {
    let (mut rig, log) = Rig::simulated();
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    block(&mut rig, lineker, "messi", true).unwrap();
    block(&mut rig, lineker, "messi", false).unwrap();
    log.pull_plug(0);
    let mut rig = Rig::new(log.clone(), TestClock::default());
    rig.send(messi, "lineker", "halo").unwrap();
    block(&mut rig, lineker, "messi", true).unwrap();
    log.pull_plug(0);
    let mut rig = Rig::new(log, TestClock::default());
    assert_eq!(rig.send(messi, "lineker", "halo"), REFUSED);
}
