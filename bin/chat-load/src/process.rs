//! What the system knows of a process: the CPU time, memory and files it uses, and how many files may be open here.

use std::fs;
use std::io::{self, ErrorKind};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::time::Instant;

use crate::outcome::ServerSample;

/// A running process, watched from outside through `/proc`.
///
/// One look costs a few system calls, and for the PSS a walk of the process's page tables: microseconds for a small
/// process, some milliseconds for one of gigabytes. Meant to be done about once a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pid: u32,
    /// Tells it from a later process with the same number.
    started_ticks: u64,
    is_readable: bool,
}

/// Why a process cannot be watched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    #[error("--pid needs /proc, which only Linux has (or it is not mounted here): leave --pid out")]
    NoProc,
    #[error(
        "no process {0} is running: give --pid the server's process, such as $(pidof -s chatd)"
    )]
    NotRunning(u32),
    #[error(
        "process {0} is a thread of the kernel, which has no memory of its own to report: \
         give --pid the server's process, such as $(pidof -s chatd)"
    )]
    KernelThread(u32),
    #[error("the server's process {0} ended during the run")]
    Ended(u32),
    #[error("cannot read /proc/{pid}/{file}: {source}")]
    Read { pid: u32, file: &'static str, source: io::Error },
    #[error("/proc/{pid}/{file} has an unexpected form")]
    Form { pid: u32, file: &'static str },
}

impl Process {
    /// Finds a process that runs now.
    pub(crate) fn find(pid: u32) -> Result<Self, ProcessError> {
        if !fs::exists("/proc/self/stat").unwrap_or(false) {
            return Err(ProcessError::NoProc);
        }
        let stat = match Stat::read(pid) {
            Err(ProcessError::Ended(pid)) => return Err(ProcessError::NotRunning(pid)),
            stat => stat?,
        };
        if stat.is_kernel_thread {
            return Err(ProcessError::KernelThread(pid));
        }
        let is_readable = fs::read(format!("/proc/{pid}/io")).is_ok();
        Ok(Self { pid, started_ticks: stat.started_ticks, is_readable })
    }

    /// This program.
    pub(crate) fn own() -> Result<Self, ProcessError> {
        Self::find(std::process::id())
    }

    /// What it has used and holds now. Memory by PSS, bytes written and open files are shown only to the same user
    /// and to privileged ones.
    pub(crate) fn sample(&self) -> Result<ServerSample, ProcessError> {
        let stat = self.stat()?;
        let shown = |value: fn(&Self) -> Result<u64, ProcessError>| {
            self.is_readable.then(|| value(self)).transpose()
        };
        Ok(ServerSample {
            at: Duration::ZERO,
            cpu: stat.cpu,
            rss_bytes: Some(stat.rss_bytes),
            pss_bytes: shown(|process| Ok(process.field("smaps_rollup", "Pss:")? * 1024))?,
            written_bytes: shown(|process| process.field("io", "write_bytes:"))?,
            open_files: shown(Self::open_files)?,
        })
    }

    /// User and system time since it began: the cheap part of a sample.
    pub(crate) fn cpu(&self) -> Result<Duration, ProcessError> {
        self.stat().map(|stat| stat.cpu)
    }

    fn stat(&self) -> Result<Stat, ProcessError> {
        let stat = Stat::read(self.pid)?;
        if stat.started_ticks != self.started_ticks {
            return Err(ProcessError::Ended(self.pid));
        }
        Ok(stat)
    }

    /// The number behind a name in one of its files. A process that is just ending has no memory left to list.
    fn field(&self, file: &'static str, name: &str) -> Result<u64, ProcessError> {
        let text = read(self.pid, file)?;
        match number_after(&text, name) {
            Some(number) => Ok(number),
            None if text.is_empty() => Err(ProcessError::Ended(self.pid)),
            None => Err(ProcessError::Form { pid: self.pid, file }),
        }
    }

    /// Linux gives their number as the size of the folder since 6.2; before, they are counted.
    fn open_files(&self) -> Result<u64, ProcessError> {
        let path = format!("/proc/{}/fd", self.pid);
        let failed = |error| failed(self.pid, "fd", error);
        match fs::metadata(&path).map_err(failed)?.len() {
            0 => fs::read_dir(&path)
                .map(|files| u64::try_from(files.count()).unwrap_or(u64::MAX))
                .map_err(failed),
            count => Ok(count),
        }
    }
}

/// Looks at a process every second from a thread of its own, so that no client waits for it.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Watched>,
}

