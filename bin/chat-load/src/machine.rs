//! What the system knows of the whole machine.

use std::fs;
use std::time::Duration;

/// How long its cores have been idle since it started, all of them together; `None` where the system does not tell.
///
/// A core that waits for the disk alone is idle. What the kernel does on behalf of no process (interrupts, its own threads) is
/// not in any process's CPU time, but it is not idle either: so this tells what is left for others.
pub(crate) fn idle() -> Option<Duration> {
    parse(&fs::read_to_string("/proc/stat").ok()?)
}

/// `proc_stat(5)`: the first line has the sums of all cores, in clock ticks; `idle` is its fourth number, `iowait` the fifth.
fn parse(stat: &str) -> Option<Duration> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let mut numbers = numbers.skip(3).map(|number| number.parse::<u64>().ok());
    let ticks = numbers.next()??.checked_add(numbers.next()??)?;
    let a_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(ticks.checked_mul(1000)?.checked_div(a_second)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_the_disk_is_idle() {
        let stat = "cpu  10 20 30 400 200 60 70 80 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        let ticks = Duration::from_secs(600);
        let a_second = u32::try_from(rustix::param::clock_ticks_per_second()).unwrap();
        assert_eq!(parse(stat), Some(ticks / a_second));
        assert_eq!(parse("cpu0 1 2 3 4 5"), None);
        assert_eq!(parse("cpu  1 2 3 4"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_tells() {
        let before = idle().unwrap();
        assert!(idle().unwrap() >= before);
    }
}
