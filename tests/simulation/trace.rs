//! [`Trace`]: what happened in a world, line by line.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tokio::time::Instant;

/// All that a world did and saw. Two runs of one seed must have the same.
pub(crate) struct Trace {
    began: Instant,
    lines: Vec<String>,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), lines: Vec::new() }
    }

    pub(crate) fn note(&mut self, who: &str, what: &str) {
        let ms = self.began.elapsed().as_millis();
        self.lines.push(format!("{ms:>7} {who} {what}"));
    }

    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.lines.hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}
