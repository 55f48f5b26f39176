//! [`Watchers`]: how many connections watch.

/// A number of watchers, or their share of the clients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Watchers {
    Count(usize),
    Percent(f64),
}

impl Watchers {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "expected a number of connections, or a share such as 10%".to_owned();
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Count).map_err(|_| wrong()),
            Some(share) => match share.parse() {
                Ok(share) if (0.0..=100.0).contains(&share) => Ok(Self::Percent(share)),
                _ => Err(wrong()),
            },
        }
    }

    /// How many these are, rounded up.
    pub(crate) fn of(self, clients: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(share) => {
                // In hundredths of a percent, to stay with whole numbers.
                let parts = (1..=10_000).find(|parts| f64::from(*parts) >= share * 100.0);
                let parts = usize::try_from(parts.unwrap_or(10_000)).unwrap_or(10_000);
                if share > 0.0 { clients.saturating_mul(parts).div_ceil(10_000) } else { 0 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchers_are_a_number_or_a_share() {
        let of = |text, clients| Watchers::parse(text).unwrap().of(clients);
        assert_eq!((of("7", 3), of("0", 3), of("0%", 300)), (7, 0, 0));
        assert_eq!((of("10%", 300), of("100%", 300), of("0.5%", 300)), (30, 300, 2));
        assert!(Watchers::parse("many").is_err());
    }
}
