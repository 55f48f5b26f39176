//! The examples run.
#![cfg(feature = "store")]

#[path = "../examples/in_process.rs"]
mod in_process;

#[test]
fn the_store_runs_in_process() {
    in_process::main().unwrap();
}
