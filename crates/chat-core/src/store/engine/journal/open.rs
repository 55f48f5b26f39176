//! Finding what is there, and where it ends.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{remove, set_len, sync_all};
use super::segment::{self, Name, Scan, scan};
use super::segments::{Newest, Segments};
use super::{HEAD_BYTES, Journal, Mark, begin_file, failed, make_directory};
use crate::store::engine::log::{Batch, LogError};
use crate::store::options::SEGMENT_BYTES;

/// What a journal is opened by.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) directory: PathBuf,
    pub(crate) store: [u8; 16],
    pub(crate) mark: Mark,
    /// The position of the oldest record that was not trimmed.
    pub(crate) start: u64,
    /// The position of the oldest record that the index does not have.
    pub(crate) needed_from: u64,
    /// Frames that were not synced may have been acknowledged in the life before.
    pub(crate) was_relaxed: bool,
}

impl Journal {
    /// Makes a new journal, in place of whatever is in the directory.
    pub(crate) fn create(directory: &Path, store: [u8; 16], first: u64) -> Result<Self, LogError> {
        make_directory(directory).map_err(failed)?;
        for name in segment::list(directory).map_err(failed)? {
            fs::remove_file(name.path(directory)).map_err(failed)?;
        }
        let name = Name { number: 1, first };
        let (file, newest) = begin_file(directory, store, name).map_err(failed)?;
        Ok(Self::new(directory, store, (file, newest), Vec::new(), first, 1))
    }

    /// Looks at a journal, and changes nothing.
    ///
    /// # Errors
    /// It is damaged, or not the one that the mark is from.
    pub(crate) fn look(opening: Opening) -> Result<Whole, LogError> {
        let found = Found::new(&opening)?;
        let mut owed = Vec::new();
        let mut last_sequence = found.last_before(&opening)?;
        let mut newest = None;
        for name in found.names.iter().filter(|name| name.number >= opening.mark.segment) {
            let scan = found.scan(*name, &opening, &mut |sequence, rows| {
                if sequence >= opening.mark.sequence {
                    owed.push(rows);
                }
            })?;
            let ends_at = newest.as_ref().map(|(_, before): &(Name, Scan)| before.next);
            if ends_at.is_some_and(|next| next != name.first) {
                let reason = "it does not go on where the file before it ends".into();
                return Err(damaged(name.path(&opening.directory), reason));
            }
            last_sequence = scan.last_sequence.or(last_sequence);
            if last_sequence.is_some_and(|last| last + 1 < opening.mark.sequence) {
                return Err(too_old(&opening, *name, &scan));
            }
            newest = Some((*name, scan));
        }
        let newest = newest.ok_or_else(|| missing(&opening, opening.mark.segment))?;
        let sequence = last_sequence.map_or(opening.mark.sequence, |last| last + 1);
        Ok(Whole { opening, found, newest, sequence, owed })
    }

    fn go_on(
        opening: &Opening,
        names: &[Name],
        name: Name,
        scan: Scan,
        sequence: u64,
    ) -> Result<Self, LogError> {
        let (directory, store) = (&opening.directory, opening.store);
        let mut full: Vec<_> = names.iter().copied().filter(|other| *other != name).collect();
        let newest = if scan.ended {
            // Whoever ended it may have been killed before it was synced, and another follows it from now on.
            let ended = File::open(name.path(directory)).and_then(|file| sync_all(&file));
            ended.map_err(failed)?;
            full.push(name);
            let following = Name { number: name.number + 1, first: scan.next };
            begin_file(directory, store, following).map_err(failed)?
        } else {
            cut_and_open(directory, name, scan).map_err(failed)?
        };
        Ok(Self::new(directory, store, newest, full, opening.start, sequence))
    }

