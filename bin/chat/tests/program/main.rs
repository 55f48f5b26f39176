//! The real program, run against a server in this process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the lints do not see helpers of tests as tests"
)]

mod commands;
mod terminal;
mod watching;
mod world;
