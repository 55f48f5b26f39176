//! Argon2id password hashes in PHC form, and what a new password must be.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};

use super::memory;
use crate::Username;
use crate::store::StoreError;

/// Cost of an Argon2id hash. Default 19 MiB, 2 passes, 1 lane (the minimum of OWASP's password storage cheat sheet): about
/// 20 ms of one core. Tests want `PasswordParams { memory_kib: 8, passes: 1, lanes: 1 }`, the cheapest there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordParams {
    /// Memory, in KiB: at least 8 for each lane, at most 1 GiB.
    pub memory_kib: u32,
    /// Passes over it, at least 1. Memory times passes is at most 4 GiB.
    pub passes: u32,
    /// Lanes, 1 to 255. They are computed one after the other, so more of them save no time.
    pub lanes: u32,
}

/// An Argon2id hash in PHC form. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

/// The text is not an Argon2id hash in PHC form, or its cost is beyond what a server can carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an Argon2id hash: {reason}")]
pub struct PasswordHashError {
    reason: String,
}

/// Checks a new password: 8 to 1,024 bytes, no space or control character, and not the username in any case.
///
/// # Errors
/// [`StoreError::WeakPassword`] with the rule it breaks.
pub fn check_new_password(password: &str, username: &Username) -> Result<(), StoreError> {
    let broken = if password.len() < MIN_PASSWORD_BYTES {
        "a password has at least 8 bytes"
    } else if password.len() > MAX_PASSWORD_BYTES {
        "a password has at most 1024 bytes"
    } else if password.contains(' ') {
        "a password has no spaces"
    } else if password.chars().any(char::is_control) {
        "a password has no control characters"
    } else if password.to_lowercase() == username.as_str().to_lowercase() {
        "a password is not the username"
    } else {
        return Ok(());
    };
    Err(StoreError::WeakPassword(broken))
}

impl PasswordParams {
    /// Checks that a server can afford hashes of this cost.
    ///
    /// # Errors
    /// Which parameter is out of its range.
    pub fn check(&self) -> Result<(), PasswordHashError> {
        self.argon2().map(drop)
    }

    fn argon2(&self) -> Result<Argon2<'static>, PasswordHashError> {
        let work_kib = u64::from(self.memory_kib) * u64::from(self.passes);
        if self.memory_kib > MAX_MEMORY_KIB {
            return Err(PasswordHashError::new("more memory than 1 GiB"));
        }
        if work_kib > MAX_WORK_KIB {
            return Err(PasswordHashError::new("memory times passes is more than 4 GiB"));
        }
        if self.lanes > MAX_LANES {
            return Err(PasswordHashError::new("more lanes than 255"));
        }
        let params = Params::new(self.memory_kib, self.passes, self.lanes, None)
            .map_err(PasswordHashError::new)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

impl Default for PasswordParams {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

impl PasswordHash {
    /// A hash that was checked before it was stored.
    #[cfg(feature = "embedded")]
    pub(crate) fn trusted(phc: Box<str>) -> Self {
        Self(phc)
    }

    /// The PHC string, as it is stored. Never log it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Hashes with a random salt.
    pub(super) fn make(params: PasswordParams, password: &str) -> Result<Self, PasswordHashError> {
        let hash = params.argon2()?.hash_password(password.as_bytes());
        hash.map(|hash| Self(hash.to_string().into())).map_err(PasswordHashError::new)
    }

    /// The cost it was made with.
    ///
    /// # Errors
    /// When it is no such hash; never for a `PasswordHash` that was parsed.
    pub(super) fn params(&self) -> Result<PasswordParams, PasswordHashError> {
        parse(&self.0).map(|(_, params)| params)
    }

    pub(super) fn matches(&self, password: &str) -> Result<bool, PasswordHashError> {
        let (hash, params) = parse(&self.0)?;
        let argon2 = params.argon2()?;
        let parts = hash.salt.zip(hash.hash);
        let (salt, expected) = parts.ok_or_else(|| PasswordHashError::new("a part is missing"))?;
        let mut output = [0; phc::Output::MAX_LENGTH];
        let output = output.get_mut(..expected.len()).unwrap_or_default();
        memory::with_blocks(argon2.params().block_count(), |blocks| {
            argon2.hash_password_into_with_memory(password.as_bytes(), &salt, output, blocks)
        })
        .map_err(PasswordHashError::new)?;
        // Outputs compare in constant time.
        phc::Output::new(output).map(|made| made == expected).map_err(PasswordHashError::new)
    }

    /// A well-formed hash of these parameters that no password matches, made without hashing.
    pub(super) fn dummy(params: PasswordParams) -> Self {
        let PasswordParams { memory_kib, passes, lanes } = params;
        let (salt, output) = ("A".repeat(22), "A".repeat(43));
        let phc = format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${output}");
        Self(phc.into())
    }
}

impl FromStr for PasswordHash {
    type Err = PasswordHashError;

