//! [`Username`] and [`FullName`]: who somebody is, to programs and to people.

use std::fmt;
use std::str::FromStr;

/// The longest username, in bytes (`docs/protocol.md`, accounts and limits).
const MAX_USERNAME_BYTES: usize = 64;
/// The longest full name, in bytes: four times a username, as a name of 64 characters may need.
const MAX_FULL_NAME_BYTES: usize = 256;

/// A checked username: 1 to 64 ASCII letters, digits, `.`, `_` or `-`, and not `-` alone. It is shown as it was
/// registered, but two usernames that differ only in case are the same account: compare their [`key`](Self::key)s.
///
/// ```
/// use chat_core::Username;
///
/// let username: Username = "Messi".parse()?;
/// assert_eq!((username.as_str(), &*username.key()), ("Messi", "messi"));
/// assert!("gary lineker".parse::<Username>().is_err());
/// # Ok::<(), chat_core::UsernameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Username(Box<str>);

impl Username {
    /// As it was registered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the account is found by: the username in lower case.
    #[must_use]
    pub fn key(&self) -> Box<str> {
        self.0.to_ascii_lowercase().into_boxed_str()
    }
}

impl FromStr for Username {
    type Err = UsernameError;

    fn from_str(text: &str) -> Result<Self, UsernameError> {
        if text.is_empty() {
            return Err(UsernameError::Empty);
        }
        if text.len() > MAX_USERNAME_BYTES {
            return Err(UsernameError::TooLong);
        }
        match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
            Some(character) => Err(UsernameError::Character { character }),
            // A lone hyphen stands for "left out" on the wire.
            None if text == "-" => Err(UsernameError::Hyphen),
            None => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a word is not a username.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsernameError {
    /// Nothing in it.
    #[error("a username has at least one character")]
    Empty,
    /// More than 64 bytes.
    #[error("a username has at most {MAX_USERNAME_BYTES} characters")]
    TooLong,
    /// A character that is not allowed.
    #[error("a username has only letters, digits, '.', '_' and '-', not {character:?}")]
    Character {
        /// The first such character.
        character: char,
    },
    /// The word `-`, which stands for an argument left out.
    #[error("a username is not a lone '-'")]
    Hyphen,
}

/// A checked full name: 1 to 256 bytes of UTF-8 without control characters. Parsing drops white space at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FullName(Box<str>);

impl FullName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FullName {
    type Err = FullNameError;

    fn from_str(text: &str) -> Result<Self, FullNameError> {
        let name = text.trim();
        if name.is_empty() {
            return Err(FullNameError::Empty);
        }
        if name.len() > MAX_FULL_NAME_BYTES {
            return Err(FullNameError::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(FullNameError::ControlCharacter);
        }
        Ok(Self(name.into()))
    }
}

impl From<&Username> for FullName {
    /// An account without a full name is shown by its username.
    fn from(username: &Username) -> Self {
        Self(username.0.clone())
    }
}

impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a full name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FullNameError {
    /// Nothing but white space in it.
    #[error("a full name has at least one character")]
    Empty,
    /// More than 256 bytes.
    #[error("a full name has at most {MAX_FULL_NAME_BYTES} bytes")]
    TooLong,
    /// A control character.
    #[error("a full name has no control characters")]
    ControlCharacter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames() {
        for good in ["a", "messi", "A.b_c-9", &"x".repeat(64)] {
            assert_eq!(good.parse::<Username>().unwrap().as_str(), good);
        }
        for (bad, error) in [
            ("", UsernameError::Empty),
            ("-", UsernameError::Hyphen),
            ("a b", UsernameError::Character { character: ' ' }),
            ("h\u{e9}llo", UsernameError::Character { character: '\u{e9}' }),
        ] {
            assert_eq!(bad.parse::<Username>(), Err(error));
        }
        assert_eq!("x".repeat(65).parse::<Username>(), Err(UsernameError::TooLong));
    }

    #[test]
    fn case_does_not_part_accounts() {
        assert_eq!(
            "Messi".parse::<Username>().unwrap().key(),
            "mESSI".parse::<Username>().unwrap().key()
        );
    }

    #[test]
    fn full_names() {
        assert_eq!(" Lionel Messi ".parse::<FullName>().unwrap().as_str(), "Lionel Messi");
        assert_eq!("  ".parse::<FullName>(), Err(FullNameError::Empty));
        assert_eq!("a\tb".parse::<FullName>(), Err(FullNameError::ControlCharacter));
        assert_eq!("x".repeat(257).parse::<FullName>(), Err(FullNameError::TooLong));
    }
}
