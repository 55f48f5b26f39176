//! Frames: one batch, all of it or nothing.
//!
//! A frame is an item of kind `FRAME` (checksum, bytes that follow, sequence, position of the first record) and the
//! items of its batch behind it.

use super::item::{Fields, ITEM_HEAD, is_record, kind, patch, put_item, put_record};
use super::rows::{has_rows, put_rows, rows};
use crate::store::engine::log::Batch;

/// Length of a frame's head, from the beginning of its item to the end of its fields.
pub(super) const FRAME_HEAD: usize = ITEM_HEAD + 4 + 4 + 8 + 8;
/// Where in it the checksum is; it covers what is behind it up to the end of the frame.
const CHECKSUM_AT: usize = ITEM_HEAD;
const BYTES_AT: usize = CHECKSUM_AT + 4;

/// Where a record lies in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Its position, counted from the segment's first.
    pub(super) position: u32,
    pub(super) offset: u32,
}

/// What stands in a frame's head.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHead {
    pub(super) checksum: u32,
    /// How many bytes follow the head.
    pub(super) bytes: u32,
    /// Grows by one with every frame.
    pub(super) sequence: u64,
    /// The position of its first record.
    pub(super) first: u64,
}

/// Writes a batch as a frame; `None` if it is larger than a frame can be.
pub(super) fn put_frame(bytes: &mut Vec<u8>, sequence: u64, batch: &Batch) -> Option<()> {
    let start = bytes.len();
    put_item(bytes, kind::FRAME, |bytes| {
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(&batch.first.to_le_bytes());
    });
    if has_rows(batch) {
        put_item(bytes, kind::ROWS, |bytes| put_rows(bytes, batch));
    }
    batch.records.iter().for_each(|record| put_record(bytes, record));
    let frame = bytes.get_mut(start..)?;
    let following = u32::try_from(frame.len() - FRAME_HEAD).ok()?;
    patch(frame, BYTES_AT, following);
    let checksum = crc32fast::hash(frame.get(BYTES_AT..)?);
    patch(frame, CHECKSUM_AT, checksum);
    Some(())
}

/// The head at the beginning of these bytes, if there can be one.
pub(super) fn frame_head(bytes: &[u8]) -> Option<FrameHead> {
    let mut fields = Fields(bytes);
    let length = u32::from_le_bytes(fields.array()?);
    let [kind] = fields.array()?;
    let head = FrameHead {
        checksum: u32::from_le_bytes(fields.array()?),
        bytes: u32::from_le_bytes(fields.array()?),
        sequence: u64::from_le_bytes(fields.array()?),
        first: u64::from_le_bytes(fields.array()?),
    };
    let is_head =
        kind == kind::FRAME && usize::try_from(length) == Ok(FRAME_HEAD - size_of::<u32>());
    is_head.then_some(head)
}

/// Whether these bytes, a head and what follows it, are as they were written.
pub(super) fn is_intact(head: FrameHead, frame: &[u8]) -> bool {
    frame.get(BYTES_AT..).is_some_and(|covered| crc32fast::hash(covered) == head.checksum)
}

/// The item at the beginning of these bytes, and its whole length; `None` if it is not all there.
pub(super) fn item(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let mut fields = Fields(bytes);
    let length = usize::try_from(u32::from_le_bytes(fields.array()?)).ok()?;
    let (body, _) = fields.0.split_at_checked(length)?;
    let (kind, body) = body.split_first()?;
    Some((*kind, body, size_of::<u32>() + length))
}

/// Takes note of where the records of a frame lie, one every [`EVERY`] bytes. Gives how many they are, and the rows of
/// its batch; `None` if an item is damaged.
pub(super) fn places(
    head: FrameHead,
    frame: &[u8],
    at: u64,
    segment_first: u64,
    places: &mut Vec<Place>,
) -> Option<(u64, Option<Batch>)> {
    let (mut offset, mut count, mut changed) = (FRAME_HEAD, 0, None);
    while let Some((kind, body, length)) = frame.get(offset..).and_then(item) {
        if is_record(kind) {
            let place = Place {
                position: u32::try_from((head.first + count).checked_sub(segment_first)?).ok()?,
                offset: u32::try_from(at + u64::try_from(offset).ok()?).ok()?,
            };
            if places.last().is_none_or(|last| place.offset >= last.offset.saturating_add(EVERY)) {
                places.push(place);
            }
            count += 1;
        } else if kind == kind::ROWS {
            changed = Some(rows(head.first, body)?);
        }
        offset += length;
    }
    (offset == frame.len()).then_some((count, changed))
}

/// Bytes between two records whose place is kept in memory: a record is looked for among so many. About a page, for
/// less is not read, and 3 bytes of memory for a kilobyte of journal.
const EVERY: u32 = if cfg!(test) { 200 } else { 4096 };
