//! What the benchmarks of the store have in common. The users are user0, user1 and so on, and share [`PASSWORD`].

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use chat_core::account::{Hasher, PasswordParams};
use chat_core::store::{Durability, HashedAccount, SessionKey, SqliteOptions, Store, StoreOptions};

pub(crate) const PASSWORD: &str = "surabaya-1";

/// Cheap passwords, and mailboxes without limits.
pub(crate) fn options() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.password = CHEAP;
    options.mailbox_messages = u64::MAX;
    options.mailbox_bytes = u64::MAX;
    options
}

/// Opens a store without syncs, so that it is not the disk that is measured.
pub(crate) async fn open(directory: impl AsRef<Path>, options: StoreOptions) -> Store {
    let mut sqlite = SqliteOptions::new(directory.as_ref());
    sqlite.durability = Durability::ProcessCrash;
    Store::open(sqlite, options).await.unwrap()
}

/// Makes so many accounts.
pub(crate) async fn import(store: &Store, accounts: u64) {
    let import = store.begin_import().await.unwrap();
    let hash = Hasher::hash_blocking(CHEAP, PASSWORD).unwrap();
    let account = |n: u64| HashedAccount {
        username: format!("user{n}").parse().unwrap(),
        name: format!("User {n}").parse().unwrap(),
        hash: hash.clone(),
    };
    for first in (0..accounts).step_by(1_000) {
        let slice = (first..accounts.min(first + 1_000)).map(account).collect();
        store.stage_import(import, slice).await.unwrap();
    }
    store.commit_import(import).await.unwrap();
}

pub(crate) async fn login(store: &Store, user: u64) -> SessionKey {
    SessionKey::of(&store.login(&format!("user{user}"), PASSWORD).await.unwrap())
}

/// Sessions of the first users.
pub(crate) async fn callers(store: &Store, count: u64) -> Vec<SessionKey> {
    let mut sessions = Vec::new();
    for user in 0..count {
        sessions.push(login(store, user).await);
    }
    sessions
}

/// The same for the same seed, and spread well.
pub(crate) fn random(seed: u64) -> u64 {
    // SplitMix64.
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) >> 1
}

/// How long the store's thread has been on a processor.
pub(crate) fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let is_store = |task: &std::path::PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "chat-store")
    };
    let task = tasks.into_iter().find(is_store).unwrap();
    let stat = fs::read_to_string(task.join("schedstat")).unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// Bytes this process caused to be written to storage.
pub(crate) fn written() -> u64 {
    field("/proc/self/io", "write_bytes:")
}

/// Memory of this process, in MB.
pub(crate) fn resident() -> u64 {
    field("/proc/self/status", "VmRSS:") / 1_000
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

const CHEAP: PasswordParams = PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };
