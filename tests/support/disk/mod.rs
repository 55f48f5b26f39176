//! [`Disk`]: what the disk may hold after a loss of power, worked out from what was recorded.
//!
//! The model:
//! - What was written to a file before an `fsync` or `fdatasync` of it began that returned without an error is there.
//! - Each later write is dropped, kept, or torn: of its 512-byte sectors each is kept or not. They are independent of
//!   one another.
//! - A length that was not synced, grown by a write or set by a truncate, may be missing by itself; what lies within
//!   the length and was not kept reads as zeros.
//! - A name (made, renamed, removed) lasts once its directory was synced. A new file's name lasts, too, once the file
//!   was synced, which POSIX does not promise and ext4, xfs and btrfs do. Of the other changes of names those up to a
//!   random one are kept, in order.
//! - SQLite's `-shm` file, which is mapped and rebuilt from nothing at the first open, is not kept. Any other mapping
//!   for writing is a failure, for what is stored there is not seen.

mod content;
mod image;
mod names;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use crate::recorder::{Event, Record};
use content::{Change, Content};
pub use image::{Image, ImageFile, Shelf};
use names::{Names, Naming, Node};

/// A directory tree as far as it was recorded from its beginning, when it was empty.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    names: Names,
    files: Vec<File>,
    /// The newest file that had this inode.
    by_inode: HashMap<u64, usize>,
    /// The syncs under way, by thread: they cover what happened before this.
    syncs: HashMap<u32, u64>,
    /// Numbers what happens.
    clock: u64,
}

/// What survives of what was not synced.
#[derive(Debug, Clone, Copy)]
pub struct Mood {
    /// How likely a write or a length is kept whole.
    pub keep: f64,
    /// How likely a write that is not kept whole is torn.
    pub tear: f64,
}

#[derive(Debug)]
struct File {
    inode: u64,
    durable: Content,
    pending: Vec<(u64, Change)>,
}

impl Disk {
    /// An empty directory.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            names: Names::default(),
            files: Vec::new(),
            by_inode: HashMap::new(),
            syncs: HashMap::new(),
            clock: 0,
        }
    }

    /// One thing more has happened.
    ///
    /// # Panics
    /// When it is one that the model has no rule for.
    pub fn apply(&mut self, record: &Record) {
        self.clock += 1;
        match &record.event {
            Event::Write { inode, offset, data, path } => {
                let change = Change::Write { offset: to_usize(*offset), data: data.clone() };
                self.change(*inode, path, change);
            }
            Event::Truncate { inode, path, size } => {
                self.change(*inode, path, Change::Resize(to_usize(*size)));
            }
            Event::SyncBegin { .. } => {
                self.syncs.insert(record.thread, self.clock);
            }
            Event::SyncEnd { inode, path, error } => {
                let covers = self.syncs.remove(&record.thread).expect("a sync that began");
                if *error == 0 {
                    self.synced(*inode, path, covers);
                }
            }
            Event::Create { inode, path } => self.created(*inode, path),
            Event::MakeDirectory { path } => {
                self.rename(Naming::Make(path.clone(), Node::Directory));
            }
            Event::Link { path, to } => {
                let node = self.names.get(path).expect("a name that was there");
                self.rename(Naming::Make(to.clone(), node));
            }
            Event::Unlink { path } => self.rename(Naming::Remove(path.clone())),
            Event::Rename { path, to } => self.rename(Naming::Rename(path.clone(), to.clone())),
            Event::Map { path } => assert!(is_shared_memory(path), "{} is mapped", path.display()),
            Event::Allocate { path, .. } => panic!("room was made in {}", path.display()),
            Event::Send { .. } | Event::Sent { .. } => {}
        }
    }

    /// The process is gone, and left these files. If it was killed, it may have done something that is not recorded.
    ///
    /// # Panics
    /// When there are other files than were recorded.
    pub fn process_ended(&mut self, left: &BTreeMap<PathBuf, Vec<u8>>) {
        self.clock += 1;
        self.syncs.clear();
        let named: Vec<_> =
            self.named_files().map(|(path, file)| (path.to_owned(), file)).collect();
        assert!(named.iter().map(|(path, _)| path).eq(left.keys()), "{named:?}");
        for (path, file) in named {
            self.files[file].become_what_was_left(self.clock, &left[&path]);
        }
    }

    /// Each file with all that was done to it, for comparison with the real one.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let named = self.named_files();
        named.map(|(path, file)| (path.to_owned(), self.files[file].whole())).collect()
    }

    /// What is left after a loss of power now.
    pub fn after_power_loss(&self, mood: Mood, random: &mut Rng) -> Image {
        let most = self.names.pending();
        let kept = match mood.keep {
            0.0 => 0,
            1.0 => most,
            _ => random.usize(..=most),
        };
        let mut image = Image::default();
        for (path, node) in self.names.with_pending(kept) {
            let path = path.strip_prefix(&self.root).expect("a name below the root").to_owned();
            if !image.has_parent_of(&path) || is_shared_memory(&path) {
                continue;
            }
            match node {
                Node::Directory => image.directories.push(path),
                Node::File(file) => {
                    let File { inode, .. } = self.files[file];
                    let content = self.files[file].after_power_loss(mood, random);
                    image.files.push(ImageFile { path, inode, content });
                }
            }
        }
        image
    }

    fn named_files(&self) -> impl Iterator<Item = (&Path, usize)> {
        self.names.files().filter(|(path, _)| !is_shared_memory(path))
    }

    fn change(&mut self, inode: u64, path: &Path, change: Change) {
        let file = self.by_inode.get(&inode);
        let file = *file.unwrap_or_else(|| panic!("{} was there before", path.display()));
        self.files[file].pending.push((self.clock, change));
    }

    fn created(&mut self, inode: u64, path: &Path) {
        let known = self.by_inode.get(&inode).map(|file| Node::File(*file));
        // Two threads that open a new file at the same time may both seem to make it.
        if known.is_some() && self.names.get(path) == known {
            return;
        }
        let number = self.files.len();
        self.files.push(File { inode, durable: Content::default(), pending: Vec::new() });
        self.by_inode.insert(inode, number);
        self.rename(Naming::Make(path.to_owned(), Node::File(number)));
    }

    fn rename(&mut self, naming: Naming) {
        self.names.change(self.clock, naming);
    }

    fn synced(&mut self, inode: u64, path: &Path, covers: u64) {
        if path == self.root || self.names.get(path) == Some(Node::Directory) {
            self.names.directory_synced(path, covers);
        } else {
            let file = self.by_inode[&inode];
            self.files[file].synced(covers);
            self.names.file_synced(file, covers);
        }
    }
}

