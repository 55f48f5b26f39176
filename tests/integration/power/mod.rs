//! Loss of power, at the level of files, for the real daemon.
//!
//! A few daemons run one after another in one data directory under load, the first from nothing, one ended by SIGKILL.
//! Everything they do to files and send to clients is recorded in one order. Then the recording is cut at random
//! records. Each time the directory is rebuilt as the disk may hold it after a loss of power at that moment (the model
//! is at [`chat_tests::disk`]), a daemon is started in it, and what it says is compared with what clients had been told
//! by then: every message that was answered OK or shown is there once, under its id, with its text; nothing was
//! invented; nothing comes back that was answered as delivered; tokens, passwords and incarnations are what they were;
//! and a new message goes where it belongs. The daemon must open whatever the cut, the first start included.
//!
//! `CHAT_TEST_CUTS` sets how many cuts (40), `CHAT_TEST_SEED` repeats a run's random choices, though not the schedule
//! of the daemon's threads. So a failure keeps the recording, and says how to make that one cut again.

mod cuts;
mod ledger;
mod load;
mod recording;
mod reopened;
mod talk;
mod unsynced;
mod verdict;

use std::fs;
use std::path::Path;

use chat_tests::daemon::Site;
use chat_tests::disk::{Disk, Mood, Shelf};
use chat_tests::recorder::Event;
use fastrand::Rng;

use cuts::{Cut, Places};
use ledger::Ledger;
use recording::{End, Recording, record};
use reopened::Reopened;
use verdict::{Fault, judge};

#[tokio::test]
async fn nothing_promised_is_lost_with_the_power() {
    let mut random = Rng::with_seed(seed());
    let mut site = Site::new(CONFIG);
    record(&mut site, &[End::Stop, End::Kill, End::Stop], &mut random).await;
    let mut run = Run::read(&site);
    let cuts = run.choose(setting("CHAT_TEST_CUTS").unwrap_or(40), &mut random);
    for cut in cuts {
        let faults = run.cut(cut).await;
        if !faults.is_empty() {
            fail(&mut site, cut, &faults);
        }
    }
    run.advance(run.recording.records.len());
    run.check_coverage();
}

#[tokio::test]
async fn without_syncs_something_promised_is_lost_and_clients_can_see_it() {
    let mut random = Rng::with_seed(seed());
    // What is written behind is written on top of what was synced: let that be rare.
    let config = CONFIG.replace("stretch = 300", "stretch = 20000");
    let mut site = Site::new(&format!("{config}durability = \"process-crash\"\n"));
    record(&mut site, &[End::Stop, End::Stop], &mut random).await;
    let mut run = Run::read(&site);
    let (least, mut losses) = (setting("CHAT_TEST_CUTS").unwrap_or(15), 0);
    // What is written behind is preceded by a sync in any case: a loss may take some cuts.
    for (made, cut) in (0..).zip(run.choose(20 * least, &mut random)) {
        let faults = run.cut(cut).await;
        if !faults.iter().all(Fault::is_weakening) {
            fail(&mut site, cut, &faults);
        }
        losses += usize::from(faults.iter().any(|fault| matches!(fault, Fault::Lost { .. })));
        if made >= least && losses > 0 {
            break;
        }
    }
    assert!(losses > 0, "none of the cuts lost anything");
}

/// Makes one cut of a recording that a failure has kept.
#[tokio::test]
#[ignore = "needs CHAT_TEST_RECORDING and CHAT_TEST_CUT, as a failure prints them"]
async fn one_cut_again() {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let mut site = Site::again(variable("CHAT_TEST_RECORDING").as_ref());
    let cut = variable("CHAT_TEST_CUT").parse().unwrap();
    let faults = Run::read(&site).cut(cut).await;
    if !faults.is_empty() {
        fail(&mut site, cut, &faults);
    }
}

/// A recorded run, of which cuts are made in order.
struct Run<'a> {
    site: &'a Site,
    recording: Recording,
    ledger: Ledger,
    shelf: Shelf,
    disk: Disk,
    /// How many records the disk has had.
    applied: usize,
}