    /// Takes `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH` with a hash of at least 16 bytes and a cost within the bounds of
    /// [`PasswordParams`].
    fn from_str(text: &str) -> Result<Self, PasswordHashError> {
        parse(text)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl PasswordHashError {
    fn new(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// Parses a PHC string and makes sure that verifying against it is bearable.
fn parse(text: &str) -> Result<(phc::PasswordHash, PasswordParams), PasswordHashError> {
    let hash = phc::PasswordHash::new(text).map_err(PasswordHashError::new)?;
    if hash.algorithm != argon2::ARGON2ID_IDENT {
        return Err(PasswordHashError::new("the algorithm is not argon2id"));
    }
    if hash.version != Some(Version::V0x13.into()) {
        return Err(PasswordHashError::new("the version is not 19"));
    }
    if hash.salt.is_none() {
        return Err(PasswordHashError::new("there is no salt"));
    }
    if hash.hash.is_none_or(|output| output.len() < MIN_OUTPUT_BYTES) {
        return Err(PasswordHashError::new("the hash is missing or too short"));
    }
    let params = parse_params(&hash.params)?;
    params.check()?;
    Ok((hash, params))
}

/// Exactly `m`, `t` and `p`; a key or associated data would need what only the maker of the hash has.
fn parse_params(params: &phc::ParamsString) -> Result<PasswordParams, PasswordHashError> {
    let read = |name: &str| {
        let number = params.get_decimal(name);
        number.ok_or_else(|| PasswordHashError::new(format_args!("no number for {name}")))
    };
    if params.iter().count() != 3 {
        return Err(PasswordHashError::new("the parameters are not m, t and p"));
    }
    Ok(PasswordParams { memory_kib: read("m")?, passes: read("t")?, lanes: read("p")? })
}

/// `docs/protocol.md`, accounts.
const MIN_PASSWORD_BYTES: usize = 8;
/// `docs/protocol.md`, accounts.
const MAX_PASSWORD_BYTES: usize = 1024;

/// A hash from outside may ask for this much memory, for as many verifications at once as there are cores.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
/// Memory times passes is what a verification takes in time: 4 GiB are some four seconds of one core.
const MAX_WORK_KIB: u64 = 4 * 1024 * 1024;
/// More lanes than any machine's cores buy nothing.
const MAX_LANES: u32 = 255;
/// 128 bits, below which guessing the hash would be easier than it should be.
const MIN_OUTPUT_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// As cheap as Argon2id gets.
    const CHEAP: PasswordParams = PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };

    #[test]
    fn new_passwords() {
        let username = "Lineker_Gary".parse().unwrap();
        let check = |password: &str| check_new_password(password, &username);
        for good in ["surabaya", "p\u{e4}ssw\u{f6}rt", &"x".repeat(1024)] {
            assert_eq!(check(good), Ok(()));
        }
        for bad in
            ["", "sevenby", &"x".repeat(1025), "has a space", "has\ta\u{85}tab", "lineker_GARY"]
        {
            assert!(matches!(check(bad), Err(StoreError::WeakPassword(_))), "{bad:?}");
        }
    }

    #[test]
    fn hashes_are_salted_and_stay_out_of_logs() {
        let hash = |password| PasswordHash::make(CHEAP, password).unwrap();
        let (first, second) = (hash("surabaya"), hash("surabaya"));
        assert_ne!(first, second);
        assert!(first.as_str().starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
        assert_eq!(first.as_str().parse(), Ok(first.clone()));
        assert_eq!(format!("{first:?}"), "PasswordHash");
        assert_eq!(first.matches("surabaya"), Ok(true));
        assert_eq!(first.matches("Surabaya"), Ok(false));
    }

    /// Made with the reference implementation: `argon2 somesalt -id -t 2 -m 16 -p 1`, password `password`.
    #[test]
    fn a_hash_of_the_reference_implementation_is_understood() {
        let phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let hash: PasswordHash = phc.parse().unwrap();
        assert_eq!(hash.matches("password"), Ok(true));
        assert_eq!(hash.matches("passworx"), Ok(false));
    }

    #[test]
    fn hashes_that_cannot_be_carried_are_refused() {
        let phc =
            |head: &str| format!("{head}$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc");
        assert!(phc("$argon2id$v=19$m=1048576,t=4,p=255").parse::<PasswordHash>().is_ok());
        for bad in [
            "",
            "surabaya",
            "$argon2id$v=19$m=8,t=1,p=1",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMa",
            &phc("$argon2i$v=19$m=8,t=1,p=1"),
            &phc("$argon2d$v=19$m=8,t=1,p=1"),
            &phc("$argon2id$v=16$m=8,t=1,p=1"),
            &phc("$argon2id$m=8,t=1,p=1"),
            &phc("$argon2id$v=19$m=8,t=1"),
            &phc("$argon2id$v=19$m=8,t=1,p=1,keyid=AAAA"),
            &phc("$argon2id$v=19$m=8,t=1,p=1,data=AAAA"),
            &phc("$argon2id$v=19$m=1048577,t=1,p=1"),
            &phc("$argon2id$v=19$m=1048576,t=5,p=1"),
            &phc("$argon2id$v=19$m=4294967295,t=4294967295,p=1"),
            &phc("$argon2id$v=19$m=2048,t=1,p=256"),
            &phc("$argon2id$v=19$m=7,t=1,p=1"),
            &phc("$argon2id$v=19$m=8,t=0,p=1"),
            &phc("$argon2id$v=19$m=8,t=1,p=0"),
        ] {
            assert!(bad.parse::<PasswordHash>().is_err(), "{bad}");
        }
    }

    /// Unknown users must cost what known ones do, so their hash must be one that is really verified.
    #[test]
    fn the_dummy_is_a_hash_like_others() {
        let params = PasswordParams::default();
        let dummy = PasswordHash::dummy(params);
        assert_eq!(dummy.as_str().parse(), Ok(dummy.clone()));
        assert_eq!(dummy.params(), Ok(params));
        let real = PasswordHash::make(params, "surabaya").unwrap();
        assert_eq!(dummy.as_str().len(), real.as_str().len());
        assert_eq!(PasswordHash::dummy(CHEAP).matches("surabaya"), Ok(false));
    }
}