impl File {
    fn synced(&mut self, covers: u64) {
        let synced = self.pending.partition_point(|(at, _)| *at < covers);
        for (_, change) in self.pending.drain(..synced) {
            self.durable.apply(&change);
        }
    }

    fn whole(&self) -> Vec<u8> {
        let mut content = self.durable.clone();
        for (_, change) in &self.pending {
            content.apply(change);
        }
        content.into_bytes()
    }

    fn become_what_was_left(&mut self, at: u64, left: &[u8]) {
        let now = self.whole();
        if now.len() != left.len() {
            self.pending.push((at, Change::Resize(left.len())));
        }
        let is_other = |offset: &usize| now.get(*offset) != left.get(*offset);
        let (first, last) = ((0..left.len()).find(is_other), (0..left.len()).rfind(is_other));
        if let (Some(offset), Some(last)) = (first, last) {
            self.pending.push((at, Change::Write { offset, data: left[offset..=last].to_vec() }));
        }
    }

    fn after_power_loss(&self, mood: Mood, random: &mut Rng) -> Vec<u8> {
        let mut content = self.durable.clone();
        for (_, change) in &self.pending {
            content.apply_in_part(change, mood, random);
        }
        content.into_bytes()
    }
}

impl Mood {
    /// Only what was synced.
    pub const NOTHING: Self = Self { keep: 0.0, tear: 0.0 };

    /// One of the kinds worth trying: nothing kept, all kept, all but a little, everything torn, anything.
    pub fn any(random: &mut Rng) -> Self {
        let (keep, tear) = match random.u8(..5) {
            0 => (0.0, 0.0),
            1 => (1.0, 0.0),
            2 => (0.95, 0.5),
            3 => (0.0, 1.0),
            _ => (random.f64(), random.f64()),
        };
        Self { keep, tear }
    }
}

/// The files below a directory with their contents, as [`Disk::contents`] gives them.
///
/// # Panics
/// When one cannot be read.
#[must_use]
pub fn files_below(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            files.append(&mut files_below(&path));
        } else if kind.is_file() && !is_shared_memory(&path) {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

fn is_shared_memory(path: &Path) -> bool {
    path.to_string_lossy().ends_with("-shm")
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

#[cfg(test)]
mod tests;
