//! Keeping what is undelivered and letting go of the rest.

use super::rig::{Rig, TestClock, bodies, options, outgoing};
use crate::store::StoreOptions;
use crate::store::engine::SimulatedLog;
use crate::store::engine::log::Log;
use crate::store::request::Operation;

const DAY: i64 = 24 * 60 * 60 * 1000;

#[test]
fn old_delivered_mail_goes_and_undelivered_mail_stays() {
    let log = SimulatedLog::with_power_switch();
    let mut rig = Rig::new(log.clone(), TestClock::default());
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    let mut dormant = Vec::new();
    for day in 0..40 {
        for n in 0..4 {
            rig.send(messi, "lineker", &format!("day {day} {n}")).unwrap();
        }
        rig.take(lineker, 10).unwrap();
        if day % 4 == 0 {
            let text = format!("for later {day}");
            rig.send(lineker, "messi", &text).unwrap();
            dormant.push(text);
        }
        rig.clock.advance(DAY);
        rig.work(100);
        if day % 7 == 3 {
            rig = rig.restart();
        }
    }
    // 30 days of at most 6 records are left, and what waits from the days before is parked.
    let (records, parked) = log.kept();
    assert!(records <= 31 * 6, "{records} records");
    assert!(parked > 0);
    assert_eq!(bodies(&rig.peek_all(messi).unwrap()), dormant);
    // Once it is delivered, parked mail goes with the next flush.
    rig.ack(messi, u64::try_from(dormant.len()).unwrap()).unwrap();
    rig.clock.advance(DAY);
    rig.work(100);
    assert_eq!(log.kept().1, 0);
    assert!(rig.peek_all(messi).unwrap().is_empty());
}

#[test]
fn quotas_count_parked_mail() {
    let log = SimulatedLog::with_power_switch();
    let clock = TestClock::default();
    let mut options = options(&clock);
    options.mailbox_messages = 8;
    let mut rig = Rig::with(log, clock, &options).unwrap();
    let (messi, lineker, henderson) =
        (rig.join("messi"), rig.join("lineker"), rig.join("henderson"));
    for n in 0..4 {
        rig.send(messi, "lineker", &n.to_string()).unwrap();
    }
    rig.clock.advance(29 * DAY);
    rig.work(100);
    // Use keeps the sessions alive.
    for session in [messi, lineker, henderson] {
        rig.peek_all(session).unwrap();
    }
    rig.clock.advance(2 * DAY);
    rig.work(100);
    let refused = Err(crate::store::StoreError::InboxFull);
    assert_eq!(rig.send(messi, "lineker", "a half is held already"), refused);
    rig.send(henderson, "lineker", "4").unwrap();
    rig.ack(lineker, 3).unwrap();
    rig.send(messi, "lineker", "5").unwrap();
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["3", "4", "5"]);
}

#[test]
fn the_count_limit_is_a_floor_and_never_touches_what_waits() {
    let clock = TestClock::default();
    let mut options = options(&clock);
    options.retention_messages = 100;
    options.mailbox_messages = 1_000;
    options.mailbox_bytes = 1_000_000;
    let mut rig = Rig::with(SimulatedLog::new(), clock, &options).unwrap();
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    for n in 0..300 {
        rig.send(messi, "lineker", &n.to_string()).unwrap();
        if n == 149 {
            rig.take(lineker, 150).unwrap();
        }
        rig.work(10);
    }
    let account = rig.engine.live_account("lineker").unwrap().number;
    let head = rig.engine.mailbox(account).unwrap().head;
    assert_eq!(head.floor, head.cursor.min(crate::MessageId::new(head.last.get() - 100)));
    assert_eq!(rig.peek_all(lineker).unwrap().len(), 150);
}

/// 1,000 accounts of which 1 % never read, over 40 days: the file stays near the least its content needs.
#[cfg(feature = "embedded")]
#[test]
fn dormant_accounts_do_not_keep_the_file_large() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::default();
    let options = StoreOptions { stretch: 5_000, cached_mailboxes: 10_000, ..options(&clock) };
    let mut rig = Rig::with(super::rig::relaxed(directory.path()), clock, &options).unwrap();
    let users: Vec<_> = (0..1_000).map(|n| rig.join(&format!("user{n}"))).collect();
    for day in 0..40_usize {
        for n in 0..10 {
            let send = |from: usize| {
                let to = format!("user{}", (from * 7 + n * 131 + day) % users.len());
                Operation::Send(vec![outgoing(users[from], &to, &"x".repeat(100))])
            };
            rig.run_all(
                (0..users.len()).step_by(10).map(|at| send((at + n) % users.len())).collect(),
            );
        }
        for (number, session) in users.iter().enumerate() {
            if number % 100 != 0 {
                rig.take(*session, 1_000).unwrap();
            }
        }
        rig.clock.advance(DAY);
        rig.work(1_000);
    }
    // What ten of them never read is older than 30 days by now, in part.
    let parked = rig.engine.log.count("parked");
    assert!(parked > 0);
    rig.engine.log.close().unwrap();
    let size = |name: &str| std::fs::metadata(directory.path().join(name)).unwrap().len();
    rig.engine.log.vacuum_into(&directory.path().join("least.db"));
    let (file, least) = (size("chat.db"), size("least.db"));
    assert!(file * 10 <= least * 13, "{file} bytes where {least} would do");
}
