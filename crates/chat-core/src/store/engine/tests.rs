//! Tests of the engine on the simulated log and on SQLite.