    fn new(
        directory: &Path,
        store: [u8; 16],
        (file, newest): (File, Newest),
        full: Vec<Name>,
        start: u64,
        sequence: u64,
    ) -> Self {
        let (name, end, next) = (newest.name, newest.end, newest.next);
        let last_place = newest.places.last().copied();
        let segments = Segments::new(directory.into(), store, full, newest, start);
        Self {
            directory: directory.into(),
            store,
            sync: true,
            segment_bytes: SEGMENT_BYTES,
            segments: Arc::new(segments),
            name,
            file: Arc::new(file),
            end,
            size: end,
            synced: end,
            sequence,
            next,
            last_place,
            before: (end, next),
            buffer: Vec::new(),
        }
    }
}

/// A journal that was found whole.
#[derive(Debug)]
pub(crate) struct Whole {
    opening: Opening,
    found: Found,
    newest: (Name, Scan),
    /// Of the next frame.
    sequence: u64,
    owed: Vec<Batch>,
}

impl Whole {
    /// The rows that the database does not have, oldest first.
    pub(crate) fn owed(&self) -> &[Batch] {
        &self.owed
    }

    /// Opens it and cuts off what is torn; gives the rows that are owed, too.
    pub(crate) fn open(self) -> Result<(Journal, Vec<Batch>), LogError> {
        let Self { opening, found, newest: (name, scan), sequence, owed } = self;
        for name in &found.unused {
            remove(&name.path(&opening.directory)).map_err(failed)?;
        }
        let journal = Journal::go_on(&opening, &found.names, name, scan, sequence)?;
        if let Some(error) = journal.segments.lacks_oldest() {
            error.tell_unreadable("old messages are missing");
        }
        Ok((journal, owed))
    }
}

/// The segments that are there.
#[derive(Debug)]
struct Found {
    /// In order, without a hole.
    names: Vec<Name>,
    /// Others that a crash left, into which nothing was ever put.
    unused: Vec<Name>,
}

impl Found {
    fn new(opening: &Opening) -> Result<Self, LogError> {
        let directory = &opening.directory;
        let mut names = segment::list(directory).map_err(failed)?;
        let unused = take_unused(opening, &mut names).map_err(failed)?;
        let follow = |a: &Name, b: &Name| b.number == a.number + 1 && b.first >= a.first;
        let mut pairs = names.iter().zip(names.iter().skip(1));
        if let Some((before, _)) = pairs.find(|(a, b)| !follow(a, b)) {
            return Err(missing(opening, before.number + 1));
        }
        // Without what the index does not have, mailboxes would give ids a second time.
        if let Some(oldest) = names.first().filter(|name| name.first > opening.needed_from) {
            return Err(missing(opening, oldest.number.saturating_sub(1)));
        }
        match names.iter().any(|name| name.number == opening.mark.segment) {
            true => Ok(Self { names, unused }),
            false => match unused.iter().find(|name| name.number == opening.mark.segment) {
                Some(name) => Err(not_ours(opening, *name)),
                None => Err(missing(opening, opening.mark.segment)),
            },
        }
    }

    /// Sequence of the last frame before those of the mark's segment, should that have none; `None` if it was trimmed.
    fn last_before(&self, opening: &Opening) -> Result<Option<u64>, LogError> {
        let at = self.names.iter().position(|name| name.number == opening.mark.segment);
        let before = at.and_then(|at| self.names.get(at.checked_sub(1)?));
        match (at.and_then(|at| self.names.get(at)), before) {
            (Some(marked), _) if !holds_nothing(opening, *marked).map_err(failed)? => Ok(None),
            (_, Some(before)) => Ok(self.scan(*before, opening, &mut |_, _| ())?.last_sequence),
            _ => Ok((opening.mark.segment == 1).then_some(0)),
        }
    }

    fn scan(
        &self,
        name: Name,
        opening: &Opening,
        visit: &mut dyn FnMut(u64, Batch),
    ) -> Result<Scan, LogError> {
        let path = name.path(&opening.directory);
        let damaged = |reason: String| damaged(path.clone(), reason);
        let mut file = File::open(&path).map_err(failed)?;
        let scan = scan(&mut file, opening.store, name, visit).map_err(failed)?;
        let scan = scan.ok_or_else(|| not_ours(opening, name))?;
        let is_last = self.names.last() == Some(&name);
        // Syncs that were promised come one after the other, so behind a torn frame there is no whole one.
        if scan.torn_inside && !opening.was_relaxed {
            let end = scan.end;
            return Err(damaged(format!(
                "at offset {end} is no whole batch, and whole ones follow"
            )));
        }
        if !is_last && !scan.ended {
            let end = scan.end;
            return Err(damaged(format!(
                "it goes no further than offset {end}, and a file follows"
            )));
        }
        Ok(scan)
    }
}

