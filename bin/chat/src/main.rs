//! A chat client for the terminal and for scripts.
fn main() {}
