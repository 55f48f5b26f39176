//! [`Chaos`]: what goes wrong in a world, and its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chat_core::store::simulation::{DiskCopy, DiskFault};
use fastrand::Rng;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::history::Moment;
use crate::host::Host;
use crate::network::{Cut, Outage};
use crate::rng::{millis, percent};
use crate::world::World;

/// Breaks things, and mends them in the end.
pub(crate) struct Chaos {
    world: Arc<World>,
    host: Host,
    devices: usize,
    rng: Rng,
    /// The longest quiet time between two faults.
    quiet: Duration,
    /// What the disk held once.
    copy: Option<(DiskCopy, Moment)>,
    /// Whether the disk is set back at all; in most worlds it is not.
    sets_back: bool,
}

impl Chaos {
    pub(crate) fn new(world: Arc<World>, host: Host, devices: usize, mut rng: Rng) -> Self {
        let quiet = Duration::from_millis(rng.u64(100..8_000));
        let sets_back = percent(&mut rng, 20);
        Self { world, host, devices, rng, quiet, copy: None, sets_back }
    }

    /// Breaks things until it is to be calm; then the server runs, and nothing is broken any more.
    pub(crate) async fn rage(mut self, calm: CancellationToken) -> Host {
        loop {
            let quiet = millis(&mut self.rng, self.quiet);
            let down = self.host.down();
            tokio::select! {
                biased;
                () = calm.cancelled() => break,
                () = down.notified() => self.come_back(Outage::Machine).await,
                () = sleep(quiet) => self.strike().await,
            }
        }
        self.world.note("chaos", "calm");
        self.come_back(Outage::Process).await;
        self.host
    }

    async fn strike(&mut self) {
        let device = self.rng.usize(0..self.devices);
        match self.rng.u32(0..100) {
            0..25 => self.partition(device),
            25..45 => self.cut(device),
            45..55 => self.restart().await,
            55..70 => {
                let outage = if self.rng.bool() { Outage::Process } else { Outage::Machine };
                self.come_back(outage).await;
            }
            70..80 => self.fail_at_a_write(),
            80..88 => self.break_disk().await,
            88..94 => self.set_clock(),
            _ if self.sets_back => self.copy_or_put_back().await,
            _ => {}
        }
    }

    fn partition(&mut self, device: usize) {
        let duration = millis(&mut self.rng, Duration::from_secs(15));
        self.world.note("chaos", &format!("partition of d{device} for {duration:?}"));
        self.world.network.partition(device, duration);
    }

    fn cut(&mut self, device: usize) {
        let cut = *self.rng.choice(&[Cut::Both, Cut::DeviceOnly, Cut::ServerOnly]).expect("three");
        self.world.note("chaos", &format!("cut of d{device}: {cut:?}"));
        self.world.network.cut(device, cut);
    }

    async fn restart(&mut self) {
        self.world.note("chaos", "restart");
        self.host.stop().await;
        self.start().await;
    }

    /// The server goes down now, and comes back.
    async fn come_back(&mut self, outage: Outage) {
        self.world.note("chaos", &format!("crash: {outage:?}"));
        self.host.crash(outage).await;
        self.start().await;
    }

    async fn start(&mut self) {
        let away = millis(&mut self.rng, Duration::from_secs(3));
        sleep(away).await;
        self.world.disk_trouble.store(false, Ordering::Relaxed);
        self.world.note("chaos", "the server starts");
        self.host.start();
    }

    /// The machine goes down at one of the next writes.
    fn fail_at_a_write(&mut self) {
        use DiskFault::{DownAfterSync, DownBeforeSync, DownBeforeWrite};
        let n = self.rng.u64(1..6);
        let fault =
            *self.rng.choice(&[DownBeforeWrite, DownBeforeSync, DownAfterSync]).expect("three");
        self.world.note("chaos", &format!("from the {n}th write on {fault:?}"));
        self.host.break_disk(n, fault);
    }

    /// The disk refuses writes for a while.
    async fn break_disk(&mut self) {
        let n = self.rng.u64(1..6);
        let fault = if self.rng.bool() { DiskFault::NoSpace } else { DiskFault::SyncFailed };
        self.world.note("chaos", &format!("from the {n}th write on {fault:?}"));
        self.world.disk_trouble.store(true, Ordering::Relaxed);
        self.host.break_disk(n, fault);
        let broken = millis(&mut self.rng, Duration::from_secs(8));
        sleep(broken).await;
        self.world.note("chaos", "the disk is well");
        self.host.disk().fail(None);
    }

    fn set_clock(&mut self) {
        const MINUTE: i64 = 60 * 1000;
        let jumps = [-60 * MINUTE, -MINUTE, MINUTE, 70 * MINUTE, 2 * 24 * 60 * MINUTE];
        let jump = *self.rng.choice(&jumps).expect("some");
        self.world.note("chaos", &format!("the clock jumps by {} min", jump / MINUTE));
        self.host.clock().jump(jump);
    }

    async fn copy_or_put_back(&mut self) {
        let Some((copy, then)) = self.copy.take() else {
            self.world.note("chaos", "a copy of the disk is made");
            let then = self.world.history().moment();
            self.copy = Some((self.host.disk().copy(), then));
            return;
        };
        self.world.note("chaos", "the copy of the disk is put back");
        self.host.crash(Outage::Process).await;
        self.host.put_back(&copy);
        self.world.history().put_back(then);
        self.start().await;
    }
}
