//! Request lines from hostile clients.
//!
//! However the bytes are split the frames are the same; what parses survives being encoded and parsed again.
//! The first two bytes choose where the input is cut and how long a line may be.

#![no_main]

use bytes::BytesMut;
use chat_core::protocol::{ClientCodec, CodecError, Command, Frame, ServerCodec};
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::{Decoder as _, Encoder as _};

fuzz_target!(|input: &[u8]| {
    let [cut, limit, bytes @ ..] = input else {
        return;
    };
    let limit = 1 + 4 * usize::from(*limit);
    let cut = usize::from(*cut) % (bytes.len() + 1);

    let whole = decode(limit, &[bytes]);
    assert_eq!(whole, decode(limit, &[&bytes[..cut], &bytes[cut..]]));
    assert_eq!(whole, decode(limit, &bytes.chunks(1).collect::<Vec<_>>()));

    for frame in &whole.0 {
        assert!(!frame.as_bytes().is_empty() && frame.as_bytes().len() <= limit);
        if let Ok(command) = Command::parse(frame) {
            assert_survives(&command);
        }
    }
});

/// The frames up to the end or the first error, and whether there was one.
fn decode(limit: usize, pieces: &[&[u8]]) -> (Vec<Frame>, bool) {
    let mut codec = ServerCodec::new(limit);
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
        assert!(src.len() <= limit + 1, "more is held than a line can be");
    }
    (frames, false)
}

/// Words may be empty on the wire while a client refuses to send them, as it does a lone carriage return.
fn assert_survives(command: &Command<'_>) {
    let mut line = BytesMut::from("before");
    match ClientCodec::default().encode(command, &mut line) {
        Ok(()) => {}
        Err(CodecError::Unencodable { .. }) => return assert_eq!(line, "before"),
        Err(error) => panic!("{error}"),
    }
    let mut line = line.split_off("before".len());
    let frame = ServerCodec::default()
        .decode(&mut line)
        .expect("a short line")
        .expect("a line");
    assert!(line.is_empty());
    assert_eq!(Command::parse(&frame).as_ref(), Ok(command));
}
