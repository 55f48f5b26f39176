//! When operations begin, and which time a run measures.

use std::io::{BufRead, BufReader, Write};
use std::sync::{Mutex, mpsc};

use serde_json::Value;

use crate::support::{Floor, LOGGED_IN, SENT, error, load, load_json, serve, serve_with};

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

/// Its second operation is due long after nobody would wait any more for an answer.
#[test]
fn a_count_at_a_slow_pace_is_done_in_full() {
    let floor = Floor::start("echo");
    let result = load_json(&floor.address, "-c 1 -n 2 --rate 0.45 --timeout 0.1");
    assert_eq!((&result["sends"], &result["not_started"]), (&2.into(), &0.into()), "{result}");
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
    let floor = Floor::start("echo");
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
