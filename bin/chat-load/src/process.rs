//! What the system knows of a process: its CPU time, and how many files it may have open.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Too few files may be open for so many clients.
#[derive(Debug, thiserror::Error)]
#[error(
    "{clients} clients need {needed} open files and {allowed} are allowed here: \
     run `ulimit -n {needed}` first, or use fewer clients"
)]
pub(crate) struct OpenFilesError {
    clients: usize,
    needed: u64,
    allowed: u64,
}

/// Makes room for one socket a client, up to the hard limit.
pub(crate) fn allow_open_files(clients: usize) -> Result<(), OpenFilesError> {
    let needed = u64::try_from(clients).unwrap_or(u64::MAX).saturating_add(SPARE_FILES);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    limit.current = Some(needed);
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    if needed > allowed || setrlimit(Resource::Nofile, limit).is_err() {
        return Err(OpenFilesError { clients, needed, allowed });
    }
    Ok(())
}

/// User and system time that a process has used since it began, in steps of the system's clock tick (10 ms).
pub(crate) fn cpu_time(pid: u32) -> io::Result<Duration> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat"))?).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "unexpected form of /proc/PID/stat")
    })
}

/// `proc_pid_stat(5)`: the second field is the name in parentheses and may hold anything; `utime` and `stime` are
/// fields 14 and 15.
fn parse_stat(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let tick =
        Duration::from_secs(1) / u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    tick.checked_mul(u32::try_from(user.checked_add(system)?).ok()?)
}

/// Standard streams, the runtime's own descriptors, and some to spare.
const SPARE_FILES: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 3 0 100 1 1 1";
        let ticks = rustix::param::clock_ticks_per_second();
        let seconds = parse_stat(stat).unwrap().as_secs_f64();
        assert!((seconds * f64::from(u32::try_from(ticks).unwrap()) - 200.0).abs() < 1e-6);
    }

    #[test]
    fn this_process_can_be_measured() {
        assert!(cpu_time(std::process::id()).is_ok());
    }
}
