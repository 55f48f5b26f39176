//! The chat daemon.
fn main() {}
