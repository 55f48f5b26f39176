//! Conversations: both ways, in pages, limited by age alone.

use super::rig::{Rig, TestClock, on_both_logs, options};
use crate::store::backend::PageError;
use crate::store::engine::log::Log;
use crate::store::engine::{Engine, SimulatedLog};
use crate::store::request::Operation;
use crate::store::{
    AccountNumber, ConversationEntry, EntryId, HistoryCursor, PageLimit, SessionKey, StoreError,
    StoreOptions,
};

const DAY: i64 = 24 * 60 * 60 * 1000;

fn texts(entries: &[ConversationEntry]) -> Vec<&str> {
    entries.iter().map(|entry| &*entry.message.body).collect()
}

fn number<L: Log>(engine: &mut Engine<L>, name: &str) -> AccountNumber {
    engine.live_account(name).unwrap().number
}

fn both_ways_in_pages_of_any_size_newest_page_first<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let arini = rig.join("arini");
    let mut expected: Vec<String> = Vec::new();
    for n in 0..100_usize {
        let text = n.to_string();
        match n % 5 {
            0 | 3 => rig.send(messi, "lineker", &text).unwrap(),
            1 => rig.send(lineker, "MESSI", &text).unwrap(),
            _ => {
                rig.send(arini, "messi", "another").unwrap();
                rig.send(lineker, "arini", "conversation").unwrap();
                ["messi", "lineker", "arini"].iter().for_each(|name| rig.take_all(name));
            }
        }
        if n % 5 != 2 && n % 5 != 4 {
            expected.push(text);
        }
        rig.work(n % 4);
        if n % 17 == 0 {
            rig = rig.restart();
        }
        if n % 10 == 0 || n == 99 {
            for most in [1, 3, 7, 1_000] {
                let found = rig.whole_history(messi, "Lineker", most).unwrap();
                assert_eq!(texts(&found), expected);
                let other = rig.whole_history(lineker, "messi", most).unwrap();
                assert_eq!(texts(&other), expected);
                for (mine, theirs) in found.iter().zip(other) {
                    let from_me = &*mine.message.from == "messi";
                    assert_eq!(matches!(mine.id, EntryId::Out(_)), from_me);
                    assert_eq!(matches!(theirs.id, EntryId::In(_)), from_me);
                }
            }
        }
    }
}

fn what_is_sent_is_known_by_the_same_id<L: Log>(mut rig: Rig<L>) {
    let messi = rig.join("messi");
    rig.join("lineker");
    let first = rig.post(messi, "key", "lineker", "halo").unwrap();
    for _ in 0..5 {
        let page = rig.history(messi, "lineker", None, 100).unwrap();
        assert_eq!(page.entries[0].id, EntryId::Out(first.id));
        assert_eq!((&*page.username, &*page.peer), ("messi", "lineker"));
        (0..5).for_each(|n| rig.send(messi, "lineker", &n.to_string()).unwrap());
        rig.take_all("lineker");
        rig.work(100);
        rig = rig.restart();
    }
}

fn with_oneself_each_message_is_there_once_as_received<L: Log>(mut rig: Rig<L>) {
    let messi = rig.join("messi");
    for n in 0..30_u64 {
        rig.send(messi, "messi", &n.to_string()).unwrap();
        rig.take_all("messi");
        rig.work(3);
        let found = rig.whole_history(messi, "messi", 4).unwrap();
        let ids: Vec<_> = found.iter().map(|entry| entry.id).collect();
        let expected: Vec<_> =
            (1..=n + 1).map(|id| EntryId::In(crate::MessageId::new(id))).collect();
        assert_eq!(ids, expected);
    }
}

fn who_never_existed_has_none_and_who_was_removed_has<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let nobody = |rig: &mut Rig<L>, name: &str| {
        assert_eq!(rig.history(messi, name, None, 10).unwrap_err(), StoreError::NoSuchUser);
    };
    nobody(&mut rig, "nobody");
    nobody(&mut rig, "");
    assert!(rig.history(messi, "lineker", None, 10).unwrap().entries.is_empty());
    rig.send(messi, "lineker", "halo").unwrap();
    rig.send(lineker, "messi", "juga").unwrap();
    rig.run(Operation::Remove { username: "lineker".into() }).unwrap();
    for _ in 0..3 {
        let found = rig.whole_history(messi, "lineker", 10).unwrap();
        assert_eq!(texts(&found), ["halo", "juga"]);
        (0..9).for_each(|_| rig.send(messi, "messi", "x").unwrap());
        rig.take_all("messi");
        rig.work(100);
        rig = rig.restart();
    }
    let refused = rig.history(lineker, "messi", None, 10).unwrap_err();
    assert_eq!(refused, StoreError::NoSession);
    rig.run(Operation::Release { username: "lineker".into() }).unwrap();
    nobody(&mut rig, "lineker");
    // Who comes under the same name is somebody else.
    rig.join("lineker");
    assert!(rig.history(messi, "lineker", None, 10).unwrap().entries.is_empty());
}

