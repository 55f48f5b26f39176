//! [`Seats`]: how many connections there may be and how much they may hold together, who makes room when there is no more,
//! and who is asked to close.

mod buffers;
mod holder;

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use self::buffers::{Buffers, Rank};
pub(crate) use self::holder::Close;
use self::holder::Holder;
use crate::ServerConfig;

/// The places for connections. When all are taken, the guest who was silent longest gives theirs up; a guest is a
/// connection that never logged in. When there is no guest, the next connection waits.
#[derive(Debug)]
pub(crate) struct Seats {
    places: usize,
    free: Semaphore,
    /// In order, so that what they are asked is in the same order always.
    taken: Mutex<BTreeMap<u64, Arc<Holder>>>,
    last_number: AtomicU64,
    last_room: AtomicU32,
    /// What [`Holder::heard_ms`] counts from.
    begun: Instant,
    buffers: Buffers,
    told_full: Told,
    told_held: Told,
}

/// When the log was told something that it is not told again too soon.
#[derive(Debug, Default)]
struct Told {
    until_ms: AtomicU64,
}

/// Some of the places: those whose holders are asked to close together.
#[derive(Debug)]
pub(crate) struct Room {
    number: u32,
    seats: Arc<Seats>,
}

/// One connection's place, free again when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    holder: Arc<Holder>,
    seats: Arc<Seats>,
}

/// What one connection holds for its peer: of a line that is not finished, or of output that is not read. Nothing any more
/// when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    holder: Arc<Holder>,
    seats: Arc<Seats>,
    /// What is counted of it, once it is enough to be counted.
    counted: Option<(Rank, usize)>,
}

impl Seats {
    pub(crate) fn new(config: &ServerConfig) -> Arc<Self> {
        Arc::new(Self {
            places: config.connections,
            free: Semaphore::new(config.connections),
            taken: Mutex::default(),
            last_number: AtomicU64::new(0),
            last_room: AtomicU32::new(0),
            begun: Instant::now(),
            buffers: Buffers::new(config.buffer_bytes),
            told_full: Told::default(),
            told_held: Told::default(),
        })
    }

    /// A room with nobody in it.
    pub(crate) fn room(self: &Arc<Self>) -> Room {
        Room { number: self.last_room.fetch_add(1, Ordering::Relaxed), seats: Arc::clone(self) }
    }

    fn seat(self: &Arc<Self>, permit: SemaphorePermit<'_>, room: u32) -> Seat {
        // The seat gives it back.
        permit.forget();
        let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        let holder = Arc::new(Holder::new(number, room, self.now_ms()));
        self.taken().insert(number, Arc::clone(&holder));
        Seat { holder, seats: Arc::clone(self) }
    }

    /// Asks the one who was silent longest; no if there is none to ask.
    fn ask_a_guest_to_leave(&self) -> bool {
        let taken = self.taken();
        // Asked once, it is not asked again.
        let guests = taken.iter().filter(|(_, holder)| holder.is_guest() && !holder.is_asked());
        let silent =
            guests.min_by_key(|(number, guest)| (guest.heard_ms.load(Ordering::Relaxed), **number));
        let Some((number, guest)) = silent else { return false };
        debug!(
            connection = number,
            "closing a silent connection that never logged in, to make room"
        );
        guest.ask(Close::MakeRoom);
        true
    }

