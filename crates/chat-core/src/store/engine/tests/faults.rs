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
        assert_eq!(rig.send(messi, "lineker", "refused"), Err(StoreError::Unavailable));
        assert_eq!(bodies(&rig.peek_all(lineker).unwrap()), ["before"]);
        assert!(rig.run(Operation::Whoami { session: messi }).is_ok());
        assert_eq!(rig.ack(lineker, 1), Err(StoreError::Unavailable));
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
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(StoreError::Unavailable))));
    log.fail(None);
    let outcome = rig.run(Operation::Account { username: "lineker".into() });
    assert_eq!(outcome.unwrap_err(), StoreError::NoSuchUser);
}
