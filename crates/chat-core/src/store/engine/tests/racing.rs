//! The real [`Watch`] against an engine whose every step the test decides: each watcher sees each id once, in order,
//! whatever happens between.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::mpsc;

use super::rig::{Rig, TestClock, holds_on_every_log, outgoing, roomy};
use crate::MessageId;
use crate::store::backend::Backend;
use crate::store::engine::SimulatedLog;
use crate::store::engine::log::Log;
use crate::store::engine::simulated::Fault;
use crate::store::request::{Answer, Operation, Request};
use crate::store::{SessionKey, Store, StoreError, Watch, WatchEvent, WatchFrom};

/// What may happen. Two of the watched user's sessions have a watch each.
#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    /// A watch takes so many events; with each of its requests so many messages go into the batch, before and after it.
    Take {
        who: usize,
        most: usize,
        before: usize,
        after: usize,
    },
    /// A watch begins to wait, and gives up once so many of its requests were served.
    GiveUp {
        who: usize,
        served: usize,
    },
    /// A watch is dropped, and another one goes on from what it showed.
    Again(usize),
    /// The second watch is dropped, and another one begins at what is undelivered.
    Anew,
    /// Everything up to so many before the end is delivered.
    Ack(u64),
    Work(usize),
    Restart,
    /// A commit fails and the disk heals.
    Fault(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..2_usize;
    let step = prop_oneof![
        8 => (1..30_usize).prop_map(Step::Send),
        12 => (who.clone(), 1..40_usize, 0..5_usize, 0..5_usize)
            .prop_map(|(who, most, before, after)| Step::Take { who, most, before, after }),
        3 => (who.clone(), 0..3_usize).prop_map(|(who, served)| Step::GiveUp { who, served }),
        2 => who.prop_map(Step::Again),
        1 => Just(Step::Anew),
        2 => (0..30_u64).prop_map(Step::Ack),
        4 => (1..6_usize).prop_map(Step::Work),
        1 => Just(Step::Restart),
        2 => any::<bool>().prop_map(Step::Fault),
    ];
    prop::collection::vec(step, 1..60)
}

/// How disks fail and heal.
trait Disk: Log {
    fn fail(&self, fault: Option<Fault>);
}

impl Disk for SimulatedLog {
    fn fail(&self, fault: Option<Fault>) {
        Self::fail(self, fault);
    }
}

#[cfg(feature = "embedded")]
impl Disk for crate::store::engine::SqliteLog {
    /// Its faults have their own tests.
    fn fail(&self, _: Option<Fault>) {}
}

/// A watch, and what it has shown.
struct Watcher {
    session: SessionKey,
    watch: Watch,
    last: u64,
    lagging: bool,
}

struct Race<L: Log> {
    rig: Option<Rig<L>>,
    store: Store,
    requests: mpsc::Receiver<Request>,
    sender: SessionKey,
    watchers: Vec<Watcher>,
    sent: usize,
    /// Bodies in the order they were acknowledged.
    acknowledged: Vec<String>,
    /// What anybody saw under an id.
    seen: BTreeMap<u64, String>,
}

const WATCHED: &str = "messi";

impl<L: Disk> Race<L> {
    async fn new(log: L) -> Self {
        let clock = TestClock::default();
        let options = roomy(&clock);
        let mut rig = Rig::with(log, clock, &options).unwrap();
        let (first, sender) = (rig.join(WATCHED), rig.join("lineker"));
        let second = SessionKey([9; 32]);
        let account = rig.engine.live_account(WATCHED).unwrap();
        let (account, verified) = (account.number, account.hash);
        let open = Operation::OpenSession { account, verified, session: second, rehash: None };
        rig.run(open).unwrap();
        let (store, requests) = Store::unserved(rig.engine.pages());
        let mut race = Self {
            rig: Some(rig),
            store,
            requests,
            sender,
            watchers: Vec::new(),
            sent: 0,
            acknowledged: Vec::new(),
            seen: BTreeMap::new(),
        };
        for session in [first, second] {
            let watcher = race.open(session, WatchFrom::Undelivered).await;
            race.watchers.push(watcher);
        }
        race
    }

    fn rig(&mut self) -> &mut Rig<L> {
        self.rig.as_mut().expect("only gone while it restarts")
    }

    async fn open(&mut self, session: SessionKey, from: WatchFrom) -> Watcher {
        let store = self.store.clone();
        let mut opening = std::pin::pin!(store.watch(session, from));
        let watch = loop {
            tokio::select! {
                biased;
                watch = &mut opening => break watch.unwrap(),
                request = self.requests.recv() => self.serve(request.unwrap(), 2, 2),
            }
        };
        let last = watch.resumed().after.get();
        Watcher { session, watch, last, lagging: false }
    }

    /// Serves a request in one batch with messages before and after it.
    fn serve(&mut self, request: Request, before: usize, after: usize) {
        let Request::Run(operation, answer) = request else { panic!("not to be closed") };
        let mut bodies: Vec<_> = (0..before + after).map(|_| self.body()).collect();
        let mut operations: Vec<_> = bodies.iter().map(|body| self.sending(body)).collect();
        operations.insert(before, operation);
        let mut outcomes = self.rig().run_all(operations);
        let outcome = outcomes.remove(before);
        if outcomes.iter().all(Result::is_ok) {
            self.acknowledged.append(&mut bodies);
        }
        if let Some(answer) = answer {
            let _ = answer.send(outcome);
        }
    }

