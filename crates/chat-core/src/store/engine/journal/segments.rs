//! [`Segments`]: the reading half, shared by the writer and everybody who reads pages.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
#[cfg(target_os = "linux")]
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::frame::{Place, item};
use super::item::{is_record, record};
use super::segment::{self, Name};
use crate::store::engine::log::{LogError, Record};

/// Where everything in the journal is.
#[derive(Debug)]
pub(crate) struct Segments {
    directory: PathBuf,
    store: [u8; 16],
    state: RwLock<State>,
    /// Full segments that were read lately, the latest first. Files are few, for they count against the limit that
    /// connections need.
    open: Mutex<VecDeque<Arc<Full>>>,
}

#[derive(Debug)]
struct State {
    /// Full ones in order.
    full: Vec<Name>,
    newest: Newest,
    /// Records before this position count as gone, though the file may still have them.
    start: u64,
    /// Those from here on it has, if it had them when this was opened.
    needed_from: u64,
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) name: Name,
    pub(super) file: Arc<File>,
    pub(super) places: Vec<Place>,
    /// How much of it is committed.
    pub(super) end: u64,
    /// The position after its last record.
    pub(super) next: u64,
}

/// A full segment, open.
#[derive(Debug)]
struct Full {
    number: u64,
    file: Arc<File>,
    places: Vec<Place>,
    end: u64,
}

/// Where to begin to read for a position.
struct Begin {
    name: Name,
    file: Arc<File>,
    /// Of the record at `offset`.
    position: u64,
    offset: u64,
    end: u64,
    /// The first position that is not in this segment.
    beyond: u64,
}

impl Segments {
    pub(super) fn new(
        directory: PathBuf,
        store: [u8; 16],
        full: Vec<Name>,
        newest: Newest,
        start: u64,
    ) -> Self {
        // Until it is known what is needed all is.
        let state = RwLock::new(State { full, newest, start, needed_from: 0 });
        Self { directory, store, state, open: Mutex::default() }
    }

    /// The oldest position, or one past the end.
    pub(crate) fn start(&self) -> u64 {
        let state = self.state();
        let oldest = state.full.first().map_or(state.newest.name.first, |name| name.first);
        state.start.max(oldest).min(state.newest.next)
    }

    /// Says so if the file before the oldest one is missing, though not all in it was trimmed.
    pub(crate) fn lacks_oldest(&self) -> Option<LogError> {
        let state = self.state();
        let oldest = state.full.first().unwrap_or(&state.newest.name);
        (state.start < oldest.first).then(|| {
            let number = oldest.number.saturating_sub(1);
            let file = self.directory.join(format!("{number:08}-*.journal"));
            let reason = "it is not there; once it is, start the daemon again".into();
            LogError::Unreadable { file, reason, damaged: true }
        })
    }

    /// Whether the files of the full segments are there still.
    pub(crate) fn check_there(&self) -> Result<(), LogError> {
        let state = self.state();
        let mut paths = state.full.iter().map(|name| name.path(&self.directory));
        let gone = paths.find(|path| path.try_exists().is_ok_and(|exists| !exists));
        gone.map_or(Ok(()), |path| Err(LogError::deleted(path)))
    }

    /// The position that the next record gets.
    pub(crate) fn next(&self) -> u64 {
        self.state().newest.next
    }

    /// The record at a position, unless it is gone.
    pub(crate) fn record(&self, position: u64) -> Result<Option<Record>, LogError> {
        // Not in the condition itself, which would keep the lock while the record is read: a second look beside a writer that
        // waits for it would wait for ever.
        let start = self.state().start;
        match position < start {
            true => Ok(None),
            false => self.posted(position),
        }
    }

    /// The record at a position, gone or not, unless its file is.
    pub(crate) fn posted(&self, position: u64) -> Result<Option<Record>, LogError> {
        let mut found = None;
        self.read(position, ONE_BYTES, &mut |at, record| {
            found = (at == position).then_some(record);
            false
        })?;
        Ok(found)
    }

    /// Has the system read what [`record`](Self::record) will ask for at these positions, all at once. Nothing depends on it.
    pub(crate) fn expect(&self, positions: &[u64]) {
        for position in positions {
            if let Ok(Some(Begin { file, offset, .. })) = self.begin(*position) {
                will_need(&file, offset);
            }
        }
    }

