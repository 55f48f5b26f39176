//! Tests of the engine: the same ones on the simulated log and on SQLite where both can show it.

mod crash;
mod faults;
mod model;
mod paging;
mod people;
mod presence;
mod retention;
mod rig;
#[cfg(feature = "embedded")]
mod sqlite;
mod status;
