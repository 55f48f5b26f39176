//! Runs a daemon under `preload/recorder.c`, reads what it recorded, and makes its disk fail on request.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::daemon::Site;

/// The recorder of one site.
#[derive(Debug)]
pub struct Recorder {
    directory: PathBuf,
    faults: PathBuf,
    logs: usize,
}

/// How the disk can fail. The fault lasts until [`Recorder::heal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no room: every write to a file is refused.
    Full,
    /// Nothing can be made durable: every sync is refused.
    Sync,
}

/// One thing the daemon did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What.
    pub event: Event,
    /// The thread that did it.
    pub thread: u32,
}

/// What the daemon did to a file or sent to a peer. Files are known by their inode; `path` is where it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say it")]
pub enum Event {
    /// A write to a file has returned.
    Write { inode: u64, path: PathBuf, offset: u64, data: Vec<u8> },
    /// A sync of a file or directory begins.
    SyncBegin { inode: u64, path: PathBuf },
    /// It has returned; `error` is 0 when it worked.
    SyncEnd { inode: u64, path: PathBuf, error: i32 },
    /// A send to a peer begins.
    Send { port: u16, data: Vec<u8> },
    /// It has returned, having taken so many bytes.
    Sent { port: u16, taken: u64 },
    /// A file has another size.
    Truncate { inode: u64, path: PathBuf, size: u64 },
    /// A file has got room.
    Allocate { inode: u64, path: PathBuf, offset: u64, length: u64 },
    /// A file was made.
    Create { inode: u64, path: PathBuf },
    /// A file was removed.
    Unlink { path: PathBuf },
    /// A file was renamed.
    Rename { path: PathBuf, to: PathBuf },
    /// A directory was made.
    MakeDirectory { path: PathBuf },
    /// A file got another name.
    Link { path: PathBuf, to: PathBuf },
    /// A file was mapped for writing: what is stored there is not seen.
    Map { path: PathBuf },
}

impl Recorder {
    /// Has the daemons that are started from this site recorded.
    pub fn install(site: &mut Site) -> Self {
        let root = fs::canonicalize(site.path()).unwrap();
        let mut recorder = Self { faults: root.join("faults"), directory: root, logs: 0 };
        fs::create_dir(&recorder.faults).unwrap();
        site.set("LD_PRELOAD", &library());
        site.set("CHAT_RECORD_ROOT", &fs::canonicalize(site.disk()).unwrap());
        site.set("CHAT_RECORD_FAULTS", &recorder.faults);
        recorder.next_log(site);
        recorder
    }

    /// Daemons started from now on are recorded in a log of their own. The last record of one that was killed may not
    /// be whole.
    pub fn next_log(&mut self, site: &mut Site) {
        site.set("CHAT_RECORD_LOG", &log(&self.directory, self.logs));
        self.logs += 1;
    }

    /// Everything recorded so far, in order.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        (0..self.logs).flat_map(|number| read_log(&self.directory, number)).collect()
    }

    /// What was recorded since [`next_log`](Self::next_log).
    #[must_use]
    pub fn last_log(&self) -> Vec<Record> {
        read_log(&self.directory, self.logs - 1)
    }

    /// From now on the disk fails.
    pub fn fail(&self, fault: Fault) {
        fs::write(self.flag(fault), "").unwrap();
    }

    /// The disk works again.
    pub fn heal(&self, fault: Fault) {
        fs::remove_file(self.flag(fault)).unwrap();
    }

    fn flag(&self, fault: Fault) -> PathBuf {
        self.faults.join(match fault {
            Fault::Full => "full",
            Fault::Sync => "sync",
        })
    }
}

/// What one log of a recorded site holds.
///
/// # Panics
/// When there is no such log.
#[must_use]
pub fn read_log(site: &Path, number: usize) -> Vec<Record> {
    parse(&fs::read(log(site, number)).unwrap())
}

fn log(site: &Path, number: usize) -> PathBuf {
    site.join(format!("recorded.{number}"))
}

/// The shared library, compiled when there is none for this source yet; once in a process, whose threads would otherwise
/// compile it into the same file.
fn library() -> PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(find_or_compile).clone()
}

fn find_or_compile() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("preload/recorder.c");
    let mut hasher = DefaultHasher::new();
    fs::read(&source).unwrap().hash(&mut hasher);
    let directory = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let library = directory.join(format!("recorder-{:016x}.so", hasher.finish()));
    if !library.exists() {
        compile(&source, &library);
    }
    library
}

