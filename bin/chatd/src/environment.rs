//! [`Environment`]: the variables this program reads, as a value, and the conventional places they lead to.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use directories::ProjectDirs;

/// The process's environment, or a test's.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    variables: HashMap<OsString, OsString>,
}

impl Environment {
    pub(crate) fn of_process() -> Self {
        Self { variables: std::env::vars_os().collect() }
    }

    /// The variable's value; absent when empty.
    pub(crate) fn value(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .filter(|value| !value.is_empty())
            .map(OsString::as_os_str)
    }

    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }

    /// `STATE_DIRECTORY`, which systemd sets, or the platform's place for a user's data; `None` without a home.
    pub(crate) fn default_data_directory(&self) -> Option<PathBuf> {
        self.systemd_directory("STATE_DIRECTORY")
            .or_else(|| Some(project()?.data_local_dir().to_path_buf()))
    }

    /// `chatd.toml` in `CONFIGURATION_DIRECTORY` or the platform's place for a user's config, if it exists.
    pub(crate) fn default_config_file(&self) -> Option<PathBuf> {
        let directory = self
            .systemd_directory("CONFIGURATION_DIRECTORY")
            .or_else(|| Some(project()?.config_dir().to_path_buf()))?;
        Some(directory.join("chatd.toml")).filter(|file| file.exists())
    }

    /// The first of a colon-separated list (systemd.exec(5)).
    pub(crate) fn systemd_directory(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(self.value(name)?).next().filter(|path| path.is_absolute())
    }

    /// Directories for short-lived files of this user, the best first.
    pub(crate) fn runtime_directories(&self) -> impl Iterator<Item = PathBuf> {
        let own = self.path("XDG_RUNTIME_DIR").filter(|path| path.is_absolute());
        own.into_iter().chain([std::env::temp_dir(), Path::new("/tmp").to_path_buf()])
    }
}

#[cfg(test)]
impl Environment {
    pub(crate) fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        Self { variables: variables.into() }
    }
}

fn project() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "chatd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_directories_win() {
        let environment = Environment::of([("STATE_DIRECTORY", "/var/lib/chatd:/var/lib/other")]);
        assert_eq!(environment.default_data_directory(), Some("/var/lib/chatd".into()));
    }

    #[test]
    fn empty_variables_are_absent() {
        let environment = Environment::of([("CHATD_DATA", "")]);
        assert_eq!(environment.path("CHATD_DATA"), None);
    }
}
