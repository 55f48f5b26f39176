//! Passwords: the rules for new ones, and hashing and verifying them by Argon2id without holding others up.

mod hasher;
mod memory;
mod password;

pub use hasher::Hasher;
pub use password::{PasswordHash, PasswordHashError, PasswordParams, check_new_password};
