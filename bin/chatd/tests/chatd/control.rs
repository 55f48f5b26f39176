//! The control socket.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::Signal;

use crate::support::{Daemon, Home, PATIENCE};

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

#[test]
fn is_for_its_owner_alone_and_goes_with_the_daemon() {
    let home = Home::new();
    let socket = home.data().join("control.sock");
    let daemon = home.serve(&[]);
    let metadata = std::fs::symlink_metadata(&socket).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    daemon.stop();
    assert!(!socket.exists());
}

#[test]
fn what_a_killed_daemon_left_is_replaced() {
    let home = Home::new();
    let socket = home.data().join("control.sock");
    let daemon = home.serve(&[]);
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert!(is_socket(&socket));
    home.run_with(&["user", "add", "offline", "--password-stdin"], "surabaya\n").done();
    let _daemon = home.serve(&[]);
    assert!(home.run(&["user", "list"]).done().contains("offline"));
}

#[test]
fn a_path_too_long_for_a_socket() {
    let home = Home::new();
    let data = home.path().join("x".repeat(120));
    let data = data.to_str().unwrap();
    let daemon = home.serve(&["--data", data]);
    let pointer = Path::new(data).join("control.sock");
    let socket = std::fs::read_link(&pointer).unwrap();
    assert!(is_socket(&socket), "{socket:?}");
    let directory = socket.parent().unwrap();
    let mode = std::fs::metadata(directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let arguments = ["--data", data, "user", "add", "messi", "--password-stdin"];
    home.run_with(&arguments, "surabaya\n").done();
    assert!(daemon.ask("auth messi surabaya").contains("tokenid"), "the daemon knows of it");
    daemon.stop();
    assert!(!directory.exists());
    assert!(std::fs::symlink_metadata(pointer).is_err());
}

#[test]
fn a_place_of_ones_own() {
    let home = Home::new();
    let path = home.path().join("c.sock");
    let path = path.to_str().unwrap();
    let daemon = home.serve(&["--control", path]);
    // By its name, and through the data directory.
    let elsewhere = home.path().join("elsewhere");
    let named = ["--control", path, "--data", elsewhere.to_str().unwrap(), "user", "list"];
    home.run(&named).done();
    home.run(&["user", "list"]).done();
    assert!(!elsewhere.exists());
    daemon.stop();
    home.run(&["--control", path, "user", "list"]).refused(69, "no daemon answers at");
}

#[test]
fn something_else_in_its_place_is_left_alone() {
    let home = Home::new();
    let path = home.write("c.sock", "precious");
    home.run(&["--listen", "127.0.0.1:0", "--control", path.to_str().unwrap()])
        .refused(73, "that is not a socket: move it away");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let other = home.path().join("other.sock");
    let other = other.to_str().unwrap();
    let _daemon = home.serve(&["--control", other]);
    let data = home.path().join("data2");
    home.run(&["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap(), "--control", other])
        .refused(73, "another daemon serves it");
}

#[test]
fn nonsense_ends_the_connection_and_nothing_else() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let endless = vec![b'x'; 5 << 20];
    for nonsense in
        [&b"GET / HTTP/1.1\r\n"[..], b"{\"request\":\"drop_all\"}\n", b"\xff\n", b"{", &endless]
    {
        let mut stream = UnixStream::connect(home.data().join("control.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may be closed before all of it is written.
        let _ = stream.write_all(nonsense);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!String::from_utf8_lossy(&rest).contains("Ok"));
    }
    home.run(&["user", "list"]).done();
    daemon.stop();
}

#[test]
fn an_idle_command_does_not_hold_the_end_up() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let _idle = UnixStream::connect(home.data().join("control.sock")).unwrap();
    daemon.stop();
}

#[test]
fn more_commands_at_once_than_it_serves() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let connect = || UnixStream::connect(home.data().join("control.sock")).unwrap();
    let many: Vec<_> = (0..40).map(|_| connect()).collect();
    drop(many);
    home.run(&["user", "list"]).done();
    daemon.stop();
}

#[test]
fn a_locked_directory_without_a_daemon_that_answers() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    std::fs::remove_file(home.data().join("control.sock")).unwrap();
    let ended = home.run(&["user", "list"]);
    ended.refused(75, "in use by another process");
    ended.refused(75, "no daemon answers at");
    drop(daemon);
}

#[test]
fn who_changed_which_account_is_in_the_log() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let import = "username,password\nlineker,surabaya\n";
    for (arguments, stdin) in [
        (&["user", "add", "messi", "--password-stdin"][..], "surabaya\n"),
        (&["user", "add", "messi", "--password-stdin"], "surabaya\n"),
        (&["user", "passwd", "messi", "--password-stdin"], "barcelona\n"),
        (&["user", "rename", "messi", "--username", "leo"], ""),
        (&["user", "list"], ""),
        (&["user", "remove", "leo", "--yes"], ""),
        (&["user", "release", "leo"], ""),
        (&["user", "import", "-"], import),
    ] {
        home.run_with(arguments, stdin);
    }
    let log = daemon.stop();
    let uid = rustix::process::geteuid().as_raw();
    for line in [
        format!("account added username=\"messi\" uid={uid}\n"),
        format!("password set username=\"messi\" uid={uid}\n"),
        format!("account renamed username=\"messi\" new_username=\"leo\" uid={uid}\n"),
        format!("account removed username=\"leo\" uid={uid}\n"),
        format!("username released username=\"leo\" uid={uid}\n"),
        format!("accounts imported accounts=1 uid={uid}\n"),
    ] {
        assert_eq!(log.matches(&line).count(), 1, "{line}{log}");
    }
    assert!(!log.contains("surabaya") && !log.contains("barcelona"), "{log}");
}

#[test]
fn a_runtime_directory_is_used_and_found() {
    let home = Home::new();
    let runtime = home.path().join("run");
    std::fs::create_dir(&runtime).unwrap();
    let mut command = home.command(&["--listen", "127.0.0.1:0"]);
    let _daemon = Daemon::start(command.env("RUNTIME_DIRECTORY", &runtime), 1);
    assert!(is_socket(&runtime.join("control.sock")));
    // A command that knows nothing of it finds it through the data directory.
    home.run(&["user", "list"]).done();
}
