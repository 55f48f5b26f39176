//! The latencies of each interval as an HdrHistogram interval log, which the tools around HdrHistogram read.

use std::io::{self, Write};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::outcome::Outcome;

/// Writes one line for each kind of operation in each interval, tagged with its name. Values are nanoseconds, the
/// column for the eye is in milliseconds.
pub(crate) fn write(outcome: &Outcome, output: &mut impl Write) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[chat-load: latencies in nanoseconds]")
        .with_start_time(outcome.started_at)
        .with_base_time(outcome.started_at)
        .with_max_value_divisor(NANOS_PER_MILLI)
        .begin_log_with(output, &mut serializer)?;
    log.write_comment(
        "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"",
    )?;
    for interval in &outcome.intervals {
        for (kind, operations) in interval.kinds.iter().filter(|(_, o)| o.latency_ns.len() > 0) {
            let histogram = operations.latency_ns.to_histogram().map_err(io::Error::other)?;
            let tag = Tag::new(kind.name());
            log.write_histogram(&histogram, interval.start, interval.length, tag).map_err(
                |error| io::Error::other(format!("cannot write a histogram: {error:?}")),
            )?;
        }
    }
    Ok(())
}

const NANOS_PER_MILLI: f64 = 1e6;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::reports::example;

    #[test]
    fn what_was_logged_is_read_back() {
        let outcome = example::outcome(4);
        let mut log = Vec::new();
        write(&outcome, &mut log).unwrap();
        let mut all: Histogram<u64> = Histogram::new(3).unwrap();
        let mut starts = Vec::new();
        for entry in IntervalLogIterator::new(&log) {
            match entry.unwrap() {
                LogEntry::StartTime(at) => assert_eq!(at.as_millis(), 1_600_000_000_250),
                LogEntry::BaseTime(at) => assert_eq!(at.as_millis(), 1_600_000_000_250),
                LogEntry::Interval(interval) => {
                    assert_eq!(interval.tag().unwrap().as_str(), "send");
                    assert_eq!(interval.duration(), Duration::from_millis(500));
                    starts.push(interval.start_timestamp().as_millis());
                    all += decoded(interval.encoded_histogram());
                }
            }
        }
        assert_eq!(starts, [0, 500, 1000, 1500]);
        let sent = &outcome.kinds.get(crate::outcome::Kind::Send).latency_ns;
        assert_eq!(all.len(), sent.len());
        for quantile in [0.0, 0.5, 0.99, 1.0] {
            assert_eq!(all.value_at_quantile(quantile), sent.value_at_quantile(quantile));
        }
    }

    fn decoded(text: &str) -> Histogram<u64> {
        let bytes = base64(text);
        Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap()
    }

    /// RFC 4648; the log has no other use for a decoder.
    fn base64(text: &str) -> Vec<u8> {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digit = |byte| ALPHABET.iter().position(|at| *at == byte).unwrap();
        let digits = text.bytes().filter(|byte| *byte != b'=').map(digit).collect::<Vec<_>>();
        let bits = |at: usize| digits.get(at).copied().unwrap_or_default();
        (0..digits.len() * 6 / 8)
            .map(|byte| {
                let (at, shift) = (byte * 8 / 6, 4 - byte * 8 % 6);
                u8::try_from((bits(at) << 6 | bits(at + 1)) >> shift & 0xff).unwrap()
            })
            .collect()
    }
}
