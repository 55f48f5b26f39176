//! Full disks and failing syncs, without losing power.

use super::rig::{Rig, bodies};
use crate::store::StoreError;
use crate::store::engine::simulated::Fault;
use crate::store::request::Operation;

#[tokio::test(start_paused = true)]
async fn on_a_full_disk_reads_go_on_and_writes_come_back_by_themselves() {
    let (mut rig, log) = Rig::simulated();
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    rig.send(messi, "lineker", "before").unwrap();
    log.fail(Some(Fault::NoSpace));
    for _ in 0..3 {
        assert_eq!(rig.send(messi, "lineker", "refused"), Err(StoreError::NoSpace));
        assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["before"]);
        assert!(rig.run(Operation::Whoami { session: messi }).is_ok());
        assert_eq!(rig.ack(lineker, 1), Err(StoreError::NoSpace));
        rig.work(1);
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
    }
    log.fail(None);
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    rig.work(1);
    rig.send(messi, "lineker", "after").unwrap();
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["before", "after"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_sync_the_store_reopens_and_nothing_was_acknowledged() {
    let (mut rig, log) = Rig::simulated();
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    log.fail(Some(Fault::SyncFailed));
    assert_eq!(rig.send(messi, "lineker", "unknown"), Err(StoreError::Unavailable));
    // The log cannot be opened while the disk is broken.
    assert_eq!(rig.peek_all(lineker).unwrap_err(), StoreError::Unavailable);
    log.fail(None);
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    rig.work(1);
    rig.send(messi, "lineker", "after").unwrap();
    // The write reached the log though its sync failed, so it may show, once, in its place.
    assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["unknown", "after"]);
}

#[test]
fn a_failed_batch_leaves_nothing_behind() {
    let (mut rig, log) = Rig::simulated();
    let messi = rig.join("messi");
    log.fail_at(1, Fault::NoSpace);
    let outcomes = rig.run_all(vec![
        Operation::Create(super::rig::hashed("lineker")),
        Operation::Send(vec![super::rig::outgoing(messi, "lineker", "halo")]),
        Operation::Whoami { session: messi },
    ]);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(StoreError::NoSpace))));
    log.fail(None);
    let outcome = rig.run(Operation::Account { username: "lineker".into() });
    assert_eq!(outcome.unwrap_err(), StoreError::NoSuchUser);
}

#[cfg(all(unix, feature = "embedded"))]
mod on_a_journal {
    //! The same where the journal's files are real, and fail at any moment.

    use std::path::Path;
    use std::time::Duration;

    use super::super::rig::{Rig, TestClock, roomy, synced};
    use crate::store::engine::SqliteLog;
    use crate::store::engine::journal::faults::{self, Fault};
    use crate::store::{SessionKey, StoreError};

    fn begin(directory: &Path) -> Rig<SqliteLog> {
        let clock = TestClock::default();
        let options = roomy(&clock);
        Rig::with(synced(directory), clock, &options).unwrap()
    }

    async fn heal(rig: &mut Rig<SqliteLog>) {
        tokio::time::advance(Duration::from_secs(10)).await;
        rig.work(1);
    }

    /// Sends more than a segment, and goes on after failures, which are over before the third; what was acknowledged.
    async fn script(rig: &mut Rig<SqliteLog>, messi: SessionKey) -> Vec<String> {
        let (mut acknowledged, mut refused) = (Vec::new(), 0);
        for n in 0..20 {
            let text = format!("{n}:{}", "x".repeat(80));
            match rig.send(messi, "lineker", &text) {
                Ok(()) => acknowledged.push(text),
                Err(error) => {
                    let refusals = [StoreError::Unavailable, StoreError::NoSpace];
                    assert!(refusals.contains(&error), "{error}");
                    refused += 1;
                    if refused == 2 {
                        faults::heal();
                    }
                    heal(rig).await;
                }
            }
            if n % 6 == 5 {
                rig.work(2);
            }
        }
        acknowledged
    }

    fn texts(rig: &mut Rig<SqliteLog>, session: SessionKey) -> Vec<String> {
        let found = rig.peek_all(session).unwrap();
        assert!(found.iter().map(|message| message.id.get()).eq((1..).take(found.len())));
        found.iter().map(|message| message.body.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_acknowledged_is_there_and_what_was_refused_is_not() {
        for fault in [Fault::NoSpace, Fault::Sync, Fault::SyncNoSpace] {
            for n in 1.. {
                let directory = tempfile::tempdir().unwrap();
                let mut rig = begin(directory.path());
                let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
                faults::fail_at(n, fault, n % 2 == 0);
                let acknowledged = script(&mut rig, messi).await;
                let struck = faults::struck();
                faults::heal();
                heal(&mut rig).await;
                assert_eq!(texts(&mut rig, lineker), acknowledged, "{fault:?} {n}");
                let options = roomy(&rig.clock);
                rig = rig.restart_with(&options);
                assert_eq!(texts(&mut rig, lineker), acknowledged, "{fault:?} {n}");
                rig.send(messi, "lineker", "later").unwrap();
                if struck == 0 {
                    assert!(n > 20 && acknowledged.len() == 20);
                    break;
                }
            }
        }
    }
}
