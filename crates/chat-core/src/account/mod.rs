//! Passwords: the rules for new ones, their hashes, and the room that hashing gets.

mod password;

pub use password::{Hasher, PasswordHash, PasswordHashError, PasswordParams, check_new_password};
