//! [`Image`]: a directory tree that is put in place of another.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Directories and files, by paths below the root.
#[derive(Debug, Default)]
pub struct Image {
    /// Each after the one it is in.
    pub directories: Vec<PathBuf>,
    /// Each in one of them.
    pub files: Vec<ImageFile>,
}

/// A file of an [`Image`].
#[derive(Debug)]
pub struct ImageFile {
    /// Where it is.
    pub path: PathBuf,
    /// Which file it was when it was recorded.
    pub inode: u64,
    /// What it holds.
    pub content: Vec<u8>,
}

/// Keeps files, so that an [`Image`] can have the very same ones: the daemon knows a copy from the original by its
/// inode.
#[derive(Debug)]
pub struct Shelf(PathBuf);

impl Image {
    pub(super) fn has_parent_of(&self, path: &Path) -> bool {
        let parent = path.parent().expect("a path below the root");
        parent == Path::new("") || self.directories.iter().any(|directory| directory == parent)
    }

    /// Makes `root` hold this and nothing else.
    ///
    /// # Panics
    /// When the file system refuses.
    pub fn lay_out(&self, root: &Path, shelf: &Shelf) {
        fs::remove_dir_all(root).unwrap();
        fs::create_dir(root).unwrap();
        for directory in &self.directories {
            fs::create_dir(root.join(directory)).unwrap();
        }
        for file in &self.files {
            let (path, shelved) = (root.join(&file.path), shelf.0.join(file.inode.to_string()));
            if shelved.exists() {
                fs::hard_link(shelved, &path).unwrap();
            }
            fs::write(path, &file.content).unwrap();
        }
    }
}

impl Shelf {
    /// The shelf in this directory. A new one takes the files that are below `root` now.
    ///
    /// # Panics
    /// When the file system refuses.
    #[must_use]
    pub fn new(directory: PathBuf, root: &Path) -> Self {
        if !directory.exists() {
            fs::create_dir(&directory).unwrap();
            for (path, _) in super::files_below(root) {
                let inode = fs::metadata(&path).unwrap().ino();
                fs::hard_link(path, directory.join(inode.to_string())).unwrap();
            }
        }
        Self(directory)
    }
}
