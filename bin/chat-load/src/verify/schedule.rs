//! When faults happen: [`Between`], and the seeds of everybody's choices.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use fastrand::Rng;

/// A span of time to choose from, as `300ms..2s`; or one time, as `1s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Between {
    least: Duration,
    most: Duration,
}

impl Between {
    /// One of the span, each as likely, to the microsecond.
    pub(crate) fn pick(&self, random: &mut Rng) -> Duration {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(random.u64(micros(self.least)..=micros(self.most)))
    }
}

impl FromStr for Between {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let between = Self { least: duration(least)?, most: duration(most)? };
        if between.least > between.most {
            return Err(format!("{least} is longer than {most}"));
        }
        Ok(between)
    }
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..{:?}", self.least, self.most)
    }
}

/// A time with its unit: `250ms`, `1.5s`, `2m`. A number alone is one of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("{text}: expected a time as 250ms, 1.5s or 2m")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text}: not a number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| format!("{text}: {error}"))
}

/// The choices of the one who plays `part`, the same in every run with one seed.
pub(crate) fn choices(seed: u64, part: Part, number: u32) -> Rng {
    let part = match part {
        Part::Killer => 0,
        Part::Sender => 1,
        Part::Reader => 2,
    };
    let mut seeds = Rng::with_seed(seed ^ (u64::from(number) << 2 | part).rotate_left(32));
    Rng::with_seed(seeds.u64(..))
}

/// Who makes choices.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Killer,
    Sender,
    Reader,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_are_read() {
        let between: Between = "300ms..2s".parse().unwrap();
        let mut random = Rng::with_seed(1);
        for _ in 0..1000 {
            let picked = between.pick(&mut random);
            assert!((Duration::from_millis(300)..=Duration::from_secs(2)).contains(&picked));
        }
        assert_eq!(duration("0.2"), Ok(Duration::from_millis(200)));
        let one: Between = "0.5m".parse().unwrap();
        assert_eq!(one.pick(&mut random), Duration::from_secs(30));
        for bad in ["", "s", "1h", "-1s", "2s..1s", "1s..", "..1s", "nans"] {
            assert!(bad.parse::<Between>().is_err(), "{bad}");
        }
    }

    #[test]
    fn one_seed_is_one_schedule_and_each_part_has_its_own() {
        let draw = |seed, part, number| choices(seed, part, number).u64(..);
        assert_eq!(draw(7, Part::Killer, 0), draw(7, Part::Killer, 0));
        let all = [
            draw(7, Part::Killer, 0),
            draw(7, Part::Sender, 0),
            draw(7, Part::Reader, 0),
            draw(7, Part::Reader, 1),
            draw(8, Part::Killer, 0),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
