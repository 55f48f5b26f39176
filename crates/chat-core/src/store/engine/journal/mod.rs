//! [`Journal`]: what a commit appends to. Records live in it from then on; rows of tables are kept until the database
//! has them.
//!
//! It is a directory of segments, each a row of frames, each of them one batch. A commit is one write
//! and one sync. Only the end of the newest segment can be torn: a frame that is not whole was never acknowledged, and
//! is cut off at the next start, as are the zeros that are written ahead of small frames.

mod disk;
mod frame;
mod item;
mod open;
mod rows;
mod segment;
mod segments;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::log::{Batch, LogError};
use disk::{create, remove, set_len, sync_all, sync_data, sync_directory, write_all_at};
use frame::{Place, frame_head, places, put_frame};
use segment::{HEAD, Name};
use segments::Newest;

#[cfg(all(test, unix))]
pub(crate) use disk::faults;
pub(crate) use open::{Opening, Whole};
pub(crate) use rows::{has_more_than_sessions, rows_of};
pub(crate) use segment::any as any_segment;
pub(crate) use segments::Segments;

/// How far the database is with the journal's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The segment that was the newest then.
    pub(crate) segment: u64,
    /// The first frame whose rows the database does not have.
    pub(crate) sequence: u64,
}

/// The writing half.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    /// Names the store that the journal belongs to.
    store: [u8; 16],
    /// Whether every frame is synced before it counts.
    sync: bool,
    /// A segment takes no more frames beyond this.
    segment_bytes: u64,
    segments: Arc<Segments>,
    name: Name,
    /// Shared with whoever syncs a frame meanwhile.
    file: Arc<File>,
    /// Where the next frame goes.
    end: u64,
    /// How long the file is: zeros from the end on, for frames to overwrite.
    size: u64,
    /// What is before this is on disk.
    synced: u64,
    sequence: u64,
    next: u64,
    last_place: Option<Place>,
    /// `end` and `next` before the last frame.
    before: (u64, u64),
    buffer: Vec<u8>,
}

impl Journal {
    /// Where everything is, for readers.
    pub(crate) fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    /// Whether frames are synced before they count.
    pub(crate) fn set_sync(&mut self, sync: bool) {
        self.sync = sync;
    }

    /// How large segments become.
    pub(crate) fn set_segment_bytes(&mut self, bytes: u64) {
        self.segment_bytes = bytes;
    }

    /// How far the database is once it has everything.
    pub(crate) fn mark(&self) -> Mark {
        Mark { segment: self.name.number, sequence: self.sequence }
    }

