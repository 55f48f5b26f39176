//! `chat-load verify`: the daemon keeps its promises while it is killed, and servers that do not are found out.
//!
//! `CHAT_TEST_VERIFY_ROUNDS` has the daemon killed so often in place of for 30 seconds, `CHAT_TEST_SEED` repeats a run's
//! schedule of faults.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use chat_tests::daemon::{Site, binary};
use chat_tests::meddler::{Meddler, Meddling};
use chat_tests::within;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Command;

const MODE: &str = "post";

#[tokio::test]
#[allow(clippy::print_stderr, reason = "the figures of the run, and its seed if it fails")]
async fn nothing_is_lost_when_the_daemon_is_killed_under_200_clients() {
    let rounds = std::env::var("CHAT_TEST_VERIFY_ROUNDS");
    let length = rounds.map_or("--seconds 30".to_owned(), |rounds| format!("--rounds {rounds}"));
    let seed =
        std::env::var("CHAT_TEST_SEED").map_or(String::new(), |seed| format!(" --seed {seed}"));
    let options =
        format!("-c 200 --mode {MODE} --kill-server --drop-connections --pause {length}{seed}");
    let report = Trial::new().run(&options).await;
    eprintln!("{report}");
    assert_eq!(report["verdict"], "holds", "{report:#}");
    for figure in FIGURES {
        assert!(report[*figure].as_u64().unwrap() > 0, "no {figure}: {report}");
    }
}

#[tokio::test]
async fn a_proxy_that_does_nothing_breaks_nothing() {
    let options =
        "-c 20 -k 4 --seconds 3 --kill-server --kill-every 500ms..1s --drop-connections --pause";
    let report = meddled(Meddling::Nothing, options).await;
    assert_eq!(report["verdict"], "holds", "{report:#}");
    assert!(report["kills"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn an_answer_before_the_commit_is_found_out() {
    let options = "-c 20 -k 4 --rounds 6 --kill-server --kill-every 100ms..600ms";
    assert_caught(Meddling::AnswersEarly, options, &["lost"]).await;
}

#[tokio::test]
async fn a_message_given_again_after_a_restart_is_found_out() {
    let options = "-c 20 --rounds 20 --kill-server --kill-every 100ms..600ms";
    assert_caught(Meddling::AcksEarly, options, &["duplicated"]).await;
}

#[tokio::test]
async fn a_message_stored_under_a_key_that_was_used_is_found_out() {
    let options = "-c 20 --seconds 20 --drop-connections 50ms..500ms";
    assert_caught(Meddling::ForgetsKeys, options, &["duplicated"]).await;
}

#[tokio::test]
async fn two_messages_swapped_are_found_out() {
    assert_caught(Meddling::Swaps, "-c 10 -k 8 --seconds 20", &["reordered"]).await;
}

#[tokio::test]
async fn a_message_dropped_is_found_out() {
    // When no later message follows it, nobody sees a hole.
    assert_caught(Meddling::Drops(200), "-c 10 --seconds 20", &["hole", "lost"]).await;
}

#[tokio::test]
async fn one_message_dropped_in_10_000_is_found_out() {
    assert_caught(Meddling::Drops(10_000), "-c 50 -k 4 --seconds 60", &["hole", "lost"]).await;
}

#[tokio::test]
async fn an_id_used_again_is_found_out() {
    assert_caught(Meddling::ReusesId(200), "-c 10 --seconds 20", &["duplicated"]).await;
}

#[tokio::test]
async fn a_message_changed_is_found_out() {
    assert_caught(Meddling::Invents(200), "-c 10 --seconds 20", &["invented"]).await;
}

#[tokio::test]
async fn an_interrupted_run_is_judged_and_leaves_no_daemon_behind() {
    let trial = Trial::new();
    let meddler = Meddler::start(&trial.said(), Meddling::Nothing).await;
    let options = format!("--mode {MODE} -c 4 --seconds 600 --server {}", meddler.address());
    let mut child = trial.command(&options).stdout(Stdio::null()).spawn().unwrap();
    within("messages to be read", meddler.has_passed(100)).await;
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let status = within("an interrupted run to end", child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    // It would not start next to another one.
    trial.site.start().await.stop().await;
}

async fn assert_caught(meddling: Meddling, options: &str, kinds: &[&str]) {
    let report = meddled(meddling, options).await;
    assert_eq!(report["verdict"], "violated", "{report:#}");
    let kind = report["fault"]["kind"].as_str().unwrap();
    assert!(kinds.contains(&kind), "{report:#}");
    let history = report["fault"]["history"].as_array().unwrap();
    assert!(!history.is_empty(), "{report:#}");
}

async fn meddled(meddling: Meddling, options: &str) -> Value {
    let trial = Trial::new();
    let meddler = Meddler::start(&trial.said(), meddling).await;
    trial.run(&format!("--mode {MODE} --server {} {options}", meddler.address())).await
}

/// A daemon for `chat-load` to start, and the accounts for it to use.
struct Trial {
    site: Site,
}

impl Trial {
    fn new() -> Self {
        Self { site: Site::new("") }
    }

    /// Where the daemon's output goes.
    fn said(&self) -> PathBuf {
        self.site.path().join("said")
    }

    /// Runs `chat-load verify` on the daemon, and gives its report.
    async fn run(&self, options: &str) -> Value {
        let output = self.command(options).output();
        let output = tokio::time::timeout(LONGEST_RUN, output).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{said}", output.status));
        assert_eq!(output.status.code(), Some(i32::from(report["verdict"] != "holds")), "{said}");
        report
    }

    /// `chat-load verify`, which starts the daemon.
    fn command(&self, options: &str) -> Command {
        let said = self.said();
        // To where it is read from by whoever comes later, and to `chat-load`.
        let serve = format!(
            "exec {} > >(tee {})",
            self.shell_words(&["--listen", "127.0.0.1:0", "--log", "error"]),
            said.display()
        );
        let mut command = Command::new(binary("chat-load"));
        command
            .args(["verify", "--json", "--setup", &self.shell_words(&["user", "import", "-"])])
            .args(options.split(' '))
            .args(["--", "bash", "-c", &serve])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// A command of this site's `chatd`, as a shell takes it.
    fn shell_words(&self, arguments: &[&str]) -> String {
        let command = self.site.command(arguments);
        let command = command.as_std();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ")
    }
}

/// Of what a run must have had.
const FIGURES: &[&str] = &[
    "kills",
    "answered",
    "stored_before",
    "read_by_inbox",
    "read_by_peek",
    "read_by_watch",
    "redelivered",
    "reset",
    "closed",
];
/// A bound against hanging.
const LONGEST_RUN: Duration = Duration::from_secs(1200);
