//! The least that a login must do, to hold real logins against: the password hash alone.

use std::hint::black_box;
use std::io::{self, Write};
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde::Serialize;
use tokio::time::Instant;

use crate::process::Process;
use crate::reports::units::{float, ratio};

/// Argon2id on so many threads at once.
#[derive(Debug, Serialize)]
struct BareHash {
    threads: usize,
    hashes: u64,
    hashes_per_second: f64,
    /// Of this program: what CPU time is worth in hashes.
    hashes_per_cpu_second: f64,
}

/// Hashes for so long on so many threads, by default one a core, and prints the rate as JSON.
///
/// The cost is the daemon's default (19 MiB, two passes, one lane: `Params::default`). Every thread keeps its memory
/// from one hash to the next, which is as fast as it gets.
pub(crate) fn run(
    duration: Duration,
    threads: Option<NonZero<usize>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let cores = || thread::available_parallelism().ok();
    let threads = threads.or_else(cores).map_or(1, NonZero::get);
    let process = Process::own()?;
    let (began, used) = (Instant::now(), process.cpu()?);
    let until = began + duration;
    let hashes = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| hash_until(until))).collect();
        let gone = |_| io::Error::other("a thread ended early");
        threads.into_iter().map(|thread| thread.join().map_err(gone)?).sum::<io::Result<u64>>()
    })?;
    let rate = BareHash {
        threads,
        hashes,
        hashes_per_second: ratio(float(hashes), began.elapsed().as_secs_f64()),
        hashes_per_cpu_second: ratio(float(hashes), (process.cpu()? - used).as_secs_f64()),
    };
    writeln!(io::stdout(), "{}", serde_json::to_string(&rate)?)?;
    Ok(())
}

fn hash_until(until: Instant) -> io::Result<u64> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default());
    let mut memory = vec![Block::default(); argon2.params().block_count()];
    let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
    let mut hashes = 0;
    loop {
        argon2
            .hash_password_into_with_memory(PASSWORD, SALT, &mut hash, &mut memory)
            .map_err(|error| io::Error::other(error.to_string()))?;
        black_box(&hash);
        hashes += 1;
        if Instant::now() >= until {
            return Ok(hashes);
        }
    }
}

const PASSWORD: &[u8] = b"surabaya-1";
const SALT: &[u8] = b"16 bytes of salt";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_enough_for_one() {
        assert_eq!(hash_until(Instant::now()).unwrap(), 1);
    }

    /// `docs/operations.md`, `passwords.*`.
    #[test]
    fn the_cost_is_the_default_of_the_daemon() {
        let params = Params::default();
        let cost = (params.m_cost(), params.t_cost(), params.p_cost());
        assert_eq!(cost, (19 * 1024, 2, 1));
    }
}
