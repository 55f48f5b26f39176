//! The client against a peer that follows a script, over a pipe.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the lints do not see helpers of tests as tests"
)]

mod calls;
mod closing;
mod dropping;
mod legacy;
mod peer;
mod pipelining;
mod posting;
mod random_cuts;
mod reconnecting;
mod watching;
