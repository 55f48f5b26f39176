//! One test binary for all integration tests: the real daemon, over real TCP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, too"
)]

mod conversation;
mod crowd;
mod disk;
mod golden;
mod old_clients;
mod order;
mod plug;
mod power;
mod verify;