    /// Up to `limit` records from a position on.
    pub(crate) fn records(&self, from: u64, limit: usize) -> Result<Vec<(u64, Record)>, LogError> {
        let mut records = Vec::new();
        let mut next = from.max(self.start());
        while records.len() < limit && next < self.next() {
            let before = next;
            self.read(next, MANY_BYTES, &mut |at, record| {
                records.push((at, record));
                next = at + 1;
                records.len() < limit
            })?;
            if next == before {
                let reason = format!("position {next} is in none of its files");
                let file = self.directory.clone();
                return Err(LogError::Unreadable { file, reason, damaged: true });
            }
        }
        Ok(records)
    }

    /// Gives the records from a position to the end of its segment to `take` as long as it wants more.
    fn read(
        &self,
        from: u64,
        chunk: usize,
        take: &mut dyn FnMut(u64, Record) -> bool,
    ) -> Result<(), LogError> {
        let Some(Begin { name, file, mut position, offset, end, beyond }) = self.begin(from)?
        else {
            return Ok(());
        };
        let mut window = Window { file: &file, bytes: Vec::new(), used: 0, offset, end, chunk };
        while position < beyond {
            let at = window.at();
            let damaged = || self.damaged(name, at);
            let item = window.item().map_err(|error| self.unreadable(name, &error))?;
            let (kind, body) = item.ok_or_else(damaged)?;
            if !is_record(kind) {
                continue;
            }
            if position >= from {
                let record = record(kind, body).ok_or_else(damaged)?;
                if !take(position, record) {
                    return Ok(());
                }
            }
            position += 1;
        }
        Ok(())
    }

    fn begin(&self, position: u64) -> Result<Option<Begin>, LogError> {
        let state = self.state();
        let (start, newest) = (state.start, &state.newest);
        if position >= newest.next {
            return Ok(None);
        }
        if position >= newest.name.first {
            let file = Arc::clone(&newest.file);
            return Ok(Some(begin(
                position,
                newest.name,
                file,
                &newest.places,
                newest.end,
                newest.next,
            )));
        }
        let after = state.full.partition_point(|name| name.first <= position);
        let Some(name) = after.checked_sub(1).and_then(|at| state.full.get(at)).copied() else {
            drop(state);
            return self.lacks_oldest().filter(|_| position >= start).map_or(Ok(None), Err);
        };
        let beyond = state.full.get(after).map_or(newest.name.first, |name| name.first);
        drop(state);
        match self.full(name) {
            Ok(full) => {
                let file = Arc::clone(&full.file);
                Ok(Some(begin(position, name, file, &full.places, full.end, beyond)))
            }
            // It was dropped meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && name.first < self.start() => {
                Ok(None)
            }
            Err(error) => Err(self.unreadable(name, &error)),
        }
    }

    /// A full segment, opened if it is not.
    fn full(&self, name: Name) -> io::Result<Arc<Full>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|full| full.number == name.number)
            && let Some(full) = open.remove(at)
        {
            open.push_front(Arc::clone(&full));
            return Ok(full);
        }
        drop(open);
        let mut file = File::open(name.path(&self.directory))?;
        let (places, end) = match segment::read_end(&mut file)? {
            Some(end) => end,
            None => self.without_end(&mut file, name)?,
        };
        let full = Arc::new(Full { number: name.number, file: Arc::new(file), places, end });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_front(Arc::clone(&full));
        open.truncate(OPEN_SEGMENTS);
        Ok(full)
    }

    /// Reads a segment whole whose end is damaged.
    fn without_end(&self, file: &mut File, name: Name) -> io::Result<(Vec<Place>, u64)> {
        let scan = segment::scan(file, self.store, name, &mut |_, _| ())?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a segment's head is damaged");
        scan.map(|scan| (scan.places, scan.end)).ok_or_else(damaged)
    }

    /// Records before this position count as gone from now on, and before the other one are not needed.
    pub(super) fn set_start(&self, start: u64, needed_from: u64) {
        let mut state = self.state_mut();
        (state.start, state.needed_from) = (start, needed_from);
    }

    /// Takes out the full segments that hold nothing but what is gone and not needed.
    pub(super) fn take_gone(&self) -> Vec<PathBuf> {
        let mut state = self.state_mut();
        let firsts = state.full.iter().skip(1).chain([&state.newest.name]);
        let needed_from = state.needed_from.min(state.start);
        let gone = firsts.take_while(|next| next.first <= needed_from).count();
        let gone: Vec<_> = state.full.drain(..gone).collect();
        drop(state);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|full| gone.iter().all(|name| name.number != full.number));
        gone.into_iter().map(|name| name.path(&self.directory)).collect()
    }

    /// Whether [`take_gone`](Self::take_gone) would find any.
    pub(super) fn has_gone(&self) -> bool {
        let state = self.state();
        let second = state.full.get(1).unwrap_or(&state.newest.name);
        !state.full.is_empty() && second.first <= state.start.min(state.needed_from)
    }

    /// What was written up to there is committed.
    pub(super) fn extend(&self, places: &[Place], end: u64, next: u64) {
        let newest = &mut self.state_mut().newest;
        newest.places.extend_from_slice(places);
        (newest.end, newest.next) = (end, next);
    }

    /// The last frame did not come about.
    pub(super) fn cut(&self, end: u64, next: u64) {
        let newest = &mut self.state_mut().newest;
        newest.places.retain(|place| u64::from(place.offset) < end);
        (newest.end, newest.next) = (end, next);
    }

    /// The places in the newest segment.
    pub(super) fn newest_places(&self) -> Vec<Place> {
        self.state().newest.places.clone()
    }

    /// The newest segment is full; another one follows it.
    pub(super) fn follow(&self, newest: Newest) {
        let mut state = self.state_mut();
        let before = std::mem::replace(&mut state.newest, newest);
        state.full.push(before.name);
    }

    fn unreadable(&self, name: Name, error: &io::Error) -> LogError {
        let (reason, damaged) = match error.kind() {
            io::ErrorKind::NotFound => ("it is not there".to_owned(), true),
            kind => (error.to_string(), kind == io::ErrorKind::InvalidData),
        };
        LogError::Unreadable { file: name.path(&self.directory), reason, damaged }
    }

    fn damaged(&self, name: Name, offset: u64) -> LogError {
        let reason = format!("at offset {offset} is not what was written");
        LogError::Unreadable { file: name.path(&self.directory), reason, damaged: true }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begin(
    position: u64,
    name: Name,
    file: Arc<File>,
    places: &[Place],
    end: u64,
    beyond: u64,
) -> Begin {
    let relative = u32::try_from(position - name.first).unwrap_or(u32::MAX);
    let after = places.partition_point(|place| place.position <= relative);
    let place = after.checked_sub(1).and_then(|at| places.get(at)).copied();
    // The first record has a place: it is found from any position.
    let Place { position, offset } = place.unwrap_or(Place { position: 0, offset: u32::MAX });
    Begin {
        name,
        file,
        position: name.first + u64::from(position),
        offset: offset.into(),
        end,
        beyond,
    }
}

/// What is read of a file at a time.
struct Window<'a> {
    file: &'a File,
    bytes: Vec<u8>,
    /// How much of the bytes was given away.
    used: usize,
    /// Where in the file the bytes end.
    offset: u64,
    end: u64,
    chunk: usize,
}

