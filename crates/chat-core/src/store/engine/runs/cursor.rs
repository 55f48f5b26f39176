//! Reading a run in order of key, block by block.

use super::super::log::{Block, LogError, RunKind, View};
use super::Key;
use super::block::Entries;

/// The block at hand, and how far it was read.
#[derive(Debug, Default)]
struct At {
    /// Where the block begins.
    first: Box<[u8]>,
    entries: Entries,
}

impl At {
    fn read(kind: RunKind, block: Option<Block>) -> Result<Option<Self>, LogError> {
        let Some(block) = block else { return Ok(None) };
        let entries = Entries::read(kind, &block)?;
        Ok(Some(Self { first: block.0, entries }))
    }

    /// How many of its keys are below that one.
    fn below(&self, key: Key) -> usize {
        self.entries.keys.partition_point(|other| *other < key)
    }
}

/// Reads a run upwards.
#[derive(Debug)]
pub(crate) struct Forward {
    run: u64,
    kind: RunKind,
    /// `None` at the end.
    at: Option<At>,
    next: usize,
}

impl Forward {
    /// Begins at the first entry that is not below the key.
    pub(crate) fn from(
        view: &(impl View + ?Sized),
        kind: RunKind,
        run: u64,
        key: Key,
    ) -> Result<Self, LogError> {
        let bytes = key.bytes();
        let block = match view.block_at(run, &bytes)? {
            // The run begins after the key.
            None => view.block_after(run, &bytes)?,
            block => block,
        };
        let at = At::read(kind, block)?;
        let next = at.as_ref().map_or(0, |at| at.below(key));
        let mut cursor = Self { run, kind, at, next };
        cursor.turn(view)?;
        Ok(cursor)
    }

    /// Goes on to the first entry that is not below the key, which is not below those read.
    pub(crate) fn seek(&mut self, view: &(impl View + ?Sized), key: Key) -> Result<(), LogError> {
        match &self.at {
            Some(at) if at.entries.keys.last().is_some_and(|last| *last >= key) => {
                self.next = at.below(key);
            }
            Some(_) => *self = Self::from(view, self.kind, self.run, key)?,
            None => {}
        }
        Ok(())
    }

    /// The key of the entry at hand; `None` at the end.
    pub(crate) fn key(&self) -> Option<Key> {
        self.at.as_ref()?.entries.keys.get(self.next).copied()
    }

    /// What stands beside it.
    pub(crate) fn value(&self) -> &[u8] {
        self.at.as_ref().map_or(&[], |at| at.entries.value(self.next))
    }

    pub(crate) fn advance(&mut self, view: &(impl View + ?Sized)) -> Result<(), LogError> {
        self.next += 1;
        self.turn(view)
    }

    /// Takes the next block once this one is read.
    fn turn(&mut self, view: &(impl View + ?Sized)) -> Result<(), LogError> {
        if let Some(at) = &self.at
            && self.next >= at.entries.keys.len()
        {
            self.at = At::read(self.kind, view.block_after(self.run, &at.first)?)?;
            self.next = 0;
        }
        Ok(())
    }
}

/// Reads a run downwards.
#[derive(Debug)]
pub(crate) struct Backward {
    run: u64,
    kind: RunKind,
    /// `None` at the beginning.
    at: Option<At>,
    /// How many entries of the block are still to be read.
    left: usize,
}

impl Backward {
    /// Begins at the last entry below the key.
    pub(crate) fn below(
        view: &(impl View + ?Sized),
        kind: RunKind,
        run: u64,
        key: Key,
    ) -> Result<Self, LogError> {
        let at = At::read(kind, view.block_before(run, &key.bytes())?)?;
        let left = at.as_ref().map_or(0, |at| at.below(key));
        Ok(Self { run, kind, at, left })
    }

    /// The key of the entry at hand; `None` at the beginning.
    pub(crate) fn key(&self) -> Option<Key> {
        self.at.as_ref()?.entries.keys.get(self.left.checked_sub(1)?).copied()
    }

    pub(crate) fn advance(&mut self, view: &(impl View + ?Sized)) -> Result<(), LogError> {
        self.left = self.left.saturating_sub(1);
        if let Some(at) = &self.at
            && self.left == 0
        {
            self.at = At::read(self.kind, view.block_before(self.run, &at.first)?)?;
            self.left = self.at.as_ref().map_or(0, |at| at.entries.keys.len());
        }
        Ok(())
    }
}
