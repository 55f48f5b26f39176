//! [`Seats`]: how many connections there may be, and who makes room when there are no more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// The places for connections. When all are taken, the guest who was silent longest gives theirs up; a guest is a
/// connection that never logged in. When there is no guest, the next connection waits.
#[derive(Debug)]
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    guests: Mutex<HashMap<u64, Arc<Guest>>>,
    last_number: AtomicU64,
    /// What [`Guest::heard_ms`] counts from.
    begun: Instant,
}

/// One connection's place, free again when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    number: u64,
    close: CancellationToken,
    guest: Option<Arc<Guest>>,
    seats: Arc<Seats>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Guest {
    /// When it last sent anything.
    heard_ms: AtomicU64,
    close: CancellationToken,
    /// Cancelled together with `close` when it is to make room, and not when the server stops.
    make_room: CancellationToken,
}

impl Seats {
    pub(crate) fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(connections)),
            guests: Mutex::default(),
            last_number: AtomicU64::new(0),
            begun: Instant::now(),
        })
    }

    /// Waits for a place, making room if need be. The one who takes it is asked to close when `stop` is cancelled.
    ///
    /// Cancel safe; a guest already asked to leave leaves all the same.
    pub(crate) async fn take(self: &Arc<Self>, stop: &CancellationToken) -> Seat {
        loop {
            let asked = self.free.available_permits() == 0 && self.ask_a_guest_to_leave();
            let permit = Arc::clone(&self.free).acquire_owned();
            let permit =
                if asked { timeout(PATIENCE, permit).await.ok() } else { Some(permit.await) };
            // The semaphore is never closed; and a guest who dawdles is not waited for, the next one is asked.
            if let Some(Ok(permit)) = permit {
                return self.seat(permit, stop.child_token());
            }
        }
    }

    fn seat(self: &Arc<Self>, permit: OwnedSemaphorePermit, close: CancellationToken) -> Seat {
        let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        let guest = Arc::new(Guest {
            heard_ms: AtomicU64::new(self.now_ms()),
            close: close.clone(),
            make_room: CancellationToken::new(),
        });
        self.guests().insert(number, Arc::clone(&guest));
        Seat { number, close, guest: Some(guest), seats: Arc::clone(self), _permit: permit }
    }

    /// Asks the one who was silent longest; no if there is none to ask.
    fn ask_a_guest_to_leave(&self) -> bool {
        let mut guests = self.guests();
        let silent = guests
            .iter()
            .min_by_key(|(number, guest)| (guest.heard_ms.load(Ordering::Relaxed), **number));
        let Some(number) = silent.map(|(number, _)| *number) else {
            return false;
        };
        if let Some(guest) = guests.remove(&number) {
            debug!(
                connection = number,
                "closing a silent connection that never logged in, to make room"
            );
            guest.make_room.cancel();
            guest.close.cancel();
        }
        true
    }

    fn guests(&self) -> MutexGuard<'_, HashMap<u64, Arc<Guest>>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Seat {
    /// The connection's number, counted from 1 since the server was made.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Cancelled when the connection is to serve what it has read, and close.
    pub(crate) fn close(&self) -> &CancellationToken {
        &self.close
    }

    /// Waits until a guest was asked to make room, and a time longer; for ever, for one who logged in.
    pub(crate) fn overstays(&self, grace: Duration) -> impl Future<Output = ()> + use<> {
        let asked = self.guest.as_ref().map(|guest| guest.make_room.clone());
        async move {
            let Some(asked) = asked else { return std::future::pending().await };
            asked.cancelled().await;
            tokio::time::sleep(grace).await;
        }
    }

    /// The peer sent something.
    pub(crate) fn heard(&self) {
        if let Some(guest) = &self.guest {
            guest.heard_ms.store(self.seats.now_ms(), Ordering::Relaxed);
        }
    }

    /// The peer logged in, and is asked to make room no more.
    pub(crate) fn keep(&mut self) {
        if self.guest.take().is_some() {
            self.seats.guests().remove(&self.number);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.keep();
    }
}

/// A guest with nothing to finish leaves within microseconds; one who does not read its replies can take the write
/// timeout.
const PATIENCE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn silent_for(seat: &Seat) -> u64 {
        seat.guest.as_ref().unwrap().heard_ms.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn the_guest_silent_longest_makes_room() {
        let (seats, stop) = (Seats::new(3), CancellationToken::new());
        let mut user = seats.take(&stop).await;
        user.keep();
        let first = seats.take(&stop).await;
        let second = seats.take(&stop).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        first.heard();
        assert!(silent_for(&second) < silent_for(&first));

        let leaving = async {
            second.close().cancelled().await;
            drop(second);
        };
        let (newcomer, ()) = tokio::join!(seats.take(&stop), leaving);
        assert_eq!(newcomer.number(), 4);
        assert!(!first.close().is_cancelled() && !user.close().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_does_not_leave_is_not_waited_for() {
        let (seats, stop) = (Seats::new(2), CancellationToken::new());
        let stuck = seats.take(&stop).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        let other = seats.take(&stop).await;
        let leaving = async {
            other.close().cancelled().await;
            drop(other);
        };
        tokio::join!(seats.take(&stop), leaving);
        assert!(stuck.close().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_guest_the_next_one_waits() {
        let (seats, stop) = (Seats::new(1), CancellationToken::new());
        let mut user = seats.take(&stop).await;
        user.keep();
        assert!(timeout(Duration::from_secs(3600), seats.take(&stop)).await.is_err());
        assert!(!user.close().is_cancelled());
        drop(user);
        seats.take(&stop).await;
        assert!(seats.guests().is_empty());
    }
}
