//! [`Mix`]: which operation comes next.

use std::fmt;
use std::str::FromStr;

use fastrand::Rng;

use crate::outcome::Kind;

/// Kinds of operation and how often each is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mix {
    weights: Vec<(Kind, u32)>,
    total: u32,
}

impl Mix {
    /// One of the kinds, as likely as its weight is large.
    pub(crate) fn pick(&self, random: &mut Rng) -> Kind {
        if let [(only, _)] = self.weights[..] {
            return only;
        }
        let mut ticket = random.u32(..self.total);
        for &(kind, weight) in &self.weights {
            if ticket < weight {
                return kind;
            }
            ticket -= weight;
        }
        // Not reached: the weights make up the total.
        Kind::Send
    }

    pub(crate) fn contains(&self, kind: Kind) -> bool {
        self.weights.iter().any(|(known, _)| *known == kind)
    }

    /// Those of the kinds that stand in `unknown`.
    pub(crate) fn first_besides(&self, known: &[Kind]) -> Option<Kind> {
        self.weights.iter().map(|(kind, _)| *kind).find(|kind| !known.contains(kind))
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights: Vec<(Kind, u32)> = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let kind = MIXED.into_iter().find(|kind| kind.name() == name.trim());
            let kind = kind.ok_or_else(|| {
                let hint = if name.trim() == "watch" {
                    "; --watchers adds clients that watch"
                } else {
                    ""
                };
                format!("{name:?} is none of send, post, inbox, login{hint}")
            })?;
            let weight = weight.trim().parse().map_err(|_| {
                format!("expected a whole number for the weight of {name}, not {weight:?}")
            })?;
            if weights.iter().any(|(known, _)| *known == kind) {
                return Err(format!("{name} has two weights"));
            }
            if weight > 0 {
                weights.push((kind, weight));
            }
        }
        let total = weights.iter().try_fold(0_u32, |sum, (_, weight)| sum.checked_add(*weight));
        match total {
            Some(0) => Err("at least one weight must be above 0".to_owned()),
            Some(total) => Ok(Self { weights, total }),
            None => Err("the weights are too large".to_owned()),
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (kind, weight)) in self.weights.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{}={weight}", kind.name())?;
        }
        Ok(())
    }
}

/// What a client can be asked to do again and again.
const MIXED: [Kind; 4] = [Kind::Send, Kind::Post, Kind::Inbox, Kind::Login];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_comes_as_often_as_its_weight_says() {
        let mix: Mix = "send=80,post=10,inbox=8,login=2".parse().unwrap();
        let mut random = Rng::with_seed(3);
        let mut seen = std::collections::HashMap::<_, u32>::new();
        for _ in 0..100_000 {
            *seen.entry(mix.pick(&mut random).name()).or_default() += 1;
        }
        for (name, expected) in
            [("send", 80_000), ("post", 10_000), ("inbox", 8_000), ("login", 2_000)]
        {
            assert!(seen[name].abs_diff(expected) < 500, "{seen:?}");
        }
    }

    #[test]
    fn a_weight_may_be_left_out_or_nothing() {
        let mix: Mix = "post".parse().unwrap();
        assert_eq!(mix.pick(&mut Rng::new()), Kind::Post);
        let mix: Mix = "send=0, inbox=3".parse().unwrap();
        assert!(!mix.contains(Kind::Send));
        assert_eq!(mix.to_string(), "inbox=3");
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        for (bad, why) in [
            ("read=1", "none of send, post, inbox, login"),
            ("push=1", "none of send"),
            ("watch=1", "--watchers"),
            ("send=x", "whole number"),
            ("send=1,send=2", "two weights"),
            ("send=0", "above 0"),
            ("send=4294967295,post=1", "too large"),
        ] {
            let error = bad.parse::<Mix>().unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
