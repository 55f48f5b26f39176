//! The real program: against its own floors, against scripted servers, and against a real server in this process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the lints do not see helpers of tests as tests"
)]

mod crowd;
mod interrupts;
mod pacing;
mod protocols;
mod runs;
mod server;
mod support;
mod verify;
