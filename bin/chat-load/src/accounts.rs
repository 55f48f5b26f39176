//! The accounts that the clients log in as.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use bytes::BufMut;
use serde::Deserialize;

use crate::args::AccountArgs;
use crate::files;

/// A username and its password. `Debug` leaves the password out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Account {
    pub(crate) username: String,
    pub(crate) password: String,
}

/// Accounts, known by their places.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Accounts {
    Listed(Vec<Account>),
    /// Named by a prefix and their place, so that any number of them takes no room.
    Numbered {
        prefix: String,
        count: usize,
        password: String,
    },
}

/// Why there are no accounts to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountsError {
    #[error("cannot read the accounts in {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("there are no accounts in {}", path.display())]
    Empty { path: PathBuf },
    #[error(
        "--user-prefix needs a password: put it into a file for --password-file, or into CHAT_PASSWORD of the environment"
    )]
    NoPassword,
    #[error("cannot read the password in {}: {source}", path.display())]
    PasswordFile { path: PathBuf, source: io::Error },
    #[error("a send needs somebody to send to: give at least two accounts, not {count}")]
    TooFew { count: usize },
}

impl AccountsError {
    /// Whether other options would help.
    pub(crate) fn is_about_options(&self) -> bool {
        matches!(self, Self::TooFew { .. } | Self::NoPassword)
    }
}

impl Accounts {
    /// The accounts that the command line names, at least one.
    pub(crate) fn new(args: &AccountArgs) -> Result<Self, AccountsError> {
        Ok(match (&args.users, &args.user_prefix) {
            (Some(path), _) => Self::Listed(from_file(path)?),
            (None, Some(prefix)) => Self::Numbered {
                prefix: prefix.clone(),
                count: args.user_count.unwrap_or_default(),
                password: shared_password(args)?,
            },
            (None, None) => Self::Listed(demo()),
        })
    }

    /// Refuses accounts among whom nobody could send to another.
    pub(crate) fn at_least_two(&self) -> Result<(), AccountsError> {
        match self.len() {
            count @ 0..2 => Err(AccountsError::TooFew { count }),
            _ => Ok(()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Listed(accounts) => accounts.len(),
            Self::Numbered { count, .. } => *count,
        }
    }

    /// The first accounts, at most `limit`.
    pub(crate) fn first(&self, limit: usize) -> Vec<Account> {
        (0..self.len().min(limit)).filter_map(|place| self.get(place)).collect()
    }

    pub(crate) fn get(&self, place: usize) -> Option<Account> {
        match self {
            Self::Listed(accounts) => accounts.get(place).cloned(),
            Self::Numbered { prefix, count, password } => {
                (place < *count).then(|| Account::new(&format!("{prefix}{place}"), password))
            }
        }
    }

    /// Appends a username; `place` is that of an account.
    pub(crate) fn put_name(&self, place: usize, to: &mut impl BufMut) {
        match self {
            Self::Listed(accounts) => {
                let name = accounts.get(place).map(|account| account.username.as_bytes());
                to.put_slice(name.unwrap_or_default());
            }
            Self::Numbered { prefix, .. } => {
                to.put_slice(prefix.as_bytes());
                put_number(place, to);
            }
        }
    }

    /// The places of usernames.
    pub(crate) fn positions<'a>(
        &self,
        usernames: impl Iterator<Item = &'a str>,
    ) -> Vec<Option<usize>> {
        match self {
            Self::Listed(accounts) => {
                let names = accounts.iter().map(|account| account.username.as_str());
                let places: HashMap<_, _> = names.zip(0..).collect();
                usernames.map(|name| places.get(name).copied()).collect()
            }
            Self::Numbered { prefix, count, .. } => {
                let place = |name: &str| {
                    let place = name.strip_prefix(prefix.as_str())?.parse().ok()?;
                    (place < *count).then_some(place)
                };
                usernames.map(place).collect()
            }
        }
    }
}

/// Appends a number in decimal digits.
pub(crate) fn put_number(mut number: usize, to: &mut impl BufMut) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    to.put_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

fn from_file(path: &Path) -> Result<Vec<Account>, AccountsError> {
    let accounts: Vec<_> = files::rows(path, &["username", "password"])
        .map_err(|source| AccountsError::File { path: path.to_owned(), source })?;
    if accounts.is_empty() {
        return Err(AccountsError::Empty { path: path.to_owned() });
    }
    Ok(accounts)
}

/// The password of `--user-prefix`, as the command line names it or else the environment.
fn shared_password(args: &AccountArgs) -> Result<String, AccountsError> {
    match (&args.password, &args.password_file) {
        (Some(password), _) => Ok(password.clone()),
        (None, Some(path)) => first_line(path)
            .map_err(|source| AccountsError::PasswordFile { path: path.clone(), source }),
        (None, None) => std::env::var(PASSWORD_VARIABLE).map_err(|_| AccountsError::NoPassword),
    }
}

fn first_line(path: &Path) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(File::open(path)?).read_line(&mut line)?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its first line is empty"));
    }
    Ok(line.to_owned())
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

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("count", &self.len()).finish_non_exhaustive()
    }
}

const PASSWORD_VARIABLE: &str = "CHAT_PASSWORD";
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
    fn a_password_is_the_first_line_of_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, password) in [("p 1\r\nmore\n", Some("p 1")), ("p2", Some("p2")), ("\np", None)]
        {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(first_line(file.path()).ok().as_deref(), password, "{text:?}");
        }
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
    fn both_forms_know_names_and_places() {
        let numbered =
            Accounts::Numbered { prefix: "u".into(), count: 1_001, password: "p".into() };
        let listed = Accounts::Listed(numbered.first(1_001));
        for accounts in [numbered, listed] {
            assert_eq!(accounts.len(), 1_001);
            for place in [0, 9, 10, 999, 1_000] {
                let mut name = Vec::new();
                accounts.put_name(place, &mut name);
                assert_eq!(name, format!("u{place}").into_bytes());
                assert_eq!(accounts.get(place), Some(Account::new(&format!("u{place}"), "p")));
            }
            assert_eq!(accounts.get(1_001), None);
            let places = accounts.positions(["u0", "u1000", "u1001", "v1"].into_iter());
            assert_eq!(places, [Some(0), Some(1_000), None, None]);
        }
    }

    #[test]
    fn one_account_is_too_few() {
        let alone = Accounts::Listed(vec![Account::new("a", "p")]);
        assert!(matches!(alone.at_least_two(), Err(AccountsError::TooFew { count: 1 })));
    }

    #[test]
    fn the_largest_number_has_all_its_digits() {
        let mut digits = Vec::new();
        put_number(usize::MAX, &mut digits);
        assert_eq!(digits, usize::MAX.to_string().into_bytes());
    }
}
