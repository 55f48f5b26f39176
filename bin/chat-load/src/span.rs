//! [`Span`]: one number, or any between two.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

use crate::args::LARGEST_MESSAGE;

/// A range of whole numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    low: usize,
    high: usize,
}

impl Span {
    /// Any number of the span, each as likely.
    pub(crate) fn pick(self, random: &mut Rng) -> usize {
        if self.low == self.high { self.low } else { random.usize(self.low..=self.high) }
    }

    pub(crate) fn low(self) -> usize {
        self.low
    }

    pub(crate) fn high(self) -> usize {
        self.high
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "{}..{}", self.low, self.high)
        }
    }
}

/// Reads `BYTES` or `LEAST..MOST`.
pub(crate) fn bytes(text: &str) -> Result<Span, String> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    match (low.parse(), high.parse()) {
        (Ok(low), Ok(high)) if (1..=high).contains(&low) && high <= LARGEST_MESSAGE => {
            Ok(Span { low, high })
        }
        _ => Err(format!(
            "expected a size such as 100, or a range such as 20..500, from 1 to {LARGEST_MESSAGE}"
        )),
    }
}

/// A range of times, to the microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeSpan(Span);

impl TimeSpan {
    /// The longest time of the span.
    pub(crate) fn longest(self) -> Duration {
        micros(self.0.high)
    }

    pub(crate) fn pick(self, random: &mut Rng) -> Duration {
        micros(self.0.pick(random))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = (micros(self.0.low).as_secs_f64(), micros(self.0.high).as_secs_f64());
        if low < high { write!(f, "{low}..{high}") } else { write!(f, "{low}") }
    }
}

/// Reads `SECONDS` or `LEAST..MOST`.
pub(crate) fn times(text: &str) -> Result<TimeSpan, String> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let in_micros = |text| {
        let time = crate::args::seconds(text)?;
        usize::try_from(time.as_micros()).map_err(|error| error.to_string())
    };
    let (low, high) = (in_micros(low)?, in_micros(high)?);
    if low > high {
        return Err("expected the shorter time first, as in 0.5..2".to_owned());
    }
    Ok(TimeSpan(Span { low, high }))
}

fn micros(count: usize) -> Duration {
    Duration::from_micros(u64::try_from(count).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_range_occur_and_nothing_outside() {
        let span = bytes("3..5").unwrap();
        let mut random = Rng::with_seed(1);
        let mut seen = [0_u32; 6];
        for _ in 0..3000 {
            seen[span.pick(&mut random)] += 1;
        }
        assert_eq!(seen[..3], [0; 3]);
        assert!(seen[3..].iter().all(|count| (900..1100).contains(count)), "{seen:?}");
    }

    #[test]
    fn a_single_value_is_a_span() {
        assert_eq!(bytes("7").unwrap().to_string(), "7");
        assert_eq!(bytes("20..500").unwrap().to_string(), "20..500");
        assert_eq!(times("0.5..2").unwrap().to_string(), "0.5..2");
        assert_eq!(times("0.25").unwrap().pick(&mut Rng::new()), Duration::from_millis(250));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "0", "0..5", "5..4", "..", "1..", "x", "99999999999"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        for bad in ["", "-1", "2..1", "a..b", "1e300"] {
            assert!(times(bad).is_err(), "{bad}");
        }
    }
}
