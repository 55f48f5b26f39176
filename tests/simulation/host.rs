//! [`Host`]: the machine the server runs on. It starts, stops, crashes and comes back.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use chat_core::store::simulation::{DiskCopy, DiskFault, SimulatedDisk};
use chat_core::store::{
    NewAccount, PrivacyChoice, PrivacySubject, SessionKey, Store, StoreOptions,
};
use chat_core::{Clock, Timestamp};
use chat_server::{Server, ServerConfig};
use fastrand::Rng;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::history::Keeps;
use crate::network::{Network, Outage};
use crate::rng::{Seeded, millis, percent};

/// The machine, with the disk it has and the server it runs.
pub(crate) struct Host {
    disk: SimulatedDisk,
    network: Network,
    store_options: StoreOptions,
    server_config: ServerConfig,
    clock: Arc<SimulatedClock>,
    rng: Rng,
    running: Option<Running>,
    /// The disk brought the machine down.
    down: Arc<Notify>,
}

struct Running {
    store: Store,
    stop: CancellationToken,
    /// The actor and the server.
    tasks: JoinSet<()>,
}

/// A clock that is set by hand besides going on by itself.
pub(crate) struct SimulatedClock {
    began: Instant,
    offset_ms: AtomicI64,
}

impl SimulatedClock {
    fn new() -> Self {
        Self { began: Instant::now(), offset_ms: AtomicI64::new(1_795_000_000_000) }
    }

    pub(crate) fn jump(&self, ms: i64) {
        self.offset_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let gone = i64::try_from(self.began.elapsed().as_millis()).unwrap();
        Timestamp::from_millis(self.offset_ms.load(Ordering::Relaxed) + gone)
    }
}

impl Host {
    pub(crate) fn new(disk: SimulatedDisk, network: Network, mut rng: Rng) -> Self {
        let clock = Arc::new(SimulatedClock::new());
        let mut store_options = small_store(&mut rng);
        store_options.clock = Arc::<SimulatedClock>::clone(&clock);
        store_options.random = Arc::new(Seeded::new(rng.fork()));
        let server_config = small_server(&mut rng);
        let down = Arc::new(Notify::new());
        Self { disk, network, store_options, server_config, clock, rng, running: None, down }
    }

    pub(crate) fn disk(&self) -> &SimulatedDisk {
        &self.disk
    }

    /// What the store keeps. In half of the worlds nothing gets old enough to go.
    pub(crate) fn keeps(&self) -> Keeps {
        let options = &self.store_options;
        let all = options.retention > Duration::from_secs(24 * 60 * 60);
        Keeps { all, messages: options.retention_messages }
    }

    pub(crate) fn clock(&self) -> &SimulatedClock {
        &self.clock
    }

    /// Told when the disk has brought the machine down: then it is to be [crashed](Self::crash).
    pub(crate) fn down(&self) -> Arc<Notify> {
        Arc::clone(&self.down)
    }

    /// Makes the users `u0`, `u1` and so on, who let everybody know what they got. The host is up.
    pub(crate) async fn make_users(&self, count: usize) {
        let store = &self.running.as_ref().unwrap().store;
        for number in 0..count {
            let username = format!("u{number}");
            let account = NewAccount {
                username: username.parse().unwrap(),
                name: username.parse().unwrap(),
                password: PASSWORD.into(),
            };
            store.create_account(account).await.unwrap();
            let token = store.login(&username, PASSWORD).await.unwrap();
            let session = SessionKey::of(&token);
            let (subject, choice) = (PrivacySubject::Receipts, PrivacyChoice::On);
            store.set_privacy(session, subject, choice).await.unwrap();
            store.logout(session).await.unwrap();
        }
    }

    /// Starts the server. The disk has no fault.
    pub(crate) fn start(&mut self) {
        let (store, actor) = self.disk.open(self.store_options.clone()).expect("the store opens");
        let server = Server::new(store.clone(), self.server_config.clone()).unwrap();
        let (stop, listener) = (CancellationToken::new(), self.network.listen());
        let mut tasks = JoinSet::new();
        let outage = match self.rng.bool() {
            true => Outage::Process,
            false => Outage::Machine,
        };
        let fall = Fall { disk: self.disk.clone(), network: self.network.clone(), outage };
        tasks.spawn(paced(actor, fall, self.down(), self.rng.fork()));
        let stopped = stop.clone();
        tasks.spawn(async move {
            server.serve(listener, stopped).await;
        });
        self.running = Some(Running { store, stop, tasks });
    }

