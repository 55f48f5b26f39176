//! Files kept between runs: logins by server, and the history of typed lines.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use chat_client::Token;
use directories::ProjectDirs;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The directory of those files. Made when something is first written, readable by its owner alone.
#[derive(Debug, Clone)]
pub(crate) struct StateDirectory(PathBuf);

/// A login that outlives the process. `Debug` hides the token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeptLogin {
    pub(crate) username: String,
    pub(crate) token: Token,
}

impl StateDirectory {
    /// The conventional place: the platform's state directory, or its data directory where there is none.
    pub(crate) fn conventional() -> Result<Self, Failure> {
        let dirs = ProjectDirs::from("", "", "chat").ok_or(Failure::NoStateDirectory)?;
        let path = dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir());
        Ok(Self(path.to_owned()))
    }

    /// The history file, in a directory that exists.
    pub(crate) fn history_file(&self) -> Result<PathBuf, Failure> {
        make_private_directory(&self.0)?;
        Ok(self.0.join("history"))
    }

    /// The login kept for that server.
    pub(crate) fn login(&self, server: &str) -> Result<Option<KeptLogin>, Failure> {
        let path = self.login_file(server);
        match fs::read(&path) {
            Ok(bytes) => read_login(&bytes)
                .map(Some)
                .map_err(|error| file(&path, io::Error::new(io::ErrorKind::InvalidData, error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file(&path, error)),
        }
    }

    /// Keeps a login in place of that server's earlier one. All or nothing, also if the machine stops.
    pub(crate) fn keep_login(&self, server: &str, login: &KeptLogin) -> Result<(), Failure> {
        make_private_directory(&self.0)?;
        make_private_directory(&self.0.join(LOGINS))?;
        let path = self.login_file(server);
        write_privately(&path, &write_login(server, login)).map_err(|error| file(&path, error))
    }

    /// Forgets that server's login.
    pub(crate) fn forget_login(&self, server: &str) -> Result<(), Failure> {
        let path = self.login_file(server);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file(&path, error)),
            _ => Ok(()),
        }
    }

    fn login_file(&self, server: &str) -> PathBuf {
        self.0.join(LOGINS).join(file_name(server))
    }
}

#[derive(Serialize, Deserialize)]
struct LoginFile {
    server: String,
    username: String,
    token: String,
}

fn write_login(server: &str, login: &KeptLogin) -> Vec<u8> {
    serde_json::json!(LoginFile {
        server: server.to_owned(),
        username: login.username.clone(),
        token: login.token.expose(),
    })
    .to_string()
    .into_bytes()
}

fn read_login(bytes: &[u8]) -> Result<KeptLogin, &'static str> {
    let wrong = "not a login of this program; `chat login USER` writes a new one";
    let kept: LoginFile = serde_json::from_slice(bytes).map_err(|_| wrong)?;
    Ok(KeptLogin { username: kept.username, token: kept.token.parse().map_err(|_| wrong)? })
}

/// A file name for an address: letters, digits, `.` and `-` as they are, any other byte as `%3A`.
fn file_name(server: &str) -> String {
    let mut name = String::with_capacity(server.len() + 8);
    for byte in server.to_ascii_lowercase().bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name + ".json"
}

fn make_private_directory(path: &Path) -> Result<(), Failure> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| file(path, error))
}

/// Writes beside the file and renames over it. A temporary file is made with mode 0600.
fn write_privately(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    Ok(())
}

fn file(path: &Path, source: io::Error) -> Failure {
    Failure::File { path: path.to_owned(), source }
}

const LOGINS: &str = "logins";

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, StateDirectory) {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory(directory.path().join("chat"));
        (directory, state)
    }

    fn login() -> KeptLogin {
        KeptLogin { username: "messi".to_owned(), token: Token::random() }
    }

    #[test]
    fn logins_are_kept_by_server_until_forgotten() {
        let (_directory, state) = state();
        let (here, there) = (login(), login());
        assert_eq!(state.login("here:1").unwrap(), None);
        state.keep_login("here:1", &login()).unwrap();
        state.keep_login("here:1", &here).unwrap();
        state.keep_login("there:1", &there).unwrap();
        assert_eq!(state.login("here:1").unwrap(), Some(here));
        state.forget_login("here:1").unwrap();
        state.forget_login("here:1").unwrap();
        assert_eq!(state.login("here:1").unwrap(), None);
        assert_eq!(state.login("there:1").unwrap(), Some(there));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_directory, state) = state();
        state.keep_login("here:1", &login()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&state.login_file("here:1")), 0o600);
        assert_eq!(mode(&state.0), 0o700);
        assert_eq!(mode(&state.0.join(LOGINS)), 0o700);
    }

    #[test]
    fn nothing_is_left_beside_the_file() {
        let (_directory, state) = state();
        state.keep_login("here:1", &login()).unwrap();
        assert_eq!(fs::read_dir(state.0.join(LOGINS)).unwrap().count(), 1);
    }

    #[test]
    fn a_spoilt_file_is_an_error_that_says_what_to_do() {
        let (_directory, state) = state();
        state.keep_login("here:1", &login()).unwrap();
        for spoilt in ["", "{}", r#"{"server":"x","username":"u","token":"t"}"#] {
            fs::write(state.login_file("here:1"), spoilt).unwrap();
            let message = state.login("here:1").unwrap_err().message();
            assert!(message.contains("chat login"), "{message}");
        }
    }

    #[test]
    fn addresses_make_distinct_and_harmless_file_names() {
        assert_eq!(file_name("127.0.0.1:8889"), "127.0.0.1%3A8889.json");
        assert_eq!(file_name("../x"), "..%2Fx.json");
        assert_ne!(file_name("a_b"), file_name("a:b"));
    }

    #[test]
    fn a_kept_token_is_not_shown() {
        let login = login();
        assert!(!format!("{login:?}").contains(&login.token.expose()));
    }
}
