//! What the log says, and what it never says.
//!
//! In a program of its own: where other tests run beside it without a subscriber, an event that two threads meet first
//! at the same time may stay switched off for good.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test that finds the unexpected fails"
)]
#![allow(dead_code, reason = "what other tests need of their support")]

#[path = "server/support.rs"]
mod support;

use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use support::{PASSWORD, on_pipes};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_refused_login_names_its_connection_at_the_usual_level() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let mut server = on_pipes().await;
    let mut client = server.connect().await;
    client.ask("auth messi salahsekali").await;
    server.stop().await;

    let text = log.text();
    let refused = text.lines().find(|line| line.contains("a login was refused")).unwrap();
    assert!(refused.contains("connection{number=1 peer=pipe}"), "{text}");
    assert!(!text.contains("salahsekali"), "{text}");
}

#[tokio::test]
async fn a_connection_is_named_and_no_secret_is_told() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let mut server = on_pipes().await;
    let mut client = server.connect().await;
    let token = client.login("messi").await;
    for line in [
        format!("send {token} messi rahasia besar"),
        format!("inbox {token}"),
        format!("passwd {token} {PASSWORD} barcelona"),
        format!("passwd {token} {PASSWORD} short"),
        format!("watch {token}"),
        format!("post {token} kunci messi rahasia lagi"),
        format!("history {token} messi"),
        "auth messi salahsekali".into(),
        "auth messi".into(),
        format!("{token} terbang"),
        format!("logout {token}"),
    ] {
        client.ask(&line).await;
    }
    server.stop().await;

    let text = log.text();
    assert!(text.contains("number=1 peer=pipe"), "{text}");
    assert!(text.contains("connection opened"), "{text}");
    for secret in [&*token, PASSWORD, "barcelona", "salahsekali", "rahasia", "short", "kunci"] {
        assert!(!text.contains(secret), "{text}");
    }
}
