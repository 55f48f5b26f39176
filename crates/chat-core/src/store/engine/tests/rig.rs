//! An engine with short words for what tests do to it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::account::PasswordHash;
use crate::store::backend::{Backend, Found, PageError, PlannedHistory};
use crate::store::engine::log::{Log, LogError};
use crate::store::engine::{Engine, SimulatedLog};
use crate::store::request::{Answer, Operation, Outcome};
use crate::store::{
    AccountNumber, AckBasis, Conversation, ConversationEntry, HashedAccount, HistoryCursor,
    Message, Outgoing, Page, PageLimit, PostKey, Receipt, SessionKey, Shown, StoreError,
    StoreOptions,
};
use crate::{Clock, MessageId, Timestamp};

/// A clock that tests set.
#[derive(Debug, Clone, Default)]
pub(super) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(super) fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Copies a store that is closed to where none is.
#[cfg(feature = "embedded")]
pub(super) fn copy_store(from: &std::path::Path, to: &std::path::Path) {
    std::fs::copy(from.join("chat.db"), to.join("chat.db")).unwrap();
    std::fs::create_dir(to.join("journal")).unwrap();
    for file in std::fs::read_dir(from.join("journal")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join("journal").join(file.file_name())).unwrap();
    }
}

/// Removes what [`copy_store`] copies.
#[cfg(feature = "embedded")]
pub(super) fn remove_store(directory: &std::path::Path) {
    std::fs::remove_file(directory.join("chat.db")).unwrap();
    std::fs::remove_dir_all(directory.join("journal")).unwrap();
}

pub(super) struct Rig<L: Log> {
    pub(super) engine: Engine<L>,
    pub(super) clock: TestClock,
}

/// Small enough that a short test flushes many times.
pub(super) fn options(clock: &TestClock) -> StoreOptions {
    StoreOptions {
        stretch: 7,
        mailbox_messages: 40,
        mailbox_bytes: 2_000,
        cached_mailboxes: 1,
        recent_bytes: 600,
        clock: Arc::new(clock.clone()),
        ..StoreOptions::default()
    }
}

/// Room for everything: what is refused is tested elsewhere.
pub(super) fn roomy(clock: &TestClock) -> StoreOptions {
    StoreOptions { mailbox_messages: u64::MAX, mailbox_bytes: u64::MAX, ..options(clock) }
}

impl Rig<SimulatedLog> {
    pub(super) fn simulated() -> (Self, SimulatedLog) {
        let log = SimulatedLog::with_power_switch();
        (Self::new(log.clone(), TestClock::default()), log)
    }
}

impl<L: Log> Rig<L> {
    pub(super) fn new(log: L, clock: TestClock) -> Self {
        let options = options(&clock);
        Self::with(log, clock, &options).expect("opens")
    }

    pub(super) fn with(log: L, clock: TestClock, options: &StoreOptions) -> Result<Self, LogError> {
        Ok(Self { engine: Engine::new(log, options)?, clock })
    }

    /// What the clock shows, in milliseconds.
    pub(super) fn clock_now(&self) -> i64 {
        self.clock.now().as_millis()
    }

    /// As if the process had been killed and another had begun.
    pub(super) fn restart(self) -> Self {
        let options = options(&self.clock);
        self.restart_with(&options)
    }

    pub(super) fn restart_with(self, options: &StoreOptions) -> Self {
        let Self { engine, clock } = self;
        Self::with(engine.log.opened_anew(), clock, options).expect("opens")
    }

    pub(super) fn run(&mut self, operation: Operation) -> Outcome {
        self.run_all(vec![operation]).pop().expect("one outcome")
    }

    pub(super) fn run_all(&mut self, operations: Vec<Operation>) -> Vec<Outcome> {
        self.engine.run(operations, self.clock.now())
    }

    /// Carries out operations ahead of one another, and takes a step of background work beside the last commit.
    pub(super) fn run_ahead(&mut self, operations: Vec<Operation>) -> Vec<Outcome> {
        let now = self.clock.now();
        let mut outcomes = Vec::new();
        for operation in operations {
            outcomes.extend(self.engine.run_ahead(vec![operation], now));
        }
        self.engine.prepare(now);
        outcomes.extend(self.engine.settle());
        self.engine.work(now);
        outcomes
    }

    /// Background work until there is none left at once; at most `steps`.
    pub(super) fn work(&mut self, steps: usize) {
        for _ in 0..steps {
            if self.engine.work(self.clock.now()).is_none_or(|wait| !wait.is_zero()) {
                return;
            }
        }
    }

    /// Makes an account and opens a session for it.
    pub(super) fn join(&mut self, name: &str) -> SessionKey {
        self.try_join(name).expect("joins")
    }

    pub(super) fn try_join(&mut self, name: &str) -> Result<SessionKey, StoreError> {
        let account = hashed(name);
        let hash = account.hash.clone();
        let Answer::Number(number) = self.run(Operation::Create(account))? else {
            panic!("no number")
        };
        let session = session_of(number);
        self.run(Operation::OpenSession {
            account: number,
            verified: hash,
            session,
            rehash: None,
        })?;
        Ok(session)
    }

