//! The wire protocol: frames, commands, replies. `docs/protocol.md` is the contract.
//!
//! A request is a line of words, a reply one JSON object in pure ASCII:
//!
//! ```text
//! client  auth messi surabaya \r\n
//! server  {"status": "OK", "tokenid": "b9a3a4b1-8d3c-4a38-9a5f-0b2f6b0c5f11"}\r\n\r\n
//! client  send b9a3a4b1-8d3c-4a38-9a5f-0b2f6b0c5f11 lineker apa kabar :)\r\n
//! server  {"status": "OK", "message": "Message Sent"}\r\n\r\n
//! ```
//!
//! A server decodes [`Frame`]s by [`ServerCodec`], parses each by [`Command::parse`], and encodes a [`Reply`]. A client
//! encodes [`Command`]s by [`ClientCodec`], and understands each frame that comes by [`Event::decode`] or, if it is no
//! event, by [`Reply::decode`]; replies come in the order of their requests. The codecs have an example each.
//!
//! A line has at most [`DEFAULT_MAX_FRAME_BYTES`] and a reply at most [`DEFAULT_MAX_REPLY_BYTES`] unless the codec is
//! told otherwise. A line that is no command is a [`ParseError`], to be answered by an error reply; only a line that is
//! too long breaks the framing and ends the connection.

mod codec;
mod command;
mod event;
mod frame;
mod json;
mod line;
mod reply;

#[cfg(test)]
mod properties;

pub use codec::{
    ClientCodec, CodecError, DEFAULT_MAX_FRAME_BYTES, DEFAULT_MAX_REPLY_BYTES, ServerCodec,
};
pub use command::{Command, HelloOptions, ParseError};
pub use event::{Event, SentMessage};
pub use frame::Frame;
pub use reply::{
    ActiveUsers, DeliveryState, Direction, Directory, DirectoryEntry, ErrorCode, ErrorReply, Hello,
    HistoryMessage, HistoryPage, InboxMessage, InboxPage, Limits, List, MessageStatus,
    PAGE_OVERHEAD_BYTES, PeekMessage, PeekPage, Posted, Reply, ReplyError, Resume, SessionEntry,
    Watching, Whoami,
};
