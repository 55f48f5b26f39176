//! The real `chatd` in a directory of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::within;

/// The password of every account that [`Site::import`] makes.
pub const PASSWORD: &str = "surabaya-1";

/// A place for a daemon to live in: config, data directory and log. Removed when dropped.
#[derive(Debug)]
pub struct Site {
    path: PathBuf,
    /// Removes it all when dropped.
    temporary: Option<TempDir>,
    demo: bool,
    environment: Vec<(String, PathBuf)>,
}

/// A running daemon. Killed when dropped; its log is shown when the test has failed.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    /// Held, so that the daemon can go on writing.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Site {
    /// An empty site. Password hashes are cheap, so that a login costs nothing; `config` is added to its file.
    #[must_use]
    pub fn new(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut site = Self::again(directory.path());
        site.temporary = Some(directory);
        std::fs::create_dir(site.disk()).unwrap();
        std::fs::write(site.config(), format!("{CHEAP_PASSWORDS}{config}")).unwrap();
        site
    }

    /// The site that an earlier test [kept](Self::keep), as it is.
    #[must_use]
    pub fn again(path: &Path) -> Self {
        Self { path: path.to_owned(), temporary: None, demo: false, environment: Vec::new() }
    }

    /// Leaves everything in place when the test is over.
    pub fn keep(&mut self) {
        if let Some(directory) = &mut self.temporary {
            directory.disable_cleanup(true);
        }
    }

    /// A site for `chatd --demo`.
    #[must_use]
    pub fn demo() -> Self {
        Self { demo: true, ..Self::new("") }
    }

    /// Sets a variable in the environment of the daemons started from here; the last value counts.
    pub fn set(&mut self, variable: &str, path: &Path) {
        self.environment.push((variable.to_owned(), path.to_owned()));
    }

    /// Where everything of the site lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the data directory is made in.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.path().join("disk")
    }

    /// The data directory. The daemon makes it.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.disk().join("data")
    }

    /// `chatd` with this site's config and data and these arguments.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("chatd"));
        command
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .arg("--data")
            .arg(self.data())
            .env_clear()
            .env("HOME", self.path())
            .kill_on_drop(true);
        command
    }

    /// Makes accounts through `chatd user import`, all with [`PASSWORD`] and the full name `Name of USER`.
    pub async fn import<S: AsRef<str>>(&self, usernames: impl IntoIterator<Item = S>) {
        let mut csv = "username,name,password\n".to_owned();
        for username in usernames {
            let username = username.as_ref();
            writeln!(csv, "{username},Name of {username},{PASSWORD}").unwrap();
        }
        let output = self.run(&["user", "import", "-"], &csv).await;
        assert!(output.status.success(), "{output:?}");
    }

    /// Runs a command of `chatd` to its end.
    pub async fn run(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let work = async {
            // A command that ends without reading says why by its exit status.
            let _ = input.write_all(stdin.as_bytes()).await;
            drop(input);
            child.wait_with_output().await.unwrap()
        };
        within("a command of chatd to end", work).await
    }

    /// Starts a daemon on a free port and waits until it listens.
    pub async fn start(&self) -> Daemon {
        self.try_start().await.unwrap_or_else(|why| panic!("{why}"))
    }

    /// Starts a daemon that may refuse to start; then gives what it said.
    pub async fn try_start(&self) -> Result<Daemon, String> {
        let mut command = self.command(&["--listen", "127.0.0.1:0"]);
        if self.demo {
            command.arg("--demo");
        }
        for (variable, path) in &self.environment {
            command.env(variable, path);
        }
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        Daemon::spawn(&mut command, self.log()).await
    }

    /// Forgets what [`set`](Self::set) was told.
    pub fn unset_all(&mut self) {
        self.environment.clear();
    }

    /// What [`set`](Self::set) was told.
    #[cfg(test)]
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&String, &PathBuf)> {
        self.environment.iter().map(|(variable, path)| (variable, path))
    }

    fn config(&self) -> PathBuf {
        self.path().join("chatd.toml")
    }

    fn log(&self) -> PathBuf {
        self.path().join("chatd.log")
    }
}

impl Daemon {
    async fn spawn(command: &mut Command, log: PathBuf) -> Result<Self, String> {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = async {
            while let Some(line) = stdout.next_line().await.unwrap() {
                if let Some(address) = line.strip_prefix("listening on ") {
                    return Some(address.parse().unwrap());
                }
            }
            None
        };
        let Some(address) = within("chatd to listen", listening).await else {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let last: Vec<_> = said.lines().rev().take(LAST_WORDS).collect();
            let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
            let status = child.wait().await;
            return Err(format!("chatd ended before it listened: {status:?}\n{last}"));
        };
        Ok(Self { child, address, log, _stdout: stdout })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    /// Asks it to end, by SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Has it killed, by SIGKILL, without waiting for it.
    pub fn begin_kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> ExitStatus {
        within("chatd to end", self.child.wait()).await.unwrap()
    }

    /// Asks it to end and checks that it ends well.
    pub async fn stop(self) {
        self.terminate();
        let status = self.ended().await;
        assert!(status.success(), "{status:?}");
    }

    /// Pulls the plug: SIGKILL.
    pub async fn kill(mut self) {
        within("chatd to be killed", self.child.kill()).await.unwrap();
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it logged so far.
    #[must_use]
    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

#[allow(clippy::print_stderr, reason = "the log of a daemon whose test has failed")]
impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- log of chatd ----\n{}", self.logged());
        }
    }
}

/// A binary of this workspace, by its package's name, built once by the process that first needs it.
///
/// It stands next to this test's own. Cargo hands the path of a binary only to tests of its own package, and a
/// binary left from before would test old code, hence the build; it costs little when there is nothing to do.
#[must_use]
pub fn binary(package: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap();
    built.entry(package.to_owned()).or_insert_with(|| build(package)).clone()
}

fn build(package: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = std::process::Command::new(cargo);
    build.args(["build", "--quiet", "--package", package, "--target-dir"]);
    build.arg(profile.parent().unwrap());
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    let output = build.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    profile.join(package)
}

/// So many lines of the log say why a daemon did not start.
const LAST_WORDS: usize = 6;
const CHEAP_PASSWORDS: &str = "[passwords]\nmemory = \"8 KiB\"\npasses = 1\n";
