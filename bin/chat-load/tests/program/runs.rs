//! Runs against floors and scripted servers: what is done, counted and told.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Floor, LOGGED_IN, SENT, error, load, load_json, program, serve, serve_with};

#[test]
fn a_count_is_sent_in_full_to_each_floor() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lines");
    for kind in ["echo", "durable"] {
        let floor = Floor::start(&format!("{kind} --file {}", file.display()));
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
    let floor = Floor::start("echo");
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
fn the_password_may_come_from_a_file_or_the_environment() {
    let address = serve(|line| match line {
        "auth u0 s3cret" | "auth u1 s3cret" => LOGGED_IN.to_owned(),
        line if line.starts_with("send ") => SENT.to_owned(),
        _ => error("bad_password"),
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cret\n").unwrap();
    let options = format!("--server {address} -n 20 -c 2 --user-prefix u --user-count 2");
    let run = |more: &str, environment: Option<&str>| {
        let mut command = program(&format!("{options} {more}"));
        command.env_remove("CHAT_PASSWORD");
        command.envs(environment.map(|password| ("CHAT_PASSWORD", password)));
        command.output().unwrap()
    };
    let from_file = format!("--password-file {}", file.path().display());
    assert!(run(&from_file, Some("another")).status.success());
    assert!(run("", Some("s3cret")).status.success());
    let output = run("", None);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--password-file"));
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
#[test]
fn nothing_is_drawn_where_there_is_no_terminal() {
    let floor = Floor::start("echo");
    let output = load(&floor.address, "-c 2 -d 1.1 --warmup 0");
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
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

#[test]
fn an_accounts_file_that_is_none_is_told_with_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("accounts.csv");
    std::fs::write(&file, "name,password\n").unwrap();
    let (directory, file) = (directory.path().display().to_string(), file.display().to_string());
    for (users, wrong) in [
        (&*directory, "Is a directory"),
        ("/dev/null", "it is empty"),
        (&file, "it has no column username"),
    ] {
        for mode in ["", "crowd", "verify"] {
            let output = program(&format!("{mode} --server 127.0.0.1:1 --users {users}")).output();
            let output = output.unwrap();
            assert!(!output.status.success(), "{output:?}");
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains(users) && said.contains(wrong), "{mode} {said}");
        }
    }
}

#[test]
fn one_account_is_enough_for_what_sends_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (users, tokens) = (path("accounts.csv"), path("tokens.csv"));
    std::fs::write(&users, "username,password\nalone,p\n").unwrap();
    let address = serve(|_| LOGGED_IN);
    for options in ["--mix login -n 9", "--mix inbox -n 9", &format!("-d 0 --save-tokens {tokens}")]
    {
        let output = load(&address, &format!("-c 2 --users {users} {options}"));
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(std::fs::read_to_string(tokens).unwrap().lines().count(), 3);
    let output = load(&address, &format!("--users {users} --mix login,send"));
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("give at least two accounts, not 1"), "{said}");
    let crowd = |options: &str| {
        program(&format!("crowd -c 1 --server {address} --users {users} {options}")).output()
    };
    assert!(crowd("--talk 0").unwrap().status.success());
    assert_eq!(crowd("--talk 1").unwrap().status.code(), Some(2));
}

#[test]
fn a_server_with_a_new_error_each_time_fills_no_report() {
    let nth = AtomicUsize::new(0);
    let address = serve(move |line| match line.starts_with("auth ") {
        true => LOGGED_IN.to_owned(),
        false => error(&format!("e{}", nth.fetch_add(1, Ordering::Relaxed))),
    });
    let output = load(&address, "-c 4 -n 5000 --threads 2 --json");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let errors = result["errors"].as_object().unwrap();
    assert_eq!(errors.len(), 21, "{result}");
    assert_eq!(errors.values().filter_map(Value::as_u64).sum::<u64>(), 5000, "{result}");
    let table = String::from_utf8(load(&address, "-c 4 -n 5000").stdout).unwrap();
    assert!(table.contains("4,980 x send: other causes\n"), "{table}");
    assert!(table.lines().count() < 40, "{table}");
}

/// Where its threads are seen at all, as in no container.
#[test]
fn a_thread_of_the_kernel_is_no_server() {
    if std::fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n") {
        for mode in ["", "crowd"] {
            let output = program(&format!("{mode} --server 127.0.0.1:1 --pid 2")).output().unwrap();
            assert_eq!(output.status.code(), Some(1));
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains("process 2 is a thread of the kernel"), "{said}");
        }
    }
}

#[test]
fn a_server_without_a_port_has_the_usual_one() {
    let host = "127.83.71.9";
    let floor = Floor::start(&format!("echo --listen {host}:8889"));
    assert_eq!(load_json(host, "-c 2 -n 50")["server"], floor.address);
    assert!(load(host, "-c 2 -n 50 --protocol old").status.success());
    assert!(program(&format!("crowd --server {host} -c 2 --talk 0")).status().unwrap().success());
    for protocol in ["redis", "irc"] {
        let output = load(host, &format!("-n 50 --protocol {protocol}"));
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("expected HOST:PORT"), "{said}");
    }
}