/// Takes out the segments behind the last one that is in use. A crash left them while they were made; or they were withdrawn, as
/// making them failed, and the power went before their names were gone for good.
///
/// Before anything is put into a segment the one before it is ended, for good. So of those that hold nothing only that one counts
/// which goes on where the one before it ends, or which the database knows.
fn take_unused(opening: &Opening, names: &mut Vec<Name>) -> std::io::Result<Vec<Name>> {
    let highest = names.last().map_or(0, |name| name.number);
    let at = names.partition_point(|name| name.number < highest);
    let Some(before) = at.checked_sub(1).and_then(|at| names.get(at)).copied() else {
        return Ok(Vec::new());
    };
    let (mut used, mut unused) = (Vec::new(), Vec::new());
    for name in names.drain(at..) {
        match holds_nothing(opening, name)? {
            true => unused.push(name),
            false => used.push(name),
        }
    }
    if used.is_empty() {
        let mut file = File::open(before.path(&opening.directory))?;
        let scan = scan(&mut file, opening.store, before, &mut |_, _| ())?;
        let next = scan.filter(|scan| scan.ended).map(|scan| scan.next);
        let counts = |name: &Name| next == Some(name.first) || name.number == opening.mark.segment;
        let counting = unused.iter().rposition(|name| counts(name) && is_whole(opening, *name));
        used.extend(counting.map(|at| unused.remove(at)));
    }
    names.append(&mut used);
    Ok(unused)
}

/// Whether the head of a segment is as it was written.
fn is_whole(opening: &Opening, name: Name) -> bool {
    let head = segment::head(opening.store, name);
    fs::read(name.path(&opening.directory)).is_ok_and(|bytes| bytes == head)
}

/// Whether nothing was put into a segment, not even zeros.
fn holds_nothing(opening: &Opening, name: Name) -> std::io::Result<bool> {
    Ok(fs::metadata(name.path(&opening.directory))?.len() <= HEAD_BYTES)
}

/// Opens the newest segment and removes what is torn. All that is shown from now on is durable.
fn cut_and_open(directory: &Path, name: Name, scan: Scan) -> std::io::Result<(File, Newest)> {
    let path = name.path(directory);
    let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
    set_len(&file, scan.end)?;
    sync_all(&file)?;
    let reading = File::open(path)?.into();
    let Scan { places, end, next, .. } = scan;
    Ok((file, Newest { name, file: reading, places, end, next }))
}

fn missing(opening: &Opening, number: u64) -> LogError {
    let file = opening.directory.join(format!("{number:08}-*.journal"));
    damaged(file, "it is not there, and chat.db or another file builds on it".into())
}

/// A file that does not begin as it should.
fn not_ours(opening: &Opening, name: Name) -> LogError {
    let path = name.path(&opening.directory);
    let reason = match fs::read(&path) {
        Ok(bytes) if bytes.is_empty() => "it is empty, and chat.db builds on what was in it",
        Ok(bytes) if bytes.iter().all(|byte| *byte == 0) => {
            "there are only zeros in it, and chat.db builds on what was in it"
        }
        _ => "at offset 0 it is not a file of this store",
    };
    damaged(path, reason.into())
}

fn too_old(opening: &Opening, name: Name, scan: &Scan) -> LogError {
    let (end, needed) = (scan.end, opening.mark.sequence - 1);
    let reason = format!("it ends at offset {end}, before batch {needed}, which chat.db builds on");
    damaged(name.path(&opening.directory), reason)
}

fn damaged(file: PathBuf, reason: String) -> LogError {
    LogError::Unreadable { file, reason, damaged: true }
}
