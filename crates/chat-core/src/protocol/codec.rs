//! Frames out of bytes and back.

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use super::{Command, Frame, Reply};

/// The longest request line, its end not counted, in bytes, unless configured.
pub const DEFAULT_MAX_FRAME_BYTES: usize = 64 * 1024;

/// The server's side: decodes request frames, encodes replies.
#[derive(Debug, Clone)]
pub struct ServerCodec {
    max_frame_bytes: usize,
    scanned: usize,
}

/// The client's side: decodes reply frames, encodes commands.
#[derive(Debug, Clone)]
pub struct ClientCodec {
    max_frame_bytes: usize,
    scanned: usize,
}

/// Broken framing or a broken transport: the connection cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A frame longer than the limit.
    #[error("a frame is longer than {max_frame_bytes} bytes")]
    FrameTooLong {
        /// The limit, in bytes.
        max_frame_bytes: usize,
    },
    /// The transport failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl ServerCodec {
    pub fn new(max_frame_bytes: usize) -> Self {
        todo!()
    }
}
impl Decoder for ServerCodec {
    type Item = Frame;
    type Error = CodecError;
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        todo!()
    }
}
impl Encoder<&Reply<'_>> for ServerCodec {
    type Error = CodecError;
    fn encode(&mut self, reply: &Reply<'_>, dst: &mut BytesMut) -> Result<(), CodecError> {
        todo!()
    }
}
impl ClientCodec {
    pub fn new(max_frame_bytes: usize) -> Self {
        todo!()
    }
}
impl Decoder for ClientCodec {
    type Item = Frame;
    type Error = CodecError;
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        todo!()
    }
}
impl Encoder<&Command<'_>> for ClientCodec {
    type Error = CodecError;
    fn encode(&mut self, command: &Command<'_>, dst: &mut BytesMut) -> Result<(), CodecError> {
        todo!()
    }
}
