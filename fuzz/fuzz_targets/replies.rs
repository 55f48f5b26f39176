//! Replies and events from hostile servers.
//!
//! The first three bytes choose the command that is answered, where the input is cut and how long a reply may be.
//! What is understood survives being encoded, which gives pure ASCII and valid JSON, and understood again; nothing is a
//! reply and an event at once.

#![no_main]

use bytes::BytesMut;
use chat_core::protocol::{ClientCodec, Event, Frame, Reply, ServerCodec};
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::{Decoder as _, Encoder as _};

fuzz_target!(|input: &[u8]| {
    let [command, cut, limit, bytes @ ..] = input else {
        return;
    };
    let command = COMMANDS[usize::from(*command) % COMMANDS.len()];
    let limit = 16 * usize::from(*limit);
    let cut = usize::from(*cut) % (bytes.len() + 1);

    let whole = decode(limit, &[bytes]);
    assert_eq!(whole, decode(limit, &[&bytes[..cut], &bytes[cut..]]));
    assert_eq!(whole, decode(limit, &bytes.chunks(1).collect::<Vec<_>>()));

    for frame in &whole.0 {
        if let Ok(reply) = Reply::decode(command, frame) {
            assert_survives(command, &reply);
            assert!(matches!(Event::decode(frame), Ok(None)));
        }
        if let Ok(Some(event)) = Event::decode(frame) {
            assert_event_survives(&event);
        }
    }
});

/// The frames up to the end or the first error, and whether there was one.
fn decode(limit: usize, pieces: &[&[u8]]) -> (Vec<Frame>, bool) {
    let mut codec = ClientCodec::new(limit);
    let (mut src, mut frames) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        src.extend_from_slice(piece);
        loop {
            match codec.decode(&mut src) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
        assert!(src.len() <= limit + 3, "more is held than a reply can be");
    }
    (frames, false)
}

fn assert_survives(command: &'static str, reply: &Reply<'_>) {
    let mut bytes = BytesMut::new();
    ServerCodec::default()
        .encode(reply, &mut bytes)
        .expect("replies always encode");
    let frame = frame_of(bytes);
    let again = Reply::decode(command, &frame).expect("what was understood before");
    if has_one_order(&again) {
        assert_eq!(&again, reply);
    }
}

fn assert_event_survives(event: &Event<'_>) {
    let mut bytes = BytesMut::new();
    event.encode(&mut bytes);
    let again = Event::decode(&frame_of(bytes)).expect("what was understood before");
    assert_eq!(again.as_ref(), Some(event));
}

/// The one frame, whose JSON is pure ASCII and valid.
fn frame_of(mut bytes: BytesMut) -> Frame {
    let json = bytes.strip_suffix(b"\r\n\r\n").expect("an end");
    assert!(json.iter().all(|byte| (b' '..=b'~').contains(byte)));
    assert!(serde_json::from_slice::<serde_json::Value>(json).is_ok());
    let frame = ClientCodec::new(usize::MAX).decode(&mut bytes);
    let frame = frame.expect("a short frame").expect("a frame");
    assert!(bytes.is_empty());
    frame
}

/// Messages grouped by sender are put back in order by their ids; without such ids there is none to restore.
fn has_one_order(reply: &Reply<'_>) -> bool {
    let Reply::Inbox(page) = reply else {
        return true;
    };
    page.messages.is_sorted_by(|a, b| a.id < b.id)
}

const COMMANDS: [&str; 23] = [
    "auth",
    "send",
    "inbox",
    "list",
    "user_aktif",
    "logout",
    "hello",
    "ping",
    "register",
    "passwd",
    "whoami",
    "sessions",
    "revoke",
    "peek",
    "ack",
    "post",
    "status",
    "history",
    "watch",
    "unwatch",
    "block",
    "unblock",
    "privacy",
];
