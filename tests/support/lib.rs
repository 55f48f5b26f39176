//! What the tests share: the real daemon in a place of its own, clients that speak the protocol byte by byte, a
//! simulated old client, JSON with its order kept, a proxy that breaks what passes through it, the recorder of file
//! writes and sends, and what a loss of power may leave of those writes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "only tests use this, and a test fails by panicking"
)]

pub mod audit;
pub mod client;
pub mod daemon;
pub mod disk;
pub mod json;
pub mod meddler;
pub mod old_client;
pub mod recorder;
pub mod transcript;

use std::time::Duration;

/// Waits for something that must happen soon.
///
/// # Panics
/// After 30 seconds: a bound against hanging, far beyond what anything here takes on a busy machine.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}
