//! What the daemon does where its files are damaged or gone.

use std::fs;
use std::path::PathBuf;

use crate::support::{Daemon, Home, ask};

/// A home whose store has three users, and the daemon that serves it with the smallest files there can be.
fn serve(home: &Home) -> Daemon {
    if !home.data().exists() {
        for user in ["messi", "lineker"] {
            home.run_with(&["user", "add", user, "--password-stdin"], "surabaya\n").done();
        }
    }
    home.serve(&[])
}

/// Files of the journal, the oldest first.
fn journal(home: &Home) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.data().join("journal")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Logs messi in and sends so many messages; the last was answered.
fn send(daemon: &Daemon, count: usize) {
    let mut stream = daemon.connect();
    let token = login(&mut stream, "messi");
    for n in 0..count {
        assert!(ask(&mut stream, &format!("send {token} lineker {n}")).contains("OK"));
    }
}

fn login(stream: &mut std::net::TcpStream, user: &str) -> String {
    let reply = ask(stream, &format!("auth {user} surabaya"));
    let reply: serde_json::Value = serde_json::from_str(&reply).unwrap();
    reply["tokenid"].as_str().unwrap().to_owned()
}

/// It refuses to start, says where the damage is, and systemd does not start it again; nothing was changed.
fn refused(home: &Home, reasons: &[&str]) {
    let before: Vec<_> = journal(home).into_iter().map(|file| fs::read(file).unwrap()).collect();
    let unit = include_str!("../../../../deploy/chatd.service");
    assert!(unit.contains("\nRestartPreventExitStatus=64 66 73 77\n"));
    for _ in 0..2 {
        let ended = home.run(&["--listen", "127.0.0.1:0"]);
        for reason in reasons.iter().chain(&["put back a backup of the whole data directory"]) {
            ended.refused(73, reason);
        }
    }
    let after: Vec<_> = journal(home).into_iter().map(|file| fs::read(file).unwrap()).collect();
    assert_eq!(before, after);
}

#[test]
fn a_journal_damaged_in_its_middle_is_refused_for_good() {
    let home = Home::new();
    let daemon = serve(&home);
    send(&daemon, 10);
    daemon.stop();
    let [file] = journal(&home).try_into().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    // Behind its batches there are zeros.
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end / 2] ^= 1;
    fs::write(&file, bytes).unwrap();
    refused(&home, &[file.to_str().unwrap(), "at offset ", "is no whole batch"]);
}

#[test]
fn a_journal_that_is_gone_or_older_than_the_database_is_refused_for_good() {
    let home = Home::new();
    let daemon = serve(&home);
    daemon.stop();
    let [file] = journal(&home).try_into().unwrap();
    let older = fs::read(&file).unwrap();
    let daemon = home.serve(&[]);
    send(&daemon, 10);
    daemon.stop();
    fs::write(&file, older).unwrap();
    refused(&home, &[file.to_str().unwrap(), "which chat.db builds on"]);
    fs::remove_file(&file).unwrap();
    refused(&home, &["00000001-*.journal", "it is not there"]);
}