    pub(super) fn send(
        &mut self,
        from: SessionKey,
        to: &str,
        body: &str,
    ) -> Result<(), StoreError> {
        self.send_one(from, to, body).map(drop)
    }

    pub(super) fn send_one(
        &mut self,
        from: SessionKey,
        to: &str,
        body: &str,
    ) -> Result<Receipt, StoreError> {
        self.send_outgoing(outgoing(from, to, body))
    }

    pub(super) fn post(
        &mut self,
        from: SessionKey,
        key: &str,
        to: &str,
        body: &str,
    ) -> Result<Receipt, StoreError> {
        self.send_outgoing(posted(from, key, to, body))
    }

    fn send_outgoing(&mut self, outgoing: Outgoing) -> Result<Receipt, StoreError> {
        match self.run(Operation::Send(vec![outgoing]))? {
            Answer::Sent(mut outcomes) => outcomes.pop().expect("one"),
            other => panic!("{other:?}"),
        }
    }

    /// One page of a conversation.
    pub(super) fn history(
        &mut self,
        session: SessionKey,
        with: &str,
        cursor: Option<HistoryCursor>,
        most: usize,
    ) -> Result<Conversation, StoreError> {
        let plan = self.plan_history(session, with, cursor, most)?;
        let limit = PageLimit { messages: most, bytes: usize::MAX, cost: |_| 1 };
        match plan.in_memory(limit) {
            Some(page) => Ok(page),
            None => plan.read(limit).map_err(|error| match error {
                PageError::Store(error) => error,
                PageError::Outdated => panic!("outdated though nothing else runs"),
            }),
        }
    }

    pub(super) fn plan_history(
        &mut self,
        session: SessionKey,
        with: &str,
        cursor: Option<HistoryCursor>,
        messages: usize,
    ) -> Result<Box<dyn PlannedHistory>, StoreError> {
        let operation = Operation::History { session, with: with.into(), cursor, messages };
        match self.run(operation)? {
            Answer::History(plan) => Ok(plan),
            other => panic!("{other:?}"),
        }
    }

    /// A whole conversation, oldest first, read in pages.
    pub(super) fn whole_history(
        &mut self,
        session: SessionKey,
        with: &str,
        most: usize,
    ) -> Result<Vec<ConversationEntry>, StoreError> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.history(session, with, cursor, most)?;
            assert!(page.entries.len() <= most);
            all.extend(page.entries.into_iter().rev());
            cursor = page.next;
            if cursor.is_none() {
                all.reverse();
                return Ok(all);
            }
        }
    }

    /// Delivers whatever waits for a user.
    pub(super) fn take_all(&mut self, name: &str) {
        let Ok(Answer::Credentials { account, .. }) =
            self.run(Operation::Credentials { username: name.into() })
        else {
            panic!("no {name}")
        };
        self.take(session_of(account), 1_000).expect("takes");
    }

    /// As if the store had been running for so long.
    pub(super) fn run_for(&mut self, time: Duration) {
        self.engine.running.as_mut().expect("runs").0 += time;
    }

    /// Everything undelivered, by `peek` in pages of three.
    pub(super) fn peek_all(
        &mut self,
        session: SessionKey,
    ) -> Result<Vec<Arc<Message>>, StoreError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let Found { messages, more } =
                self.page(Operation::Peek { session, after, messages: 3 })?;
            after = messages.last().map(|message| message.id);
            all.extend(messages);
            if !more {
                return Ok(all);
            }
        }
    }

    /// One page of `inbox`, what it shows confirmed.
    pub(super) fn take(
        &mut self,
        session: SessionKey,
        most: usize,
    ) -> Result<Vec<Arc<Message>>, StoreError> {
        let (messages, shown) = self.inbox(session, most)?;
        if let Some(shown) = shown {
            self.run(Operation::Confirm(shown))?;
        }
        Ok(messages)
    }

    /// One page of `inbox`, and what there is to confirm.
    pub(super) fn inbox(
        &mut self,
        session: SessionKey,
        most: usize,
    ) -> Result<(Vec<Arc<Message>>, Option<Shown>), StoreError> {
        let operation = Operation::Inbox { session, in_flight: Vec::new(), messages: most };
        let Answer::Plan(plan) = self.run(operation)? else { panic!("no plan") };
        let messages = self.read(&plan, most)?.messages;
        let shown = Page { messages: messages.clone(), ..plan.page }.shown();
        Ok((messages, shown))
    }

    pub(super) fn ack(&mut self, session: SessionKey, upto: u64) -> Result<(), StoreError> {
        let Answer::Whoami(whoami) = self.run(Operation::Whoami { session })? else {
            panic!("not whoami")
        };
        let basis = AckBasis::Incarnation(whoami.incarnation.as_str().into());
        self.run(Operation::Ack { session, upto: MessageId::new(upto), basis }).map(drop)
    }

    fn page(&mut self, operation: Operation) -> Result<Found, StoreError> {
        let Answer::Plan(plan) = self.run(operation)? else { panic!("no plan") };
        self.read(&plan, 3)
    }

    pub(super) fn read(
        &mut self,
        plan: &crate::store::backend::Plan,
        most: usize,
    ) -> Result<Found, StoreError> {
        let limit = PageLimit { messages: most, bytes: usize::MAX, cost: |_| 1 };
        match plan.in_memory(limit) {
            Some(page) => Ok(page),
            None => self.engine.pages().read(plan, limit).map_err(|error| match error {
                PageError::Store(error) => error,
                PageError::Outdated => panic!("outdated though nothing else runs"),
            }),
        }
    }
}

