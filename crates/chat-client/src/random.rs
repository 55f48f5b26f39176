//! [`Source`]: where delays get their jitter and messages their keys.

use std::fmt;
use std::sync::Arc;

use chat_core::Random;

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