    /// Asks those who held something longest to close, if too much is held.
    fn free_memory(&self) {
        let closing = self.buffers.free();
        if closing > 0 && self.told_held.is_due(self.now_ms()) {
            warn!(
                closing,
                "too much is held for peers that do not finish their lines or read their replies: those held for longest \
                 are closed, first those that never logged in"
            );
        }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Holder>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Told {
    /// Whether to tell it now: everybody who comes may find it so.
    fn is_due(&self, now_ms: u64) -> bool {
        let due = self.until_ms.load(Ordering::Relaxed) <= now_ms;
        if due {
            self.until_ms.store(now_ms.saturating_add(TELL_EVERY_MS), Ordering::Relaxed);
        }
        due
    }
}

impl Room {
    /// Waits for a place, making room if need be.
    ///
    /// Cancel safe; a guest already asked to leave leaves all the same.
    pub(crate) async fn take(&self) -> Seat {
        loop {
            let asked = self.seats.free.available_permits() == 0 && self.make_room();
            let permit = self.seats.free.acquire();
            let permit =
                if asked { timeout(PATIENCE, permit).await.ok() } else { Some(permit.await) };
            // The semaphore is never closed; and a guest who dawdles is not waited for, the next one is asked.
            if let Some(Ok(permit)) = permit {
                return self.seats.seat(permit, self.number);
            }
        }
    }

    /// All places are taken: whether somebody was asked to leave theirs.
    fn make_room(&self) -> bool {
        let asked = self.seats.ask_a_guest_to_leave();
        if self.seats.told_full.is_due(self.seats.now_ms()) {
            let what = match asked {
                true => "silent ones that never logged in make room",
                false => "who comes now has to wait",
            };
            warn!(
                connections = self.seats.places,
                "as many connections as there may be: {what} (a higher limit lets more in)"
            );
        }
        asked
    }

    /// Asks everybody in here to close.
    pub(crate) fn close(&self) {
        let taken = self.seats.taken();
        taken.values().filter(|holder| holder.room == self.number).for_each(|holder| {
            holder.ask(Close::Stop);
        });
    }
}

impl Seat {
    /// The connection's number, counted from 1 since the server was made.
    pub(crate) fn number(&self) -> u64 {
        self.holder.number
    }

    /// Whether the connection is to serve what it has read, and close; if not yet, the task is woken when it is. One task
    /// waits at a time.
    pub(crate) fn poll_asked(&self, cx: &mut Context<'_>) -> Poll<Close> {
        self.holder.poll_asked(cx)
    }

    /// What the connection holds for its peer, nothing as yet.
    pub(crate) fn claim(&self) -> Claim {
        Claim { holder: Arc::clone(&self.holder), seats: Arc::clone(&self.seats), counted: None }
    }

    /// Whether so much is held for slow peers that nobody should come to hold much more.
    pub(crate) fn memory_is_scarce(&self) -> bool {
        self.seats.buffers.is_scarce()
    }

    /// Waits until what is held is needed, or a guest was asked to make room, and then a time longer; for ever, for anybody
    /// else.
    pub(crate) fn overstays(&self, grace: Duration) -> impl Future<Output = ()> + use<> {
        let holder = Arc::clone(&self.holder);
        async move {
            match poll_fn(|cx| holder.poll_asked(cx)).await {
                Close::MakeRoom => tokio::time::sleep(grace).await,
                Close::FreeMemory => {}
                Close::Stop => pending().await,
            }
        }
    }

    /// The peer sent something.
    pub(crate) fn heard(&self) {
        if self.holder.is_guest() {
            self.holder.heard_ms.store(self.seats.now_ms(), Ordering::Relaxed);
        }
    }

    /// The peer logged in, and is asked to make room no more.
    pub(crate) fn keep(&self) {
        self.holder.keep();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken().remove(&self.holder.number);
        self.seats.free.add_permits(1);
    }
}

impl Claim {
    /// So much is held now. It may be found to be too much, and the connection asked to close.
    pub(crate) fn hold(&mut self, bytes: usize) {
        match &mut self.counted {
            Some((_, counted)) if *counted == bytes => return,
            Some((rank, counted)) => {
                *counted = bytes;
                self.seats.buffers.change(*rank, bytes);
            }
            None if bytes <= UNCOUNTED_BYTES => return,
            counted => *counted = Some((self.seats.buffers.claim(bytes, &self.holder), bytes)),
        }
        self.seats.free_memory();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((rank, _)) = self.counted {
            self.seats.buffers.release(rank);
        }
    }
}

/// A guest with nothing to finish leaves within microseconds; one who does not read its replies can take the write
/// timeout.
const PATIENCE: Duration = Duration::from_millis(100);
/// What a connection may hold beside: most lines and replies, and little even of all connections.
const UNCOUNTED_BYTES: usize = 1024;
/// How often the log is told the same.
const TELL_EVERY_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn seats(connections: usize) -> Arc<Seats> {
        Seats::new(&ServerConfig { connections, ..ServerConfig::default() })
    }

    fn is_asked(seat: &Seat) -> bool {
        seat.poll_asked(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn silent_for(seat: &Seat) -> u64 {
        seat.holder.heard_ms.load(Ordering::Relaxed)
    }

    async fn leave(seat: Seat) {
        poll_fn(|cx| seat.poll_asked(cx)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_guest_silent_longest_makes_room() {
        let room = seats(3).room();
        let user = room.take().await;
        user.keep();
        let first = room.take().await;
        let second = room.take().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        first.heard();
        assert!(silent_for(&second) < silent_for(&first));

        let (newcomer, ()) = tokio::join!(room.take(), leave(second));
        assert_eq!(newcomer.number(), 4);
        assert!(!is_asked(&first) && !is_asked(&user));
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_does_not_leave_is_not_waited_for() {
        let room = seats(2).room();
        let stuck = room.take().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        let other = room.take().await;
        tokio::join!(room.take(), leave(other));
        assert!(is_asked(&stuck));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_guest_the_next_one_waits() {
        let seats = seats(1);
        let room = seats.room();
        let user = room.take().await;
        user.keep();
        assert!(timeout(Duration::from_secs(3600), room.take()).await.is_err());
        assert!(!is_asked(&user));
        drop(user);
        drop(room.take().await);
        assert!(seats.taken().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn that_all_places_are_taken_is_told_once_a_minute() {
        let seats = seats(1);
        let room = seats.room();
        let user = room.take().await;
        user.keep();
        assert_eq!(seats.told_full.until_ms.load(Ordering::Relaxed), 0, "one was free");
        assert!(timeout(Duration::from_secs(59), room.take()).await.is_err());
        assert!(!seats.told_full.is_due(seats.now_ms()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(seats.told_full.is_due(seats.now_ms()));
    }

    #[tokio::test]
    async fn a_room_closes_alone() {
        let seats = seats(2);
        let (one, other) = (seats.room(), seats.room());
        let (leaving, staying) = (one.take().await, other.take().await);
        one.close();
        leave(leaving).await;
        assert!(!is_asked(&staying));
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_is_to_make_room_overstays() {
        let room = seats(2).room();
        let (guest, user) = (room.take().await, room.take().await);
        user.keep();
        let grace = Duration::from_secs(2);
        assert!(timeout(grace, user.overstays(grace)).await.is_err());
        let begun = Instant::now();
        let late = timeout(PATIENCE / 2, room.take());
        let (late, ()) = tokio::join!(late, guest.overstays(grace));
        assert!(late.is_err());
        assert_eq!(begun.elapsed(), grace);
        room.close();
        assert!(is_asked(&user));
        assert!(timeout(grace * 2, user.overstays(grace)).await.is_err());
    }
}
