//! [`Token`], the secret that proves a login.

use std::fmt;
use std::str::FromStr;

use uuid::{Builder, Uuid};

use crate::{Random, SystemRandom};

/// The secret a login hands out: a version 4 UUID, written in lower case with hyphens.
///
/// `Debug` never shows it and there is no `Display`; [`Token::expose`] is the one way to write it out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token(Uuid);

impl Token {
    /// A new random token (122 random bits from the operating system).
    #[must_use]
    pub fn random() -> Self {
        Self::from_random(&SystemRandom)
    }

    /// A new token made from 122 bits of that source, which must be unpredictable to others.
    #[must_use]
    pub fn from_random(random: &dyn Random) -> Self {
        Self(Builder::from_random_bytes(random.bytes()).into_uuid())
    }

    /// The token as it stands on the wire. Never log what this returns.
    #[must_use]
    pub fn expose(&self) -> String {
        self.0.hyphenated().to_string()
    }

    /// The 16 bytes of the UUID, for hashing. Never log what this returns.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Takes the hyphenated form in either case, as the existing servers wrote it, and no other.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() != uuid::fmt::Hyphenated::LENGTH {
            return Err(TokenError);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| TokenError)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The word is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token: expected a UUID with hyphens")]
pub struct TokenError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_wire_and_stays_secret() {
        let token = Token::random();
        assert_eq!(token.expose().parse(), Ok(token));
        assert_eq!(token.expose().to_uppercase().parse(), Ok(token));
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn other_forms_are_refused() {
        for word in
            ["", "x", "00000000000000000000000000000000", "{00000000-0000-0000-0000-000000000000}"]
        {
            assert_eq!(word.parse::<Token>(), Err(TokenError), "{word}");
        }
    }
}
