//! Quantities as people read them: three or four digits and a unit.

/// A latency, from microseconds.
pub(crate) fn micros(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{} µs", digits(us)),
        us if us < 1e6 => format!("{} ms", digits(us / 1e3)),
        us => format!("{} s", digits(us / 1e6)),
    }
}

/// An amount of memory or of data, in decimal units.
pub(crate) fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 1e3 => format!("{} B", digits(bytes)),
        bytes if bytes < 1e6 => format!("{} kB", digits(bytes / 1e3)),
        bytes if bytes < 1e9 => format!("{} MB", digits(bytes / 1e6)),
        bytes => format!("{} GB", digits(bytes / 1e9)),
    }
}

/// A number of things, with commas between the thousands.
pub(crate) fn count(count: u64) -> String {
    let plain = count.to_string();
    let mut grouped = String::with_capacity(plain.len() + plain.len() / 3);
    for (place, digit) in plain.chars().enumerate() {
        if place > 0 && (plain.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Things a second.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 100.0 {
        return format!("{}/s", digits(per_second));
    }
    format!("{}/s", count(whole(per_second)))
}

/// A quantity with as many decimals as make three digits.
pub(crate) fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size > 0.0 => format!("{value:.2}"),
        _ => "0".to_owned(),
    }
}

/// An amount for each of so many; nothing for each of none.
pub(crate) fn ratio(amount: f64, per: f64) -> f64 {
    if per > 0.0 { amount / per } else { 0.0 }
}

#[expect(
    clippy::as_conversions,
    reason = "counts far below 2^53, and no other way from u64 to f64"
)]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::as_conversions, reason = "saturates, and no other way from f64 to u64")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_fit_the_size() {
        assert_eq!(micros(0.0), "0 µs");
        assert_eq!(micros(87.3), "87.3 µs");
        assert_eq!(micros(1_240.0), "1.24 ms");
        assert_eq!(micros(12_000_000.0), "12.0 s");
        assert_eq!(bytes(345.4), "345 B");
        assert_eq!(bytes(45_300_000.0), "45.3 MB");
        assert_eq!(rate(0.5), "0.50/s");
        assert_eq!(rate(1_234_567.4), "1,234,567/s");
    }

    #[test]
    fn thousands_are_grouped() {
        let grouped = [0, 12, 123, 1_234, 123_456, 1_234_567].map(count);
        assert_eq!(grouped, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }
}
