//! From the config file to the options of the libraries, and back for the defaults.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::Path;

use chat_core::account::PasswordParams;
use chat_core::store::{SqliteOptions, StoreOptions};
use chat_server::ServerConfig;

use super::*;

impl Config {
    /// How the store behaves.
    pub(crate) fn store_options(&self) -> StoreOptions {
        let mut options = StoreOptions::default();
        options.message_bytes = self.messages.max_size.as_usize();
        options.mailbox_messages = self.messages.mailbox_count.get();
        options.mailbox_bytes = self.messages.mailbox_size.bytes();
        options.sessions_per_account = self.sessions.max_per_account.get();
        options.session_idle = self.sessions.idle.duration();
        options.retention = self.retention.age.duration();
        options.retention_messages = self.retention.count.get();
        options.queue = self.store.queue.get();
        options.batch = self.store.batch.get();
        options.stretch = self.store.stretch.get();
        options.recent_bytes = self.store.recent.as_usize();
        options.cached_mailboxes = self.store.cached_mailboxes.get();
        options.password = self.password_params();
        options.hide_unknown_users = self.accounts.hide_unknown_users;
        options
    }

    /// What a new password hash costs.
    pub(crate) fn password_params(&self) -> PasswordParams {
        PasswordParams {
            memory_kib: u32::try_from(self.passwords.memory.bytes() / 1024).unwrap_or(u32::MAX),
            passes: self.passwords.passes.get(),
            lanes: self.passwords.lanes.get(),
        }
    }

    /// Where and how the store keeps its files.
    pub(crate) fn sqlite_options(&self, directory: &Path) -> SqliteOptions {
        let mut options = SqliteOptions::new(directory);
        options.durability = self.store.durability.into();
        options.wal_bytes = self.store.wal.bytes();
        options.segment_bytes = self.store.segment.bytes();
        options
    }

    /// How the server behaves.
    pub(crate) fn server_config(&self) -> ServerConfig {
        let mut config = ServerConfig::default();
        config.version = env!("CARGO_PKG_VERSION").into();
        config.connections = usize::try_from(self.connections.max.get()).unwrap_or(usize::MAX);
        config.frame_bytes = self.connections.max_frame.as_usize();
        config.buffer_bytes = self.connections.buffers.as_usize();
        config.line_timeout = self.connections.line_timeout.duration();
        config.write_timeout = self.connections.write_timeout.duration();
        config.linger = self.connections.linger.duration();
        config.keepalive = self.connections.keepalive.duration();
        config.registration = self.accounts.registration;
        config.shutdown_deadline = self.shutdown.deadline.duration();
        config
    }

    /// An address that is given more than once, which could not be bound again. Port 0 is another port each time.
    pub(super) fn listens_twice(&self) -> Option<&ListenAddr> {
        let mut rest = self.listen.as_slice();
        while let Some((address, others)) = rest.split_first() {
            if others.contains(address) && !address.as_str().ends_with(":0") {
                return Some(address);
            }
            rest = others;
        }
        None
    }

    /// What is wrong with the keys taken together, each being right by itself.
    pub(super) fn contradiction(&self) -> Option<String> {
        let least_frame = self.messages.max_size.bytes().saturating_add(FRAME_ROOM_BYTES);
        let least_buffers = self.server_config().least_buffer_bytes();
        if self.listen.is_empty() {
            Some("listen is empty: give at least one address".to_owned())
        } else if let Some(address) = self.listens_twice() {
            Some(format!("listen: {address} is given twice"))
        } else if self.connections.max_frame.bytes() < least_frame {
            Some(format!(
                "connections.max_frame has no room for a message of messages.max_size: make it at least {least_frame}"
            ))
        } else if self.connections.buffers.as_usize() < least_buffers {
            Some(format!(
                "connections.buffers has no room for a few connections' lines and replies: make it at least {least_buffers}"
            ))
        } else if let Err(error) = self.password_params().check() {
            Some(format!("[passwords] {error}"))
        } else if let Err(error) = self.server_config().check() {
            Some(format!("[connections] {error}"))
        } else {
            None
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN.parse().into_iter().collect(),
            data: None,
            log: Log::default(),
            connections: Connections::default(),
            accounts: Accounts::default(),
            passwords: Passwords::default(),
            sessions: Sessions::default(),
            messages: Messages::default(),
            retention: Retention::default(),
            store: StoreConfig::default(),
            shutdown: Shutdown::default(),
        }
    }
}

impl Default for Connections {
    fn default() -> Self {
        let server = ServerConfig::default();
        let max = u32::try_from(server.connections).ok().and_then(NonZeroU32::new);
        Self {
            max: max.unwrap_or(NonZeroU32::MAX),
            max_frame: server.frame_bytes.into(),
            buffers: server.buffer_bytes.into(),
            line_timeout: server.line_timeout.into(),
            write_timeout: server.write_timeout.into(),
            linger: server.linger.into(),
            keepalive: server.keepalive.into(),
        }
    }
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            registration: ServerConfig::default().registration,
            hide_unknown_users: StoreOptions::default().hide_unknown_users,
        }
    }
}

impl Default for Passwords {
    fn default() -> Self {
        let params = PasswordParams::default();
        Self {
            memory: (u64::from(params.memory_kib) * 1024).into(),
            passes: NonZeroU32::new(params.passes).unwrap_or(NonZeroU32::MIN),
            lanes: NonZeroU32::new(params.lanes).unwrap_or(NonZeroU32::MIN),
        }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        let store = StoreOptions::default();
        Self {
            idle: store.session_idle.into(),
            max_per_account: at_least_one(store.sessions_per_account),
        }
    }
}

impl Default for Messages {
    fn default() -> Self {
        let store = StoreOptions::default();
        Self {
            max_size: store.message_bytes.into(),
            mailbox_count: NonZeroU64::new(store.mailbox_messages).unwrap_or(NonZeroU64::MIN),
            mailbox_size: store.mailbox_bytes.into(),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        let store = StoreOptions::default();
        Self {
            age: store.retention.into(),
            count: NonZeroU64::new(store.retention_messages).unwrap_or(NonZeroU64::MIN),
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        let store = StoreOptions::default();
        Self {
            durability: DurabilityLevel::default(),
            wal: SqliteOptions::new("").wal_bytes.into(),
            segment: SqliteOptions::new("").segment_bytes.into(),
            queue: at_least_one(store.queue),
            batch: at_least_one(store.batch),
            stretch: NonZeroU64::new(store.stretch).unwrap_or(NonZeroU64::MIN),
            recent: store.recent_bytes.into(),
            cached_mailboxes: at_least_one(store.cached_mailboxes),
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { deadline: ServerConfig::default().shutdown_deadline.into() }
    }
}

fn at_least_one(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN)
}

/// The port of the existing servers, reachable from this machine alone until the operator says otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:8889";
/// What a request line has beside its message: a command, a token, a key and two usernames of full length.
const FRAME_ROOM_BYTES: u64 = 512;