/// Other test programs may compile at the same time, so the result is put in place by a rename.
fn compile(source: &Path, library: &Path) {
    let fresh = library.with_extension(format!("{}.tmp", std::process::id()));
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o"]).arg(&fresh).arg(source);
    let output = cc.output().expect("a C compiler, as for SQLite");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::rename(&fresh, library).unwrap();
}

/// Cuts the log into records. A last one that is not whole is left out: the daemon was killed as it wrote it.
fn parse(log: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut rest = log;
    while rest.len() >= HEADER_BYTES {
        let length = usize::try_from(u32_at(rest, 0)).unwrap();
        if rest.len() < length {
            break;
        }
        records.push(record(&rest[..length]));
        rest = &rest[length..];
    }
    records
}

fn record(bytes: &[u8]) -> Record {
    let (kind, path_length) = (u16_at(bytes, 4), usize::from(u16_at(bytes, 6)));
    let (inode, offset, result) = (u64_at(bytes, 16), u64_at(bytes, 24), u64_at(bytes, 32));
    let error = u32_at(bytes, 12).cast_signed();
    let (path, data) = bytes[HEADER_BYTES..].split_at(path_length);
    let as_path = |bytes: &[u8]| PathBuf::from(std::str::from_utf8(bytes).unwrap());
    let (path, port) = (as_path(path), u16::try_from(offset & 0xffff).unwrap());
    let event = match kind {
        1 => Event::Write { inode, path, offset, data: data.to_vec() },
        2 => Event::SyncBegin { inode, path },
        3 => Event::SyncEnd { inode, path, error },
        4 => Event::Send { port, data: data.to_vec() },
        5 => Event::Sent { port, taken: if error == 0 { result } else { 0 } },
        6 => Event::Truncate { inode, path, size: offset },
        7 => Event::Allocate { inode, path, offset, length: result },
        8 => Event::Create { inode, path },
        9 => Event::Unlink { path },
        10 => Event::Rename { path, to: as_path(data) },
        11 => Event::MakeDirectory { path },
        12 => Event::Link { path, to: as_path(data) },
        13 => Event::Map { path },
        _ => panic!("a record of unknown kind {kind}"),
    };
    Record { event, thread: u32_at(bytes, 8) }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// `struct header` in `preload/recorder.c`.
const HEADER_BYTES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a shell that writes, renames and removes files under the recorder.
    fn recorded(script: &str, fault: Option<Fault>) -> (Vec<Event>, bool) {
        let mut site = Site::new("");
        let recorder = Recorder::install(&mut site);
        fs::create_dir(site.data()).unwrap();
        if let Some(fault) = fault {
            recorder.fail(fault);
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).current_dir(site.data()).envs(site.environment());
        let worked = shell.output().unwrap().status.success();
        let events = recorder.records().into_iter().map(|record| record.event).collect();
        (events, worked)
    }

    #[test]
    fn records_files_in_order() {
        let (events, worked) = recorded(
            "dd if=/dev/zero of=a bs=3 count=1 conv=fsync && mv a b && : > b && rm b",
            None,
        );
        assert!(worked, "{events:?}");
        let kinds: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
        let at = |start: &str| kinds.iter().position(|k| k.starts_with(start)).expect(start);
        let order =
            ["Create", "Write", "SyncBegin", "SyncEnd", "Rename", "Truncate", "Unlink"].map(at);
        assert!(order.is_sorted(), "{kinds:?}");
        assert!(
            matches!(&events[order[1]], Event::Write { offset: 0, data, .. } if data == &[0; 3])
        );
        assert!(
            matches!(&events[order[4]], Event::Rename { path, to } if path.ends_with("a") && to.ends_with("b"))
        );
    }

    #[test]
    fn a_full_disk_refuses_writes_and_a_failing_one_syncs() {
        let script = "dd if=/dev/zero of=a bs=3 count=1 conv=fsync";
        let (events, worked) = recorded(script, Some(Fault::Full));
        assert!(!worked && !events.iter().any(|e| matches!(e, Event::Write { .. })), "{events:?}");
        let (events, worked) = recorded(script, Some(Fault::Sync));
        assert!(
            !worked && events.iter().any(|e| matches!(e, Event::SyncEnd { error: 5, .. })),
            "{events:?}"
        );
    }
}
