//! Judges a recording: did any OK leave before the sync that covers it?

use std::collections::HashMap;

use crate::recorder::{Event, Record};

/// What every tag begins with; no other text may hold it.
pub const TAG_PREFIX: &str = "tag:";
/// Bytes of a tag, the prefix counted.
pub const TAG_BYTES: usize = TAG_PREFIX.len() + 16;

/// A tag for a message body, found again in what the daemon writes.
#[must_use]
pub fn tag(number: u64) -> String {
    format!("{TAG_PREFIX}{number:016x}")
}

/// What one connection sent, in order, each confirmed before the next or at least in this order.
#[derive(Debug)]
pub struct Conversation {
    /// The client's port.
    pub port: u16,
    /// The tags of its messages that were answered OK.
    pub confirmed: Vec<String>,
}

/// An OK that left too early.
#[derive(Debug, PartialEq, Eq)]
pub enum Violation {
    /// No write before the OK holds the message.
    NeverWritten {
        /// The message.
        tag: String,
    },
    /// The write that holds the message was not followed by a sync of that file before the OK.
    NotSynced {
        /// The message.
        tag: String,
    },
}

/// Checks each confirmed message: a write that holds it, then a whole sync of that file, then the first byte of its
/// OK.
///
/// # Errors
/// The first message that was confirmed too early.
///
/// # Panics
/// When the recording holds fewer OKs than were received, so that it cannot be judged.
pub fn audit(records: &[Record], conversations: &[Conversation]) -> Result<(), Violation> {
    let writes = first_writes(records);
    let syncs = syncs(records);
    for conversation in conversations {
        let left = confirmations(records, conversation.port);
        assert!(left.len() >= conversation.confirmed.len(), "OKs are missing in the recording");
        for (tag, &left) in conversation.confirmed.iter().zip(&left) {
            judge(tag, left, &writes, &syncs)?;
        }
    }
    Ok(())
}

fn judge(
    tag: &str,
    left: usize,
    writes: &HashMap<String, FirstWrite>,
    syncs: &[Sync],
) -> Result<(), Violation> {
    let tag = || tag.to_owned();
    let write = writes.get(&tag()).filter(|write| write.at < left);
    let write = write.ok_or_else(|| Violation::NeverWritten { tag: tag() })?;
    let covers = |s: &Sync| s.inode == write.inode && write.at < s.begin && s.end < left;
    if syncs.iter().any(covers) { Ok(()) } else { Err(Violation::NotSynced { tag: tag() }) }
}

struct FirstWrite {
    at: usize,
    inode: u64,
}

/// A sync that worked: the places in the recording where it began and ended.
struct Sync {
    inode: u64,
    begin: usize,
    end: usize,
}

/// Where each tag was first written. Later writes repeat it, as pages are written again with what they held.
fn first_writes(records: &[Record]) -> HashMap<String, FirstWrite> {
    let mut first = HashMap::new();
    for (at, record) in records.iter().enumerate() {
        if let Event::Write { inode, data, .. } = &record.event {
            for tag in tags(data) {
                first.entry(tag).or_insert(FirstWrite { at, inode: *inode });
            }
        }
    }
    first
}

fn tags(data: &[u8]) -> impl Iterator<Item = String> {
    data.windows(TAG_BYTES)
        .filter(|window| window.starts_with(TAG_PREFIX.as_bytes()))
        .map(|window| String::from_utf8_lossy(window).into_owned())
}

fn syncs(records: &[Record]) -> Vec<Sync> {
    let mut begun = HashMap::new();
    let mut syncs = Vec::new();
    for (at, record) in records.iter().enumerate() {
        match &record.event {
            Event::SyncBegin { .. } => {
                begun.insert(record.thread, at);
            }
            Event::SyncEnd { inode, error: 0, .. } => {
                let begin = begun[&record.thread];
                syncs.push(Sync { inode: *inode, begin, end: at });
            }
            _ => {}
        }
    }
    syncs
}

