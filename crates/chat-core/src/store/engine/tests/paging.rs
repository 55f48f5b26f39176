//! A page costs the page, wherever in however large a mailbox it lies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::rig::{Rig, TestClock, outgoing, roomy};
use crate::store::backend::{Pages, PlannedHistory as _};
use crate::store::engine::SimulatedLog;
use crate::store::engine::heads::HeadRow;
use crate::store::engine::index::IndexRow;
use crate::store::engine::log::{
    AccountRow, Block, DirectoryEntry, LogError, PageSource, Parked, Record, View,
};

use crate::store::engine::pages::LogPages;
use crate::store::request::{Answer, Operation};
use crate::store::{AccountNumber, PageLimit, StoreOptions};
use crate::{MessageId, Timestamp};

/// Counts what is read.
struct Counting {
    source: Arc<dyn PageSource>,
    reads: AtomicUsize,
}

impl PageSource for Counting {
    fn with_view(
        &self,
        read: &mut dyn FnMut(&dyn View) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        self.source.with_view(&mut |view| read(&CountingView { view, reads: &self.reads }))
    }
}

struct CountingView<'a> {
    view: &'a dyn View,
    reads: &'a AtomicUsize,
}

impl CountingView<'_> {
    fn count(&self) -> &dyn View {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.view
    }
}

impl View for CountingView<'_> {
    fn records(&self, _: u64, _: usize) -> Result<Vec<(u64, Record)>, LogError> {
        panic!("a page scans nothing")
    }

    fn record(&self, position: u64) -> Result<Option<Record>, LogError> {
        self.count().record(position)
    }

    fn heads(&self, _: u64) -> Result<HeadRow, LogError> {
        unreachable!("pages read no heads")
    }

    fn index_row(&self, mailbox: AccountNumber, row: u64) -> Result<Option<IndexRow>, LogError> {
        self.count().index_row(mailbox, row)
    }

    fn parked(&self, mailbox: AccountNumber, id: MessageId) -> Result<Option<Parked>, LogError> {
        self.count().parked(mailbox, id)
    }

    fn delivery(&self, _: AccountNumber, _: MessageId) -> Result<Option<Timestamp>, LogError> {
        unreachable!("pages read no delivery times")
    }

    fn blocks(&self, _: AccountNumber) -> Result<Vec<AccountNumber>, LogError> {
        unreachable!("pages ask for no blocks")
    }

    fn block_at(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError> {
        self.count().block_at(run, key)
    }

    fn block_after(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError> {
        self.count().block_after(run, key)
    }

    fn block_before(&self, run: u64, key: &[u8]) -> Result<Option<Block>, LogError> {
        self.count().block_before(run, key)
    }

    fn run_is_complete(&self, run: u64) -> Result<bool, LogError> {
        self.count().run_is_complete(run)
    }

    fn account_by_key(&self, key: &str) -> Result<Option<AccountRow>, LogError> {
        self.count().account_by_key(key)
    }

    fn account(&self, number: AccountNumber) -> Result<Option<AccountRow>, LogError> {
        self.count().account(number)
    }

    fn directory(&self, _: AccountNumber, _: usize) -> Result<Vec<DirectoryEntry>, LogError> {
        panic!("a page scans nothing")
    }

    fn accounts_after(&self, _: &str, _: usize) -> Result<Vec<AccountRow>, LogError> {
        panic!("a page scans nothing")
    }
}

/// How many reads a page of 50 after an id takes, in a mailbox of that many.
fn reads(size: u64, after: u64) -> usize {
    let clock = TestClock::default();
    let options = StoreOptions { stretch: 1_000, ..roomy(&clock) };
    let mut rig = Rig::with(SimulatedLog::new(), clock, &options).unwrap();
    let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
    for _ in 0..size / 100 {
        rig.run(Operation::Send(vec![outgoing(messi, "lineker", "halo"); 100])).unwrap();
        rig.work(100);
    }
    let after = Some(MessageId::new(after));
    let Ok(Answer::Plan(plan)) = rig.run(Operation::Peek { session: lineker, after, messages: 50 })
    else {
        panic!("no plan")
    };
    let counting = Arc::new(Counting {
        source: crate::store::engine::log::Log::pages(&rig.engine.log),
        reads: AtomicUsize::new(0),
    });
    let limit = PageLimit { messages: 50, bytes: usize::MAX, cost: |_| 1 };
    let found = LogPages(counting.clone()).read(&plan, limit).unwrap();
    assert_eq!(found.messages.len(), 50);
    counting.reads.load(Ordering::Relaxed)
}

#[test]
fn a_page_costs_the_page_and_three_reads_of_a_few_runs_at_any_place_in_any_mailbox() {
    let pages = [(1_000, 0), (20_000, 0), (20_000, 9_973), (20_000, 17_000)];
    let reads = pages.map(|(size, after)| reads(size, after));
    // A block holds a dozen entries here; a run costs two look-ups and a last look whether it still is there.
    assert!(reads.iter().all(|reads| *reads <= 50 + 5 + 5 * 3), "{reads:?} of {pages:?}");
}

/// How many reads a page of 50 takes of a conversation of that many messages, among as many again: the newest page, and
/// one behind so many messages.
fn history_reads(size: u64, behind: usize) -> usize {
    let clock = TestClock::default();
    let options = StoreOptions { stretch: 1_000, recent_bytes: 0, ..roomy(&clock) };
    let mut rig = Rig::with(SimulatedLog::new(), clock, &options).unwrap();
    let [messi, lineker, arini] = ["messi", "lineker", "arini"].map(|name| rig.join(name));
    for round in 0..size / 100 {
        let (from, to) = if round % 2 == 0 { (messi, "lineker") } else { (lineker, "messi") };
        rig.run(Operation::Send(vec![outgoing(from, to, "halo"); 100])).unwrap();
        rig.run(Operation::Send(vec![outgoing(arini, "messi", "halo"); 100])).unwrap();
        rig.work(10_000);
    }
    let cursor = (behind > 0).then(|| rig.history(messi, "lineker", None, behind).unwrap().next);
    let account = rig.engine.live_account("messi").unwrap().number;
    let mut plan = rig.engine.plan_history(account, "lineker", cursor.flatten(), 50).unwrap();
    let counting = Arc::new(Counting { source: plan.source, reads: AtomicUsize::new(0) });
    plan.source = Arc::<Counting>::clone(&counting);
    let page = plan.read(PageLimit::bodies(50, usize::MAX)).unwrap();
    assert_eq!(page.entries.len(), 50);
    counting.reads.load(Ordering::Relaxed)
}

#[test]
fn a_page_of_a_conversation_costs_the_page_and_two_reads_a_run() {
    for (size, behind) in [(1_000, 0), (30_000, 0), (30_000, 14_000), (30_000, 29_800)] {
        let reads = history_reads(size, behind);
        // A block holds a dozen entries here; a run costs two look-ups and a last look whether it still is there.
        assert!(reads <= 50 + 10 + 12 * 3, "{reads} of {size} messages, behind {behind}");
    }
}
