//! `crowd` against a floor, which answers everything, and servers that refuse.

use std::path::Path;
use std::process::Output;
use std::sync::{Mutex, mpsc};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::support::{Floor, pid, program, serve, start};

#[test]
fn a_crowd_comes_talks_and_goes() {
    let floor = Floor::start("echo");
    let options = format!(
        "-c 50 --first 20 --coming 7 --from 127.0.0.1,127.0.0.2 --pid {} --settle 0 --talk 0.2 --follow 0 --json",
        floor.child.id()
    );
    let output = crowd(&floor.address, &options);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let clients = |list: &str| -> Vec<u64> {
        let entries = report[list].as_array().unwrap().iter();
        entries.map(|entry| entry["clients"].as_u64().unwrap()).collect()
    };
    assert_eq!(clients("arrivals"), [20, 30]);
    assert_eq!(clients("idle"), [20, 50]);
    assert!(report["talk"]["per_client"]["max"].as_f64().unwrap() > 0.0, "{report}");
    assert!(report["aftermath"]["memory"]["rss"].as_u64().unwrap() > 100_000, "{report}");
    assert_eq!(report["errors"], serde_json::json!({}));
}

#[test]
fn a_missed_bound_is_named_and_fails_the_run() {
    let floor = Floor::start("echo");
    let bounds = "--answered-within 0 --fairness 2 --longest-pause 60";
    let output = crowd(&floor.address, &format!("-c 3 --talk 0.05 {bounds}"));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    let missed: Vec<_> = said.lines().filter(|line| line.starts_with("missed: ")).collect();
    assert_eq!(missed.len(), 2, "{said}");
    assert!(missed[0].contains("seconds until all were answered"), "{said}");
    assert!(missed[1].contains("fairness"), "{said}");
}

/// The process that is measured is this one: it gives memory back when the first client comes.
#[test]
fn memory_that_shrinks_keeps_no_bound() {
    let held = Mutex::new(vec![1_u8; 64 << 20]);
    let address = serve(move |line| {
        if line.starts_with("whoami ") {
            *held.lock().unwrap() = Vec::new();
        }
        r#"{"status": "OK", "tokenid": "ten"}"#
    });
    let pid = std::process::id();
    let options = format!("-c 3 --pid {pid} --settle 0 --talk 0 --follow 0");
    let output = crowd(&address, &format!("{options} --bytes-per-client 2000"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("; bytes a client cannot be told, as memory did not grow\n"), "{said}");
    assert!(said.contains("\nmissed: bytes per client: cannot be told"), "{said}");
    assert!(said.contains("use more clients, or a longer --settle"), "{said}");
}

#[test]
fn sessions_are_made_once_and_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.csv");
    let floor = Floor::start("echo");
    let with =
        |options: &str| crowd(&floor.address, &format!("{options} --tokens {}", file.display()));
    let output = with("-c 9 --log-in-only");
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(lines(&file), 10, "a header and nine sessions");
    assert!(with("-c 5 --talk 0").status.success());
    let output = with("-c 10 --talk 0");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("has 9 sessions, and 10 clients need one each"), "{said}");
}

#[test]
fn each_may_log_in_on_its_own_connection_and_talk_with_that_session() {
    let address = serve(|line| match line {
        "auth messi surabaya" => r#"{"status": "OK", "tokenid": "ten"}"#,
        "auth henderson surabaya" => r#"{"status": "OK", "tokenid": "nine"}"#,
        line if line.starts_with("send ten ") || line.starts_with("send nine ") => {
            r#"{"status": "OK"}"#
        }
        _ => r#"{"status": "ERROR", "message": "m", "code": "no_session"}"#,
    });
    let output = crowd(&address, "-c 2 --entry auth --talk 0.05");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_irc_server_is_let_in_by_its_welcome() {
    let address = serve(|line| match line {
        "USER load1 0 * :chat-load" => ":s 433 * load1 :Nickname is already in use",
        line if line.starts_with("USER ") => ":s 020 * :wait\r\n:s 001 me :Welcome",
        _ => "PING :early",
    });
    let output = crowd(&address, "-c 3 --entry irc --talk 0");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("not served: 1 x 433 Nickname is already in use\n"), "{said}");
    let output = crowd(&address, "-c 1 --entry irc --talk 0");
    assert!(output.status.success(), "{output:?}");
    let output = crowd(&address, "-c 1 --entry irc");
    assert!(String::from_utf8(output.stderr).unwrap().contains("--talk 0"));
}

#[test]
fn who_is_not_served_is_counted_by_cause_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.csv");
    std::fs::write(&file, "username,token\nmessi,one\nlineker,two\narini,three\n").unwrap();
    let address = serve(|line| match line {
        "whoami two" => r#"{"status": "OK"}"#,
        _ => r#"{"status": "ERROR", "message": "m", "code": "no_session"}"#,
    });
    let output = crowd(&address, &format!("-c 3 --tokens {}", file.display()));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("not served: 2 x no_session (the session is over"), "{said}");
}

#[test]
fn more_clients_than_the_accounts_have_sessions_for_are_refused() {
    let output = crowd("127.0.0.1:1", "-c 401");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("401 clients need 5 accounts or more"), "{said}");
}

#[test]
fn a_crowd_that_is_cut_short_tells_what_was_measured() {
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let address = serve(move |line| {
        if line.starts_with("send ") {
            let _ = sender.lock().unwrap().send(());
        }
        r#"{"status": "OK", "tokenid": "ten"}"#
    });
    let crowd = start(&format!("crowd --server {address} -c 3 --talk 600 --fairness 0.5 --json"));
    receiver.recv().unwrap();
    kill_process(pid(&crowd), Signal::INT).unwrap();
    let output = crowd.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["arrivals"][0]["clients"], 3);
    assert_eq!((&report["cut_short"], &report["talk"]), (&true.into(), &Value::Null));
    assert_eq!(report["missed"], serde_json::json!([]));
}

#[test]
fn a_crowd_cut_short_before_it_came_tells_nothing() {
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let address = serve(move |_| {
        let _ = sender.lock().unwrap().send(());
        ""
    });
    let crowd = start(&format!("crowd --server {address} -c 3"));
    receiver.recv().unwrap();
    kill_process(pid(&crowd), Signal::TERM).unwrap();
    let output = crowd.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0), "{output:?}");
}

#[test]
fn nonsense_is_a_wrong_command_line() {
    for bad in ["-c 0", "--log-in-only", "--bytes-per-client 9", "--first 3", "--from here"] {
        assert_eq!(crowd("127.0.0.1:1", bad).status.code(), Some(2), "{bad}");
    }
}

fn crowd(server: &str, options: &str) -> Output {
    program(&format!("crowd --server {server} {options}")).output().unwrap()
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap().lines().count()
}