/// What was seen of a process.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// At the start, every second, and at the end.
    pub(crate) samples: Vec<ServerSample>,
    /// Why there are no more.
    pub(crate) trouble: Option<ProcessError>,
}

impl Watch {
    /// Takes the first sample at once.
    pub(crate) fn start(process: Process) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let began = Instant::now();
        let thread = thread::Builder::new().name("watch".to_owned());
        let thread = thread.spawn(move || watch(process, began, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Takes the last sample.
    pub(crate) fn finish(self) -> Watched {
        // It has ended already if the process did.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}

fn watch(process: Process, began: Instant, stopped: &mpsc::Receiver<()>) -> Watched {
    let mut watched = Watched::default();
    let mut is_last = false;
    for tick in 1.. {
        let at = began.elapsed();
        match process.sample() {
            Ok(sample) => watched.samples.push(ServerSample { at, ..sample }),
            Err(trouble) => return Watched { trouble: Some(trouble), ..watched },
        }
        if is_last {
            break;
        }
        let wait = (INTERVAL * tick).saturating_sub(began.elapsed());
        is_last = stopped.recv_timeout(wait) != Err(mpsc::RecvTimeoutError::Timeout);
    }
    watched
}

/// What `/proc/PID/stat` tells to anybody.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu: Duration,
    started_ticks: u64,
    rss_bytes: u64,
    is_kernel_thread: bool,
}

impl Stat {
    /// A process that ended and waits for its parent to notice counts as ended.
    fn read(pid: u32) -> Result<Self, ProcessError> {
        let stat = read(pid, "stat")?;
        match Self::parse(&stat) {
            Some((b'Z' | b'X', _)) => Err(ProcessError::Ended(pid)),
            Some((_, stat)) => Ok(stat),
            None => Err(ProcessError::Form { pid, file: "stat" }),
        }
    }

    /// The state and the rest. `proc_pid_stat(5)`: the second field is the name in parentheses and may hold anything;
    /// `state` is field 3, `flags` 9, `utime` and `stime` 14 and 15, `starttime` 22, `rss` 24 (in pages).
    fn parse(stat: &str) -> Option<(u8, Self)> {
        let (_, after_name) = stat.rsplit_once(") ")?;
        let fields: Vec<_> = after_name.split(' ').collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let state = *fields.first()?.as_bytes().first()?;
        let ticks = u32::try_from(number(14)?.checked_add(number(15)?)?).ok()?;
        let tick =
            Duration::from_secs(1) / u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
        let page = u64::try_from(rustix::param::page_size()).ok()?;
        let stat = Self {
            cpu: tick.checked_mul(ticks)?,
            started_ticks: number(22)?,
            rss_bytes: number(24)?.checked_mul(page)?,
            is_kernel_thread: number(9)? & PF_KTHREAD != 0,
        };
        Some((state, stat))
    }
}

/// The number behind a name at the start of a line.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn read(pid: u32, file: &'static str) -> Result<String, ProcessError> {
    // The name in `stat` may be any bytes.
    fs::read(format!("/proc/{pid}/{file}"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|error| failed(pid, file, error))
}

fn failed(pid: u32, file: &'static str, source: io::Error) -> ProcessError {
    let is_gone = source.kind() == ErrorKind::NotFound
        || source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error());
    if is_gone { ProcessError::Ended(pid) } else { ProcessError::Read { pid, file, source } }
}

/// Too few files may be open for so many clients.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} {needed} open files and {allowed} are allowed here: \
     run `ulimit -n {needed}` first, or use fewer clients",
    if *.clients == 1 { "1 client needs".to_owned() } else { format!("{clients} clients need") }
)]
pub(crate) struct OpenFilesError {
    clients: usize,
    needed: u64,
    allowed: u64,
}

/// Makes room for one socket a client, up to the hard limit.
pub(crate) fn allow_open_files(clients: usize) -> Result<(), OpenFilesError> {
    let needed = u64::try_from(clients).unwrap_or(u64::MAX).saturating_add(SPARE_FILES);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    limit.current = Some(needed);
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    if needed > allowed || setrlimit(Resource::Nofile, limit).is_err() {
        return Err(OpenFilesError { clients, needed, allowed });
    }
    Ok(())
}

