//! Tests of the engine: the same ones on the simulated log and on SQLite where both can show it.

mod crash;
mod faults;
mod follower;
mod incarnations;
mod model;
mod paging;
mod racing;
mod retention;
mod rig;
mod served;
#[cfg(feature = "embedded")]
mod sqlite;
mod watching;
