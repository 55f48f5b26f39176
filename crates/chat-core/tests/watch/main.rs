//! Watching through the handle, as an embedder does.
#![cfg(feature = "store")]

mod live;
mod racing;
mod support;