impl Window<'_> {
    /// Where in the file the next item begins.
    fn at(&self) -> u64 {
        self.offset - u64::try_from(self.bytes.len() - self.used).unwrap_or(0)
    }

    /// The next item; `None` at the end.
    fn item(&mut self) -> io::Result<Option<(u8, &[u8])>> {
        while self.bytes.get(self.used..).and_then(item).is_none() {
            if !self.fill()? {
                return Ok(None);
            }
        }
        let bytes = self.bytes.get(self.used..).unwrap_or_default();
        let Some((kind, body, length)) = item(bytes) else {
            return Ok(None);
        };
        self.used += length;
        Ok(Some((kind, body)))
    }

    /// Reads on; whether there was more.
    fn fill(&mut self) -> io::Result<bool> {
        self.bytes.drain(..self.used);
        self.used = 0;
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        // An item that is longer than a chunk is read with doubled chunks.
        let wanted = self.chunk.max(self.bytes.len()).min(left);
        let have = self.bytes.len();
        self.bytes.resize(have + wanted, 0);
        let read = read_at(self.file, self.bytes.get_mut(have..).unwrap_or_default(), self.offset)?;
        self.bytes.truncate(have + read);
        self.offset += u64::try_from(read).unwrap_or(0);
        Ok(read > 0)
    }
}

#[cfg(target_os = "linux")]
fn will_need(file: &File, offset: u64) {
    use rustix::fs::{Advice, fadvise};
    let bytes = u64::try_from(ONE_BYTES).ok().and_then(NonZero::new);
    // Advice; whoever reads hears of errors.
    let _ = fadvise(file, offset, bytes, Advice::WillNeed);
}

#[cfg(not(target_os = "linux"))]
fn will_need(_file: &File, _offset: u64) {}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, bytes, offset)
}

/// Read at once for one record: it begins within so much but for what is longer.
const ONE_BYTES: usize = if cfg!(test) { 100 } else { 8 * 1024 };
/// Read at once for many.
const MANY_BYTES: usize = 256 * 1024;
/// How many full segments are kept open.
const OPEN_SEGMENTS: usize = if cfg!(test) { 2 } else { 64 };
