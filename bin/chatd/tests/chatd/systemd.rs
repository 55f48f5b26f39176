//! What systemd is told, and what it tells.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;

use crate::support::{Daemon, Home, PATIENCE};

#[test]
fn is_told_when_it_is_ready_and_when_it_stops() {
    let home = Home::new();
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut command = home.command(&["--listen", "127.0.0.1:0"]);
    let daemon = Daemon::start(command.env("NOTIFY_SOCKET", &path), 1);
    assert_eq!(told().trim(), "READY=1");
    daemon.connect();
    daemon.stop();
    assert_eq!(told().trim(), "STOPPING=1");
}

#[test]
fn is_not_told_that_a_daemon_is_ready_which_is_not() {
    let home = Home::new();
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut command = home.command(&["--listen", "127.0.0.1:0", "--data", "/proc/chatd"]);
    crate::support::end(command.env("NOTIFY_SOCKET", &path), "").refused(73, "");
    assert!(socket.recv(&mut [0; 256]).is_err());
}

#[test]
fn its_state_directory_is_the_data_directory() {
    let home = Home::new();
    let state = home.path().join("state");
    let mut command = home.command(&["--listen", "127.0.0.1:0"]);
    let daemon = Daemon::start(command.env("STATE_DIRECTORY", &state), 1);
    assert!(daemon.heading[0].ends_with(state.to_str().unwrap()), "{:?}", daemon.heading);
    assert!(state.join("control.sock").exists());
}

#[test]
fn the_journal_gets_no_second_timestamp() {
    let home = Home::new();
    let first_words = |stream: fn(&File) -> String| {
        let log = File::create(home.path().join("log")).unwrap();
        // Refused, after the first line of the log.
        let mut command = home.command(&["--listen", "127.0.0.1:0", "--data", "/proc/chatd"]);
        command.env("JOURNAL_STREAM", stream(&log)).stderr(log).status().unwrap();
        let text = std::fs::read_to_string(home.path().join("log")).unwrap();
        text.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let journal = first_words(|log| {
        let file = log.metadata().unwrap();
        format!("{}:{}", file.dev(), file.ino())
    });
    assert_eq!(journal[0], "INFO", "{journal:?}");
    // Redirected from the journal to somewhere else.
    let file = first_words(|_| "1:1".to_owned());
    assert_eq!(file[1], "INFO", "{file:?}");
}

#[test]
fn the_unit_gives_more_time_to_stop_than_the_daemon_takes() {
    let unit = include_str!("../../../../deploy/chatd.service");
    let value = |name: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_end_matches('s').parse::<u64>().unwrap()
    };
    // The default deadline, and twice what the store may take (once for commands, once to close).
    assert!(value("TimeoutStopSec=") > 10 + 2 * 10);
    assert!(value("LimitNOFILE=") > 10_000 + 64);
}
