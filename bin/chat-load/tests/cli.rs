//! The real `chat-load` against its own floors and against scripted servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking, too"
)]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

#[test]
fn a_count_is_sent_in_full_to_each_floor() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lines");
    for kind in ["echo", "durable"] {
        let floor = Floor::start(&["floor", kind, "--file", file.to_str().unwrap()]);
        let result = load_json(&floor.address, "-c 5 -k 3 -n 1000 --threads 2");
        assert_eq!(result["sends"], 1000, "{result}");
        assert_eq!(result["errors"], serde_json::json!({}));
        assert!(result["latency_us"]["p50"].as_f64().unwrap() > 0.0);
    }
    let sent = std::fs::read_to_string(file).unwrap();
    assert_eq!(sent.lines().filter(|line| line.starts_with("send ")).count(), 1000);
}

#[test]
fn a_timed_run_measures_the_server_it_is_told_about() {
    let floor = Floor::start(&["floor", "echo"]);
    let options = format!("-c 2 -d 0.2 --warmup 0.05 -s 7 --pid {}", floor.child.id());
    let result = load_json(&floor.address, &options);
    assert!(result["sends"].as_u64().unwrap() > 0, "{result}");
    assert_eq!(result["seconds"], 0.2);
    assert_eq!(result["message_bytes"], 7);
    assert!(result["server_cores"].as_f64().is_some());
}

#[test]
fn a_server_that_is_not_there_is_named_with_advice() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = load(&address.to_string(), "-c 3");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("3 of 3 clients could not log in"), "{said}");
    assert!(said.contains("nothing listens there"), "{said}");
}

#[test]
fn refused_logins_are_counted_by_cause() {
    let address = serve(|line| match line.split(' ').nth(1) {
        Some("messi") => LOGGED_IN.to_owned(),
        Some("arini") => error("bad_password"),
        _ => r#"{"status": "ERROR", "message": "User Tidak Ada"}"#.to_owned(),
    });
    let output = load(&address, "-c 8");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("6 of 8 clients"), "{said}");
    assert!(said.contains("2 x bad_password (give the right ones"), "{said}");
    assert!(said.contains("4 x User Tidak Ada"), "{said}");
}

#[test]
fn a_busy_server_is_asked_again() {
    let asked = Mutex::new(HashSet::new());
    let address = serve(move |line| {
        let is_first = asked.lock().unwrap().insert(line.to_owned());
        if !line.starts_with("auth ") {
            SENT.to_owned()
        } else if is_first {
            r#"{"status": "ERROR", "message": "m", "code": "busy", "retry_after_ms": 1}"#.to_owned()
        } else {
            LOGGED_IN.to_owned()
        }
    });
    assert_eq!(load_json(&address, "-c 4 -n 40")["sends"], 40);
}

#[test]
fn refused_sends_are_counted_by_code_and_fail_the_run() {
    let address = serve(|line| match line.split(' ').nth(2) {
        _ if line.starts_with("auth ") => LOGGED_IN.to_owned(),
        Some("arini") => error("inbox_full"),
        _ => SENT.to_owned(),
    });
    let output = load(&address, "-c 2 -k 4 -n 400 --json");
    assert_eq!(output.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let full = result["errors"]["inbox_full"].as_u64().unwrap();
    assert!(full > 0);
    assert_eq!(result["sends"].as_u64().unwrap() + full, 400);
}

/// A mailbox here takes 10 messages; only with `--drain` does anybody read theirs.
#[test]
fn drain_has_full_mailboxes_read_by_their_owners() {
    let mailboxes: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let address = serve(move |line| {
        let mut mailboxes = mailboxes.lock().unwrap();
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["auth", user, ..] => format!(r#"{{"status": "OK", "tokenid": "{user}"}}"#),
            ["inbox", user] => {
                let waiting = mailboxes.entry(user.to_owned()).or_default();
                *waiting = waiting.saturating_sub(6);
                format!(r#"{{"status": "OK", "messages": {{}}, "more": {}}}"#, *waiting > 0)
            }
            ["send", _, to, ..] => {
                let waiting = mailboxes.entry(to.to_owned()).or_default();
                if *waiting == 10 {
                    return error("inbox_full");
                }
                *waiting += 1;
                SENT.to_owned()
            }
            _ => error("bad_command"),
        }
    });
    let output = load(&address, "-c 3 -k 4 -n 3000 --drain --json");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(result["inbox_pages"].as_u64().unwrap() > 0, "{result}");
    let (sends, errors) = (result["sends"].as_u64().unwrap(), &result["errors"]);
    assert_eq!(sends + errors["inbox_full"].as_u64().unwrap(), 3000, "{result}");
    // Without reading, three mailboxes of 10 would be all.
    assert!(sends > 1000, "{result}");
}

#[test]
fn a_server_that_stops_answering_or_hangs_up_is_reported() {
    let silent =
        serve(|line| if line.starts_with("auth ") { LOGGED_IN.to_owned() } else { String::new() });
    let output = load(&silent, "-c 2 -k 3 -n 100 --timeout 0.2 --json");
    assert_eq!(output.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["unanswered"], 6, "{result}");

    let gone = serve(|line| {
        assert!(line.starts_with("auth "), "the end of this connection");
        LOGGED_IN.to_owned()
    });
    let output = load(&gone, "-c 2 -n 100 --json");
    assert_eq!(output.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lost = result["lost_connections"].as_object().unwrap();
    assert_eq!(lost.values().filter_map(Value::as_u64).sum::<u64>(), 2, "{result}");
}

fn load(address: &str, options: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["--server", address]).args(options.split(' ')).output().unwrap()
}

fn load_json(address: &str, options: &str) -> Value {
    let output = load(address, &format!("{options} --json"));
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A floor that is ended with the test.
struct Floor {
    child: Child,
    address: String,
}

impl Floor {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").expect("an address").to_owned();
        Self { child, address }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It may have ended by itself, which the test then says.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves any number of connections from threads that end with the test. An empty answer is none; a panic ends the
/// connection.
fn serve(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || converse(&stream.unwrap(), &*answer));
        }
    });
    address
}

fn converse(mut stream: &TcpStream, answer: &dyn Fn(&str) -> String) {
    stream.set_nodelay(true).unwrap();
    let lines = BufReader::new(stream).lines();
    for line in lines.map_while(Result::ok) {
        let reply = answer(&line);
        if !reply.is_empty() && stream.write_all(format!("{reply}\r\n\r\n").as_bytes()).is_err() {
            return;
        }
    }
}

fn error(code: &str) -> String {
    format!(r#"{{"status": "ERROR", "message": "m", "code": "{code}"}}"#)
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_chat-load");
const SENT: &str = r#"{"status": "OK", "message": "Message Sent"}"#;
const LOGGED_IN: &str = r#"{"status": "OK", "tokenid": "a-token"}"#;
