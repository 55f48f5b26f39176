//! A journal on a disk that has no room or cannot sync, at every moment: while its newest segment begins with zeros ahead,
//! while one segment follows another, while it opens itself anew.

use super::super::disk::faults::{self, Fault};
use super::{Rig, message};
use crate::store::engine::log::{Batch, LogError, Record};

/// What was said of the records.
#[derive(Debug, Default)]
struct Said {
    acknowledged: Vec<Record>,
    /// How many of them are durable.
    durable: usize,
}

impl Rig {
    /// Puts one record, and does after a failure what the store does. While the disk fails on, the third try to open the
    /// journal anew is the one that it works for again.
    fn put(&mut self, said: &mut Said, text: &str, taken_back: bool) {
        let records = vec![message(text)];
        let batch = Batch { first: self.journal.next, records, ..Batch::default() };
        let put = match self.journal.append(&batch) {
            Ok(()) if taken_back => self.journal.undo(),
            Ok(()) => {
                said.acknowledged.extend(batch.records);
                Ok(())
            }
            failed => failed,
        };
        self.heal_after(put);
    }

    fn heal_after(&mut self, mut done: Result<(), LogError>) {
        let mut tries = 0;
        let mut is_open = true;
        while let Err(error) = done {
            is_open &= matches!(error, LogError::NoSpace(_));
            tries += 1;
            if tries == 3 {
                faults::heal();
            }
            assert!(tries < 6, "it does not heal: {error}");
            done = match is_open {
                true => Ok(()),
                false => self.journal.reopen(),
            };
            is_open |= done.is_ok();
            done = done.and_then(|()| self.journal.probe());
        }
    }

    /// Some small records, a large one, one that is taken back, and small ones again, for a few segments.
    fn script(&mut self, said: &mut Said) {
        for n in 0..30 {
            let length = if n % 7 == 6 { 1_200 } else { 40 };
            self.put(said, &format!("{n}:{}", "x".repeat(length)), n % 5 == 4);
            if n % 4 == 3 {
                let synced = self.journal.sync();
                if synced.is_ok() {
                    said.durable = said.acknowledged.len();
                }
                self.heal_after(synced);
            }
        }
    }
}

/// Runs the script with each operation failing in turn, every other one for a while; then loses power, if that is asked for.
/// How many operations there were.
fn fail_each(fault: Fault, sync: bool, power_goes: bool) -> u64 {
    for n in 1.. {
        let context = format!("operation {n}, {fault:?}, syncs: {sync}");
        let mut rig = Rig::new();
        rig.journal.set_sync(sync);
        rig.was_relaxed = !sync;
        let mut said = Said::default();
        faults::fail_at(n, fault, n % 2 == 0);
        rig.script(&mut said);
        faults::heal();
        let mut kept = said.acknowledged.len();
        assert_eq!(rig.all(), said.acknowledged, "{context}");
        if power_goes {
            faults::lose_power(&rig.journal.directory);
        }
        rig.journal = rig.open(super::BEGINNING).expect(&context).0;
        let all = rig.all();
        if power_goes && !sync {
            kept = all.len();
            assert!(kept >= said.durable, "{context}: {kept} of {}", said.durable);
        }
        assert_eq!(all, said.acknowledged[..kept], "{context}, in the next process");
        rig.append(vec![message("later")]);
        if faults::struck() == 0 {
            assert!(rig.segments() > 2);
            return n - 1;
        }
    }
    unreachable!()
}

#[test]
fn without_room_nothing_is_lost_and_what_is_refused_never_was() {
    assert!(fail_each(Fault::NoSpace, true, false) > 50);
    assert!(fail_each(Fault::NoSpace, false, false) > 30);
}

#[test]
fn without_syncs_nothing_is_lost_and_what_is_refused_never_was() {
    assert!(fail_each(Fault::Sync, true, false) > 30);
    assert!(fail_each(Fault::Sync, false, false) > 10);
}

#[test]
fn what_a_failed_sync_may_have_lost_is_not_counted_on_once_the_power_goes() {
    for fault in [Fault::NoSpace, Fault::Sync, Fault::SyncNoSpace] {
        for sync in [true, false] {
            fail_each(fault, sync, true);
        }
    }
}

/// Runs into the n-th failure, goes on for so many records, and loses power, as often as there are operations that can fail. Files
/// are begun, and withdrawn as that fails, at all moments.
fn lose_power_after(fault: Fault, more: usize) {
    for n in 1.. {
        let context = format!("operation {n}, {fault:?}, {more} more");
        let (mut rig, mut said) = (Rig::new(), Said::default());
        faults::fail_at(n, fault, false);
        let text = |at: usize| format!("{at}:{}", "x".repeat(100));
        let mut at = 0;
        while at < 25 && faults::struck() == 0 {
            rig.put(&mut said, &text(at), false);
            at += 1;
        }
        let struck = faults::struck();
        (0..more).for_each(|more| rig.put(&mut said, &text(at + more), false));
        faults::heal();
        for life in ["the next", "the one after it"] {
            faults::lose_power(&rig.journal.directory);
            rig.reopen();
            assert_eq!(rig.all(), said.acknowledged, "{context}, {life}");
            rig.put(&mut said, "later", false);
        }
        if struck == 0 {
            assert!(rig.segments() > 2);
            return;
        }
    }
}

#[test]
fn a_file_that_was_withdrawn_may_come_back_with_the_power() {
    for fault in [Fault::NoSpace, Fault::Sync] {
        for more in [0, 3] {
            lose_power_after(fault, more);
        }
    }
}

#[test]
fn what_may_be_lost_stays_until_it_is_written_again() {
    let mut rig = Rig::new();
    rig.journal.set_sync(false);
    let acknowledged: Vec<_> = ["one", "two"]
        .into_iter()
        .flat_map(|text| rig.append(vec![message(text)]).records)
        .collect();
    faults::fail_at(1, Fault::Sync, false);
    assert!(rig.journal.sync().is_err());
    for fault in [Fault::NoSpace, Fault::Sync] {
        faults::fail_at(1, fault, false);
        assert!(rig.journal.reopen().is_err());
    }
    rig.journal.reopen().unwrap();
    assert_eq!(rig.all(), acknowledged);
    faults::lose_power(&rig.journal.directory);
    rig.reopen();
    assert_eq!(rig.all(), acknowledged);
}

#[test]
fn what_is_refused_for_want_of_room_is_not_there_for_the_next_process_either() {
    for n in 1.. {
        let (mut rig, mut acknowledged) = (Rig::new(), Vec::new());
        faults::fail_at(n, Fault::NoSpace, false);
        for at in 0..20 {
            let records = vec![message(&at.to_string().repeat(50))];
            let batch = Batch { first: rig.journal.next, records, ..Batch::default() };
            match rig.journal.append(&batch) {
                Ok(()) => acknowledged.extend(batch.records),
                Err(LogError::NoSpace(_)) => rig.reopen(),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(rig.all(), acknowledged, "operation {n}, record {at}");
        }
        if faults::struck() == 0 {
            return;
        }
    }
}
