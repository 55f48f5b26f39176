//! The real `chat-load` against its own floors and against scripted servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking, too"
)]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

#[test]
fn a_count_is_sent_in_full_to_each_floor() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lines");
    for kind in ["echo", "durable"] {
        let floor = Floor::start(&["floor", kind, "--file", file.to_str().unwrap()]);
        let result = load_json(&floor.address, "-c 5 -k 3 -n 1000 --threads 2");
        assert_eq!(result["sends"], 1000, "{result}");
        assert_eq!(result["errors"], json!({}));
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
    assert_eq!(
        (&result["unanswered"], &result["not_started"]),
        (&6.into(), &94.into()),
        "{result}"
    );

    let gone = serve(|line| {
        assert!(line.starts_with("auth "), "the end of this connection");
        LOGGED_IN.to_owned()
    });
    let output = load(&gone, "-c 2 -n 100 --json");
    assert_eq!(output.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lost = result["lost_connections"].as_object().unwrap();
    assert_eq!(lost.values().filter_map(Value::as_u64).sum::<u64>(), 2, "{result}");
    let table = String::from_utf8(load(&gone, "-c 2 -n 100").stdout).unwrap();
    assert!(table.contains("98 operations: clients were lost"), "{table}");
}

/// A stopped server answers some of a count at a rate, and then nothing: what began and what did not is all there is.
#[test]
fn a_count_adds_up_when_the_server_stops() {
    let address = serve_with(|stream| {
        for (nth, line) in BufReader::new(*stream).lines().map_while(Result::ok).enumerate() {
            let reply = if line.starts_with("auth ") { LOGGED_IN } else { SENT };
            if nth <= 20 {
                stream.write_all(format!("{reply}\r\n\r\n").as_bytes()).unwrap();
            }
        }
    });
    let output = load(&address, "-c 2 -k 4 -n 200 --rate 2000 --timeout 0.2 --json");
    assert_eq!(output.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let counts = ["sends", "unanswered", "not_started"].map(|name| result[name].as_u64().unwrap());
    assert_eq!(counts, [40, 8, 152], "{result}");
}

/// As the old servers do it: pieces of 32 bytes, a request is whatever there is when it ends in `\r\n`.
#[test]
fn old_servers_get_one_request_at_a_time_and_only_what_they_know() {
    let address = serve_with(|stream| {
        let mut request = Vec::new();
        let mut piece = [0; 32];
        while let Ok(length @ 1..) = stream.read(&mut piece) {
            request.extend_from_slice(&piece[..length]);
            if request.ends_with(b"\r\n") {
                let line = String::from_utf8(std::mem::take(&mut request)).unwrap();
                assert_eq!(line.matches("\r\n").count(), 1, "two requests at once: {line:?}");
                let reply = match line.trim_end().split(' ').collect::<Vec<_>>()[..] {
                    ["auth", user, _] => format!(r#"{{"status": "OK", "tokenid": "{user}"}}"#),
                    ["send", _, "arini", _] => {
                        r#"{"status": "ERROR", "message": "User Tidak Ditemukan"}"#.to_owned()
                    }
                    ["send", _, _, _] => SENT.to_owned(),
                    ["inbox", _] => r#"{"status": "OK", "messages": {"messi": []}}"#.to_owned(),
                    ["logout", _] => r#"{"status": "OK"}"#.to_owned(),
                    _ => r#"{"status": "ERROR", "message": "**Protocol Tidak Benar"}"#.to_owned(),
                };
                stream.write_all(format!("{reply}\r\n\r\n").as_bytes()).unwrap();
            }
        }
    });
    let options = "-c 3 -n 300 --protocol old --mix send=3,inbox=1,login=1 --churn 20 --json";
    let result: Value = serde_json::from_slice(&load(&address, options).stdout).unwrap();
    let refused = result["errors"]["User Tidak Ditemukan"].as_u64().unwrap();
    assert_eq!(result["errors"].as_object().unwrap().len(), 1, "{result}");
    let reconnects = result["kinds"]["reconnect"]["acknowledged"].as_u64().unwrap_or_default();
    assert_eq!(result["operations"].as_u64().unwrap() + refused, 300 + reconnects, "{result}");
    assert!(
        ["send", "inbox", "login"]
            .iter()
            .all(|kind| result["kinds"][kind]["acknowledged"].as_u64() > Some(0))
    );
}

#[test]
fn redis_gets_the_same_messages_on_a_stream_for_each_recipient() {
    let streams: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let seen = Arc::clone(&streams);
    let address = serve_with(move |stream| {
        let mut lines = BufReader::new(*stream).lines().map_while(Result::ok);
        while let Some(first) = lines.next() {
            let reply = if first == "PING" {
                "+PONG\r\n".to_owned()
            } else {
                assert_eq!(first, "*5");
                let words: Vec<_> = (0..5).map(|_| lines.nth(1).unwrap()).collect();
                assert_eq!((&*words[0], &*words[2], words[4].len()), ("XADD", "*", 30));
                let mut streams = seen.lock().unwrap();
                *streams.entry(words[1].clone()).or_default() += 1;
                match &*words[1] {
                    "arini" => "-OOM command not allowed\r\n".to_owned(),
                    _ => "$4\r\n1-23\r\n".to_owned(),
                }
            };
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    let options = "-c 2 -k 5 -n 400 -s 30 --protocol redis --json";
    let result: Value = serde_json::from_slice(&load(&address, options).stdout).unwrap();
    let streams = streams.lock().unwrap();
    assert_eq!(streams.values().sum::<u32>(), 400);
    assert_eq!(result["errors"]["-OOM command not allowed"], streams["arini"]);
    assert_eq!(result["sends"].as_u64().unwrap() + u64::from(streams["arini"]), 400);
}

#[test]
fn irc_nicks_write_to_each_other() {
    let address = serve_with(|stream| {
        let mut nick = String::new();
        let mut cookie_came = false;
        let mut refused = false;
        for line in BufReader::new(*stream).lines().map_while(Result::ok) {
            let reply = match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
                ["NICK", own] if !refused => {
                    refused = true;
                    format!(":s 433 * {own} :Nickname is already in use\r\n")
                }
                ["NICK", own] => {
                    nick = own.to_owned();
                    "PING :cookie\r\n".to_owned()
                }
                ["PONG", ":cookie"] => {
                    cookie_came = true;
                    format!(":s 001 {nick} :Welcome\r\n:s 422 {nick} :MOTD File is missing\r\n")
                }
                ["PRIVMSG", "load2", _] => format!(":s 401 {nick} load2 :No such nick\r\n"),
                ["PRIVMSG", to, text] => {
                    assert!(to.starts_with("load") && to != nick && cookie_came, "{line}");
                    assert_eq!(text, format!(":{}", "x".repeat(100)));
                    format!(":other!u@h PRIVMSG {nick} :noise\r\n")
                }
                ["PING", token] => format!(":s PONG s :{token}\r\n"),
                _ => String::new(),
            };
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    let result = load(&address, "-c 3 -k 2 -n 300 --protocol irc --json");
    let result: Value = serde_json::from_slice(&result.stdout).unwrap();
    let refused = result["errors"]["401 No such nick"].as_u64().unwrap();
    assert_eq!(result["sends"].as_u64().unwrap() + refused, 300, "{result}");
    assert!(refused > 50, "{result}");
}

/// One of two clients is kept waiting until the other has got 30 answers more: 300 ms at this rate. What was due in
/// that time is charged with its wait, though the client could not even ask.
#[test]
fn an_open_loop_charges_a_stall_to_all_that_was_due() {
    let (sender, receiver) = mpsc::channel();
    let (sender, receiver) = (Mutex::new(sender), Mutex::new(receiver));
    let address = serve_with(move |stream| {
        let mut is_stalled = false;
        for (nth, line) in BufReader::new(*stream).lines().map_while(Result::ok).enumerate() {
            is_stalled |= line.starts_with("auth messi ");
            match (nth, is_stalled) {
                (10, true) => receiver.lock().unwrap().recv().unwrap(),
                (40, false) => sender.lock().unwrap().send(()).unwrap(),
                _ => {}
            }
            let reply = if line.starts_with("auth ") { LOGGED_IN } else { SENT };
            stream.write_all(format!("{reply}\r\n\r\n").as_bytes()).unwrap();
        }
    });
    let result = load_json(&address, "-c 2 -k 1 --rate 200 -n 100");
    // 30 of 100 wait, evenly from 300 ms to none.
    let p90 = result["latency_us"]["p90"].as_f64().unwrap();
    assert!(p90 > 100_000.0, "{result}");
}

#[test]
fn an_offered_rate_that_was_not_reached_is_told() {
    let address =
        serve(|line| if line.starts_with("auth ") { LOGGED_IN.to_owned() } else { String::new() });
    let options = "-c 2 -k 3 --rate 1000 -d 0.2 --warmup 0 --timeout 0.2 --json";
    let result: Value = serde_json::from_slice(&load(&address, options).stdout).unwrap();
    assert_eq!(
        (&result["unanswered"], &result["not_started"]),
        (&6.into(), &194.into()),
        "{result}"
    );
}

/// Only the first send of each client is refused, which is in the warm-up.
#[test]
fn what_the_warm_up_is_refused_is_not_counted() {
    let address = serve_with(|stream| {
        for (nth, line) in BufReader::new(*stream).lines().map_while(Result::ok).enumerate() {
            let reply = match nth {
                1 => &error("inbox_full"),
                _ if line.starts_with("auth ") => LOGGED_IN,
                _ => SENT,
            };
            stream.write_all(format!("{reply}\r\n\r\n").as_bytes()).unwrap();
        }
    });
    let result = load_json(&address, "-c 2 -d 0.1 --warmup 0.5");
    assert_eq!(result["errors"], serde_json::json!({}), "{result}");
    assert!(result["sends"].as_u64() > Some(0), "{result}");
}

/// The warm-up asks for more than a single client with one request in flight can do in all. What it does while measured
/// is done; what was due then is not even begun, so there is no latency, and the run is a failure.
#[test]
fn a_backlog_of_the_warm_up_counts_when_it_is_worked_off() {
    let floor = Floor::start(&["floor", "echo"]);
    let options = "-c 1 -k 1 --rate 100000000 -d 0.2 --warmup 0.2 --json";
    let output = load(&floor.address, options);
    assert_eq!(output.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(result["sends"].as_u64().unwrap() > 0, "{result}");
    assert_eq!(result["not_started"], 20_000_000, "{result}");
    assert_eq!(result["latency_us"], Value::Null, "{result}");
}

/// What takes 60 s if nothing goes wrong is measured for as long as there was anybody to measure.
#[test]
fn a_server_that_dies_ends_the_measured_time() {
    let address = serve_with(|stream| {
        for line in BufReader::new(*stream).lines().map_while(Result::ok).take(50) {
            let reply = if line.starts_with("auth ") { LOGGED_IN } else { SENT };
            stream.write_all(format!("{reply}\r\n\r\n").as_bytes()).unwrap();
        }
    });
    let output = load(&address, "-c 2 -d 60 --warmup 0 --json");
    assert_eq!(output.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["operations"], 98, "{result}");
    let (seconds, rate) =
        (result["seconds"].as_f64().unwrap(), result["sends_per_second"].as_f64().unwrap());
    assert!(seconds < 30.0, "{result}");
    assert!((rate * seconds - 98.0).abs() < 0.01, "{result}");
    assert_eq!(result["intervals"].as_array().unwrap().len(), 1, "{result}");
}

#[test]
fn nothing_is_drawn_where_there_is_no_terminal() {
    let floor = Floor::start(&["floor", "echo"]);
    let output = load(&floor.address, "-c 2 -d 1.1 --warmup 0");
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn a_run_that_is_cut_short_reports_what_was_measured() {
    for signal in [Signal::INT, Signal::TERM] {
        let directory = tempfile::tempdir().unwrap();
        let html = directory.path().join("html");
        let (sender, receiver) = mpsc::channel();
        let (sender, sends) = (Mutex::new(sender), AtomicU32::new(0));
        let address = serve(move |line| {
            if line.starts_with("auth ") {
                return LOGGED_IN.to_owned();
            }
            if sends.fetch_add(1, Ordering::Relaxed) == 500 {
                sender.lock().unwrap().send(()).unwrap();
            }
            SENT.to_owned()
        });
        let options = format!("-c 2 -k 3 -d 600 --warmup 0 --json --html {}", html.display());
        let load = start(&address, &options);
        receiver.recv().unwrap();
        kill_process(pid(&load), signal).unwrap();
        let output = load.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["cut_short"], true);
        assert!(result["sends"].as_u64() > Some(0), "{result}");
        assert!(result["seconds"].as_f64() < Some(600.0), "{result}");
        assert_eq!((&result["unanswered"], &result["lost_connections"]), (&0.into(), &json!({})));
        assert!(std::fs::read_to_string(html).unwrap().contains("cut short"));
    }
}

#[test]
fn nothing_is_reported_of_a_run_cut_short_at_login() {
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let address = serve(move |_| {
        sender.lock().unwrap().send(()).unwrap();
        String::new()
    });
    let load = start(&address, "-c 1 --timeout 600");
    receiver.recv().unwrap();
    kill_process(pid(&load), Signal::INT).unwrap();
    let output = load.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("cut short before"));
}

#[test]
fn earlier_reports_stay_when_a_run_fails() {
    let directory = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut options = "-c 1".to_owned();
    for option in ["html", "hdr-log", "save-tokens"] {
        let path = directory.path().join(option);
        std::fs::write(&path, "earlier").unwrap();
        options += &format!(" --{option} {}", path.display());
    }
    assert_eq!(load(&address, &options).status.code(), Some(1));
    for file in directory.path().read_dir().unwrap() {
        assert_eq!(std::fs::read_to_string(file.unwrap().path()).unwrap(), "earlier");
    }
    let same = directory.path().join("same");
    let same = format!("--html {0} --hdr-log {0}", same.display());
    let output = load(&address, &same);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--hdr-log and --html both name"));
}

/// After the first it waits for pushes, which this server never gives.
#[test]
fn a_second_interrupt_ends_a_run_at_once() {
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let address = serve(move |line| match line.split(' ').next() {
        Some("auth") => LOGGED_IN.to_owned(),
        Some("send") => {
            let _ = sender.lock().unwrap().send(());
            SENT.to_owned()
        }
        _ => String::new(),
    });
    let mut load = start(&address, "-c 2 -d 600 --warmup 0 --watchers 2 --timeout 600");
    receiver.iter().nth(100).unwrap();
    while load.try_wait().unwrap().is_none() {
        kill_process(pid(&load), Signal::INT).unwrap();
        thread::yield_now();
    }
    let output = load.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0), "{output:?}");
}

fn start(address: &str, options: &str) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(["--server", address]).args(options.split(' '));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
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
    serve_with(move |stream| converse(stream, &answer))
}

/// The same, a connection at a time in the hands of the test.
fn serve_with(converse: impl Fn(&mut &TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let converse = Arc::new(converse);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let converse = Arc::clone(&converse);
            thread::spawn(move || {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                converse(&mut &stream);
            });
        }
    });
    address
}

fn converse(stream: &mut &TcpStream, answer: &dyn Fn(&str) -> String) {
    let lines = BufReader::new(*stream).lines();
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
