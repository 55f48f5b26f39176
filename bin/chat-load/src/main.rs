//! A load tester for chat servers.
fn main() {}
