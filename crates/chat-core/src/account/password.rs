//! Argon2id password hashes in PHC form.

use std::sync::Arc;

use crate::Username;
use crate::store::StoreError;

/// Cost of a hash. Default 19 MiB, 2 passes, 1 lane (OWASP password storage, Argon2id minimum).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordParams {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
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

/// Hashes and verifies off the runtime, at most as many at once as there are cores; a bounded number may wait.
#[derive(Clone, Debug)]
pub struct Hasher {}

/// New passwords: 8 to 1,024 bytes, no space or control character, not the username.
pub fn check_new_password(password: &str, username: &Username) -> Result<(), StoreError> {
    todo!()
}

impl Default for PasswordParams {
    fn default() -> Self {
        Self {
            memory_kib: 19 * 1024,
            passes: 2,
            lanes: 1,
        }
    }
}
impl PasswordHash {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl std::str::FromStr for PasswordHash {
    type Err = PasswordHashError;
    fn from_str(text: &str) -> Result<Self, PasswordHashError> {
        todo!()
    }
}
impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}
impl Hasher {
    pub fn new(params: PasswordParams) -> Self {
        todo!()
    }
    /// StoreError::Busy when too many wait already.
    pub async fn hash(&self, password: Box<str>) -> Result<PasswordHash, StoreError> {
        todo!()
    }
    /// Whether it matches. Against `None` (no such user) it does the same work and says no.
    pub async fn verify(
        &self,
        password: Box<str>,
        hash: Option<PasswordHash>,
    ) -> Result<bool, StoreError> {
        todo!()
    }
    /// Whether a hash was made with other parameters than new ones are.
    pub fn is_outdated(&self, hash: &PasswordHash) -> bool {
        todo!()
    }
    /// Hashes at once on this thread, for import tools.
    pub fn hash_blocking(
        params: PasswordParams,
        password: &str,
    ) -> Result<PasswordHash, PasswordHashError> {
        todo!()
    }
}
