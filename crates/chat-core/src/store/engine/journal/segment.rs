//! One file of the journal: its name, its head, and what is put at its end when it is full.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::frame::{FRAME_HEAD, FrameHead, Place, frame_head, is_intact, places};
use super::item::{Fields, ITEM_HEAD, kind, put_item};
use super::to_u64;
use crate::store::engine::log::Batch;

/// What a file's name says: the segment's number, and the position of its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) number: u64,
    pub(super) first: u64,
}

impl Name {
    pub(super) fn path(self, directory: &Path) -> PathBuf {
        directory.join(format!("{:08}-{:020}.journal", self.number, self.first))
    }

    fn parse(name: &str) -> Option<Self> {
        let (number, first) = name.strip_suffix(".journal")?.split_once('-')?;
        Some(Self { number: number.parse().ok()?, first: first.parse().ok()? })
    }
}

/// The segments in a directory, in order. There are none if there is no such directory.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Name>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().to_str().and_then(Name::parse));
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a directory holds any segment.
pub(crate) fn any(directory: &Path) -> io::Result<bool> {
    list(directory).map(|names| !names.is_empty())
}

/// What a file begins with, so that one of another store is known for one.
pub(super) fn head(store: [u8; 16], name: Name) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&store);
    head.extend_from_slice(&name.number.to_le_bytes());
    head.extend_from_slice(&name.first.to_le_bytes());
    head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
    head
}

/// What a file ends with once it is full.
pub(super) fn put_end(bytes: &mut Vec<u8>, places: &[Place]) {
    let start = bytes.len();
    put_item(bytes, kind::INDEX, |bytes| {
        for place in places {
            bytes.extend_from_slice(&place.position.to_le_bytes());
            bytes.extend_from_slice(&place.offset.to_le_bytes());
        }
    });
    let checksum = crc32fast::hash(bytes.get(start..).unwrap_or_default());
    let length = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(END_MAGIC);
}

/// Reads what [`put_end`] put: the places, and where it begins. `None` if there is nothing of the kind.
pub(super) fn read_end(file: &mut File) -> io::Result<Option<(Vec<Place>, u64)>> {
    let size = file.metadata()?.len();
    let Some(tail_at) = size.checked_sub(END_TAIL) else {
        return Ok(None);
    };
    let tail = read_exact_at(file, tail_at, END_TAIL)?;
    let Some((checksum, length)) = end_tail(&tail) else {
        return Ok(None);
    };
    let Some(start) = tail_at.checked_sub(u64::from(length)) else {
        return Ok(None);
    };
    let end = read_exact_at(file, start, u64::from(length))?;
    if crc32fast::hash(&end) != checksum {
        return Ok(None);
    }
    let (places, _) = end.get(ITEM_HEAD..).unwrap_or_default().as_chunks();
    Ok(Some((places.iter().map(place).collect(), start)))
}

fn place(&[a, b, c, d, e, f, g, h]: &[u8; 8]) -> Place {
    Place { position: u32::from_le_bytes([a, b, c, d]), offset: u32::from_le_bytes([e, f, g, h]) }
}

fn end_tail(tail: &[u8]) -> Option<(u32, u32)> {
    let mut fields = Fields(tail);
    let checksum = u32::from_le_bytes(fields.array()?);
    let length = u32::from_le_bytes(fields.array()?);
    (fields.0 == END_MAGIC).then_some((checksum, length))
}

fn read_exact_at(file: &mut File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.seek(SeekFrom::Start(offset))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a segment turned out to hold.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) places: Vec<Place>,
    /// Where the next frame goes: behind the last one that is whole.
    pub(super) end: u64,
    /// Sequence of the last frame; `None` if there is none.
    pub(super) last_sequence: Option<u64>,
    /// The position after the last record.
    pub(super) next: u64,
    /// It is full and was ended.
    pub(super) ended: bool,
    /// A whole frame lies behind something that is none.
    pub(super) torn_inside: bool,
}

/// Reads a segment from its beginning as far as it is whole, and gives each batch of rows with its frame's sequence to
/// `visit`. `None` if its head is not that of this store and name, which is what a crash leaves of a segment just begun.
pub(super) fn scan(
    file: &mut File,
    store: [u8; 16],
    name: Name,
    visit: &mut dyn FnMut(u64, Batch),
) -> io::Result<Option<Scan>> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let Some(rest) = bytes.strip_prefix(head(store, name).as_slice()) else {
        return Ok(None);
    };
    let mut scan = Scan { end: to_u64(HEAD), next: name.first, ..Scan::default() };
    let mut rest = rest;
    while let Some((frame, behind)) = whole_frame(rest, &scan) {
        let Some((count, rows)) = places_of(frame, name, &mut scan) else {
            break;
        };
        if let Some(rows) = rows {
            visit(frame.0.sequence, rows);
        }
        scan.end += to_u64(frame.1.len());
        scan.next = frame.0.first + count;
        scan.last_sequence = Some(frame.0.sequence);
        rest = behind;
    }
    scan.ended = rest.get(size_of::<u32>()) == Some(&kind::INDEX) && rest.ends_with(END_MAGIC);
    scan.torn_inside = !scan.ended && has_later_frame(rest, &scan);
    Ok(Some(scan))
}

type Frame<'a> = (FrameHead, &'a [u8]);

/// The frame at the beginning of these bytes, if it is whole and goes on where the scan is, and what is behind it.
fn whole_frame<'a>(bytes: &'a [u8], scan: &Scan) -> Option<(Frame<'a>, &'a [u8])> {
    let head = frame_head(bytes)?;
    let length = FRAME_HEAD.checked_add(usize::try_from(head.bytes).ok()?)?;
    let (frame, behind) = bytes.split_at_checked(length)?;
    let follows = scan.last_sequence.is_none_or(|last| head.sequence == last + 1);
    (follows && head.first == scan.next && is_intact(head, frame))
        .then_some(((head, frame), behind))
}

fn places_of(frame: Frame<'_>, name: Name, scan: &mut Scan) -> Option<(u64, Option<Batch>)> {
    places(frame.0, frame.1, scan.end, name.first, &mut scan.places)
}

/// Whether a whole frame that was written later begins anywhere in these bytes.
fn has_later_frame(bytes: &[u8], scan: &Scan) -> bool {
    let from = scan.last_sequence.map_or(1, |last| last + 1);
    (1..bytes.len()).filter_map(|at| bytes.get(at..)).any(|bytes| {
        frame_head(bytes).is_some_and(|head| {
            let length = usize::try_from(head.bytes).unwrap_or(usize::MAX);
            let frame = bytes.get(..FRAME_HEAD.saturating_add(length));
            head.sequence > from && frame.is_some_and(|frame| is_intact(head, frame))
        })
    })
}

const MAGIC: &[u8; 8] = b"chatjrn1";
const END_MAGIC: &[u8; 8] = b"chatend1";
/// Bytes of a file before its first frame.
pub(super) const HEAD: usize = MAGIC.len() + 16 + 8 + 8 + 4;
/// Bytes behind the index: its checksum, its length, and the magic.
const END_TAIL: u64 = 16;
