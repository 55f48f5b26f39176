//! [`DataDir`]: the directory a store lives in, made or checked before the store sees it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::environment::Environment;
use crate::exit::{Exit, Failure};

/// Where the store lives, and whether it is one to play with.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    path: PathBuf,
    demo: bool,
}

impl DataDir {
    /// The configured directory or the conventional one. The demo's is `demo` within it, unless a flag named it.
    pub(crate) fn locate(
        config: &Config,
        environment: &Environment,
        demo: bool,
        named: bool,
    ) -> Result<Self, Failure> {
        let base = base(config, environment)?;
        let path = if demo && !named { base.join("demo") } else { base };
        Ok(Self { path, demo })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_demo(&self) -> bool {
        self.demo
    }

    /// Refuses a directory no store was ever in. One whose database is gone is left to the store, which says more.
    pub(crate) fn check_used(&self) -> Result<(), Failure> {
        let has = |name| fs::metadata(self.path.join(name)).is_ok_and(|file| file.len() > 0);
        if STORE_FILES.into_iter().any(has) {
            return Ok(());
        }
        let what = if self.path.exists() { "store in" } else { "data directory" };
        let path = self.path.display();
        Err(Failure::new(
            Exit::NoInput,
            format!("there is no {what} {path}: give the daemon's directory with --data DIR"),
        ))
    }

    /// Warns if other users may look into it.
    pub(crate) fn check_mode(&self) {
        let path = self.path.display();
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
            tracing::warn!(%path, "other users may look into the data directory: chmod 700 it");
        }
    }

    /// Warns if there is less room for it than the store may need before it can give any back: for the next file of the journal,
    /// and for a write-ahead log that grows to its bound.
    pub(crate) fn check_room(&self, config: &Config) {
        let wanted = config.store.segment.bytes().saturating_add(config.store.wal.bytes());
        if let Some(free) = self.free_bytes()
            && free < wanted
        {
            tracing::warn!(
                path = %self.path.display(),
                free_kib = free / 1024,
                wanted_kib = wanted / 1024,
                "little room for the data directory: once its disk is full, changes are refused until there is room again"
            );
        }
    }

    /// How much room there is for it, if the system tells.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(&self.path).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Makes the directory with mode 0700 if it is missing, and refuses one of the other kind.
    pub(crate) fn prepare(&self) -> Result<(), Failure> {
        self.check_kind()?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|error| self.unusable(&error))?;
        if self.demo {
            fs::write(self.path.join(MARKER), MARKER_TEXT)
                .map_err(|error| self.unusable(&error))?;
        }
        Ok(())
    }

    /// Refuses to write among files of another user, who could then not open them any more. (Root can, and might not
    /// notice.)
    pub(crate) fn check_owner(&self) -> Result<(), Failure> {
        let me = rustix::process::geteuid().as_raw();
        let Ok(entries) = fs::read_dir(&self.path) else {
            return Ok(());
        };
        let other = entries
            .flatten()
            .filter_map(|entry| entry.metadata().ok())
            .find(|file| file.is_file() && file.uid() != me);
        let Some(file) = other else { return Ok(()) };
        Err(Failure::new(
            Exit::NotPermitted,
            format!(
                "the files in {} belong to the user with number {}: start the daemon first, and it does the work, or \
                 run this command as that user",
                self.path.display(),
                file.uid()
            ),
        ))
    }

    /// A demo wants a directory that a demo made, or none yet; everything else wants any other.
    pub(crate) fn check_kind(&self) -> Result<(), Failure> {
        if self.path.exists() && !self.path.is_dir() {
            return Err(self.unusable(&io::Error::from(io::ErrorKind::NotADirectory)));
        }
        let path = self.path.display();
        let is_demo = self.path.join(MARKER).exists();
        if is_demo && !self.demo {
            return Err(Failure::new(
                Exit::Usage,
                format!(
                    "{path} was made by --demo, with passwords everybody knows: give --demo, or another --data"
                ),
            ));
        }
        let is_used = || fs::read_dir(&self.path).is_ok_and(|mut entries| entries.next().is_some());
        if self.demo && !is_demo && is_used() {
            return Err(Failure::new(
                Exit::Usage,
                format!("{path} was not made by --demo: give another --data, or none"),
            ));
        }
        Ok(())
    }

    fn unusable(&self, error: &io::Error) -> Failure {
        let path = self.path.display();
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            // Unlike the rest, trying again mends it once there is room.
            let why = format!("the disk that {path} is on is full: make room");
            return Failure::new(Exit::Io, why);
        }
        Failure::new(
            Exit::CannotCreate,
            format!(
                "cannot use the data directory {path}: {error}; give one this user may write to with --data"
            ),
        )
    }
}

fn base(config: &Config, environment: &Environment) -> Result<PathBuf, Failure> {
    let path =
        config.data.clone().or_else(|| environment.default_data_directory()).ok_or_else(|| {
            Failure::new(Exit::Usage, "this user has no home directory: give --data DIR")
        })?;
    std::path::absolute(&path).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot make {} absolute: {error}", path.display()))
    })
}

/// What the store keeps in its directory as long as it lives; none of it is empty then.
const STORE_FILES: [&str; 2] = ["chat.db", "lock"];
/// Marks a directory as a demo's.
const MARKER: &str = "DEMO";
const MARKER_TEXT: &str = "\
This directory was made by `chatd --demo`. Its accounts have passwords everybody knows.
It can be deleted at any time.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(path: &Path, demo: bool) -> DataDir {
        DataDir { path: path.to_path_buf(), demo }
    }

    #[test]
    fn is_made_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        directory(&path, false).prepare().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn the_two_kinds_do_not_mix() {
        let parent = tempfile::tempdir().unwrap();
        let (demo, other) = (parent.path().join("demo"), parent.path().join("other"));
        directory(&demo, true).prepare().unwrap();
        directory(&demo, true).prepare().unwrap();
        assert_eq!(directory(&demo, false).prepare().unwrap_err().exit, Exit::Usage);
        directory(&other, false).prepare().unwrap();
        fs::write(other.join("chat.db"), "").unwrap();
        directory(&other, false).prepare().unwrap();
        assert_eq!(directory(&other, true).prepare().unwrap_err().exit, Exit::Usage);
        assert!(!other.join(MARKER).exists());
    }

    #[test]
    fn a_demo_lives_beside_the_real_thing_unless_it_is_told_otherwise() {
        let config = Config { data: Some("/srv/chat".into()), ..Config::default() };
        let locate = |demo, named| DataDir::locate(&config, &Environment::default(), demo, named);
        assert_eq!(locate(false, true).unwrap().path(), Path::new("/srv/chat"));
        assert_eq!(locate(true, false).unwrap().path(), Path::new("/srv/chat/demo"));
        assert_eq!(locate(true, true).unwrap().path(), Path::new("/srv/chat"));
    }
}
