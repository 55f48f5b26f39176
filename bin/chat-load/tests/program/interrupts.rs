//! Ctrl-C, once and twice.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{LOGGED_IN, SENT, pid, serve, start};

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
        let load = start(&format!("--server {address} {options}"));
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
    let load = start(&format!("--server {address} -c 1 --timeout 600"));
    receiver.recv().unwrap();
    kill_process(pid(&load), Signal::INT).unwrap();
    let output = load.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("cut short before"));
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
    let mut load =
        start(&format!("--server {address} -c 2 -d 600 --warmup 0 --watchers 2 --timeout 600"));
    receiver.iter().nth(100).unwrap();
    while load.try_wait().unwrap().is_none() {
        kill_process(pid(&load), Signal::INT).unwrap();
        thread::yield_now();
    }
    let output = load.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0), "{output:?}");
}