/// The places in the recording at which the first byte of each OK to a `send` left for this peer.
fn confirmations(records: &[Record], port: u16) -> Vec<usize> {
    let (mut stream, mut left_at) = (Vec::new(), Vec::new());
    for (at, record) in records.iter().enumerate() {
        if let Event::Send { port: to, data } = &record.event
            && *to == port
        {
            let taken = taken(&records[at..]).unwrap_or(data.len());
            stream.extend_from_slice(&data[..taken]);
            left_at.resize(stream.len(), at);
        }
    }
    let found = stream.windows(CONFIRMATION.len()).enumerate();
    found.filter(|(_, window)| *window == CONFIRMATION).map(|(start, _)| left_at[start]).collect()
}

/// How many bytes the send that begins here took; nothing when the daemon did not live to see it.
pub(crate) fn taken(records: &[Record]) -> Option<usize> {
    let thread = records.first()?.thread;
    records.iter().find_map(|record| match record.event {
        Event::Sent { taken, .. } if record.thread == thread => usize::try_from(taken).ok(),
        _ => None,
    })
}

const CONFIRMATION: &[u8] = b"{\"status\": \"OK\", \"message\": \"Message Sent\"";

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const PORT: u16 = 7;

    fn write(inode: u64, text: &str) -> Event {
        Event::Write { inode, path: PathBuf::new(), offset: 0, data: text.into() }
    }

    fn begin(inode: u64) -> Event {
        Event::SyncBegin { inode, path: PathBuf::new() }
    }

    fn end(inode: u64, error: i32) -> Event {
        Event::SyncEnd { inode, path: PathBuf::new(), error }
    }

    fn ok() -> [Event; 2] {
        let data = [CONFIRMATION, b"}\r\n\r\n"].concat();
        let taken = u64::try_from(data.len()).unwrap();
        [Event::Send { port: PORT, data }, Event::Sent { port: PORT, taken }]
    }

    fn judged(events: impl IntoIterator<Item = Event>) -> Result<(), Violation> {
        let records: Vec<_> = events.into_iter().map(|event| Record { event, thread: 1 }).collect();
        audit(&records, &[Conversation { port: PORT, confirmed: vec![tag(1)] }])
    }

    fn not_synced() -> Result<(), Violation> {
        Err(Violation::NotSynced { tag: tag(1) })
    }

    #[test]
    fn a_sync_between_write_and_ok_is_right() {
        let page = format!("page {} end", tag(1));
        let [send, sent] = ok();
        assert_eq!(judged([write(3, &page), begin(3), end(3, 0), send, sent]), Ok(()));
    }

    #[test]
    fn any_other_order_is_wrong() {
        let page = || write(3, &tag(1));
        let [send, sent] = ok();
        let (send, sent) = (|| send.clone(), || sent.clone());
        assert_eq!(judged([page(), send(), sent(), begin(3), end(3, 0)]), not_synced());
        assert_eq!(judged([page(), begin(3), send(), sent(), end(3, 0)]), not_synced());
        assert_eq!(judged([begin(3), page(), end(3, 0), send(), sent()]), not_synced());
        assert_eq!(judged([page(), begin(4), end(4, 0), send(), sent()]), not_synced());
        assert_eq!(judged([page(), begin(3), end(3, 5), send(), sent()]), not_synced());
        let never = Err(Violation::NeverWritten { tag: tag(1) });
        assert_eq!(judged([begin(3), end(3, 0), send(), sent(), page()]), never);
    }

    #[test]
    fn an_ok_in_two_parts_left_with_its_first_byte() {
        let text = [CONFIRMATION, b"}\r\n\r\n"].concat();
        let part = |data: &[u8], taken| {
            [Event::Send { port: PORT, data: data.to_vec() }, Event::Sent { port: PORT, taken }]
        };
        let [early, early_end] = part(&text, 5);
        let [late, late_end] = part(&text[5..], u64::try_from(text.len() - 5).unwrap());
        let sync = [begin(3), end(3, 0)];
        let events =
            [write(3, &tag(1)), early, early_end].into_iter().chain(sync).chain([late, late_end]);
        assert_eq!(judged(events), not_synced());
    }
}