/// `include/linux/sched.h`.
const PF_KTHREAD: u64 = 0x0020_0000;
/// Between two looks at a process.
const INTERVAL: Duration = Duration::from_secs(1);
/// Standard streams, the runtime's own descriptors, and some to spare.
const SPARE_FILES: u64 = 32;

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::process::{Command, Stdio};

    use super::*;

    const STAT: &str =
        "7 (a) b) c) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 3 0 100 9000 5 1";

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        let (state, stat) = Stat::parse(STAT).unwrap();
        let ticks = f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).unwrap());
        assert_eq!(state, b'S');
        assert!((stat.cpu.as_secs_f64() * ticks - 200.0).abs() < 1e-6);
        assert_eq!(stat.started_ticks, 100);
        assert_eq!(stat.rss_bytes, 5 * u64::try_from(rustix::param::page_size()).unwrap());
    }

    #[test]
    fn a_thread_of_the_kernel_is_told_by_its_flags() {
        let kthreadd = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 24 0 0 18446744073709551615";
        assert!(Stat::parse(kthreadd).unwrap().1.is_kernel_thread);
        assert!(!Stat::parse(STAT).unwrap().1.is_kernel_thread);
    }

    #[test]
    fn this_process_can_be_watched() {
        let process = Process::own().unwrap();
        let before = process.sample().unwrap();
        let held = black_box(vec![1_u8; 64 << 20]);
        let after = process.sample().unwrap();
        drop(held);
        assert!(
            after.rss_bytes.unwrap() >= before.rss_bytes.unwrap() + (60 << 20),
            "{before:?} {after:?}"
        );
        assert!(after.pss_bytes.unwrap() >= before.pss_bytes.unwrap() + (60 << 20));
        assert!(after.open_files.unwrap() > 2, "{after:?}");
        assert!(after.written_bytes >= before.written_bytes, "{before:?} {after:?}");
    }

    #[test]
    fn a_process_that_ends_is_told_from_one_that_never_was() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = Process::find(child.id()).unwrap();
        assert!(process.sample().is_ok());
        child.kill().unwrap();
        // Whether it still waits to be noticed or not.
        while !matches!(process.sample(), Err(ProcessError::Ended(_))) {
            thread::yield_now();
        }
        child.wait().unwrap();
        assert!(matches!(process.sample(), Err(ProcessError::Ended(pid)) if pid == child.id()));
        assert!(matches!(Process::find(u32::MAX), Err(ProcessError::NotRunning(u32::MAX))));
    }

    #[test]
    fn a_watch_sees_the_start_and_the_end() {
        let watch = Watch::start(Process::own().unwrap()).unwrap();
        let watched = watch.finish();
        assert!(watched.trouble.is_none());
        assert_eq!(watched.samples.len(), 2);
        assert!(watched.samples[0].at <= watched.samples[1].at);
    }

    #[test]
    fn a_watch_tells_of_a_process_that_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = Process::find(child.id()).unwrap();
        let watch = Watch::start(process).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(watch.finish().trouble, Some(ProcessError::Ended(_))));
    }

    #[test]
    fn another_process_with_its_number_is_not_it() {
        let own = Process::own().unwrap();
        let earlier = Process { started_ticks: own.started_ticks + 1, ..own };
        assert!(matches!(earlier.sample(), Err(ProcessError::Ended(_))));
    }

    #[test]
    fn too_many_open_files_are_refused_with_what_to_run() {
        let error = allow_open_files(1_000_000_000).unwrap_err().to_string();
        assert!(error.starts_with("1000000000 clients need 1000000032 open files"), "{error}");
        assert!(error.contains("run `ulimit -n 1000000032` first"), "{error}");
        let one = OpenFilesError { clients: 1, needed: 33, allowed: 20 }.to_string();
        assert!(one.starts_with("1 client needs 33 open files and 20 are allowed"), "{one}");
    }

    #[test]
    fn numbers_are_found_by_name() {
        let text = "Pss_Dirty: 3 kB\nPss:   17 kB\n";
        assert_eq!(number_after(text, "Pss:"), Some(17));
        assert_eq!(number_after(text, "Rss:"), None);
    }
}
