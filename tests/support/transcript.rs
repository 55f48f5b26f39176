//! What had left the daemon by which moment of a recording.

use std::collections::HashMap;

use serde_json::Value;

use crate::audit::taken;
use crate::recorder::{Event, Record};

/// A reply as it left.
#[derive(Debug, Clone)]
pub struct Reply {
    /// How much of the recording there was when its last byte was handed to the system.
    pub left: usize,
    /// What it says.
    pub value: Value,
}

/// The replies to each peer, by port, in order. Of a send that was under way when the daemon was killed all may have
/// left.
///
/// # Panics
/// When a reply is not JSON.
#[must_use]
pub fn replies(records: &[Record]) -> HashMap<u16, Vec<Reply>> {
    let mut unfinished: HashMap<u16, Vec<u8>> = HashMap::new();
    let mut replies: HashMap<u16, Vec<Reply>> = HashMap::new();
    for (at, record) in records.iter().enumerate() {
        let Event::Send { port, data } = &record.event else {
            continue;
        };
        let taken = taken(&records[at..]).unwrap_or(data.len());
        let stream = unfinished.entry(*port).or_default();
        stream.extend_from_slice(&data[..taken]);
        while let Some(end) = stream.windows(END.len()).position(|window| window == END) {
            let rest = stream.split_off(end + END.len());
            let whole = std::mem::replace(stream, rest);
            let value = serde_json::from_slice(&whole[..end]).expect("a reply is JSON");
            replies.entry(*port).or_default().push(Reply { left: at + 1, value });
        }
    }
    replies
}

/// What ends a reply.
const END: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_left_with_its_last_byte() {
        let send = |data: &str, taken: u64| {
            [Event::Send { port: 7, data: data.into() }, Event::Sent { port: 7, taken }]
        };
        let parts = [send("{}\r\n\r\n[1]\r", 10), send("\n\r\n[2]\r\n\r\n", 3)];
        let events = parts.into_iter().flatten();
        let records: Vec<_> = events.map(|event| Record { event, thread: 1 }).collect();
        let left: Vec<_> =
            replies(&records)[&7].iter().map(|r| (r.left, r.value.to_string())).collect();
        assert_eq!(left, [(1, "{}".to_owned()), (3, "[1]".to_owned())]);
    }
}
