//! Sessions made beforehand: a CSV file with the header `username,token`.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;

/// A session. `Debug` leaves the token out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) username: String,
    pub(crate) token: String,
}

/// Why there are no sessions, or none that were saved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokensError {
    #[error("cannot read the tokens in {}: {source} (make the file with --save-tokens)", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("there are no tokens in {}: make the file with --save-tokens", path.display())]
    Empty { path: PathBuf },
    #[error("cannot save the tokens in {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// All sessions of a file, at least one.
pub(crate) fn read(path: &Path) -> Result<Vec<Session>, TokensError> {
    let sessions: Vec<_> = files::rows(path, &["username", "token"])
        .map_err(|source| TokensError::Read { path: path.to_owned(), source })?;
    if sessions.is_empty() {
        return Err(TokensError::Empty { path: path.to_owned() });
    }
    Ok(sessions)
}

/// Makes sure before logging in, which may take long, that sessions can be saved.
pub(crate) fn check(path: &Path) -> Result<(), TokensError> {
    files::check(path).map_err(|source| TokensError::Write { path: path.to_owned(), source })
}

/// Writes sessions in the given order, for their owner's eyes only.
pub(crate) fn write(path: &Path, sessions: &[Session]) -> Result<(), TokensError> {
    let written = files::replace(path, files::PRIVATE, |file| {
        let mut writer = csv::Writer::from_writer(file);
        sessions.iter().try_for_each(|session| writer.serialize(session))?;
        writer.flush()
    });
    written.map_err(|source| TokensError::Write { path: path.to_owned(), source })
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("username", &self.username).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_saved_is_read_again_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        let session =
            |name: &str| Session { username: name.to_owned(), token: format!("{name}-t") };
        let sessions = [session("a"), session("b")];
        check(&path).unwrap();
        write(&path, &sessions).unwrap();
        assert_eq!(read(&path).unwrap(), sessions);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{sessions:?}").contains("a-t"));
    }

    #[test]
    fn a_file_that_is_missing_or_empty_is_named_with_advice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        assert!(read(&path).unwrap_err().to_string().contains("--save-tokens"));
        std::fs::write(&path, "username,token\n").unwrap();
        assert!(matches!(read(&path), Err(TokensError::Empty { .. })));
        assert!(matches!(
            check(&directory.path().join("no/where")),
            Err(TokensError::Write { .. })
        ));
    }
}
