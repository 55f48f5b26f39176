//! Passwords: the rules for new ones, their hashes, and the room that hashing gets.

mod hasher;
mod memory;
mod password;

pub use hasher::Hasher;
pub use password::{PasswordHash, PasswordHashError, PasswordParams, check_new_password};
