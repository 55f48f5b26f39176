//! A disk that fails where a test says so, and what it would hold after a loss of power.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper of tests")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no room: half of what is written is.
    NoSpace,
    /// A sync fails, and what it was to make durable is never written, however often it is synced again.
    Sync,
    /// The same, and there is said to be no room.
    SyncNoSpace,
}

/// Has the n-th operation from now that can fail like this do so, and those after it until [`heal`] if it `lasts`.
pub(crate) fn fail_at(n: u64, fault: Fault, lasts: bool) {
    DISK.with_borrow_mut(|disk| {
        (disk.left, disk.fault, disk.lasts, disk.struck) = (n, Some(fault), lasts, 0);
    });
}

/// How often it struck.
pub(crate) fn struck() -> u64 {
    DISK.with_borrow(|disk| disk.struck)
}

pub(crate) fn heal() {
    DISK.with_borrow_mut(|disk| disk.fault = None);
}

/// Leaves of the files in a directory what was synced. All of them were made while somebody looked. Of names that were made and
/// taken away since the directory was synced the disk has the first half.
pub(crate) fn lose_power(directory: &Path) {
    let removed = DISK.with_borrow_mut(|disk| std::mem::take(&mut disk.removed));
    for (path, durable) in removed.into_iter().filter(|(path, _)| !path.exists()) {
        let back = identity(&File::create(path).unwrap());
        let kept = Kept { durable, changes: Vec::new() };
        DISK.with_borrow_mut(|disk| drop(disk.files.insert(back, kept)));
    }
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let file = identity(&File::open(&path).unwrap());
        let left = DISK.with_borrow(|disk| disk.files[&file].durable.clone());
        fs::write(path, left).unwrap();
    }
}

#[derive(Debug, Default)]
struct Disk {
    fault: Option<Fault>,
    left: u64,
    lasts: bool,
    struck: u64,
    files: HashMap<u64, Kept>,
    /// Paths of files whose removal is not durable, and what the disk has of them.
    removed: Vec<(PathBuf, Vec<u8>)>,
}

/// What is on the disk of a file, and what is not yet.
#[derive(Debug, Default)]
struct Kept {
    durable: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

impl Disk {
    fn check(&mut self, strikes: impl Fn(Fault) -> bool) -> io::Result<()> {
        let Some(fault) = self.fault.filter(|fault| strikes(*fault)) else { return Ok(()) };
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            return Ok(());
        }
        self.struck += 1;
        self.fault = Some(fault).filter(|_| self.lasts);
        Err(match fault {
            Fault::NoSpace | Fault::SyncNoSpace => io::ErrorKind::StorageFull.into(),
            Fault::Sync => io::Error::other("a fault"),
        })
    }
}

impl Kept {
    fn sync(&mut self) {
        for change in self.changes.drain(..) {
            match change {
                Change::Write(offset, bytes) => {
                    let end = offset + bytes.len();
                    if self.durable.len() < end {
                        self.durable.resize(end, 0);
                    }
                    self.durable[offset..end].copy_from_slice(&bytes);
                }
                Change::Cut(length) => self.durable.resize(length, 0),
            }
        }
    }
}

pub(super) fn before_change() -> io::Result<()> {
    DISK.with_borrow_mut(|disk| disk.check(|fault| fault == Fault::NoSpace))
}

pub(super) fn created(file: &File) {
    DISK.with_borrow_mut(|disk| drop(disk.files.insert(identity(file), Kept::default())));
}

pub(super) fn removed(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    DISK.with_borrow_mut(|disk| {
        if let Some(kept) = disk.files.remove(&identity(&file)) {
            disk.removed.push((path.to_path_buf(), kept.durable));
        }
    });
}

pub(super) fn directory_synced() {
    DISK.with_borrow_mut(|disk| disk.removed.clear());
}

pub(super) fn written(file: &File, bytes: &[u8], offset: u64) {
    note(file, Change::Write(usize::try_from(offset).unwrap(), bytes.to_vec()));
}

pub(super) fn cut(file: &File, length: u64) {
    note(file, Change::Cut(usize::try_from(length).unwrap()));
}

fn note(file: &File, change: Change) {
    DISK.with_borrow_mut(|disk| {
        if let Some(kept) = disk.files.get_mut(&identity(file)) {
            kept.changes.push(change);
        }
    });
}

pub(super) fn synced(file: &File) -> io::Result<()> {
    DISK.with_borrow_mut(|disk| {
        let checked = disk.check(|fault| fault != Fault::NoSpace);
        if let Some(kept) = disk.files.get_mut(&identity(file)) {
            match checked {
                Ok(()) => kept.sync(),
                // Linux takes what it could not write for written. Lengths are of another kind, and come later.
                Err(_) => kept.changes.retain(|change| matches!(change, Change::Cut(_))),
            }
        }
        checked
    })
}

fn identity(file: &File) -> u64 {
    file.metadata().unwrap().ino()
}

thread_local! {
    static DISK: RefCell<Disk> = RefCell::default();
}