    /// Makes a batch durable.
    ///
    /// # Errors
    /// Without room nothing was changed. After any other failure [`reopen`](Self::reopen) must come first.
    pub(crate) fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        let synced = self.write(batch)?.map_or(Ok(()), |file| sync_data(&file));
        self.end_append(synced)
    }

    /// Writes a batch. It counts once the file that this gives, if it is to be synced, was, and
    /// [`end_append`](Self::end_append) has heard of it. Until then nothing but reading is allowed.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(crate) fn write(&mut self, batch: &Batch) -> Result<Option<Arc<File>>, LogError> {
        if self.end >= self.segment_bytes {
            self.begin_segment().map_err(failed)?;
        }
        self.check_is_there()?;
        self.buffer.clear();
        let too_large = || LogError::Failed("a batch is larger than a frame can be".into());
        put_frame(&mut self.buffer, self.sequence, batch).ok_or_else(too_large)?;
        if let Err(error) = self.write_buffer() {
            self.cut_off().map_err(failed)?;
            return Err(failed(error));
        }
        self.note_written(batch);
        Ok(self.sync.then(|| Arc::clone(&self.file)))
    }

    /// Writes the buffer at the end, and zeros behind it if the file becomes longer by little. What overwrites them is synced
    /// in three quarters of the time, for the file system has nothing of its own to write then.
    fn write_buffer(&mut self) -> io::Result<()> {
        let end = self.end + to_u64(self.buffer.len());
        write_all_at(&self.file, &self.buffer, self.end)?;
        let is_small = self.buffer.len() <= SMALL_BYTES;
        if self.sync && is_small && end > self.size && end < self.segment_bytes {
            self.size = end + AHEAD_BYTES;
            return write_zeros(&self.file, end, self.size);
        }
        self.size = self.size.max(end);
        Ok(())
    }

    /// Takes note of how the sync of the last frame went.
    pub(crate) fn end_append(&mut self, synced: io::Result<()>) -> Result<(), LogError> {
        if let Err(error) = synced {
            self.forget_last();
            return Err(not_synced(error));
        }
        if self.sync {
            self.synced = self.end;
        }
        Ok(())
    }

    /// What was written is there to be read.
    fn note_written(&mut self, batch: &Batch) {
        self.before = (self.end, self.next);
        let mut found: Vec<_> = self.last_place.into_iter().collect();
        let known = found.len();
        if let Some(head) = frame_head(&self.buffer) {
            places(head, &self.buffer, self.end, self.name.first, &mut found);
        }
        self.end += to_u64(self.buffer.len());
        self.next = batch.next();
        self.sequence += 1;
        self.last_place = found.last().copied();
        self.segments.extend(found.get(known..).unwrap_or_default(), self.end, self.next);
        self.buffer.shrink_to(KEPT_BUFFER);
    }

    /// Takes the last frame back. Nobody was told of it.
    pub(crate) fn undo(&mut self) -> Result<(), LogError> {
        self.forget_last();
        self.cut_off().and_then(|()| sync_data(&self.file)).map_err(not_synced)
    }

    fn forget_last(&mut self) {
        (self.end, self.next) = self.before;
        self.synced = self.synced.min(self.end);
        self.sequence -= 1;
        self.segments.cut(self.end, self.next);
        self.last_place = self.segments.newest_places().last().copied();
    }

    /// Makes everything durable, whatever was promised.
    pub(crate) fn sync(&mut self) -> Result<(), LogError> {
        if self.synced < self.end {
            sync_data(&self.file).map_err(not_synced)?;
            self.synced = self.end;
        }
        Ok(())
    }

    /// Begins anew behind the last frame that counts, after a failure. What a failed sync may have lost, though it
    /// counts, is written again.
    pub(crate) fn reopen(&mut self) -> Result<(), LogError> {
        self.reopen_file().map_err(failed)
    }

    fn reopen_file(&mut self) -> io::Result<()> {
        let path = self.name.path(&self.directory);
        let mut file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        let is_other = links_and_bytes(&self.file)?.0 == 0;
        if is_other && !is_copy(&self.file, &file, self.end)? {
            return Err(io::Error::other("what was put back is not the file that was deleted"));
        }
        let mut doubtful = Vec::new();
        file.seek(SeekFrom::Start(self.synced))?;
        (&file).take(self.end - self.synced).read_to_end(&mut doubtful)?;
        if file.metadata()?.len() < self.end || self.synced + to_u64(doubtful.len()) < self.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // In its place: there has to be no room for it, and nothing is lost if this fails too.
        write_all_at(&file, &doubtful, self.synced)?;
        set_len(&file, self.end)?;
        sync_data(&file)?;
        self.file = Arc::new(file);
        (self.synced, self.size) = (self.end, self.end);
        Ok(())
    }

    /// Tries whether about as much as a busy commit needs can be written, and takes it back.
    pub(crate) fn probe(&mut self) -> Result<(), LogError> {
        self.cut_off().map_err(failed)?;
        let tried = write_all_at(&self.file, &[0; PROBE_BYTES], self.end);
        let tried = tried.and_then(|()| sync_data(&self.file));
        let cut = self.cut_off().and_then(|()| sync_data(&self.file));
        tried.and(cut).map_err(failed)
    }

    /// Records before this position count as gone, and before the other one are not needed for anything; whether there are
    /// files to [drop](Self::drop_gone).
    pub(crate) fn trim(&self, before: u64, needed_from: u64) -> bool {
        self.segments.set_start(before, needed_from);
        self.segments.has_gone()
    }

    /// Deletes the files that hold nothing any more. What was made of them must be durable elsewhere.
    pub(crate) fn drop_gone(&self) {
        for path in self.segments.take_gone() {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "cannot delete a part of the journal");
            }
        }
    }

    /// Removes what was written behind the end.
    fn cut_off(&mut self) -> io::Result<()> {
        set_len(&self.file, self.end)?;
        self.size = self.end;
        Ok(())
    }

    /// What is written to a deleted file goes nowhere, and what is written behind a hole is not found again.
    fn check_is_there(&self) -> Result<(), LogError> {
        let path = || self.name.path(&self.directory);
        match links_and_bytes(&self.file).map_err(failed)? {
            (0, _) => Err(LogError::Failed(format!(
                "{} was deleted; do not stop the daemon before it is put back (docs/operations.md)",
                path().display()
            ))),
            (_, bytes) if bytes < self.size => Err(LogError::Failed(format!(
                "{} was cut off by somebody else (docs/operations.md)",
                path().display()
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the newest file has a name, under which the next process will find it, whole.
    pub(crate) fn check_newest(&self) -> Result<(), LogError> {
        match links_and_bytes(&self.file) {
            Ok((links, bytes)) if links == 0 || bytes < self.size => {
                Err(LogError::deleted(self.name.path(&self.directory)))
            }
            _ => Ok(()),
        }
    }

    /// Ends the newest segment and begins another.
    fn begin_segment(&mut self) -> io::Result<()> {
        self.buffer.clear();
        segment::put_end(&mut self.buffer, &self.segments.newest_places());
        let name = Name { number: self.name.number + 1, first: self.next };
        match self.end_file().and_then(|()| begin_file(&self.directory, self.store, name)) {
            Ok((file, newest)) => {
                self.segments.follow(newest);
                self.take_up(name, file);
                Ok(())
            }
            Err(error) => {
                let _ = remove(&name.path(&self.directory));
                self.cut_off()?;
                Err(error)
            }
        }
    }

    /// Puts the buffer at the very end of the file.
    fn end_file(&mut self) -> io::Result<()> {
        write_all_at(&self.file, &self.buffer, self.end)?;
        set_len(&self.file, self.end + to_u64(self.buffer.len()))?;
        // With its length, which a later start goes by.
        sync_all(&self.file)
    }

    fn take_up(&mut self, name: Name, file: File) {
        (self.name, self.file, self.last_place) = (name, Arc::new(file), None);
        (self.end, self.size, self.synced) = (HEAD_BYTES, HEAD_BYTES, HEAD_BYTES);
        self.before = (self.end, self.next);
    }
}

/// How many names a file has, and how long it is.
///
/// Its times are not asked for as well: Linux 6.13 and newer give a file whose times were asked for new ones at the next write,
/// however short the time, and a file system without a journal writes them to the disk with the next sync.
#[cfg(target_os = "linux")]
fn links_and_bytes(file: &File) -> io::Result<(u64, u64)> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK | StatxFlags::SIZE)?;
    Ok((found.stx_nlink.into(), found.stx_size))
}

/// How many names a file has, and how long it is.
#[cfg(all(unix, not(target_os = "linux")))]
fn links_and_bytes(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((std::os::unix::fs::MetadataExt::nlink(&metadata), metadata.len()))
}

/// How long a file is; elsewhere one that is open cannot be deleted.
#[cfg(not(unix))]
fn links_and_bytes(file: &File) -> io::Result<(u64, u64)> {
    Ok((1, file.metadata()?.len()))
}

/// Whether a file holds the same as another one, in so many bytes.
fn is_copy(of: &File, copy: &File, bytes: u64) -> io::Result<bool> {
    let mut files = [of, copy];
    for file in &mut files {
        file.seek(SeekFrom::Start(0))?;
    }
    let [mut of, mut copy] = files.map(|file| BufReader::new(file.take(bytes)));
    loop {
        let (ours, theirs) = (of.fill_buf()?, copy.fill_buf()?);
        let both = ours.len().min(theirs.len());
        if both == 0 || ours.get(..both) != theirs.get(..both) {
            return Ok(ours.is_empty() && theirs.is_empty());
        }
        of.consume(both);
        copy.consume(both);
    }
}

/// Makes a segment with nothing in it, durable with its name.
fn begin_file(directory: &Path, store: [u8; 16], name: Name) -> io::Result<(File, Newest)> {
    let path = name.path(directory);
    let file = create(&path)?;
    write_all_at(&file, &segment::head(store, name), 0)?;
    sync_all(&file)?;
    sync_directory(directory)?;
    let reading = Arc::new(File::open(path)?);
    let newest =
        Newest { name, file: reading, places: Vec::new(), end: HEAD_BYTES, next: name.first };
    Ok((file, newest))
}

/// Makes the directory, for its owner alone, durable with its name.
fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    directory.parent().map_or(Ok(()), sync_directory)
}

/// Writes zeros page by page. Of what is written at once Linux makes one large page in memory, and takes all of it for written
/// again whenever a part is.
fn write_zeros(file: &File, from: u64, upto: u64) -> io::Result<()> {
    let mut at = from;
    while at < upto {
        let next = (at + 1).next_multiple_of(PAGE).min(upto);
        let bytes = usize::try_from(next - at).unwrap_or(0);
        write_all_at(file, ZEROS.get(..bytes).unwrap_or_default(), at)?;
        at = next;
    }
    Ok(())
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A write that failed.
fn failed(error: io::Error) -> LogError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            LogError::NoSpace(error.to_string())
        }
        _ => LogError::Failed(format!("the journal: {error}")),
    }
}

/// After a failed sync nothing is known, whatever the reason.
fn not_synced(error: io::Error) -> LogError {
    LogError::Failed(format!("the journal was not synced: {error}"))
}

/// A frame up to so long is small: zeros are written ahead of those that follow. One of a few hundred messages is not, for
/// as many bytes of zeros would take as long as they save.
const SMALL_BYTES: usize = if cfg!(test) { 1_000 } else { 32 * 1024 };
/// How many zeros: for eight of the largest small frames, some 1,700 single messages.
const AHEAD_BYTES: u64 = if cfg!(test) { 300 } else { 256 * 1024 };
const PAGE: u64 = 4096;
static ZEROS: [u8; 4096] = [0; 4096];
/// What is kept of the buffer after a large batch.
const KEPT_BUFFER: usize = 1024 * 1024;
/// Room that has to be there before writes are taken again.
const PROBE_BYTES: usize = 256 * 1024;
#[expect(clippy::as_conversions, reason = "no other conversion is const")]
const HEAD_BYTES: u64 = HEAD as u64;
