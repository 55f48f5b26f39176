//! `chat-load crowd` and the daemon: all are let in and served, and one that is silent costs little.

use chat_tests::daemon::{PASSWORD, Site, binary};
use chat_tests::within;
use serde_json::Value;
use tokio::process::Command;

const CLIENTS: usize = 500;

#[tokio::test]
async fn five_hundred_come_at_once_talk_and_go() {
    let site = Site::new("");
    site.import((0..CLIENTS).map(|number| format!("user{number}"))).await;
    let daemon = site.start().await;
    // Most of it is what the daemon takes once; a connection that kept a buffer to read into would pass the bound.
    let options = format!(
        "-c {CLIENTS} --pid {} --user-prefix user --user-count {CLIENTS} --settle 1 --talk 1 --follow 0 \
         --bytes-per-client 40000 --json",
        daemon.pid()
    );
    let mut command = Command::new(binary("chat-load"));
    command.args(["crowd", "--server", &daemon.address().to_string(), "--password", PASSWORD]);
    command.args(options.split(' ')).kill_on_drop(true);
    let output = within("a crowd to come and go", command.output()).await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["arrivals"][0]["clients"], CLIENTS);
    assert!(report["talk"]["per_client"]["min"].as_f64().unwrap() > 0.0, "{report:#}");
    daemon.stop().await;
}
