//! What the daemon does where its files are damaged or gone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Daemon, Home, ask};

/// Makes two users, and serves them.
fn serve(home: &Home, arguments: &[&str]) -> Daemon {
    for user in ["messi", "lineker"] {
        home.run_with(&["user", "add", user, "--password-stdin"], "surabaya\n").done();
    }
    home.serve(arguments)
}

/// Files of the journal, the oldest first.
fn journal(home: &Home) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.data().join("journal")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Kills a daemon that has ten messages, and an account in the write-ahead log of its database.
fn kill_with_log(home: &Home) {
    let daemon = serve(home, &[]);
    send(&daemon, 10);
    home.run_with(&["user", "add", "arini", "--password-stdin"], "surabaya\n").done();
    drop(daemon);
    assert_ne!(files(&home.data())["chat.db-wal"].len(), 0);
}

/// The store's files in a directory, but for the index of the write-ahead log, which is made anew.
fn files(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for directory in [data, &data.join("journal")] {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_file() && name != "chat.db-shm" {
                files.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

/// Copies the store's files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("journal")).unwrap();
    for (name, bytes) in files(from) {
        let directory = if name.ends_with(".journal") { to.join("journal") } else { to.into() };
        fs::write(directory.join(name), bytes).unwrap();
    }
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
    let before = files(&home.data());
    let unit = include_str!("../../../../deploy/chatd.service");
    assert!(unit.contains("\nRestartPreventExitStatus=64 66 73 77\n"));
    for _ in 0..2 {
        let ended = home.run(&["--listen", "127.0.0.1:0"]);
        for reason in reasons.iter().chain(&["put back a backup of the whole data directory"]) {
            ended.refused(73, reason);
        }
    }
    assert!(files(&home.data()) == before, "something was changed");
}

#[test]
fn what_is_in_the_write_ahead_log_stays_there_when_a_start_is_refused() {
    let home = Home::new();
    kill_with_log(&home);
    let backup = home.path().join("backup");
    copy(&home.data(), &backup);
    let [newest] = journal(&home).try_into().unwrap();
    let database = home.data().join("chat.db");
    let overwrite = |file: &Path, at: usize| {
        let mut bytes = fs::read(file).unwrap();
        bytes[at..at + 4].fill(0xff);
        fs::write(file, bytes).unwrap();
    };
    for damaged in ["a batch", "the journal", "the format"] {
        fs::remove_dir_all(home.data()).unwrap();
        copy(&backup, &home.data());
        match damaged {
            "a batch" => overwrite(&newest, 60),
            "the journal" => fs::remove_file(&newest).unwrap(),
            // Its number (sqlite.org/fileformat2.html, "The Database Header").
            _ => overwrite(&database, 44),
        }
        refused(&home, &[]);
    }
}

#[test]
fn a_journal_damaged_in_its_middle_is_refused_for_good() {
    let home = Home::new();
    let daemon = serve(&home, &[]);
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
    let daemon = serve(&home, &[]);
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

#[test]
fn a_file_that_the_index_does_not_have_yet_is_missed() {
    let home = Home::new();
    let config = home.write("c.toml", "[store]\nsegment = \"1 KiB\"\n");
    let daemon = serve(&home, &["--config", config.to_str().unwrap()]);
    send(&daemon, 50);
    // From here on the tables need nothing older than the newest file.
    home.run_with(&["user", "add", "arini", "--password-stdin"], "surabaya\n").done();
    drop(daemon);
    let oldest = journal(&home).remove(0);
    let aside = home.path().join("aside");
    fs::rename(&oldest, &aside).unwrap();
    refused(&home, &["00000001-*.journal", "it is not there"]);
    fs::rename(&aside, &oldest).unwrap();
    let daemon = home.serve(&[]);
    let mut stream = daemon.connect();
    let token = login(&mut stream, "lineker");
    assert_eq!(ask(&mut stream, &format!("peek {token} - 100")).matches(r#""body""#).count(), 50);
}

#[test]
fn a_journal_that_was_emptied_is_said_to_be_empty() {
    for segment in ["64 MiB", "1 KiB"] {
        let home = Home::new();
        let config = home.write("c.toml", format!("[store]\nsegment = \"{segment}\"\n"));
        let daemon = serve(&home, &["--config", config.to_str().unwrap()]);
        send(&daemon, 50);
        daemon.stop();
        let newest = journal(&home).pop().unwrap();
        let length = fs::metadata(&newest).unwrap().len();
        for (length, reason) in [(0, "it is empty"), (10, "only zeros"), (length, "only zeros")] {
            fs::write(&newest, vec![0; usize::try_from(length).unwrap()]).unwrap();
            refused(&home, &[newest.to_str().unwrap(), reason, "chat.db builds on"]);
        }
    }
}

#[test]
fn a_database_that_was_emptied_is_missed_and_what_is_said_of_it_helps() {
    let home = Home::new();
    kill_with_log(&home);
    let backup = home.path().join("backup");
    copy(&home.data(), &backup);
    fs::write(home.data().join("chat.db"), "").unwrap();
    refused(&home, &["chat.db is missing or empty", "or move everything in it away"]);
    fs::write(home.data().join("lock"), "").unwrap();
    refused(&home, &["chat.db is missing or empty"]);

    fs::rename(home.data(), home.path().join("away")).unwrap();
    home.serve(&[]).stop();
    fs::remove_dir_all(home.data()).unwrap();
    copy(&backup, &home.data());
    let daemon = home.serve(&[]);
    let mut stream = daemon.connect();
    let token = login(&mut stream, "lineker");
    assert_eq!(ask(&mut stream, &format!("peek {token}")).matches(r#""body""#).count(), 10);
}

#[test]
fn a_disk_that_cannot_be_read_is_worth_another_try() {
    let home = Home::new();
    serve(&home, &[]).stop();
    let [file] = journal(&home).try_into().unwrap();
    fs::remove_file(&file).unwrap();
    // What the system refuses to read, whoever asks.
    fs::create_dir(&file).unwrap();
    let ended = home.run(&["--listen", "127.0.0.1:0"]);
    ended.refused(74, "cannot open the store");
    assert!(!ended.stderr.contains("put back a backup"), "{ended:?}");
}

#[test]
fn older_files_that_cannot_be_read_are_named_once_and_read_again_once_they_are_back() {
    let home = Home::new();
    let small = "[store]\nsegment = \"1 KiB\"\nrecent = 1\nstretch = 10\n";
    let config = home.write("c.toml", small);
    let daemon = serve(&home, &["--config", config.to_str().unwrap()]);
    send(&daemon, 100);
    let files = journal(&home);
    let (missing, damaged) = (&files[2], &files[4]);
    let kept = [fs::read(missing).unwrap(), fs::read(damaged).unwrap()];
    fs::remove_file(missing).unwrap();
    fs::write(damaged, vec![0; kept[1].len()]).unwrap();
    let mut stream = daemon.connect();
    let token = login(&mut stream, "lineker");
    let mut page = || ask(&mut stream, &format!("peek {token} - 1000"));
    for _ in 0..5 {
        assert!(page().contains(r#""code": "unavailable""#));
        send(&daemon, 1);
    }
    fs::write(missing, &kept[0]).unwrap();
    for _ in 0..5 {
        assert!(page().contains(r#""code": "unavailable""#));
    }
    fs::write(damaged, &kept[1]).unwrap();
    assert_eq!(page().matches(r#""body""#).count(), 105);
    let log = daemon.stop();
    for (file, reason) in [(missing, "it is not there"), (damaged, "damaged")] {
        let lines = log.lines().filter(|line| line.contains(file.to_str().unwrap()));
        let [line] = lines.collect::<Vec<_>>().try_into().expect(&log);
        assert!(line.contains("ERROR") && line.contains(reason), "{line}");
        assert!(line.contains("put back as it was, from a backup"), "{line}");
    }
    assert!(!log.contains("refusing writes"), "{log}");
}

#[test]
fn a_directory_that_was_moved_has_all_that_was_acknowledged() {
    let home = Home::new();
    let daemon = serve(&home, &[]);
    send(&daemon, 10);
    let elsewhere = home.path().join("elsewhere");
    fs::rename(home.data(), &elsewhere).unwrap();
    let log = daemon.stop();
    assert!(log.contains("synced and closed"), "{log}");
    let daemon = home.serve(&["--data", elsewhere.to_str().unwrap()]);
    let mut stream = daemon.connect();
    let token = login(&mut stream, "lineker");
    assert_eq!(ask(&mut stream, &format!("peek {token}")).matches(r#""body""#).count(), 10);
}

#[test]
fn a_copy_is_told_once_and_nothing_else_for_one() {
    let home = Home::new();
    let told = |daemon: Daemon| daemon.stop().matches("is a copy").count();
    assert_eq!(told(serve(&home, &[])), 0);
    let before = home.path().join("before");
    fs::rename(home.data(), &before).unwrap();
    copy(&before, &home.data());
    assert_eq!(told(home.serve(&[])), 1);
    assert_eq!(told(home.serve(&[])), 0);
    // Moved, and ended without a clean stop.
    drop(home.serve(&["--data", before.to_str().unwrap()]));
    assert_eq!(told(home.serve(&["--data", before.to_str().unwrap()])), 0);
}

#[test]
fn an_end_without_its_files_is_told_and_is_no_clean_one() {
    for deleted in ["newest", "older", "chat.db", "all"] {
        let home = Home::new();
        let small = home.write("c.toml", "[store]\nsegment = \"1 KiB\"\n");
        let daemon = serve(&home, &["--config", small.to_str().unwrap()]);
        send(&daemon, 50);
        let files = journal(&home);
        let file = match deleted {
            "older" => files[1].clone(),
            "chat.db" => home.data().join("chat.db"),
            _ => files.last().unwrap().clone(),
        };
        match deleted {
            "all" => fs::remove_dir_all(home.data()).unwrap(),
            _ => fs::remove_file(&file).unwrap(),
        }
        daemon.signal(rustix::process::Signal::TERM);
        let (code, log) = daemon.wait();
        assert_eq!(code, Some(74), "{deleted}: {log}");
        let told = log.lines().find(|line| line.contains("is lost with the end of this process"));
        let told = told.unwrap_or_else(|| panic!("{deleted}: {log}"));
        assert!(told.contains("ERROR") && told.contains(file.to_str().unwrap()), "{told}");
        assert!(log.contains("put back a backup of the whole data directory"), "{log}");
        assert!(!log.contains("safe") && !log.contains("synced and closed"), "{deleted}: {log}");
    }
}

#[test]
fn what_a_start_replays_is_told() {
    let home = Home::new();
    let daemon = serve(&home, &[]);
    send(&daemon, 10);
    // Killed.
    drop(daemon);
    let log = home.serve(&[]).stop();
    let line = log.lines().find(|line| line.contains("replayed the end of the journal"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("INFO") && line.contains(" took="), "{line}");
    // Two accounts and ten messages; a session is a row that is put later.
    assert!(line.contains(" records=12 batches="), "{line}");
    let log = Home::new().serve(&[]).stop();
    assert!(!log.contains("replayed"), "{log}");
}
