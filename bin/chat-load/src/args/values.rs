//! Values of options that have a range, which is told when a value is out of it.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    seconds_within(0.0, text)
        .ok_or_else(|| format!("expected a number of seconds, from 0 to {MOST_SECONDS}"))
}

pub(crate) fn some_seconds(text: &str) -> Result<Duration, String> {
    seconds_within(LEAST_SECONDS, text).ok_or_else(|| {
        format!("expected a number of seconds, from {LEAST_SECONDS} to {MOST_SECONDS}")
    })
}

pub(crate) fn measured_seconds(text: &str) -> Result<Duration, String> {
    let measured = seconds_within(0.0, text).filter(Duration::is_zero);
    measured.or_else(|| seconds_within(LEAST_SECONDS, text)).ok_or_else(|| {
        format!(
            "expected a number of seconds, from {LEAST_SECONDS} to {MOST_SECONDS}, or 0 to log in and be done"
        )
    })
}

fn seconds_within(least: f64, text: &str) -> Option<Duration> {
    let seconds = text.parse().ok().filter(|seconds| (least..=MOST_SECONDS).contains(seconds))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A file to write to. Standard output has the table or the JSON already.
pub(crate) fn file(text: &str) -> Result<PathBuf, String> {
    match text {
        "" | "-" => Err("expected the name of a file, such as ./report".to_owned()),
        name => Ok(name.into()),
    }
}

/// So many a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.strip_suffix("/s").unwrap_or(text).parse() {
        Ok(rate) if (LEAST_A_SECOND..=MOST_A_SECOND).contains(&rate) => Ok(rate),
        _ => Err(format!("expected a number a second, from {LEAST_A_SECOND} to {MOST_A_SECOND}")),
    }
}

pub(crate) fn clients(text: &str) -> Result<usize, String> {
    within(MOST_CLIENTS, text)
}

pub(crate) fn in_flight(text: &str) -> Result<usize, String> {
    within(MOST_IN_FLIGHT, text)
}

pub(crate) fn threads(text: &str) -> Result<usize, String> {
    within(MOST_THREADS, text)
}

fn within(most: usize, text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {most}"))
}

pub(crate) fn operations(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("expected a number from 1 to {}", u64::MAX))
}

pub(crate) fn message_bytes(text: &str) -> Result<usize, String> {
    within(LARGEST_MESSAGE, text)
}

pub(crate) fn accounts(text: &str) -> Result<usize, String> {
    within(usize::MAX, text)
}

/// As many files as Linux lets a process open (`fs.nr_open`), less a few.
const MOST_CLIENTS: usize = 1_000_000;
/// Some megabytes of requests on each connection, made before the first leaves.
const MOST_IN_FLIGHT: usize = 65_536;
/// A filler of this size is kept in memory; the largest message a server may be set to take is far below.
pub(crate) const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;
/// More than the cores of any machine.
const MOST_THREADS: usize = 1024;
/// A millisecond: time for a few answers.
const LEAST_SECONDS: f64 = 0.001;
/// A year.
const MOST_SECONDS: f64 = 31_536_000.0;
/// One in a quarter of an hour.
const LEAST_A_SECOND: f64 = 0.001;
/// More than any machine does; keeps the arithmetic of schedules exact.
const MOST_A_SECOND: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_measure_has_a_meaning() {
        assert_eq!(measured_seconds("0"), Ok(Duration::ZERO));
        assert_eq!(measured_seconds("0.5"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn a_rate_may_say_that_it_is_one() {
        assert_eq!((rate("50"), rate("0.5/s")), (Ok(50.0), Ok(0.5)));
    }
}