fn a_cursor_is_good_for_its_conversation_alone<L: Log>(mut rig: Rig<L>) {
    let users = ["messi", "lineker", "arini"].map(|name| rig.join(name));
    let [messi, lineker, arini] = users;
    for n in 0..5 {
        rig.send(messi, "lineker", &n.to_string()).unwrap();
        rig.send(messi, "arini", &n.to_string()).unwrap();
    }
    let cursor = rig.history(messi, "lineker", None, 2).unwrap().next.unwrap();
    assert_eq!(texts(&rig.history(messi, "lineker", Some(cursor), 2).unwrap().entries), ["1", "2"]);
    let forged = HistoryCursor([7; 16]);
    for (asker, with, cursor) in [
        (lineker, "messi", cursor),
        (messi, "arini", cursor),
        (messi, "messi", cursor),
        (arini, "lineker", cursor),
        (messi, "lineker", forged),
    ] {
        let refused = rig.history(asker, with, Some(cursor), 2).unwrap_err();
        assert!(matches!(refused, StoreError::BadArguments(text) if text.contains("CURSOR")));
    }
}

fn what_is_in_the_same_commit_is_there<L: Log>(mut rig: Rig<L>) {
    let messi = rig.join("messi");
    rig.join("lineker");
    let send = Operation::Send(vec![super::rig::outgoing(messi, "lineker", "halo")]);
    let with = "lineker".into();
    let history = Operation::History { session: messi, with, cursor: None, messages: 5 };
    let Ok(crate::store::request::Answer::History(plan)) =
        rig.run_all(vec![send, history]).remove(1)
    else {
        panic!("no plan")
    };
    let page = plan.in_memory(PageLimit::bodies(5, 1_000)).unwrap();
    assert_eq!(texts(&page.entries), ["halo"]);
}

fn age_alone_limits_it_and_who_wrote_to_whom_is_never_forgotten<L: Log>(mut rig: Rig<L>) {
    let users = ["messi", "lineker", "arini"].map(|name| rig.join(name));
    let [messi, lineker, _] = users;
    rig.send(messi, "arini", "once, long ago").unwrap();
    let mut expected = Vec::new();
    for day in 0..90_i64 {
        for n in 0..4 {
            let text = format!("{day}.{n}");
            let (from, to) = if n % 2 == 0 { (messi, "lineker") } else { (lineker, "messi") };
            rig.send(from, to, &text).unwrap();
            expected.push((rig.clock.now_ms(), text));
        }
        // One of them reads at once, the other a week later.
        rig.take_all("lineker");
        rig.ack(messi, u64::try_from(day.saturating_sub(8) * 2).unwrap_or(0)).unwrap();
        rig.clock.advance(DAY);
        rig.work(300);
        let now = rig.clock.now_ms();
        expected.retain(|(sent, _)| now - sent < 30 * DAY);
        if day % 7 == 3 {
            rig = rig.restart();
        }
        let found = rig.whole_history(messi, "lineker", 5).unwrap();
        let wanted: Vec<_> = expected.iter().map(|(_, text)| &**text).collect();
        assert_eq!(texts(&found), wanted, "day {day}");
    }
    let engine = &mut rig.engine;
    let [messi, lineker, arini] = ["messi", "lineker", "arini"].map(|name| number(engine, name));
    for (from, to, expected) in [
        (messi, lineker, true),
        (lineker, messi, true),
        (messi, arini, true),
        (arini, messi, false),
        (lineker, arini, false),
        (messi, messi, false),
    ] {
        assert_eq!(engine.has_written(from, to), Ok(expected));
    }
    assert_eq!(engine.contacts(messi, 10), Ok(vec![lineker, arini]));
    assert_eq!(engine.contacts(messi, 1), Ok(vec![lineker]));
    assert_eq!(engine.contacts(lineker, 10), Ok(vec![messi]));
    assert_eq!(engine.contacts(arini, 10), Ok(vec![]));
    let entries: u64 =
        engine.state.as_ref().unwrap().runs.conversations.iter().map(|run| run.entries).sum();
    assert!(entries < 3 * 30 * 4, "{entries} entries for 120 messages");
}

