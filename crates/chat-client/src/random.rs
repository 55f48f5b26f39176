//! [`Random`]: where delays get their jitter and messages their keys.

use std::fmt;
use std::sync::Arc;

/// A source of random numbers. The system's unless [`ConnectOptions::random`](crate::ConnectOptions::random) says
/// otherwise; a simulation gives a seeded one.
///
/// Two clients of one account must not get the same numbers: keys of messages are made from them.
pub trait Random: Send + Sync + 'static {
    /// 64 uniformly random bits.
    fn next_u64(&self) -> u64;
}

/// The operating system's source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    /// Where the operating system has no randomness to give.
    #[expect(clippy::expect_used, reason = "there is nothing to go on with, as with tokens")]
    fn next_u64(&self) -> u64 {
        getrandom::u64().expect("the operating system gives random numbers")
    }
}

/// The source that was chosen.
#[derive(Clone)]
pub(crate) struct Source(pub(crate) Arc<dyn Random>);

impl Source {
    /// A key for `post`: 128 random bits in hexadecimal.
    pub(crate) fn key(&self) -> String {
        format!("{:016x}{:016x}", self.0.next_u64(), self.0.next_u64())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}
