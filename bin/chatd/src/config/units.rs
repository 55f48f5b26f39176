//! Values with a unit, as they stand in the config file.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes, at least one: an integer, or a string such as `"64 KiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(u64);

impl ByteSize {
    pub(crate) const fn bytes(self) -> u64 {
        self.0
    }

    /// For sizes of what is held in memory.
    pub(crate) fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl From<u64> for ByteSize {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl From<usize> for ByteSize {
    fn from(bytes: usize) -> Self {
        Self(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_quantity(text, SIZE_UNITS)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size: {SIZE_RULE}"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = largest_unit(self.0, SIZE_UNITS);
        write!(f, "{number} {unit}")
    }
}

/// A length of time above zero: a string such as `"30s"` or `"30d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(Duration);

impl Span {
    pub(crate) const fn duration(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_quantity(text, SPAN_UNITS)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| format!("{text:?} is not a length of time: {SPAN_RULE}"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (number, unit) = largest_unit(ms, SPAN_UNITS);
        write!(f, "{number}{unit}")
    }
}

/// Where to listen: `HOST:PORT`, an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenAddr(Box<str>);

impl ListenAddr {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ListenAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = text.rsplit_once(':').is_some_and(|(host, port)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok()
        });
        if is_name || text.parse::<SocketAddr>().is_ok() {
            return Ok(Self(text.into()));
        }
        Err(format!("{text:?} is not an address: {LISTEN_RULE}"))
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for ListenAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListenAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A list of addresses, or one that stands for itself.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ListenAddr>, D::Error> {
    deserializer.deserialize_any(ListenVisitor)
}

struct ListenVisitor;

impl<'de> serde::de::Visitor<'de> for ListenVisitor {
    type Value = Vec<ListenAddr>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("addresses: write listen = [\"HOST:PORT\"]")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<ListenAddr>, E> {
        text.parse().map(|address| vec![address]).map_err(E::custom)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(
        self,
        mut list: A,
    ) -> Result<Vec<ListenAddr>, A::Error> {
        let mut addresses = Vec::new();
        while let Some(address) = list.next_element()? {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

struct SizeVisitor;

impl serde::de::Visitor<'_> for SizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SIZE_RULE)
    }

    fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
        match u64::try_from(bytes) {
            Ok(bytes @ 1..) => Ok(ByteSize(bytes)),
            _ => Err(E::custom(format_args!("{bytes} is not a size: {SIZE_RULE}"))),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ByteSize, E> {
        text.parse().map_err(E::custom)
    }
}

/// `NUMBER UNIT` in the smallest unit; `None` if it is not that, or zero, or too large.
fn parse_quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor).filter(|total| *total > 0)
}

/// The amount in the largest unit that says it without a fraction.
fn largest_unit<'a>(amount: u64, units: &[(&'a str, u64)]) -> (u64, &'a str) {
    units
        .iter()
        .rev()
        .find(|(_, factor)| amount.is_multiple_of(*factor))
        .map_or((amount, ""), |(name, factor)| (amount / factor, name))
}

/// Smallest first.
const SIZE_UNITS: &[(&str, u64)] =
    &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
const SPAN_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_RULE: &str =
    "write a whole number of bytes above zero, or one with B, KiB, MiB or GiB, as in \"64 KiB\"";
const SPAN_RULE: &str =
    "write a whole number above zero with ms, s, m, h or d, as in \"30s\" or \"30d\"";
const LISTEN_RULE: &str = "write HOST:PORT, as in \"127.0.0.1:8889\" or \"[::1]:8889\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes, shown) in [
            ("64 KiB", 65_536, "64 KiB"),
            ("1024KiB", 1 << 20, "1 MiB"),
            ("7 B", 7, "7 B"),
            ("3 GiB", 3 << 30, "3 GiB"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, shown));
        }
        for bad in ["", "64", "KiB", "64 KB", "0 B", "-1 B", "1.5 MiB", "99999999999 GiB", "1 B B"]
        {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn spans() {
        for (text, ms, shown) in [
            ("30s", 30_000, "30s"),
            ("30 d", 2_592_000_000, "30d"),
            ("90s", 90_000, "90s"),
            ("120m", 7_200_000, "2h"),
            ("250ms", 250, "250ms"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.duration(), Duration::from_millis(ms));
            assert_eq!(span.to_string(), shown);
        }
        for bad in ["", "30", "s", "0s", "1h30m", "-5s", "1 week"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn listen_addresses() {
        for good in ["127.0.0.1:8889", "[::1]:0", "localhost:8889", "chat.example:1", "0.0.0.0:80"]
        {
            assert!(good.parse::<ListenAddr>().is_ok(), "{good}");
        }
        for bad in ["", "8889", ":8889", "localhost", "::1:8889", "a b:1", "host:65536", "host:"] {
            assert!(bad.parse::<ListenAddr>().is_err(), "{bad}");
        }
    }
}
