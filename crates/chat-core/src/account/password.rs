//! Argon2id password hashes in PHC form, and the room that making them gets.

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use tokio::sync::Semaphore;

use crate::Username;
use crate::store::{Blocking, StoreError};

/// Cost of a hash. Default 19 MiB, 2 passes, 1 lane (OWASP password storage, Argon2id minimum): about 20 ms of one
/// core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordParams {
    /// Memory, in KiB: at least 8 for each lane, at most 1 GiB.
    pub memory_kib: u32,
    /// Passes over it, at least 1. Memory times passes is at most 4 GiB.
    pub passes: u32,
    /// Lanes, 1 to 255. They are computed one after the other.
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

/// Hashes and verifies off the runtime: at most as many at once as there are cores, and at most 512 for
/// each core wait. Cheap to clone; clones share the room.
///
/// Its futures may be dropped: what has begun runs to its end in its place, what has not gives its place up.
#[derive(Clone, Debug)]
pub struct Hasher {
    params: PasswordParams,
    /// What an unknown user's password is verified against.
    dummy: PasswordHash,
    /// Room to run in.
    cores: Arc<Semaphore>,
    /// Room to run or wait in.
    places: Arc<Semaphore>,
    blocking: Blocking,
}

/// New passwords: 8 to 1,024 bytes, no space or control character, not the username in any case.
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
    /// Whether a server can carry hashes of this cost.
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

    /// The cost it was made with.
    ///
    /// # Errors
    /// When it is no such hash; never for a `PasswordHash` that was parsed.
    fn params(&self) -> Result<PasswordParams, PasswordHashError> {
        parse(&self.0).map(|(_, params)| params)
    }

    fn matches(&self, password: &str) -> Result<bool, PasswordHashError> {
        use argon2::password_hash::Error;

        let (hash, params) = parse(&self.0)?;
        match params.argon2()?.verify_password(password.as_bytes(), &hash) {
            Ok(()) => Ok(true),
            Err(Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(PasswordHashError::new(error)),
        }
    }

    /// A well-formed hash of these parameters that no password matches, made without hashing.
    fn dummy(params: PasswordParams) -> Self {
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

impl Hasher {
    /// A hasher that makes hashes of this cost, with room of its own. Parameters that
    /// [`PasswordParams::check`] refuses make every hash [`StoreError::Internal`].
    #[must_use]
    pub fn new(params: PasswordParams) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self::with_room(params, cores, cores.saturating_mul(MAX_WAITING))
    }

    fn with_room(params: PasswordParams, cores: usize, waiting: usize) -> Self {
        Self {
            params,
            dummy: PasswordHash::dummy(params),
            cores: Arc::new(Semaphore::new(cores)),
            places: Arc::new(Semaphore::new(cores.saturating_add(waiting))),
            blocking: Blocking::Threads,
        }
    }

    /// One that hashes elsewhere than on threads, with room for one at a time however many cores there are.
    #[cfg(feature = "simulation")]
    pub(crate) fn simulated(params: PasswordParams, blocking: Blocking) -> Self {
        Self { blocking, ..Self::with_room(params, 1, MAX_WAITING) }
    }

    /// Hashes a password with a random salt.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too many wait already; [`StoreError::Internal`] when there is no memory, or the
    /// runtime is shutting down.
    pub async fn hash(&self, password: Box<str>) -> Result<PasswordHash, StoreError> {
        let params = self.params;
        self.run(move || Self::hash_blocking(params, &password)).await
    }

    /// Whether the password matches. Against `None` (no such user) it does the same work and says no.
    ///
    /// # Errors
    /// Those of [`hash`](Self::hash).
    pub async fn verify(
        &self,
        password: Box<str>,
        hash: Option<PasswordHash>,
    ) -> Result<bool, StoreError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.clone());
        let matches = self.run(move || hash.matches(&password)).await?;
        Ok(known && matches)
    }

    /// Whether a hash was made with other parameters than new ones are.
    #[must_use]
    pub fn is_outdated(&self, hash: &PasswordHash) -> bool {
        hash.params() != Ok(self.params)
    }

    /// Hashes at once on this thread, for import tools.
    ///
    /// # Errors
    /// When the parameters are out of their range, or there is no memory.
    pub fn hash_blocking(
        params: PasswordParams,
        password: &str,
    ) -> Result<PasswordHash, PasswordHashError> {
        let hash = params.argon2()?.hash_password(password.as_bytes());
        let hash = hash.map_err(PasswordHashError::new)?;
        Ok(PasswordHash(hash.to_string().into()))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordHashError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let busy = StoreError::Busy { retry_after: RETRY_AFTER };
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| busy)?;
        let core = Arc::clone(&self.cores).acquire_owned().await;
        let core = core.map_err(|_| StoreError::Internal)?;
        // The permits go along, so that work whose caller has gone still counts.
        let task = self.blocking.run(move || {
            let outcome = work();
            drop((core, place));
            outcome
        });
        let outcome = task.await.map_err(|_| StoreError::Internal)?;
        outcome.map_err(|error| {
            tracing::error!(%error, "password hashing failed");
            StoreError::Internal
        })
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

