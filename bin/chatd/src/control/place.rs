//! Where the control socket is.
//!
//! `control.sock` in the data directory is the socket, or a symbolic link to where it is; so who knows the data
//! directory finds the socket. It is elsewhere when systemd gives a runtime directory, when a flag says so, and when
//! the path would be too long for a socket's address.

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::exit::{Exit, Failure};

/// Where a daemon puts its control socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The socket itself.
    pub(super) socket: PathBuf,
    /// What leads to it from the data directory; the same path when it lies there.
    pub(super) pointer: PathBuf,
    /// A directory made for the socket alone, to be made before and removed after.
    pub(super) own_directory: Option<PathBuf>,
}

impl Place {
    /// The place named; else the runtime directory systemd gives; else the data directory; else, when that path is too
    /// long, a directory of its own among the user's short-lived files.
    pub(crate) fn choose(
        data: &Path,
        named: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let pointer = data.join(SOCKET_NAME);
        if let Some(named) = named {
            let socket = std::path::absolute(named).unwrap_or_else(|_| named.to_path_buf());
            return if fits(&socket) {
                Ok(Self { socket, pointer, own_directory: None })
            } else {
                Err(too_long(&socket))
            };
        }
        let runtime = environment.systemd_directory("RUNTIME_DIRECTORY");
        let usual = runtime.map(|directory| directory.join(SOCKET_NAME));
        if let Some(socket) = usual.into_iter().chain([pointer.clone()]).find(|path| fits(path)) {
            return Ok(Self { socket, pointer, own_directory: None });
        }
        environment
            .runtime_directories()
            .map(|directory| directory.join(short_name(data)))
            .find(|directory| fits(&directory.join(SOCKET_NAME)))
            .map(|directory| Self {
                socket: directory.join(SOCKET_NAME),
                pointer: pointer.clone(),
                own_directory: Some(directory),
            })
            .ok_or_else(|| too_long(&pointer))
    }

    /// Makes the socket's own directory, if it has one, and sees to it that nobody else can put something there.
    pub(super) fn make_directory(&self) -> io::Result<()> {
        let Some(directory) = &self.own_directory else {
            return Ok(());
        };
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let metadata = fs::symlink_metadata(directory)?;
        let is_mine = metadata.uid() == rustix::process::geteuid().as_raw();
        if metadata.is_dir() && is_mine && metadata.mode() & 0o077 == 0 {
            return Ok(());
        }
        let text = format!("{} is open to other users", directory.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    }
}

/// Where a command finds the control socket of the daemon with that data directory.
pub(crate) fn find(data: &Path, named: Option<&Path>) -> PathBuf {
    let pointer = named.map_or_else(|| data.join(SOCKET_NAME), Path::to_path_buf);
    fs::read_link(&pointer).unwrap_or(pointer)
}

fn fits(path: &Path) -> bool {
    path.as_os_str().as_bytes().len() <= MAX_SOCKET_PATH_BYTES
}

/// The same for the same data directory, so that what a killed daemon left there is found and replaced.
fn short_name(data: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    format!("chatd-{}-{:016x}", rustix::process::geteuid().as_raw(), hasher.finish())
}

fn too_long(path: &Path) -> Failure {
    let path = path.display();
    Failure::new(
        Exit::Usage,
        format!(
            "{path} is longer than the {MAX_SOCKET_PATH_BYTES} bytes a socket's path may have: give a shorter --control PATH"
        ),
    )
}

const SOCKET_NAME: &str = "control.sock";
/// `sun_path` has 108 bytes on Linux and 104 on the BSDs and macOS, a NUL among them (unix(7), unix(4)).
const MAX_SOCKET_PATH_BYTES: usize = 103;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_in_the_data_directory_unless_systemd_gives_one() {
        let data = Path::new("/srv/chat");
        let place = Place::choose(data, None, &Environment::default()).unwrap();
        assert_eq!(place.socket, Path::new("/srv/chat/control.sock"));
        assert_eq!(place.pointer, place.socket);
        let environment = Environment::of([("RUNTIME_DIRECTORY", "/run/chatd")]);
        let place = Place::choose(data, None, &environment).unwrap();
        assert_eq!(place.socket, Path::new("/run/chatd/control.sock"));
        assert_eq!(place.pointer, Path::new("/srv/chat/control.sock"));
    }

    #[test]
    fn a_long_path_gets_a_short_place_always_the_same() {
        let data = PathBuf::from(format!("/srv/{}", "x".repeat(120)));
        let environment = Environment::of([("XDG_RUNTIME_DIR", "/run/user/7")]);
        let place = Place::choose(&data, None, &environment).unwrap();
        assert!(place.socket.starts_with("/run/user/7"));
        assert!(fits(&place.socket));
        assert_eq!(place, Place::choose(&data, None, &environment).unwrap());
    }

    #[test]
    fn a_long_runtime_directory_is_passed_over() {
        let data = PathBuf::from(format!("/srv/{}", "x".repeat(120)));
        let runtime = format!("/run/{}", "y".repeat(120));
        let environment =
            Environment::of([("XDG_RUNTIME_DIR", &runtime), ("RUNTIME_DIRECTORY", &runtime)]);
        assert!(fits(&Place::choose(&data, None, &environment).unwrap().socket));
    }

    #[test]
    fn a_long_path_that_was_named_is_refused() {
        let named = PathBuf::from(format!("/{}", "x".repeat(120)));
        assert!(Place::choose(Path::new("/srv"), Some(&named), &Environment::default()).is_err());
    }
}
