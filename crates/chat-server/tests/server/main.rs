//! The server as its peers see it: over pipes under paused time, and over TCP for what only a socket shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test that finds the unexpected fails"
)]

#[path = "../../examples/own_listener.rs"]
mod own_listener;

mod bad_input;
mod closing;
mod commands;
mod confirmation;
mod connections;
mod conversations;
mod deaf;
mod devices;
mod memory;
mod posting;
mod slow_watchers;
mod support;
mod waiting;
mod watch_endings;
mod watching;

#[test]
fn the_example_runs() {
    own_listener::main().unwrap();
}
