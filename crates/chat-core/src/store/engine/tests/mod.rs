//! Tests of the engine: the same ones on the simulated log and on SQLite where both can show it.

mod crash;
mod crash_runs;
mod faults;
mod history;
mod model;
mod paging;
mod posts;
mod retention;
mod rig;
#[cfg(feature = "embedded")]
mod sqlite;
mod talk;
