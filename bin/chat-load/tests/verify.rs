//! The real `chat-load verify` where there is nothing to verify.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking, too"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_server_that_is_not_there_is_explained() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = failed(&["--server", &address.to_string()]);
    assert!(said.contains("nothing listens there"), "{said}");
}

#[test]
fn a_setup_that_fails_is_quoted() {
    let said = failed(&["--setup", "echo no room >&2; exit 4", "--", "true"]);
    assert!(said.contains("--setup failed (exit status: 4)\n    no room"), "{said}");
}

#[test]
fn the_setup_gets_the_accounts() {
    let said = failed(&["-c", "2", "--setup", "cat; exit 1", "--", "true"]);
    let accounts = "\n    username,password\n    verify0,not-a-secret\n    verify1,not-a-secret\n";
    assert!(said.contains(accounts), "{said}");
}

#[test]
fn a_command_that_ends_is_quoted() {
    let said = failed(&["--", "sh", "-c", "echo no data directory >&2; exit 3"]);
    assert!(said.contains("(exit status: 3)\n    no data directory"), "{said}");
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let said = failed(&["--", "/nowhere/chatd"]);
    assert!(said.contains("cannot start /nowhere/chatd"), "{said}");
}

#[test]
fn a_server_without_post_is_for_the_other_mode() {
    let address = serve(|line| match line {
        "hello" => r#"{"status": "ERROR", "message": "**Protocol Tidak Benar"}"#,
        _ => panic!("asked for {line}"),
    });
    let said = failed(&["--server", &address]);
    assert!(said.contains("use --mode send"), "{said}");
}

#[test]
fn who_cannot_log_in_is_named() {
    let address = serve(|_| r#"{"status": "ERROR", "message": "m", "code": "bad_password"}"#);
    let said = failed(&["--server", &address, "--mode", "send"]);
    assert!(said.contains(" cannot log in: m"), "{said}");
}

#[test]
fn nonsense_is_a_wrong_command_line() {
    for bad in [&["--seconds", "soon"][..], &["--kill-server"], &["--pause", "2s..1s"]] {
        assert!(failed(bad).contains("--help"), "{bad:?}");
    }
}

/// The command holds a connection: it opens when the command is there, and ends when nothing of it is left.
#[test]
fn interrupted_before_there_is_anything_to_judge_it_takes_the_command_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; sleep 1000 & wait");
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-load"));
    command.args(["verify", "--", "bash", "-c", &script]).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (mut held, _) = listener.accept().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert_eq!(held.read(&mut [0]).unwrap(), 0);
}

/// Runs it, expects it to say that it came to no verdict, and gives what it said.
fn failed(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-load"));
    let output = command.arg("verify").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Serves any number of connections from threads that end with the test.
fn serve(answer: impl Fn(&str) -> &'static str + Send + Copy + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                for line in lines.map_while(Result::ok) {
                    let reply = format!("{}\r\n\r\n", answer(&line));
                    if stream.write_all(reply.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}