/// How many may wait for each core: about ten seconds of work at the default cost. A login that waits longer is better
/// told so.
const MAX_WAITING: usize = 512;

/// In this time some fifty places per core come free at the default cost.
const RETRY_AFTER: Duration = Duration::from_secs(1);

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
    use std::sync::mpsc;

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
        let hash = |password| Hasher::hash_blocking(CHEAP, password).unwrap();
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

    #[tokio::test]
    async fn verifies_and_says_no_to_unknown_users() {
        let hasher = Hasher::new(CHEAP);
        let hash = hasher.hash("surabaya".into()).await.unwrap();
        let verify = |password: &str, hash| hasher.verify(password.into(), hash);
        assert_eq!(verify("surabaya", Some(hash.clone())).await, Ok(true));
        assert_eq!(verify("wrong", Some(hash.clone())).await, Ok(false));
        assert_eq!(verify("surabaya", None).await, Ok(false));
        assert!(!hasher.is_outdated(&hash));
        assert!(Hasher::new(PasswordParams::default()).is_outdated(&hash));
    }

    /// Unknown users must cost what known ones do, so their hash must be one that is really verified.
    #[test]
    fn the_dummy_is_a_hash_like_others() {
        let params = PasswordParams::default();
        let dummy = PasswordHash::dummy(params);
        assert_eq!(dummy.as_str().parse(), Ok(dummy.clone()));
        assert_eq!(dummy.params(), Ok(params));
        let real = Hasher::hash_blocking(params, "surabaya").unwrap();
        assert_eq!(dummy.as_str().len(), real.as_str().len());
        assert_eq!(PasswordHash::dummy(CHEAP).matches("surabaya"), Ok(false));
    }

    #[tokio::test]
    async fn bad_parameters_are_an_error() {
        let bad = PasswordParams { lanes: 0, ..CHEAP };
        assert!(bad.check().is_err());
        let hasher = Hasher::new(bad);
        assert_eq!(hasher.hash("surabaya".into()).await, Err(StoreError::Internal));
        assert_eq!(hasher.verify("surabaya".into(), None).await, Err(StoreError::Internal));
    }

    #[tokio::test]
    async fn beyond_the_room_is_busy_and_places_come_back() {
        let hasher = Hasher::with_room(CHEAP, 1, 1);
        let (open, gate) = mpsc::channel();
        let mut running = Box::pin(hasher.run(move || {
            gate.recv().unwrap();
            Ok(())
        }));
        let mut waiting = Box::pin(hasher.run(|| Ok(())));
        assert!(poll_once(&mut running).await.is_none());
        assert!(poll_once(&mut waiting).await.is_none());

        let busy = Err(StoreError::Busy { retry_after: RETRY_AFTER });
        assert_eq!(hasher.run(|| Ok(())).await, busy);
        drop(waiting);
        let mut waiting = Box::pin(hasher.run(|| Ok(())));
        assert!(poll_once(&mut waiting).await.is_none());

        // Work whose caller has gone keeps its place until it is done.
        drop(running);
        assert_eq!(hasher.run(|| Ok(())).await, busy);
        open.send(()).unwrap();
        assert_eq!(waiting.await, Ok(()));
        assert_eq!(hasher.run(|| Ok(())).await, Ok(()));
    }

    /// Polls once.
    async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
