//! The wire protocol: frames, commands, replies. `docs/protocol.md` is the contract.

mod codec;
mod command;
mod frame;
mod reply;

pub use codec::{ClientCodec, CodecError, DEFAULT_MAX_FRAME_BYTES, ServerCodec};
pub use command::{Command, HelloOptions, ParseError};
pub use frame::Frame;
pub use reply::{
    ActiveUsers, Directory, DirectoryEntry, ErrorCode, ErrorReply, Hello, InboxMessage, InboxPage,
    Limits, List, PeekMessage, PeekPage, Reply, ReplyError, SessionEntry, Whoami,
};
