//! Where a recording is cut.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use chat_tests::recorder::Event;
use fastrand::Rng;

use super::recording::Recording;

/// A cut: how much of the recording there is, and the seed of what the disk kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cut {
    pub(super) at: usize,
    pub(super) seed: u64,
}

/// Where to cut: some kinds of places, one of which is chosen first.
pub(super) struct Places(Vec<Vec<usize>>);

impl Places {
    pub(super) fn of(recording: &Recording) -> Self {
        let Recording { records, lives, .. } = recording;
        let after = |wanted: fn(&Event) -> bool| -> Vec<usize> {
            let found = (1..).zip(records).filter(|(_, record)| wanted(&record.event));
            found.map(|(at, _)| at).collect()
        };
        let sent = after(|event| matches!(event, Event::Send { .. }));
        let begun = after(|event| matches!(event, Event::SyncBegin { .. }));
        let moved = after(|event| match event {
            Event::Write { path, .. } => path.ends_with("chat.db"),
            Event::Truncate { .. } | Event::Unlink { .. } | Event::Rename { .. } => true,
            _ => false,
        });
        let starts = lives.iter().flat_map(|life| life.records.clone().take(START_RECORDS));
        let first_start = (0..=sent[0]).collect();
        let anywhere = (0..=records.len()).collect();
        Self(vec![anywhere, sent, begun, moved, starts.collect(), first_start])
    }

    pub(super) fn choose(&self, random: &mut Rng) -> usize {
        let places = random.choice(&self.0).unwrap();
        *random.choice(places).unwrap()
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.at, self.seed)
    }
}

impl FromStr for Cut {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (at, seed) = text.split_once('/').unwrap_or((text, "0"));
        Ok(Self { at: at.parse()?, seed: seed.parse()? })
    }
}

/// What a daemon does before it serves, and a little more.
const START_RECORDS: usize = 80;