/// Makes tests of functions that take a rig, one on each log.
macro_rules! on_both_logs {
    ($($test:ident)*) => {
        mod simulated {
            use super::{Rig, TestClock};
            $(#[test]
            fn $test() {
                super::$test(Rig::new(crate::store::engine::SimulatedLog::new(), TestClock::default()));
            })*
        }

        #[cfg(feature = "embedded")]
        mod sqlite {
            use super::{Rig, TestClock};
            $(#[test]
            fn $test() {
                let directory = tempfile::tempdir().unwrap();
                super::$test(Rig::new(super::super::rig::relaxed(directory.path()), TestClock::default()));
            })*
        }
    };
}
pub(super) use on_both_logs;

/// Makes tests of functions that take a rig, on a journal that syncs, and so writes zeros ahead of its frames, and begins a
/// segment every few frames.
macro_rules! on_a_synced_journal {
    ($($test:ident)*) => {
        #[cfg(feature = "embedded")]
        mod synced {
            use super::{Rig, TestClock};
            $(#[test]
            fn $test() {
                let directory = tempfile::tempdir().unwrap();
                super::$test(Rig::new(super::super::rig::synced(directory.path()), TestClock::default()));
            })*
        }
    };
}
pub(super) use on_a_synced_journal;

/// Makes property tests of a function that takes a log and what the strategy gives: many cases in memory, a few on the disk.
macro_rules! holds_on_every_log {
    ($function:ident($strategy:expr)) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

            #[test]
            fn simulated(given in $strategy) {
                $function(crate::store::engine::SimulatedLog::new(), given);
            }
        }

        #[cfg(feature = "embedded")]
        proptest! {
            #![proptest_config(ProptestConfig { cases: 25, ..ProptestConfig::default() })]

            #[test]
            fn sqlite(given in $strategy) {
                let directory = tempfile::tempdir().unwrap();
                $function(super::rig::relaxed(directory.path()), given);
            }
        }

        #[cfg(feature = "embedded")]
        proptest! {
            #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

            #[test]
            fn synced(given in $strategy) {
                let directory = tempfile::tempdir().unwrap();
                $function(super::rig::synced(directory.path()), given);
            }
        }
    };
}
pub(super) use holds_on_every_log;

/// A store on the disk without syncs: what they are worth is tested elsewhere.
#[cfg(feature = "embedded")]
pub(super) fn relaxed(directory: &std::path::Path) -> crate::store::engine::SqliteLog {
    let mut options = crate::store::SqliteOptions::new(directory);
    options.durability = crate::store::Durability::ProcessCrash;
    crate::store::engine::SqliteLog::open(options).expect("opens")
}

/// A store on the disk that keeps what a default one promises.
#[cfg(feature = "embedded")]
pub(super) fn synced(directory: &std::path::Path) -> crate::store::engine::SqliteLog {
    let options = crate::store::SqliteOptions::new(directory);
    assert_eq!(options.durability, crate::store::Durability::PowerLoss);
    crate::store::engine::SqliteLog::open(options).expect("opens")
}

pub(super) fn outgoing(session: SessionKey, to: &str, body: &str) -> Outgoing {
    Outgoing::new(session, to, body)
}

pub(super) fn posted(session: SessionKey, key: &str, to: &str, body: &str) -> Outgoing {
    let mut outgoing = outgoing(session, to, body);
    outgoing.key = PostKey::new(key);
    assert!(outgoing.key.is_some(), "{key} is no key");
    outgoing
}

pub(super) fn session_of(account: AccountNumber) -> SessionKey {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&account.0.to_le_bytes());
    SessionKey(key)
}

pub(super) fn hashed(name: &str) -> HashedAccount {
    HashedAccount { username: name.parse().unwrap(), name: name.parse().unwrap(), hash: any_hash() }
}

/// Some hash; the engine only compares it.
pub(super) fn any_hash() -> PasswordHash {
    static HASH: Mutex<Option<PasswordHash>> = Mutex::new(None);
    let mut hash = HASH.lock().unwrap();
    hash.get_or_insert_with(|| {
        let cheap = crate::account::PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };
        crate::account::Hasher::hash_blocking(cheap, "whatever").unwrap()
    })
    .clone()
}

pub(super) fn bodies(messages: &[Arc<Message>]) -> Vec<&str> {
    messages.iter().map(|message| &*message.body).collect()
}
