//! [`Host`]: a store on its real log and the tasks that run it, all on one thread.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chat_core::account::{Hasher, PasswordParams};
use chat_core::store::{HashedAccount, Outgoing, SessionKey, SqliteOptions, Store, StoreOptions};
use chat_core::{Clock, Random, Timestamp, Token};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// A store in a temporary directory, whose users are [`user`]`(0)` to [`user`]`(`[`USERS`]` - 1)`.
pub(crate) struct Host {
    pub(crate) store: Store,
    tasks: JoinSet<()>,
    runtime: Runtime,
    _directory: TempDir,
}

impl Host {
    /// A new store with its users. The actor runs whenever the host does.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sqlite = SqliteOptions::new(directory.path().join("store"));
        let (store, actor) = Store::open_unstarted(sqlite, &options()).unwrap();
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let mut host = Self { store, tasks: JoinSet::new(), runtime, _directory: directory };
        host.spawn(actor);
        host.run(import(&host.store));
        host
    }

    /// Runs everything until the future is done.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Adds a task that runs whenever the host does.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, self.runtime.handle());
    }

    /// Logs the first users in.
    pub(crate) fn log_in(&self, count: usize) -> Vec<Token> {
        let log_in = |n| self.run(self.store.login(&user(n), PASSWORD)).unwrap();
        (0..count).map(log_in).collect()
    }

    /// Sends one message to each user, in order.
    pub(crate) fn send_everybody_one(&self, from: SessionKey) {
        let messages = (0..USERS).map(|to| Outgoing::new(from, user(to), BODY)).collect();
        assert!(self.run(self.store.send(messages)).iter().all(Result::is_ok));
    }
}

/// The username of a number, all of the same length.
pub(crate) fn user(number: usize) -> String {
    format!("user{number:03}")
}

async fn import(store: &Store) {
    let import = store.begin_import().await.unwrap();
    let hash = Hasher::hash_blocking(CHEAP, PASSWORD).unwrap();
    let account = |n| HashedAccount {
        username: user(n).parse().unwrap(),
        name: format!("User {n:03}").parse().unwrap(),
        hash: hash.clone(),
    };
    store.stage_import(import, (0..USERS).map(account).collect()).await.unwrap();
    store.commit_import(import).await.unwrap();
}

fn options() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.password = CHEAP;
    options.clock = Arc::new(Standing);
    options.random = Arc::new(Counted(AtomicU64::new(1)));
    options
}

/// A clock that stands.
struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_123)
    }
}

/// The same numbers each time, well spread (the finaliser of SplitMix64).
struct Counted(AtomicU64);

impl Random for Counted {
    fn next_u64(&self) -> u64 {
        let n = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }
}

/// As many as the largest batch, so that each user gets one message of it.
pub(crate) const USERS: usize = 256;
const PASSWORD: &str = "surabaya";
/// 100 bytes.
pub(crate) const BODY: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
/// The hash is not counted; this keeps the set-up short.
const CHEAP: PasswordParams = PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };
