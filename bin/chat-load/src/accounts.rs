//! The accounts that the clients log in as.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::args::AccountArgs;

/// A username and its password. `Debug` leaves the password out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Account {
    pub(crate) username: String,
    pub(crate) password: String,
}

/// Why there are no accounts to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountsError {
    #[error("cannot read the accounts in {}: {source}", path.display())]
    File { path: PathBuf, source: csv::Error },
    #[error("a send needs somebody to send to: give at least two accounts, not {count}")]
    TooFew { count: usize },
}

/// The accounts that the command line names.
pub(crate) fn accounts(args: &AccountArgs) -> Result<Vec<Account>, AccountsError> {
    let accounts = match (&args.users, &args.user_prefix) {
        (Some(path), _) => from_file(path)?,
        (None, Some(prefix)) => numbered(
            prefix,
            args.user_count.unwrap_or_default(),
            args.password.as_deref().unwrap_or_default(),
        ),
        (None, None) => demo(),
    };
    if accounts.len() < 2 {
        return Err(AccountsError::TooFew { count: accounts.len() });
    }
    Ok(accounts)
}

fn from_file(path: &Path) -> Result<Vec<Account>, AccountsError> {
    let read = || csv::Reader::from_path(path)?.deserialize().collect::<Result<_, _>>();
    read().map_err(|source| AccountsError::File { path: path.to_owned(), source })
}

pub(crate) fn numbered(prefix: &str, count: usize, password: &str) -> Vec<Account> {
    (0..count).map(|n| Account::new(&format!("{prefix}{n}"), password)).collect()
}

/// What a server started with `--demo` has.
fn demo() -> Vec<Account> {
    DEMO.iter().map(|(username, password)| Account::new(username, password)).collect()
}

impl Account {
    fn new(username: &str, password: &str) -> Self {
        Self { username: username.to_owned(), password: password.to_owned() }
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("username", &self.username).finish_non_exhaustive()
    }
}

const DEMO: &[(&str, &str)] =
    &[("messi", "surabaya"), ("henderson", "surabaya"), ("lineker", "surabaya"), ("arini", "hehe")];

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_may_have_other_columns() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "username,name,password\na,Ann,\"p,1\"\nb,Bob,p2").unwrap();
        let accounts = from_file(file.path()).unwrap();
        assert_eq!(accounts, [Account::new("a", "p,1"), Account::new("b", "p2")]);
    }

    #[test]
    fn a_file_without_passwords_is_named_in_the_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "username,name\na,Ann").unwrap();
        let error = from_file(file.path()).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
        assert!(error.contains("password"), "{error}");
    }

    #[test]
    fn numbered_accounts_count_from_zero() {
        assert_eq!(numbered("u", 2, "p"), [Account::new("u0", "p"), Account::new("u1", "p")]);
    }
}
