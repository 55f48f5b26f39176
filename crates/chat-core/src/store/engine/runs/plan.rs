//! Which runs are merged next.

use super::super::log::RunKind;
use super::writer::MOST_FILTERED;
use super::{KINDS, MANY, Run, Runs, level};

impl Runs {
    /// Whether there are too many runs of the kind. A busy store leaves more to its readers, and to memory.
    pub(super) fn has_many(&self, kind: RunKind, is_busy: bool) -> bool {
        let enough = match kind {
            _ if !is_busy => 0,
            RunKind::Conversations => MANY_FILTERED,
            RunKind::Index | RunKind::Keys => MANY,
            RunKind::KeysByAccount | RunKind::KeysInFull => usize::MAX,
        };
        self.count(kind) > enough
    }

    /// Runs to make one of, if there are any, of a kind that there are too many of. `hour` is that of the running time.
    pub(super) fn next_merge(&self, hour: u64, is_busy: bool) -> Option<(RunKind, Vec<&Run>)> {
        let inputs = |kind| match kind {
            RunKind::Index => several_alike(self.index.iter().collect()),
            RunKind::Conversations => several_alike(self.conversations.iter().collect()),
            RunKind::Keys => self.merge_keys(hour),
            RunKind::KeysByAccount | RunKind::KeysInFull => None,
        };
        KINDS
            .into_iter()
            .filter(|kind| self.has_many(*kind, is_busy))
            .find_map(|kind| Some((kind, inputs(kind)?)))
    }

    /// Keys are merged within one hour only, since a run goes when its youngest key may: first by size, and to as few as
    /// can be once the hour is over. What cannot grow much any more is left alone until then: it would be written again for
    /// every few keys that fit beside it.
    fn merge_keys(&self, hour: u64) -> Option<Vec<&Run>> {
        let mut hours: Vec<_> = self.keys.iter().map(hour_of).collect();
        hours.sort_unstable();
        hours.dedup();
        hours.into_iter().find_map(|one| {
            let runs = self.keys.iter().filter(|run| hour_of(run) == one);
            let inputs = match one < hour {
                true => by_size(runs.collect()),
                false => several_alike(
                    runs.filter(|run| run.summary.items <= MOST_FILTERED / 2).collect(),
                )?,
            };
            fitting(inputs)
        })
    }
}

/// The hour of running time in which a run of keys was written.
fn hour_of(run: &Run) -> u64 {
    run.until / 3_600
}

/// If there are many of one level: these, and the smaller ones.
fn several_alike(runs: Vec<&Run>) -> Option<Vec<&Run>> {
    let mut runs = by_size(runs);
    let count = |wanted| runs.iter().filter(|run| level(run.entries) == wanted).count();
    let wanted = (0..=level(u64::MAX)).find(|level| count(*level) >= SEVERAL)?;
    runs.retain(|run| level(run.entries) <= wanted);
    Some(runs)
}

fn by_size(mut runs: Vec<&Run>) -> Vec<&Run> {
    runs.sort_by_key(|run| run.entries);
    runs
}

/// The first of them, as long as one filter holds them all; at least two.
fn fitting(runs: Vec<&Run>) -> Option<Vec<&Run>> {
    let mut room = MOST_FILTERED;
    let fits = |run: &&Run| match room.checked_sub(run.summary.items) {
        Some(rest) => {
            room = rest;
            true
        }
        None => false,
    };
    let inputs: Vec<_> = runs.into_iter().take_while(fits).collect();
    (inputs.len() > 1).then_some(inputs)
}

/// Filters of so many runs of conversations take 40 MB: a merged run has none.
const MANY_FILTERED: usize = 64;
/// So many runs of one size become one. Tests merge early.
const SEVERAL: usize = if cfg!(test) { 3 } else { 8 };

#[cfg(test)]
mod tests {
    use super::super::summary::Summary;
    use super::*;

    fn runs(numbers: std::ops::Range<u64>, entries: u64) -> Vec<Run> {
        let run = |number| Run {
            number,
            entries,
            until: 0,
            summary: Summary { items: entries, ..Summary::default() },
        };
        numbers.map(run).collect()
    }

    fn next(runs: &Runs, hour: u64, is_busy: bool) -> Option<(RunKind, Vec<u64>)> {
        let (kind, inputs) = runs.next_merge(hour, is_busy)?;
        Some((kind, inputs.iter().map(|run| run.number).collect()))
    }

    #[test]
    fn while_the_store_is_busy_what_there_is_not_too_much_of_waits() {
        let many = u64::try_from(MANY).unwrap();
        let (keys, index) = (runs(0..many, 1), runs(1_000..1_000 + many, 1));
        let mut runs = Runs { keys, index, ..Runs::default() };
        let kind = |runs: &Runs, is_busy| next(runs, 0, is_busy).map(|(kind, _)| kind);
        assert_eq!(kind(&runs, true), None);
        assert_eq!(kind(&runs, false), Some(RunKind::Keys));
        runs.index.extend(self::runs(2_000..2_001, 1));
        assert_eq!(
            next(&runs, 0, true),
            Some((RunKind::Index, (1_000..1_000 + many).chain([2_000]).collect()))
        );
        runs.keys.extend(self::runs(3_000..3_001, 1));
        assert_eq!(kind(&runs, true), Some(RunKind::Keys));
    }

    #[test]
    fn within_the_hour_keys_are_not_written_again_for_a_few_more() {
        let mut keys = runs(0..5, MOST_FILTERED / 4 * 3);
        keys.extend(runs(5..7, 1_000));
        let mut runs = Runs { keys, ..Runs::default() };
        assert_eq!(next(&runs, 0, false), None);
        assert_eq!(next(&runs, 1, false), Some((RunKind::Keys, vec![5, 6, 0])));
        runs.keys.extend(self::runs(7..8, 1_000));
        assert_eq!(next(&runs, 0, false), Some((RunKind::Keys, vec![5, 6, 7])));
    }
}
