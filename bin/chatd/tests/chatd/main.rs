//! Starts the real program: its signals, exit codes, refusals, and the commands that work beside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

mod config;
mod control;
mod damage;
mod demo;
mod import;
mod output;
mod serving;
mod support;
mod systemd;
mod users;
