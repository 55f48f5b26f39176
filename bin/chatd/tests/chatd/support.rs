//! Runs the program, with nothing of the environment that the tests run in.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A home of its own for everything a test does.
pub(crate) struct Home {
    directory: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the daemon keeps its data unless it is told otherwise.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join(".local/share/chatd")
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
        command.args(arguments).env_clear().env("HOME", self.path());
        // Cheap hashes: what a hash costs is not what these tests are about.
        command.env("CHATD_CONFIG", self.quick_config());
        command
    }

    /// Runs to the end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, "")
    }

    /// Runs to the end, with that on stdin.
    pub(crate) fn run_with(&self, arguments: &[&str], stdin: &str) -> Ended {
        end(&mut self.command(arguments), stdin)
    }

    /// Serves on a free port.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Daemon {
        let mut all = vec!["--listen", "127.0.0.1:0"];
        all.extend(arguments);
        Daemon::start(&mut self.command(&all), 1)
    }

    fn quick_config(&self) -> PathBuf {
        let path = self.path().join("quick.toml");
        if !path.exists() {
            self.write("quick.toml", "[passwords]\nmemory = \"64 KiB\"\npasses = 1\n");
        }
        path
    }
}

/// Runs a command to its end. One that serves in place of ending is killed after a while.
pub(crate) fn end(command: &mut Command, stdin: &str) -> Ended {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // One that does not read may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let pid = Pid::from_child(&child);
    let (ended, end) = channel::<()>();
    let watch = thread::spawn(move || {
        if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    watch.join().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What became of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// It was refused with that code, for that reason.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, reason: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.contains(reason), "no {reason:?} in {self:?}");
    }

    /// It did what it should; gives what it printed.
    #[track_caller]
    pub(crate) fn done(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.stdout
    }
}

/// A daemon that serves. Killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Its lines on stdout that are not read yet.
    lines: Receiver<String>,
    /// What it printed before it listened, a line each.
    pub(crate) heading: Vec<String>,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Daemon {
    /// Starts it and waits until it listens on so many addresses.
    pub(crate) fn start(command: &mut Command, listeners: usize) -> Self {
        let pipes = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut daemon = Self { child, lines, heading: Vec::new(), addresses: Vec::new() };
        while daemon.addresses.len() < listeners {
            let Ok(line) = daemon.lines.recv_timeout(PATIENCE) else {
                panic!("it does not listen: {}", daemon.end_now());
            };
            match line.strip_prefix("listening on ") {
                Some(address) => daemon.addresses.push(address.parse().unwrap()),
                None => daemon.heading.push(line),
            }
        }
        daemon
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line on stdout.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Reads its log until a line has that in it, or the log ends.
    pub(crate) fn log_until(&mut self, part: &str) -> String {
        let mut log = String::new();
        let mut stderr = BufReader::with_capacity(1, self.child.stderr.as_mut().unwrap());
        while !log.contains(part) && stderr.read_line(&mut log).unwrap() > 0 {}
        log
    }

    /// Nobody reads its log any more.
    pub(crate) fn close_log(&mut self) {
        self.child.stderr = None;
    }

    /// Sends the signal again and again until it ends.
    pub(crate) fn signal_until_it_ends(&self, signal: Signal) {
        while self.lines.recv_timeout(AGAIN) != Err(RecvTimeoutError::Disconnected) {
            self.signal(signal);
        }
    }

    /// Waits for its end: the exit code, and what it logged.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut log).unwrap();
        }
        (self.child.wait().unwrap().code(), log)
    }

    /// Ends it in order; gives what it logged.
    pub(crate) fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (code, log) = self.wait();
        assert_eq!(code, Some(0), "{log}");
        log
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a line; gives the reply to it.
    pub(crate) fn ask(&self, line: &str) -> String {
        ask(&mut self.connect(), line)
    }

    fn end_now(&mut self) -> String {
        let _ = self.child.kill();
        let mut log = String::new();
        let _ = self.child.stderr.take().unwrap().read_to_string(&mut log);
        log
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a line; gives the reply to it.
pub(crate) fn ask(stream: &mut TcpStream, line: &str) -> String {
    stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        reply.extend(byte);
    }
    String::from_utf8(reply).unwrap()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// How often what is tried again is tried.
const AGAIN: Duration = Duration::from_millis(50);
/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
