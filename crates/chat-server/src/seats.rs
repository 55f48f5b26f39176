//! [`Seats`]: how many connections there may be, who makes room when there are no more, and who is asked to close.

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

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
    /// Before then the log is not told again that all places are taken.
    told_until_ms: AtomicU64,
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

/// Who has a place, as far as others must know. One a connection, so it is kept small: a token to cancel and the future to
/// wait for it take three times the room.
#[derive(Debug)]
struct Holder {
    number: u64,
    room: u32,
    /// When it last sent anything.
    heard_ms: AtomicU64,
    is_guest: AtomicBool,
    asked: Mutex<Asked>,
}

/// What the holder of a place was asked, and whom to wake when it is.
#[derive(Debug, Default)]
struct Asked {
    what: Option<Close>,
    waiting: Option<Waker>,
}

/// Why a connection is asked to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Close {
    /// The server stops.
    Stop,
    /// Somebody else needs the place.
    MakeRoom,
}

impl Seats {
    pub(crate) fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self {
            places: connections,
            free: Semaphore::new(connections),
            taken: Mutex::default(),
            last_number: AtomicU64::new(0),
            last_room: AtomicU32::new(0),
            begun: Instant::now(),
            told_until_ms: AtomicU64::new(0),
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
        let holder = Arc::new(Holder {
            number,
            room,
            heard_ms: AtomicU64::new(self.now_ms()),
            is_guest: AtomicBool::new(true),
            asked: Mutex::default(),
        });
        self.taken().insert(number, Arc::clone(&holder));
        Seat { holder, seats: Arc::clone(self) }
    }

    /// Asks the one who was silent longest; no if there is none to ask.
    fn ask_a_guest_to_leave(&self) -> bool {
        let taken = self.taken();
        let guests = taken.iter().filter(|(_, holder)| holder.is_guest.load(Ordering::Relaxed));
        let silent =
            guests.min_by_key(|(number, guest)| (guest.heard_ms.load(Ordering::Relaxed), **number));
        let Some((number, guest)) = silent else { return false };
        debug!(
            connection = number,
            "closing a silent connection that never logged in, to make room"
        );
        // Asked once, it is not asked again.
        guest.is_guest.store(false, Ordering::Relaxed);
        guest.ask(Close::MakeRoom);
        true
    }

    /// Whether to tell the log now that all places are taken: everybody who comes may find it so.
    fn is_to_tell(&self) -> bool {
        let now = self.now_ms();
        let told = self.told_until_ms.load(Ordering::Relaxed) > now;
        if !told {
            self.told_until_ms.store(now.saturating_add(TELL_EVERY_MS), Ordering::Relaxed);
        }
        !told
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Holder>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
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
        if self.seats.is_to_tell() {
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
    pub(crate) fn poll_asked(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.holder.poll_asked(cx).map(drop)
    }

    /// Waits until a guest was asked to make room, and a time longer; for ever, for anybody else.
    pub(crate) fn overstays(&self, grace: Duration) -> impl Future<Output = ()> + use<> {
        let holder = Arc::clone(&self.holder);
        async move {
            match poll_fn(|cx| holder.poll_asked(cx)).await {
                Close::MakeRoom => tokio::time::sleep(grace).await,
                Close::Stop => pending().await,
            }
        }
    }

    /// The peer sent something.
    pub(crate) fn heard(&self) {
        if self.holder.is_guest.load(Ordering::Relaxed) {
            self.holder.heard_ms.store(self.seats.now_ms(), Ordering::Relaxed);
        }
    }

    /// The peer logged in, and is asked to make room no more.
    pub(crate) fn keep(&self) {
        self.holder.is_guest.store(false, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken().remove(&self.holder.number);
        self.seats.free.add_permits(1);
    }
}

impl Holder {
    fn ask(&self, what: Close) {
        let mut asked = self.asked();
        asked.what.get_or_insert(what);
        if let Some(waiting) = asked.waiting.take() {
            waiting.wake();
        }
    }

    fn poll_asked(&self, cx: &Context<'_>) -> Poll<Close> {
        let mut asked = self.asked();
        if let Some(what) = asked.what {
            return Poll::Ready(what);
        }
        match &mut asked.waiting {
            Some(waiting) => waiting.clone_from(cx.waker()),
            waiting => *waiting = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guest with nothing to finish leaves within microseconds; one who does not read its replies can take the write
/// timeout.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often the log is told that all places are taken.
const TELL_EVERY_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

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
        let room = Seats::new(3).room();
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
        let room = Seats::new(2).room();
        let stuck = room.take().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        let other = room.take().await;
        tokio::join!(room.take(), leave(other));
        assert!(is_asked(&stuck));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_guest_the_next_one_waits() {
        let seats = Seats::new(1);
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
        let seats = Seats::new(1);
        let room = seats.room();
        let user = room.take().await;
        user.keep();
        assert_eq!(seats.told_until_ms.load(Ordering::Relaxed), 0, "one was free");
        assert!(timeout(Duration::from_secs(59), room.take()).await.is_err());
        assert!(!seats.is_to_tell());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(seats.is_to_tell());
    }

    #[tokio::test]
    async fn a_room_closes_alone() {
        let seats = Seats::new(2);
        let (one, other) = (seats.room(), seats.room());
        let (leaving, staying) = (one.take().await, other.take().await);
        one.close();
        leave(leaving).await;
        assert!(!is_asked(&staying));
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_is_to_make_room_overstays() {
        let room = Seats::new(2).room();
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
