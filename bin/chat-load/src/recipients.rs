//! [`Choice`]: who gets the next message.

use std::fmt;
use std::str::FromStr;

use fastrand::Rng;

/// How recipients are chosen, as on the command line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Distribution {
    Uniform,
    /// The n-th account is chosen in proportion to `n^-exponent`.
    Zipf {
        exponent: f64,
    },
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let exponent = match text {
            "uniform" => return Ok(Self::Uniform),
            "zipf" => Ok(DEFAULT_EXPONENT),
            _ => text.strip_prefix("zipf:").unwrap_or_default().parse(),
        };
        match exponent {
            Ok(exponent) if exponent > 0.0 && exponent <= MOST_EXPONENT => {
                Ok(Self::Zipf { exponent })
            }
            _ => Err(format!(
                "expected uniform, zipf, or zipf:S with S above 0 and at most {MOST_EXPONENT}"
            )),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf { exponent } => write!(f, "zipf:{exponent}"),
        }
    }
}

/// Chooses among so many users, known by their places.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choice {
    Uniform(usize),
    Zipf(Zipf),
}

impl Choice {
    /// Among at least two users, if any is ever picked.
    pub(crate) fn new(distribution: Distribution, users: usize) -> Self {
        match distribution {
            Distribution::Uniform => Self::Uniform(users),
            Distribution::Zipf { exponent } => Self::Zipf(Zipf::new(users, exponent)),
        }
    }

    /// How many there are to choose from.
    pub(crate) fn users(&self) -> usize {
        match self {
            Self::Uniform(users) => *users,
            Self::Zipf(zipf) => zipf.users,
        }
    }

    /// Anybody but `user`.
    pub(crate) fn pick(&self, user: usize, random: &mut Rng) -> usize {
        match self {
            Self::Uniform(users) => {
                let other = random.usize(..users - usize::from(user < *users));
                other + usize::from(other >= user)
            }
            Self::Zipf(zipf) => loop {
                let other = zipf.pick(random);
                if other != user {
                    return other;
                }
            },
        }
    }
}

/// The Zipf distribution by rejection-inversion (Hörmann and Derflinger, "Rejection-inversion to generate variates
/// from monotone discrete distributions", 1996): no table, and hardly more than one attempt on average.
///
/// The area under `x^-s` from k - 1/2 to k + 1/2 is a little more than `k^-s`; a uniform place in the whole area,
/// turned back into x, is rejected when it falls into the excess.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zipf {
    users: usize,
    exponent: f64,
    /// The area up to the end of the last rank.
    last_area: f64,
    /// The area at which the first rank begins, its excess cut off.
    first_area: f64,
    /// Ranks this near above x need no further check.
    surely_within: f64,
}

impl Zipf {
    fn new(users: usize, exponent: f64) -> Self {
        let mut zipf =
            Self { users, exponent, last_area: 0.0, first_area: 0.0, surely_within: 0.0 };
        zipf.last_area = zipf.area(float(users) + 0.5);
        zipf.first_area = zipf.area(1.5) - 1.0;
        zipf.surely_within = 2.0 - zipf.place(zipf.area(2.5) - zipf.weight(2.0));
        zipf
    }

    /// A place from 0 on; 0 is the most likely.
    fn pick(&self, random: &mut Rng) -> usize {
        loop {
            let area = self.last_area + random.f64() * (self.first_area - self.last_area);
            let place = self.place(area);
            let rank = place.round().clamp(1.0, float(self.users));
            let is_within = rank - place <= self.surely_within;
            if is_within || area >= self.area(rank + 0.5) - self.weight(rank) {
                return whole(rank) - 1;
            }
        }
    }

    fn weight(&self, rank: f64) -> f64 {
        rank.powf(-self.exponent)
    }

    /// The integral of the weight up to x, but for a constant.
    fn area(&self, x: f64) -> f64 {
        let rest = 1.0 - self.exponent;
        if is_zero(rest) { x.ln() } else { (x.powf(rest) - 1.0) / rest }
    }

    /// The x of an area.
    fn place(&self, area: f64) -> f64 {
        let rest = 1.0 - self.exponent;
        if is_zero(rest) { area.exp() } else { (1.0 + area * rest).max(0.0).powf(1.0 / rest) }
    }
}

/// So near to it that a logarithm is the better integral.
fn is_zero(rest: f64) -> bool {
    rest.abs() < 1e-9
}

#[expect(clippy::as_conversions, reason = "numbers of users are far below 2^53")]
fn float(users: usize) -> f64 {
    users as f64
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole and between 1 and the number of users"
)]
fn whole(rank: f64) -> usize {
    rank as usize
}

/// About what word counts and web requests show.
const DEFAULT_EXPONENT: f64 = 1.0;
/// Beyond that the first user gets all but a thousandth.
const MOST_EXPONENT: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest part of the picks by which a user's share may differ from what it should be.
    fn largest_error(users: usize, exponent: f64) -> f64 {
        let zipf = Zipf::new(users, exponent);
        let mut random = Rng::with_seed(11);
        let mut seen = vec![0_u32; users];
        const PICKS: u32 = 200_000;
        for _ in 0..PICKS {
            seen[zipf.pick(&mut random)] += 1;
        }
        let weight = |place: usize| float(place + 1).powf(-exponent);
        let total: f64 = (0..users).map(weight).sum();
        let error =
            |place| (f64::from(seen[place]) / f64::from(PICKS) - weight(place) / total).abs();
        (0..users).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn zipf_shares_are_those_of_the_formula() {
        for (users, exponent) in [(2, 1.0), (5, 0.5), (100, 1.0), (100, 1.3), (1000, 0.9), (7, 3.0)]
        {
            // Four standard deviations of the most uncertain share, one half.
            let error = largest_error(users, exponent);
            assert!(error < 4.0 * 0.5 / 200_000_f64.sqrt(), "{users} {exponent}: {error}");
        }
    }

    #[test]
    fn nobody_writes_to_themselves_and_everybody_else_is_chosen() {
        for distribution in ["uniform", "zipf:0.1"] {
            let choice = Choice::new(distribution.parse().unwrap(), 4);
            let mut random = Rng::with_seed(5);
            let mut seen = [0_u32; 4];
            for _ in 0..4000 {
                seen[choice.pick(2, &mut random)] += 1;
            }
            assert_eq!(seen[2], 0);
            assert!([seen[0], seen[1], seen[3]].iter().all(|count| *count > 1000), "{seen:?}");
            // Somebody who is no recipient writes to all.
            assert!((0..1000).map(|_| choice.pick(9, &mut random)).any(|other| other == 3));
        }
    }

    #[test]
    fn a_million_users_cost_no_more_than_two() {
        assert!(size_of::<Choice>() <= 64);
        let choice = Choice::new("zipf".parse().unwrap(), 1_000_000);
        let mut random = Rng::with_seed(5);
        assert!((0..10_000).any(|_| choice.pick(0, &mut random) > 500_000));
    }

    #[test]
    fn words_for_distributions() {
        let parse = |text: &str| text.parse::<Distribution>();
        assert_eq!(parse("zipf").unwrap().to_string(), "zipf:1");
        assert_eq!(parse("zipf:0.8").unwrap().to_string(), "zipf:0.8");
        for bad in ["", "zipf:", "zipf:0", "zipf:-1", "zipf:NaN", "zipf:inf", "normal"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
