//! The client against the real server, over TCP.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the lints do not see helpers of tests as tests"
)]

mod live;
mod requests;
mod support;

#[path = "../../examples/send_and_read.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "an example, with a `main` of its own")]
mod send_and_read;
