//! [`Request`]: what a handle asks of the connection task.

use bytes::BytesMut;
use chat_core::protocol::{ClientCodec, CodecError, Command, Frame};
use tokio::sync::oneshot;
use tokio_util::codec::Encoder;

use crate::InvalidRequest;

/// One request on its way to the server. The reply goes to `reply`, if somebody still waits there.
pub(crate) struct Request {
    pub(crate) line: BytesMut,
    pub(crate) reply: oneshot::Sender<Frame>,
}

/// A command as the bytes of a line, at most `max_frame_bytes` without its end.
pub(crate) fn encode(
    command: &Command<'_>,
    max_frame_bytes: usize,
) -> Result<BytesMut, InvalidRequest> {
    let mut codec = ClientCodec::default();
    codec.set_max_request_bytes(max_frame_bytes);
    let mut line = BytesMut::new();
    match codec.encode(command, &mut line) {
        Ok(()) => Ok(line),
        Err(CodecError::Unencodable { command, reason }) => {
            Err(InvalidRequest::Argument { command, reason })
        }
        Err(error) => {
            Err(InvalidRequest::Argument { command: command.name(), reason: error.to_string() })
        }
    }
}
