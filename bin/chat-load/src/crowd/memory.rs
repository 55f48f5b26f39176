//! [`Memory`]: what a process holds, as the system counts it.

use std::io;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep_until};

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Memory {
    /// Proportional set size: what is shared with other processes counts in part.
    pub(super) pss: u64,
    /// Resident set size.
    pub(super) rss: u64,
}

/// What became of resident memory when all had left.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Aftermath {
    /// What it may be to count as back, in bytes.
    pub(super) allowed_rss: u64,
    /// After how long it was back for good; `None` if it was not at the end.
    pub(super) back_after_seconds: Option<f64>,
    /// How long it was followed.
    pub(super) followed_seconds: f64,
    /// At the end.
    pub(super) memory: Memory,
}

impl Memory {
    /// What the process holds now.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot read {path}: {error}"))
        })?;
        Self::parse(&text).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("unexpected form of {path}"))
        })
    }

    /// `proc_pid_smaps_rollup(5)`: lines as `Pss:     1234 kB`.
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| -> Option<u64> {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
        };
        Some(Self { pss: field("Pss:")?, rss: field("Rss:")? })
    }
}

/// Follows a process's memory for a time, given what it was before.
pub(super) async fn follow(pid: u32, before: Memory, time: Duration) -> io::Result<Aftermath> {
    let begun = Instant::now();
    let allowed_rss = allowed(before.rss);
    let mut back = None;
    loop {
        let memory = Memory::of(pid)?;
        let elapsed = begun.elapsed();
        back = if memory.rss <= allowed_rss { back.or(Some(elapsed)) } else { None };
        if elapsed >= time {
            return Ok(Aftermath {
                allowed_rss,
                back_after_seconds: back.map(|back| back.as_secs_f64()),
                followed_seconds: elapsed.as_secs_f64(),
                memory,
            });
        }
        sleep_until((Instant::now() + SAMPLE_EVERY).min(begun + time)).await;
    }
}

/// What counts as back: the same and a tenth more for what an allocator keeps in pieces, and 10 MB for what a server that
/// was used at all holds, such as caches.
fn allowed(rss: u64) -> u64 {
    rss.saturating_add(rss / 10).saturating_add(10_000_000)
}

/// Reading it walks the process's page tables, which takes a millisecond or so.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_two_sizes_are_found_among_others() {
        let text = "55d0-7ffe ---p 0 00:00 0  [rollup]\nRss:    2000 kB\nPss:     100 kB\nPss_Dirty:  7 kB\n";
        assert_eq!(Memory::parse(text), Some(Memory { pss: 100 * 1024, rss: 2000 * 1024 }));
        assert_eq!(Memory::parse("Rss: 1 kB\n"), None);
    }

    #[test]
    fn back_is_a_tenth_and_ten_megabytes_more() {
        assert_eq!(allowed(20_000_000), 32_000_000);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(start_paused = true)]
    async fn memory_that_never_comes_back_is_not_back() {
        // Never given back, since other tests look at this process's memory as well.
        vec![1_u8; 64 << 20].leak();
        let nothing = Memory { pss: 0, rss: 0 };
        let after = follow(std::process::id(), nothing, Duration::from_secs(2)).await.unwrap();
        assert_eq!(after.back_after_seconds, None);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(start_paused = true)]
    async fn memory_that_does_not_grow_is_back_at_once() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let before = Memory::of(child.id()).unwrap();
        let after = follow(child.id(), before, Duration::from_secs(2)).await.unwrap();
        assert_eq!(after.back_after_seconds, Some(0.0));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
