//! How many instructions requests cost, counted by valgrind: `scripts/bench-counts` compares them with `baseline.txt`.
//!
//! * [`protocol`]: bytes to commands, and replies to bytes.
//! * [`store`]: calls of the store's handle, through actor, engine and commit to the answer.
//! * [`connection`]: request bytes to reply bytes, through a whole server.
//!
//! # What makes a count repeatable
//! Only the thread that runs the benchmark is counted, and everything that is to be counted runs on it: the clients, the
//! server and the store's actor are tasks of one single-threaded runtime. Its time is paused, the store's clock stands, and
//! its random numbers are the same ones each time. The log is the real one, in a temporary directory, with its syncs; what
//! the kernel does is not counted. Nor is what is written behind the commits, since that begins by the clock.
//!
//! Password hashes are computed on a thread of their own, as always, and so left out.
#![allow(missing_docs, unused_qualifications, reason = "what the benchmark macros make")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails by panicking")]

mod connection;
mod host;
mod protocol;
mod store;

use connection::served;
use gungraun::main;
use protocol::{decoded, encoded};
use store::stored;

main!(library_benchmark_groups = [decoded, encoded, stored, served]);
