//! Random numbers: every part of a world has a source of its own, made from the seed.

use std::sync::Mutex;
use std::time::Duration;

use chat_core::Random;
use fastrand::Rng;

/// A source for what takes its numbers from [`Random`].
pub(crate) struct Seeded(Mutex<Rng>);

impl Seeded {
    pub(crate) fn new(rng: Rng) -> Self {
        Self(Mutex::new(rng))
    }
}

impl Random for Seeded {
    fn next_u64(&self) -> u64 {
        self.0.lock().unwrap().u64(..)
    }
}

/// A time up to `most`, in whole milliseconds.
pub(crate) fn millis(rng: &mut Rng, most: Duration) -> Duration {
    Duration::from_millis(rng.u64(0..=u64::try_from(most.as_millis()).unwrap()))
}

/// Whether something happens that happens so often in 100.
pub(crate) fn percent(rng: &mut Rng, chance: u32) -> bool {
    rng.u32(0..100) < chance
}
