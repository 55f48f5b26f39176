//! [`Names`]: which names there are, and which of them last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The names of a directory tree, by absolute path.
#[derive(Debug, Default)]
pub(super) struct Names {
    current: Tree,
    durable: Tree,
    pending: Vec<(u64, Naming)>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    /// By its number.
    File(usize),
}

/// A change of names.
#[derive(Debug)]
pub(super) enum Naming {
    Make(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

pub(super) type Tree = BTreeMap<PathBuf, Node>;

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<Node> {
        self.current.get(path).copied()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, usize)> {
        self.current.iter().filter_map(|(path, node)| match node {
            Node::File(file) => Some((path.as_path(), *file)),
            Node::Directory => None,
        })
    }

    pub(super) fn change(&mut self, at: u64, naming: Naming) {
        naming.apply(&mut self.current);
        self.pending.push((at, naming));
    }

    /// How many changes are not durable.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What is there when this many of those are kept.
    pub(super) fn with_pending(&self, kept: usize) -> Tree {
        let mut tree = self.durable.clone();
        for (_, naming) in &self.pending[..kept] {
            naming.apply(&mut tree);
        }
        tree
    }

    /// A sync of a directory covers what happened in it before `covers`.
    pub(super) fn directory_synced(&mut self, directory: &Path, covers: u64) {
        self.settle(|at, naming| {
            at < covers && naming.paths().any(|path| path.parent() == Some(directory))
        });
    }

    /// A sync of a file covers that it was made, and what was done to the same name before.
    pub(super) fn file_synced(&mut self, file: usize, covers: u64) {
        let made = self.pending.iter().filter_map(|(at, naming)| match naming {
            Naming::Make(path, node) if *node == Node::File(file) && *at < covers => {
                Some((*at, path.clone()))
            }
            _ => None,
        });
        let made: Vec<_> = made.collect();
        self.settle(|at, naming| {
            made.iter().any(|(last, name)| at <= *last && naming.paths().any(|path| path == name))
        });
    }

    fn settle(&mut self, covered: impl Fn(u64, &Naming) -> bool) {
        let durable = &mut self.durable;
        self.pending.retain(|(at, naming)| {
            let covered = covered(*at, naming);
            if covered {
                naming.apply(durable);
            }
            !covered
        });
    }
}

impl Naming {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let (one, other) = match self {
            Self::Make(path, _) | Self::Remove(path) => (path, None),
            Self::Rename(from, to) => (from, Some(to)),
        };
        [Some(one), other].into_iter().flatten().map(PathBuf::as_path)
    }

    fn apply(&self, tree: &mut Tree) {
        match self {
            Self::Make(path, node) => {
                tree.insert(path.clone(), *node);
            }
            Self::Remove(path) => {
                tree.remove(path);
            }
            Self::Rename(from, to) => {
                let node = tree.remove(from).expect("a name that was there");
                assert!(matches!(node, Node::File(_)), "a directory was renamed");
                tree.insert(to.clone(), node);
            }
        }
    }
}