    /// Stops the server as an operator does.
    pub(crate) async fn stop(&mut self) {
        let Some(Running { store, stop, mut tasks }) = self.running.take() else {
            return;
        };
        self.network.stop_listening();
        stop.cancel();
        let stopping = async {
            tasks.join_next().await;
            // An unclean end is one of those that the disk can make.
            let _ = store.close().await;
            while tasks.join_next().await.is_some() {}
        };
        tokio::select! {
            biased;
            () = self.down.notified() => {
                self.running = Some(Running { store: store.clone(), stop, tasks: JoinSet::new() });
                self.crash(Outage::Machine).await;
            }
            () = stopping => {
                self.disk.lose_process();
            }
        }
    }

    /// The server ends in the middle of what it does; what was not synced may be lost.
    pub(crate) async fn crash(&mut self, outage: Outage) {
        let Some(Running { mut tasks, .. }) = self.running.take() else {
            return;
        };
        self.network.lose_server(outage);
        tasks.shutdown().await;
        match outage {
            Outage::Process => self.disk.lose_process(),
            Outage::Machine => self.disk.lose_power(self.rng.usize(0..=self.disk.unsynced())),
        }
        // What it told the machine before is nobody's business any more.
        self.down = Arc::new(Notify::new());
    }

    /// Puts an older copy of the disk in place. The host is not running.
    pub(crate) fn put_back(&mut self, copy: &DiskCopy) {
        self.disk.put_back(copy, true);
    }

    /// From the n-th write on the disk fails like this.
    pub(crate) fn break_disk(&mut self, n: u64, fault: DiskFault) {
        self.disk.fail_at(n, fault);
    }
}

/// What happens when the disk brings the machine down.
struct Fall {
    disk: SimulatedDisk,
    network: Network,
    outage: Outage,
}

/// Runs the actor at the pace of a disk: now and then it takes a while, so that requests gather. Once the machine is down
/// it does nothing any more, and nothing it did last is told to anybody.
async fn paced(actor: impl Future<Output = ()>, fall: Fall, down: Arc<Notify>, mut rng: Rng) {
    let slow = rng.u32(0..60);
    let mut actor = pin!(actor);
    let (mut pause, mut fell) = (None, false);
    poll_fn(|cx| {
        if fell {
            return Poll::Pending;
        }
        if pause.is_none() && percent(&mut rng, slow) {
            pause = Some(Box::pin(sleep(millis(&mut rng, SLOWEST_DISK))));
        }
        if let Some(pause) = &mut pause {
            ready!(pause.as_mut().poll(cx));
        }
        pause = None;
        let polled = actor.as_mut().poll(cx);
        if fall.disk.is_down() {
            fall.network.lose_server(fall.outage);
            down.notify_one();
            fell = true;
            return Poll::Pending;
        }
        polled
    })
    .await;
}

/// Limits so small that flushing, paging, quotas and retention all happen within a short run.
fn small_store(rng: &mut Rng) -> StoreOptions {
    let mut options = StoreOptions::default();
    options.message_bytes = 1_000;
    if rng.bool() {
        options.mailbox_messages = rng.u64(10..60);
        options.mailbox_bytes = rng.u64(2_000..6_000);
    }
    if rng.bool() {
        options.retention = Duration::from_secs(rng.u64(1..600));
    }
    options.retention_messages = rng.u64(1..100);
    options.queue = rng.usize(1..8);
    options.batch = rng.usize(1..8);
    options.stretch = rng.u64(1..16);
    options.recent_bytes = rng.usize(0..2_000);
    options.cached_mailboxes = rng.usize(0..4);
    options
}

fn small_server(rng: &mut Rng) -> ServerConfig {
    let mut config = ServerConfig::default();
    config.turn_bytes = rng.usize(1..4_000);
    config.page_messages = rng.usize(1..12);
    config.page_bytes = rng.usize(500..4_000);
    config.hello_page_bytes = rng.usize(500..4_000);
    config
}

/// Every user's.
pub(crate) const PASSWORD: &str = "surabaya";

/// The longest the disk makes the actor wait.
const SLOWEST_DISK: Duration = Duration::from_millis(20);
