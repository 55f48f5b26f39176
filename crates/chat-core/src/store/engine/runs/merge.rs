//! [`Merge`]: makes one run of several, a slice at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::super::log::{LogError, RunKind, Slice, View};
use super::cursor::Forward;
use super::summary::Counts;
use super::writer::Writer;
use super::{Key, Run};

/// A merge under way. What it reads stays complete until what it writes is.
#[derive(Debug)]
pub(super) struct Merge {
    kind: RunKind,
    until: u64,
    sources: Vec<Forward>,
    /// The next key of each source that has one.
    next: BinaryHeap<Reverse<(Key, usize)>>,
    writer: Writer,
    /// Read, and written unless what follows makes it void.
    held: Option<Key>,
}

impl Merge {
    pub(super) fn new(
        view: &(impl View + ?Sized),
        kind: RunKind,
        inputs: &[&Run],
        number: u64,
    ) -> Result<Self, LogError> {
        let begin = |run: &&Run| Forward::from(view, kind, run.number, Key([0; 3]));
        let sources = inputs.iter().map(begin).collect::<Result<Vec<_>, _>>()?;
        let firsts = sources.iter().enumerate();
        let next = firsts.filter_map(|(at, source)| Some(Reverse((source.key()?, at)))).collect();
        let items = inputs.iter().map(|run| run.summary.items).sum();
        let counts = inputs.iter().map(|run| &run.summary.counts);
        Ok(Self {
            kind,
            until: inputs.iter().map(|run| run.until).max().unwrap_or(0),
            sources,
            next,
            writer: Writer::new(number, kind, items).counted(Counts::of_all(counts)),
            held: None,
        })
    }

    /// Goes on by at most so many entries; whether everything was read. `start` is the position at which the log begins.
    pub(super) fn step(
        &mut self,
        view: &dyn View,
        start: u64,
        most: usize,
        slice: &mut Slice,
    ) -> Result<bool, LogError> {
        for _ in 0..most {
            let Some(mut first) = self.next.peek_mut() else {
                self.keep(None, start, slice);
                return Ok(true);
            };
            let Reverse((key, at)) = *first;
            let Some(source) = self.sources.get_mut(at) else {
                PeekMut::pop(first);
                continue;
            };
            match self.kind {
                RunKind::Keys | RunKind::KeysByAccount | RunKind::KeysInFull => {
                    self.writer.push(key, source.value(), slice);
                }
                // What was trimmed lies nowhere any more.
                RunKind::Index if key.0[2] < start => {}
                RunKind::Index => self.writer.push(key, source.value(), slice),
                RunKind::Conversations => {}
            }
            source.advance(view)?;
            match source.key() {
                Some(next) => {
                    *first = Reverse((next, at));
                    drop(first);
                }
                None => {
                    PeekMut::pop(first);
                }
            }
            if self.kind == RunKind::Conversations {
                self.keep(Some(key), start, slice);
            }
        }
        Ok(false)
    }

    /// Writes the run's last words.
    pub(super) fn finish(self, slice: &mut Slice) -> Run {
        self.writer.finish(self.until, slice)
    }

    /// Writes the entry of a conversation that is held, and holds the next. One whose message was trimmed goes, unless
    /// it is the newest of its kind: it tells that the one has written to the other.
    fn keep(&mut self, next: Option<Key>, start: u64, slice: &mut Slice) {
        let held = std::mem::replace(&mut self.held, next);
        if let Some(held @ Key([from, to, position])) = held {
            let newest = next.is_none_or(|Key([a, b, _])| (a, b) != (from, to));
            if newest || position >= start {
                self.writer.push(held, &[], slice);
            }
        }
    }
}
