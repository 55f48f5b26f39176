//! Starting, stopping, and what keeps it from starting.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::support::{Daemon, Home, ask, is_root};

#[test]
fn both_signals_end_it_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        let daemon = home.serve(&[]);
        let _idle = daemon.connect();
        daemon.signal(signal);
        let (code, log) = daemon.wait();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("the store is synced and closed"), "{log}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let home = Home::new();
    let config =
        home.write("c.toml", "[connections]\nlinger = \"1h\"\n[shutdown]\ndeadline = \"1h\"\n");
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let daemon = home.serve(&["--config", config.to_str().unwrap()]);
        // A client that said hello gets an orderly end, and this one does not end its side.
        let mut stays = daemon.connect();
        assert!(ask(&mut stays, "hello").contains("OK"));
        daemon.signal(Signal::TERM);
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut stays, &mut rest).unwrap();
        // The first ones come too soon to be a wish of their own.
        daemon.signal_until_it_ends(signal);
        let (ended, log) = daemon.wait();
        assert_eq!(ended, Some(code), "{log}");
    }
}

#[test]
fn two_signals_at_once_are_one_wish() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    daemon.signal(Signal::TERM);
    daemon.signal(Signal::INT);
    let (code, log) = daemon.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("a second signal"), "{log}");
}

#[test]
fn other_signals_are_answered_in_the_log() {
    let home = Home::new();
    let mut daemon = home.serve(&[]);
    for (signal, said) in [
        (Signal::HUP, "SIGHUP: there is nothing to reload"),
        (Signal::USR1, "SIGUSR1 is ignored"),
        (Signal::USR2, "SIGUSR2 is ignored"),
    ] {
        daemon.signal(signal);
        let log = daemon.log_until(said);
        assert!(log.contains(said), "{log}");
    }
    daemon.stop();
}

#[test]
fn out_of_files_is_told_and_over_as_soon_as_there_are_some() {
    let home = Home::new();
    let mut daemon = home.serve(&[]);
    let mut here = daemon.connect();
    assert!(ask(&mut here, "hello").contains("OK"));
    let pid = Pid::from_raw(daemon.pid().try_into().unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    let allow = |files| {
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(files), maximum }).unwrap();
    };
    allow(1);
    let mut waits = daemon.connect();
    daemon.log_until("cannot accept connections; trying on error=Too many open files");
    assert!(ask(&mut here, "ping").contains("OK"), "who is here is served");
    allow(256);
    assert!(ask(&mut waits, "hello").contains("OK"));
    let log = daemon.stop();
    assert!(log.contains("accepting connections again"), "{log}");
}

#[test]
fn a_full_house_is_told() {
    let home = Home::new();
    let config = home.write("c.toml", "[connections]\nmax = 1\n");
    let mut daemon = home.serve(&["--config", config.to_str().unwrap()]);
    let _guest = daemon.connect();
    assert!(daemon.ask("hello").contains("OK"), "the guest made room");
    daemon.log_until(
        "as many connections as there may be: silent ones that never logged in make room",
    );
    daemon.stop();
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let home = Home::new();
    let mut daemon = home.serve(&["--log", "trace"]);
    daemon.close_log();
    for _ in 0..3 {
        assert!(daemon.ask("hello").contains("OK"));
    }
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().0, Some(0));
}

#[test]
fn what_was_read_is_answered_after_a_restart_too() {
    let home = Home::new();
    home.run_with(&["user", "add", "messi", "--password-stdin"], "surabaya\n").done();
    for _ in 0..2 {
        let daemon = home.serve(&[]);
        assert!(daemon.ask("auth messi surabaya").contains("tokenid"));
        daemon.stop();
    }
}

#[test]
fn it_listens_on_every_address_given() {
    let home = Home::new();
    let arguments = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0"];
    let daemon = Daemon::start(&mut home.command(&arguments), 2);
    assert_eq!(daemon.addresses[1].ip().to_string(), "127.0.0.2");
    assert!(daemon.addresses.iter().all(|address| address.port() != 0));
    for address in &daemon.addresses {
        std::net::TcpStream::connect(address).unwrap();
    }
}

#[test]
fn without_accounts_it_says_how_to_make_one_and_serves() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    assert!(daemon.heading[0].contains(home.data().to_str().unwrap()));
    assert!(daemon.line().contains("`chatd user add USER`"));
    daemon.connect();
    daemon.stop();
    let elsewhere = home.path().join("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    let daemon = home.serve(&["--data", elsewhere]);
    assert!(daemon.line().contains(&format!("`chatd --data {elsewhere} user add USER`")));
}

#[test]
fn a_port_in_use() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = home.run(&["--listen", &address]);
    ended.refused(69, &format!("cannot listen on {address}"));
    ended.refused(69, "give another --listen");
    assert!(!home.data().exists(), "it left something behind");
}

#[test]
fn an_address_of_another_machine() {
    // An address for documentation (RFC 5737).
    Home::new().run(&["--listen", "192.0.2.1:0"]).refused(69, "does not have that address");
}

#[test]
fn a_wrong_command_line() {
    let home = Home::new();
    for arguments in [
        &["--nonsense"][..],
        &["--listen", "8889"],
        &["--log", "luod"],
        &["user"],
        &["user", "add"],
        &["user", "rename", "messi"],
        &["--listen", "127.0.0.1:0", "user", "list"],
        &["--listen", "127.0.0.1:1", "--listen", "127.0.0.1:1"],
    ] {
        let ended = home.run(arguments);
        assert_eq!(ended.code, Some(64), "{arguments:?}: {ended:?}");
    }
    assert!(home.run(&["--help"]).done().contains("Exit codes"));
    assert!(home.run(&["--version"]).done().starts_with("chatd "));
    assert!(home.run(&["completions", "bash"]).done().contains("complete "));
}