    /// A body that none had before, of a length that cuts pages at different places.
    fn body(&mut self) -> String {
        self.sent += 1;
        format!("{}:{}", self.sent, "x".repeat(self.sent * 7 % 60))
    }

    fn sending(&self, body: &str) -> Operation {
        Operation::Send(vec![outgoing(self.sender, WATCHED, body)])
    }

    /// The watch's next event, if one comes without anything else happening; gives up after so many requests.
    async fn event(
        &mut self,
        who: usize,
        (before, after): (usize, usize),
        served: usize,
    ) -> Option<Result<WatchEvent, StoreError>> {
        let mut watcher = self.watchers.remove(who);
        let mut left = served;
        let event = {
            let mut next = std::pin::pin!(watcher.watch.next());
            loop {
                tokio::select! {
                    biased;
                    event = &mut next => break Some(event),
                    request = self.requests.recv(), if left > 0 => {
                        self.serve(request.unwrap(), before, after);
                        left -= 1;
                    }
                    // Paused time moves only when nothing else can, a page being read included.
                    () = tokio::time::sleep(Duration::from_millis(1)) => break None,
                }
            }
        };
        if let Some(Ok(event)) = &event {
            self.check(&mut watcher, event);
        }
        self.watchers.insert(who, watcher);
        event
    }

    fn check(&mut self, watcher: &mut Watcher, event: &WatchEvent) {
        match event {
            WatchEvent::Message(message) => {
                assert_eq!(message.id.get(), watcher.last + 1, "a hole or a repeat");
                watcher.last += 1;
                let before = self.seen.insert(watcher.last, message.body.to_string());
                assert!(before.is_none_or(|before| *before == *message.body));
            }
            WatchEvent::Lagging => assert!(!std::mem::replace(&mut watcher.lagging, true)),
            WatchEvent::Live => assert!(std::mem::replace(&mut watcher.lagging, false)),
            WatchEvent::Presence { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    async fn take(&mut self, who: usize, most: usize, beside: (usize, usize)) {
        for _ in 0..most {
            match self.event(who, beside, usize::MAX).await {
                None => break,
                Some(event) => drop(event.unwrap()),
            }
        }
    }

    async fn again(&mut self, who: usize, anew: bool) {
        let old = self.watchers.remove(who);
        let id = MessageId::new(old.last);
        let incarnation = old.watch.incarnation().as_str().into();
        let from = match anew {
            true => WatchFrom::Undelivered,
            false => WatchFrom::After { id, incarnation },
        };
        drop(old.watch);
        let watcher = self.open(old.session, from).await;
        assert!(anew || watcher.last == id.get());
        self.watchers.insert(who, watcher);
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Send(count) => {
                let bodies: Vec<_> = (0..count).map(|_| self.body()).collect();
                let operations = bodies.iter().map(|body| self.sending(body)).collect();
                self.rig().run_all(operations).into_iter().for_each(|sent| drop(sent.unwrap()));
                self.acknowledged.extend(bodies);
            }
            Step::Take { who, most, before, after } => self.take(who, most, (before, after)).await,
            Step::GiveUp { who, served } => drop(self.event(who, (1, 1), served).await),
            Step::Again(who) => self.again(who, false).await,
            Step::Anew => self.again(1, true).await,
            Step::Ack(back) => {
                let session = self.watchers[0].session;
                let account = self.rig().engine.live_account(WATCHED).unwrap().number;
                let last = self.rig().engine.mailbox(account).unwrap().head.last.get();
                self.rig().ack(session, last.saturating_sub(back)).unwrap();
            }
            Step::Work(steps) => self.rig().work(steps),
            Step::Restart => self.restart().await,
            Step::Fault(room) => self.fault(room).await,
        }
        // A watch that gave up has left requests behind.
        while let Ok(request) = self.requests.try_recv() {
            self.serve(request, 1, 1);
        }
    }

    async fn restart(&mut self) {
        let rig = self.rig.take().unwrap();
        let options = roomy(&rig.clock);
        let rig = rig.restart_with(&options);
        (self.store, self.requests) = Store::unserved(rig.engine.pages());
        self.rig = Some(rig);
        self.again(0, false).await;
        self.again(1, false).await;
    }

    async fn fault(&mut self, room: bool) {
        let fault = if room { Fault::NoSpace } else { Fault::SyncFailed };
        self.rig().engine.log.fail(Some(fault));
        let body = self.body();
        let sending = self.sending(&body);
        let outcome = self.rig().run(sending);
        self.rig().engine.log.fail(None);
        if matches!(outcome, Ok(Answer::Sent(_))) {
            self.acknowledged.push(body);
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        self.rig().work(1);
    }

    /// In the end both have come to the end, and the first has seen all that was acknowledged, in order.
    async fn finish(mut self) {
        for who in 0..2 {
            self.take(who, usize::MAX, (0, 0)).await;
            assert!(!self.watchers[who].lagging);
        }
        assert_eq!(self.watchers[0].last, self.watchers[1].last);
        let acknowledged: HashSet<_> = self.acknowledged.iter().collect();
        let known: Vec<_> =
            self.seen.values().filter(|body| acknowledged.contains(body)).cloned().collect();
        assert_eq!(known, self.acknowledged);
    }
}

fn race<L: Disk>(log: L, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut race = Race::new(log).await;
        for step in steps {
            race.step(step).await;
        }
        race.finish().await;
    });
}

holds_on_every_log!(race(steps()));
