//! Watching through the handle, as an embedder does.
#![cfg(feature = "store")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "the lints do not see helpers of tests as tests"
)]

mod live;
mod racing;
mod support;