impl<'a> Run<'a> {
    fn read(site: &'a Site) -> Self {
        let root = fs::canonicalize(site.disk()).unwrap();
        let recording = Recording::read(site);
        Self {
            site,
            ledger: Ledger::of(&recording),
            recording,
            shelf: Shelf::new(site.path().join("shelf"), &root),
            disk: Disk::new(root),
            applied: 0,
        }
    }

    /// The run must have had in it what this is about.
    fn check_coverage(&self) {
        let count = |wanted: fn(&Event) -> bool| {
            self.recording.records.iter().filter(|record| wanted(&record.event)).count()
        };
        let syncs = count(|event| matches!(event, Event::SyncEnd { error: 0, .. }));
        let restarts = count(|event| matches!(event, Event::Truncate { .. }));
        let moved =
            count(|event| matches!(event, Event::Write { path, .. } if path.ends_with("chat.db")));
        let begun = count(|event| matches!(event, Event::Create { path, .. } if is_segment(path)));
        let dropped = count(|event| matches!(event, Event::Unlink { path } if is_segment(path)));
        let seen = (syncs, restarts, moved, begun, dropped);
        assert!(
            syncs >= 300 && restarts >= 5 && moved >= 200 && begun >= 5 && dropped >= 2,
            "{seen:?}"
        );
    }

    /// Cuts in order, most of them where much can go wrong.
    fn choose(&self, count: u64, random: &mut Rng) -> Vec<Cut> {
        let places = Places::of(&self.recording);
        let cut = |_| Cut { at: places.choose(random), seed: random.u64(..) };
        let mut cuts: Vec<_> = (0..count).map(cut).collect();
        cuts.sort_unstable();
        cuts
    }

    /// What is wrong after this cut, which is not before the last one.
    async fn cut(&mut self, cut: Cut) -> Vec<Fault> {
        self.advance(cut.at);
        let mut random = Rng::with_seed(cut.seed);
        let image = self.disk.after_power_loss(Mood::any(&mut random), &mut random);
        image.lay_out(&self.site.disk(), &self.shelf);
        match Reopened::look(self.site, &self.ledger, cut.at).await {
            Ok(reopened) => judge(&self.ledger, cut.at, &reopened),
            Err(error) => vec![Fault::DoesNotWork(error.to_string())],
        }
    }

    fn advance(&mut self, to: usize) {
        for record in &self.recording.records[self.applied..to] {
            self.disk.apply(record);
            self.applied += 1;
            let ended = self.recording.lives.iter().find(|life| life.records.end == self.applied);
            if let Some(life) = ended {
                let nothing_unseen = self.disk.contents() == life.left;
                assert!(nothing_unseen || life.end == End::Kill, "the recorder missed something");
                self.disk.process_ended(&life.left);
            }
        }
    }
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "journal")
}

fn fail(site: &mut Site, cut: Cut, faults: &[Fault]) -> ! {
    site.keep();
    panic!(
        "after a cut: {faults:#?}\nthat cut again: CHAT_TEST_RECORDING={} CHAT_TEST_CUT={cut} \
         cargo test -p chat-tests --test integration one_cut_again -- --ignored",
        site.path().display()
    )
}

#[allow(clippy::print_stderr, reason = "the seed, shown when the test fails")]
fn seed() -> u64 {
    let seed = setting("CHAT_TEST_SEED").unwrap_or_else(|| Rng::new().u64(..));
    eprintln!("CHAT_TEST_SEED={seed}");
    seed
}

fn setting(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect(variable))
}

/// Small enough for everything to happen many times: flushes in slices, both kinds of checkpoint, retention, mailboxes
/// that leave memory.
const CONFIG: &str = "\
[accounts]
registration = true
[retention]
age = \"200ms\"
count = 64
[store]
stretch = 300
wal = \"1 MiB\"
segment = \"16 KiB\"
recent = \"64 KiB\"
cached_mailboxes = 50
";
