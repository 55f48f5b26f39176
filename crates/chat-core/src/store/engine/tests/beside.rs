//! Background work that was made ready beside a commit which fails, or while nothing can be written.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::rig::{Rig, TestClock, outgoing, posted, roomy};
use crate::Clock as _;
use crate::store::backend::Backend as _;
use crate::store::engine::SimulatedLog;
use crate::store::engine::load::Load;
use crate::store::engine::simulated::Fault;
use crate::store::engine::work::{ASK_AGAIN, Progress};
use crate::store::engine::worker::{Task, Worker};
use crate::store::request::Operation;
use crate::store::{Outgoing, Receipt, SessionKey, StoreError};

struct Talk {
    rig: Rig<SimulatedLog>,
    log: SimulatedLog,
    messi: SessionKey,
    lineker: SessionKey,
    /// What was acknowledged; its text is the key of each.
    posted: Vec<(String, Receipt)>,
}

impl Talk {
    /// Posts so much that a flush is due, and after some of them runs to merge.
    fn new(flushed: usize) -> Self {
        let log = SimulatedLog::with_power_switch();
        let clock = TestClock::default();
        let mut rig = Rig::with(log.clone(), clock.clone(), &roomy(&clock)).unwrap();
        let (messi, lineker) = (rig.join("messi"), rig.join("lineker"));
        // The directory is read.
        rig.work(1_000);
        let mut talk = Self { rig, log, messi, lineker, posted: Vec::new() };
        for n in 0..flushed + 20 {
            talk.post(&format!("before{n}"));
            if n < flushed && n % 7 == 6 {
                talk.work_on_flushes();
            }
        }
        talk
    }

    /// Flushes, and leaves to the runs what is theirs.
    fn work_on_flushes(&mut self) {
        let now = self.rig.clock.now();
        while self.rig.engine.flush_step(now).unwrap() == Progress::More {}
    }

    fn post(&mut self, text: &str) {
        let receipt = self.rig.post(self.messi, text, "lineker", text).unwrap();
        assert!(!receipt.duplicate);
        self.posted.push((text.into(), receipt));
    }

    fn message(&self, text: &str) -> Outgoing {
        outgoing(self.messi, "lineker", text)
    }

    /// Has a commit fail beside which a step is made ready.
    fn fail_beside_work(&mut self) {
        let lost = (0..3).map(|n| posted(self.messi, &format!("lost{n}"), "lineker", "lost"));
        let send = Operation::Send(lost.collect());
        let now = self.rig.clock.now();
        assert!(self.rig.engine.run_ahead(vec![send], now).is_empty());
        self.rig.engine.prepare(now);
        self.log.fail(Some(Fault::NoSpace));
        let outcome = self.rig.engine.settle().pop().unwrap();
        assert_eq!(outcome.unwrap_err(), StoreError::NoSpace);
        self.log.fail(None);
        self.rig.engine.work(now);
    }

    async fn heal(&mut self) {
        self.log.fail(None);
        tokio::time::advance(Duration::from_secs(10)).await;
        self.rig.work(10_000);
    }

    /// Has the worker do nothing until the first of what this gives is dropped, or somebody waited for it for long.
    fn hold_worker(&mut self) -> (Sender<()>, Task<()>) {
        let (release, released) = channel::<()>();
        let worker = &mut self.rig.engine.state.as_mut().unwrap().worker;
        *worker = Worker::on_thread("test");
        (release, worker.begin(move || released.recv_timeout(PATIENCE).unwrap_or_default()))
    }

    /// What was acknowledged is there once.
    fn check_pages(&mut self) {
        let found = self.rig.peek_all(self.lineker).unwrap();
        assert!(found.iter().map(|message| message.id.get()).eq((1..).take(found.len())));
        let texts: Vec<_> = found.iter().map(|message| &*message.body).collect();
        let posted: Vec<_> = self.posted.iter().map(|(text, _)| &**text).collect();
        assert_eq!(texts, posted);
    }

    /// Keys lead to it.
    fn check_keys(&mut self) {
        for (text, first) in &self.posted {
            let again = self.rig.post(self.messi, text, "lineker", text);
            assert_eq!(again, Ok(Receipt { duplicate: true, ..*first }), "{text}");
        }
    }

    /// The same, now and after another start; nothing has the id of another.
    fn check(mut self) {
        for _ in 0..3 {
            let number = self.posted.len();
            self.post(&format!("later{number}"));
            self.check_pages();
            self.check_keys();
            self.rig.work(10_000);
            let options = roomy(&self.rig.clock);
            self.rig = self.rig.restart_with(&options);
        }
    }
}

/// While writes are refused, commits that hold nothing come all the same, and no step is put.
#[tokio::test(start_paused = true)]
async fn while_nothing_can_be_written_no_step_is_lost() {
    for flushed in [0, 28, 70] {
        for refusals in [1, 2, 30] {
            let mut talk = Talk::new(flushed);
            talk.log.fail(Some(Fault::NoSpace));
            for _ in 0..refusals {
                let refused = Operation::Send(vec![talk.message("refused")]);
                let outcome = talk.rig.run_ahead(vec![refused]).pop().unwrap();
                assert_eq!(outcome.unwrap_err(), StoreError::NoSpace);
            }
            talk.heal().await;
            talk.check();
        }
    }
}

/// Whoever asks for a step that is ready already loses nothing of it.
#[test]
fn a_step_made_ready_twice_is_put_once() {
    for flushed in [0, 28] {
        let mut talk = Talk::new(flushed);
        let now = talk.rig.clock.now();
        for n in 0..100 {
            talk.post(&format!("beside{n}"));
            talk.rig.engine.prepare(now);
            talk.rig.engine.prepare(now);
            talk.rig.engine.work(now);
        }
        talk.check();
    }
}

/// What was made ready tells of messages that never were, or of runs that the disk does not have so.
#[tokio::test(start_paused = true)]
async fn a_step_made_ready_beside_a_commit_that_fails_goes_with_it() {
    for steps in 0..40 {
        for is_flushed in [false, true] {
            let mut talk = Talk::new(28);
            if is_flushed {
                talk.work_on_flushes();
            }
            talk.rig.work(steps);
            talk.fail_beside_work();
            tokio::time::advance(Duration::from_secs(10)).await;
            // Work ends what it would have done wrong: so a look after each step.
            for _ in 0..20 {
                talk.rig.work(1);
                talk.check_pages();
            }
            talk.heal().await;
            talk.check();
        }
    }
}

/// How long a worker is held up that is waited for, though nobody should: much longer than all else here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// While the worker is held up, a busy store goes on, and finds what is being written or merged.
#[tokio::test(start_paused = true)]
async fn a_busy_store_does_not_wait_for_the_worker() {
    let mut waited = 0;
    for steps in 0..40 {
        let mut talk = Talk::new(28);
        talk.rig.work(steps);
        let held = talk.hold_worker();
        talk.rig.engine.prepare(talk.rig.clock.now());
        talk.rig.engine.load = Load::busy();
        for n in 0..10 {
            talk.post(&format!("meanwhile{n}"));
            let wait = talk.rig.engine.work(talk.rig.clock.now());
            waited += usize::from(wait == Some(ASK_AGAIN));
            talk.check_pages();
            talk.check_keys();
        }
        assert!(held.1.poll().is_none(), "waited for the worker after {steps} steps");
        drop(held);
        talk.rig.engine.load = Load::new();
        talk.rig.work(10_000);
        talk.check();
    }
    assert!(waited > 40, "{waited} times");
}