#[test]
fn a_file_in_place_of_the_data_directory() {
    let home = Home::new();
    let file = home.write("data", "precious");
    let file = file.to_str().unwrap();
    for arguments in
        [&["--listen", "127.0.0.1:0", "--data", file][..], &["--data", file, "user", "list"]]
    {
        let ended = home.run(arguments);
        ended.refused(73, "cannot use the data directory");
        ended.refused(73, "not a directory");
    }
    assert_eq!(std::fs::read(file).unwrap(), b"precious");
}

#[test]
fn an_open_data_directory_is_warned_of_when_serving() {
    let home = Home::new();
    home.run_with(&["user", "add", "messi", "--password-stdin"], "surabaya\n").done();
    std::fs::set_permissions(home.data(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let listed = home.run(&["user", "list"]);
    listed.done();
    assert_eq!(listed.stderr, "");
    assert!(home.serve(&[]).stop().contains("other users may look into the data directory"));
}

#[test]
fn little_room_is_warned_of_at_the_start() {
    let home = Home::new();
    let config = home.write("c.toml", "[store]\nwal = \"8000000 GiB\"\n");
    let log = home.serve(&["--config", config.to_str().unwrap()]).stop();
    assert!(log.contains("little room for the data directory"), "{log}");
    let config = home.write("c.toml", "[store]\nwal = 1\nsegment = 1\n");
    let log = home.serve(&["--config", config.to_str().unwrap()]).stop();
    assert!(!log.contains("little room"), "{log}");
}

#[test]
fn a_data_directory_that_cannot_be_made() {
    // Not even root makes directories there.
    let ended = Home::new().run(&["--listen", "127.0.0.1:0", "--data", "/proc/chatd"]);
    ended.refused(73, "cannot use the data directory /proc/chatd");
    ended.refused(73, "--data");
}

#[test]
fn a_data_directory_without_permission() {
    if is_root() {
        eprintln!("skipped: nothing is forbidden to root");
        return;
    }
    let home = Home::new();
    let closed = home.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    for mode in [0o000, 0o500] {
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode)).unwrap();
        home.run(&["--listen", "127.0.0.1:0", "--data", closed.to_str().unwrap()])
            .refused(73, "cannot use the data directory");
    }
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_data_directory_for_its_owner_alone() {
    let home = Home::new();
    home.serve(&[]).stop();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(home.data()), 0o700);
    assert_eq!(mode(home.data().join("chat.db")), 0o600);
}

#[test]
fn two_daemons_on_one_directory() {
    let home = Home::new();
    let first = home.serve(&[]);
    home.run(&["--listen", "127.0.0.1:0"]).refused(75, "in use by another process");
    // The second took nothing from the first.
    home.run(&["user", "list"]).done();
    first.stop();
    home.serve(&[]).stop();
}

#[test]
fn a_file_that_is_no_store() {
    let home = Home::new();
    let data = home.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let text = "this is no database at all, but long enough to have a header".repeat(20);
    std::fs::write(data.join("chat.db"), &text).unwrap();
    home.run(&["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()])
        .refused(73, "is not a chat store");
    assert_eq!(std::fs::read_to_string(data.join("chat.db")).unwrap(), text);
}

#[test]
fn a_json_log_is_json_on_every_line() {
    let home = Home::new();
    let log = home.serve(&["--log-format", "json", "--log", "debug"]).stop();
    assert!(log.lines().count() > 2, "{log}");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{line}"));
    }
}

#[test]
fn a_log_holds_no_secret() {
    let home = Home::new();
    let daemon = home.serve(&["--log", "trace"]);
    home.run_with(&["user", "add", "messi", "--password-stdin", "--log", "trace"], "surabaya\n")
        .done();
    let mut stream = daemon.connect();
    let reply: serde_json::Value =
        serde_json::from_str(&ask(&mut stream, "auth messi surabaya")).unwrap();
    let token = reply["tokenid"].as_str().unwrap();
    assert!(ask(&mut stream, &format!("send {token} messi rahasia")).contains("OK"));
    let token = token.to_owned();
    let log = daemon.stop();
    for secret in ["surabaya", "rahasia", &token] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[test]
fn the_limit_of_open_files_is_raised_or_the_connections_are_fewer() {
    let home = Home::new();
    let limited = |limit: &str| {
        let program = home.command(&["--listen", "127.0.0.1:0"]);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limit}; exec \"$@\""), "sh"]);
        shell.arg(program.get_program()).args(program.get_args()).env_clear();
        shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell
    };
    let daemon = Daemon::start(&mut limited("ulimit -Sn 256"), 1);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert!(open.split_whitespace().nth(3).unwrap().parse::<u64>().unwrap() >= 10_064, "{open}");
    daemon.stop();
    let log = Daemon::start(&mut limited("ulimit -n 256"), 1).stop();
    assert!(log.contains("allows fewer connections than configured"), "{log}");
    assert!(log.contains("192"), "{log}");
    // Nothing of the kind when there is room.
    assert!(!home.serve(&[]).stop().contains("fewer connections"));
}
