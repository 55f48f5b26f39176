//! [`Buffers`]: the memory that all connections together may hold for peers that are slow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::holder::{Close, Holder};

/// Who holds how much of the memory there is for lines not finished and output not read. When more is held than may be,
/// those who hold something longest are asked to close, and guests before all others.
#[derive(Debug)]
pub(super) struct Buffers {
    most: usize,
    held: Mutex<Held>,
    is_scarce: AtomicBool,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    /// In the order in which they are asked.
    claims: BTreeMap<Rank, (usize, Arc<Holder>)>,
    last_order: u64,
}

/// Guests come first, then who has held longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    is_user: bool,
    order: u64,
}

impl Buffers {
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: Mutex::default(), is_scarce: AtomicBool::new(false) }
    }

    /// Whether half of it is in use.
    pub(super) fn is_scarce(&self) -> bool {
        self.is_scarce.load(Ordering::Relaxed)
    }

    /// Counts what a connection holds from now on.
    pub(super) fn claim(&self, bytes: usize, holder: &Arc<Holder>) -> Rank {
        self.update(|held| {
            held.last_order += 1;
            let rank = Rank { is_user: !holder.is_guest(), order: held.last_order };
            held.bytes += bytes;
            held.claims.insert(rank, (bytes, Arc::clone(holder)));
            rank
        })
    }

    /// It holds more now, or less. One that was asked to close is not counted any more.
    pub(super) fn change(&self, rank: Rank, bytes: usize) {
        self.update(|held| {
            if let Some((claimed, _)) = held.claims.get_mut(&rank) {
                let before = std::mem::replace(claimed, bytes);
                held.bytes = held.bytes - before + bytes;
            }
        });
    }

    /// It holds nothing any more.
    pub(super) fn release(&self, rank: Rank) {
        self.update(|held| {
            if let Some((bytes, _)) = held.claims.remove(&rank) {
                held.bytes -= bytes;
            }
        });
    }

    /// While more is held than may be, asks one after the other to close; how many were asked.
    pub(super) fn free(&self) -> usize {
        let mut asked = 0;
        while let Some(holder) = self.take_excess() {
            holder.ask(Close::FreeMemory);
            asked += 1;
        }
        asked
    }

    fn take_excess(&self) -> Option<Arc<Holder>> {
        self.update(|held| {
            if held.bytes <= self.most {
                return None;
            }
            let (_, (bytes, holder)) = held.claims.pop_first()?;
            held.bytes -= bytes;
            Some(holder)
        })
    }

    fn update<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = change(&mut held);
        self.is_scarce.store(held.bytes > self.most / 2, Ordering::Relaxed);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    fn guest() -> Arc<Holder> {
        Arc::new(Holder::new(1, 0, 0))
    }

    fn user() -> Arc<Holder> {
        let user = guest();
        user.keep();
        user
    }

    fn held(buffers: &Buffers) -> usize {
        buffers.update(|held| held.bytes)
    }

    fn is_asked(holder: &Holder) -> bool {
        holder.poll_asked(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_holds_longest_is_asked_first_and_guests_before_users() {
        let buffers = Buffers::new(100);
        let holders = [user(), guest(), guest(), user()];
        let mut ranks: Vec<_> = holders.iter().map(|holder| buffers.claim(25, holder)).collect();
        assert_eq!(buffers.free(), 0, "no more than there may be");
        for (index, holder) in [1, 2, 0].map(|index| (index, &holders[index])) {
            ranks.push(buffers.claim(25, &holders[3]));
            assert!(!is_asked(holder), "{index}");
            assert_eq!(buffers.free(), 1);
            assert!(is_asked(holder), "{index}");
        }
        assert!(!is_asked(&holders[3]));
        ranks.into_iter().for_each(|rank| buffers.release(rank));
        assert_eq!(held(&buffers), 0);
        assert!(buffers.update(|held| held.claims.is_empty()));
    }

    #[test]
    fn as_many_are_asked_as_it_takes() {
        let buffers = Buffers::new(100);
        let small: Vec<_> = (0..10).map(|_| guest()).collect();
        for holder in &small {
            buffers.claim(10, holder);
        }
        let large = user();
        let rank = buffers.claim(20, &large);
        assert_eq!(buffers.free(), 2);
        buffers.change(rank, 61);
        assert_eq!(buffers.free(), 5);
        assert_eq!(small.iter().filter(|holder| is_asked(holder)).count(), 7);
    }

    #[test]
    fn a_guest_beside_users_alone_is_asked_itself() {
        let buffers = Buffers::new(100);
        let (user, guest) = (user(), guest());
        let users = buffers.claim(90, &user);
        let guests = buffers.claim(20, &guest);
        assert_eq!(buffers.free(), 1);
        assert!(is_asked(&guest) && !is_asked(&user));
        // Counted once only, whatever it does before it is gone.
        buffers.change(guests, 50);
        buffers.release(guests);
        assert_eq!(held(&buffers), 90);
        buffers.release(users);
        assert_eq!(held(&buffers), 0);
    }

    #[test]
    fn it_is_scarce_while_half_of_it_is_in_use() {
        let buffers = Buffers::new(100);
        let rank = buffers.claim(50, &user());
        assert!(!buffers.is_scarce());
        buffers.change(rank, 51);
        assert!(buffers.is_scarce());
        buffers.release(rank);
        assert!(!buffers.is_scarce());
    }
}
