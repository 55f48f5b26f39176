//! Finding what is there, and where it ends.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{set_len, sync_all};
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

    /// Opens a journal, cuts off what is torn, and gives the rows that the database does not have, oldest first.
    ///
    /// # Errors
    /// It is damaged, or not the one that the mark is from.
    pub(crate) fn open(opening: &Opening) -> Result<(Self, Vec<Batch>), LogError> {
        let names = Found::new(opening)?;
        let mut owed = Vec::new();
        let mut sequence = opening.mark.sequence;
        let mut newest = None;
        for name in names.0.iter().filter(|name| name.number >= opening.mark.segment) {
            let scan = names.scan(*name, opening, &mut |sequence, rows| {
                if sequence >= opening.mark.sequence {
                    owed.push(rows);
                }
            })?;
            if let Some(last) = scan.last_sequence {
                if last + 1 < opening.mark.sequence {
                    return Err(missing(&opening.directory));
                }
                sequence = last + 1;
            }
            newest = Some((*name, scan));
        }
        let (name, scan) = newest.ok_or_else(|| missing(&opening.directory))?;
        let journal = Self::go_on(opening, &names, name, scan, sequence)?;
        Ok((journal, owed))
    }

    fn go_on(
        opening: &Opening,
        names: &Found,
        name: Name,
        scan: Scan,
        sequence: u64,
    ) -> Result<Self, LogError> {
        let (directory, store) = (&opening.directory, opening.store);
        let mut full: Vec<_> = names.0.iter().copied().filter(|other| *other != name).collect();
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

/// The segments that are there.
struct Found(Vec<Name>);

impl Found {
    fn new(opening: &Opening) -> Result<Self, LogError> {
        let directory = &opening.directory;
        let mut names = segment::list(directory).map_err(failed)?;
        if let Some(last) = names.last().copied()
            && names.len() > 1
            && is_just_begun(directory, opening.store, last).map_err(failed)?
        {
            fs::remove_file(last.path(directory)).map_err(failed)?;
            names.pop();
        }
        let follow = |pair: &[Name]| matches!(pair, [a, b] if b.number == a.number + 1 && b.first >= a.first);
        let has_mark = names.iter().any(|name| name.number == opening.mark.segment);
        match has_mark && names.windows(2).all(follow) {
            true => Ok(Self(names)),
            false => Err(missing(directory)),
        }
    }

    fn scan(
        &self,
        name: Name,
        opening: &Opening,
        visit: &mut dyn FnMut(u64, Batch),
    ) -> Result<Scan, LogError> {
        let path = name.path(&opening.directory);
        let damaged = || LogError::Failed(format!("{} is damaged", path.display()));
        let mut file = File::open(&path).map_err(failed)?;
        let scan = scan(&mut file, opening.store, name, visit).map_err(failed)?;
        let scan = scan.ok_or_else(damaged)?;
        let is_last = self.0.last() == Some(&name);
        // Syncs that were promised come one after the other, so behind a torn frame there is no whole one.
        let torn = scan.torn_inside && !opening.was_relaxed;
        match torn || (!is_last && !scan.ended) {
            true => Err(damaged()),
            false => Ok(scan),
        }
    }
}

/// Whether a crash left the segment before its head was whole, which is before anything was put into it.
fn is_just_begun(directory: &Path, store: [u8; 16], name: Name) -> std::io::Result<bool> {
    let bytes = fs::metadata(name.path(directory))?.len();
    Ok(bytes < HEAD_BYTES
        || (bytes == HEAD_BYTES && fs::read(name.path(directory))? != segment::head(store, name)))
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

fn missing(directory: &Path) -> LogError {
    LogError::Failed(format!(
        "{} lacks what chat.db builds on; put both back from the same backup",
        directory.display()
    ))
}
