//! [`Frame`]: one delimited unit of bytes, not yet understood.

use bytes::Bytes;

/// One request line or one reply, without its end.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(pub(super) Bytes);
