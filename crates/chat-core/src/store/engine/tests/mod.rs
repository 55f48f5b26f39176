//! Tests of the engine: the same ones on the simulated log and on SQLite where both can show it.

mod ahead;
mod beside;
mod calm;
mod crash;
mod crash_runs;
mod faults;
mod follower;
mod history;
mod incarnations;
mod model;
mod paging;
mod people;
mod posts;
mod presence;
mod racing;
mod retention;
mod rig;
mod served;
#[cfg(feature = "embedded")]
mod sqlite;
mod status;
mod talk;
mod watching;
