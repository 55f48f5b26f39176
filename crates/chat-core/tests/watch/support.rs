//! A store in memory, people in it, and short words for what they see.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chat_core::account::PasswordParams;
use chat_core::store::{
    NewAccount, Outgoing, SessionKey, Store, StoreOptions, Watch, WatchEvent, WatchFrom,
};
use chat_core::{Clock, Timestamp};

/// A clock that tests set.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

pub(crate) fn options(clock: &TestClock) -> StoreOptions {
    let mut options = StoreOptions::default();
    options.clock = Arc::new(clock.clone());
    options.password = PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };
    options
}

pub(crate) fn store() -> Store {
    Store::in_memory(options(&TestClock::default())).unwrap()
}

pub(crate) const PASSWORD: &str = "jembatan-merah";

/// Makes an account and logs in.
pub(crate) async fn join(store: &Store, name: &str) -> SessionKey {
    let account = NewAccount {
        username: name.parse().unwrap(),
        name: name.parse().unwrap(),
        password: PASSWORD.into(),
    };
    store.create_account(account).await.unwrap();
    log_in(store, name).await
}

pub(crate) async fn log_in(store: &Store, name: &str) -> SessionKey {
    SessionKey::of(&store.login(name, PASSWORD).await.unwrap())
}

pub(crate) async fn watch(store: &Store, session: SessionKey) -> Watch {
    store.watch(session, WatchFrom::Undelivered).await.unwrap()
}

pub(crate) async fn send(store: &Store, session: SessionKey, to: &str, body: &str) {
    let outcomes = store.send(vec![Outgoing::new(session, to, body)]).await;
    assert!(outcomes.iter().all(Result::is_ok));
}

/// What an event says, in a word.
pub(crate) fn said(event: &WatchEvent) -> String {
    match event {
        WatchEvent::Message(message) => format!("{}:{}", message.id, message.body),
        WatchEvent::Sent(sent) => format!("sent to {}:{}", sent.to, sent.message.body),
        WatchEvent::Presence { username, active } => format!("{username} {active}"),
        WatchEvent::Gap(from, to) => format!("gap {from}-{to}"),
        WatchEvent::Lagging => "lagging".into(),
        WatchEvent::Live => "live".into(),
        WatchEvent::Ended(why) => format!("ended {}", why.as_str()),
    }
}

pub(crate) async fn next(watch: &mut Watch) -> String {
    said(&watch.next().await.unwrap())
}

/// The next events, so many.
pub(crate) async fn take(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(next(watch).await);
    }
    taken
}
