//! `verify` where there is nothing to verify.

use std::io::Read as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use rustix::process::{Signal, kill_process};

use crate::support::{PROGRAM, pid, serve};

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
    let mut command = Command::new(PROGRAM);
    command.args(["verify", "--", "bash", "-c", &script]).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (mut held, _) = listener.accept().unwrap();
    kill_process(pid(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert_eq!(held.read(&mut [0]).unwrap(), 0);
}

/// Its setup holds a connection until nothing of it is left.
#[test]
fn interrupted_in_its_setup_it_takes_that_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let setup = format!("exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; exec sleep 1000'");
    let mut command = Command::new(PROGRAM);
    command.args(["verify", "--setup", &setup, "--", "true"]).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (mut held, _) = listener.accept().unwrap();
    kill_process(pid(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert_eq!(held.read(&mut [0]).unwrap(), 0);
}

/// Runs it, expects it to say that it came to no verdict, and gives what it said.
fn failed(arguments: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    let output = command.arg("verify").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}