fn contacts_are_found_wherever_they_lie<L: Log>(mut rig: Rig<L>) {
    let names: Vec<_> = (0..12).map(|n| format!("user{n}")).collect();
    let users: Vec<_> = names.iter().map(|name| rig.join(name)).collect();
    for round in 0..60_usize {
        let (from, to) = (round * 7 % 5, round * 5 % 12);
        rig.send(users[from], &names[to], "x").unwrap();
        rig.take_all(&names[to]);
        rig.work(round % 5);
        if round % 23 == 22 {
            rig = rig.restart();
        }
    }
    let engine = &mut rig.engine;
    let numbers: Vec<_> = names.iter().map(|name| number(engine, name)).collect();
    for from in 0..12 {
        let wrote =
            |to: &usize| (0..60).any(|round| (round * 7 % 5, round * 5 % 12) == (from, *to));
        let expected: Vec<_> = (0..12).filter(wrote).map(|to| numbers[to]).collect();
        assert_eq!(engine.contacts(numbers[from], 100), Ok(expected));
        for to in 0..12 {
            assert_eq!(engine.has_written(numbers[from], numbers[to]), Ok(wrote(&to)));
        }
    }
}

fn a_plan_made_before_a_merge_is_made_again<L: Log>(mut rig: Rig<L>) {
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let limit = PageLimit::bodies(5, 1_000);
    let mut outdated = 0;
    for n in 0..200_usize {
        rig.send(messi, "lineker", &n.to_string()).unwrap();
        let plan = rig.plan_history(lineker, "messi", None, 5).unwrap();
        rig.take_all("lineker");
        rig.work(n % 7);
        match plan.read(limit) {
            Ok(page) => {
                let expected: Vec<_> = (0..=n).rev().take(5).map(|n| n.to_string()).collect();
                let found: Vec<_> =
                    texts(&page.entries).into_iter().rev().map(String::from).collect();
                assert_eq!(found, expected);
            }
            Err(PageError::Outdated) => outdated += 1,
            Err(error) => panic!("{error:?}"),
        }
        assert_eq!(rig.history(lineker, "messi", None, 3).unwrap().entries.len(), 3.min(n + 1));
    }
    assert!(outdated > 0, "nothing was merged");
}

on_both_logs! {
    both_ways_in_pages_of_any_size_newest_page_first
    what_is_sent_is_known_by_the_same_id
    with_oneself_each_message_is_there_once_as_received
    who_never_existed_has_none_and_who_was_removed_has
    a_cursor_is_good_for_its_conversation_alone
    what_is_in_the_same_commit_is_there
    age_alone_limits_it_and_who_wrote_to_whom_is_never_forgotten
    contacts_are_found_wherever_they_lie
    a_plan_made_before_a_merge_is_made_again
}

#[test]
fn bytes_and_the_callers_measure_limit_a_page() {
    let clock = TestClock::default();
    let options = StoreOptions { stretch: 1_000, recent_bytes: 1_000_000, ..options(&clock) };
    let mut rig = Rig::with(SimulatedLog::new(), clock, &options).unwrap();
    let (messi, lineker): (SessionKey, _) = (rig.join("messi"), rig.join("lineker"));
    (0..10).for_each(|n| rig.send(messi, "lineker", &n.to_string().repeat(10)).unwrap());
    for (limit, count) in [
        (PageLimit::bodies(100, 35), 3),
        (PageLimit::bodies(100, 0), 1),
        (PageLimit::bodies(0, 1_000), 1),
        (PageLimit { messages: 100, bytes: 80, cost: |message| message.body.len() * 2 }, 4),
        (PageLimit::bodies(100, 100), 10),
    ] {
        let plan = rig.plan_history(lineker, "messi", None, limit.messages).unwrap();
        let page = plan.in_memory(limit).unwrap();
        assert_eq!(page.entries.len(), count);
        assert_eq!(page.next.is_some(), count < 10);
    }
}
