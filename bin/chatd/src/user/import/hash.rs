//! Hashes the passwords of an import on all cores.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::thread;

use chat_core::account::{Hasher, PasswordHashError, PasswordParams};

use super::super::progress::Progress;
use super::parse::{Credential, Entry};
use crate::control::{Secret, StagedAccount};
use crate::exit::{Exit, Failure};

/// The accounts in the same order, hashed.
pub(super) fn all(
    entries: &[Entry],
    params: PasswordParams,
) -> Result<Vec<StagedAccount>, Failure> {
    let progress = Progress::new("hashing", entries.len());
    let mut hashed: Vec<Option<StagedAccount>> = Vec::new();
    hashed.resize_with(entries.len(), || None);
    let work = Mutex::new(entries.chunks(CHUNK).zip(hashed.chunks_mut(CHUNK)));
    let next = || work.lock().ok()?.next();
    let outcome = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores())
            .map(|_| {
                scope.spawn(|| {
                    while let Some((entries, places)) = next() {
                        hash_chunk(entries, places, params)?;
                        progress.advance(entries.len());
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(outcome) => outcome.map_err(|error: PasswordHashError| failed(&error)),
            Err(_) => Err(failed(&"a worker ended early")),
        })
    });
    outcome?;
    progress.finish();
    Ok(hashed.into_iter().flatten().collect())
}

fn hash_chunk(
    entries: &[Entry],
    places: &mut [Option<StagedAccount>],
    params: PasswordParams,
) -> Result<(), PasswordHashError> {
    for (entry, place) in entries.iter().zip(places) {
        let hash = match &entry.credential {
            Credential::Password(password) => Hasher::hash_blocking(params, password)?,
            Credential::Hash(hash) => hash.clone(),
        };
        *place = Some(StagedAccount {
            username: entry.username.to_string(),
            name: entry.name.to_string(),
            phc: Secret(hash.as_str().into()),
        });
    }
    Ok(())
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        Exit::Software,
        format!("cannot hash the passwords: {error}; nothing was imported"),
    )
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Passwords a worker takes at once: about a tenth of a second's work.
const CHUNK: usize = 4;
