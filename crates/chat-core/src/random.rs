//! [`Random`]: where random numbers come from.

/// A source of random numbers, as a trait so that a simulation can repeat them.
///
/// Tokens, keys and the names of incarnations are made from it. Outside tests it must be cryptographically secure, and no
/// two programs may get the same numbers: use [`SystemRandom`].
pub trait Random: Send + Sync + 'static {
    /// 64 uniformly random bits.
    fn next_u64(&self) -> u64;

    /// 128 uniformly random bits.
    fn bytes(&self) -> [u8; 16] {
        let both = u128::from(self.next_u64()) << 64 | u128::from(self.next_u64());
        both.to_be_bytes()
    }
}

/// The operating system's cryptographically secure source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    /// Where the operating system has no randomness to give.
    #[expect(clippy::expect_used, reason = "nothing that needs a secret can go on")]
    fn next_u64(&self) -> u64 {
        getrandom::u64().expect("the operating system gives random numbers")
    }
}
