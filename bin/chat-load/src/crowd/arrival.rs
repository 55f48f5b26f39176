//! All come at once.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::client::{Causes, Client, ClientError};
use super::entry::Entry;
use crate::tally::count_cause;
use crate::tokens::Session;

/// How a number of clients came in.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Arrival {
    pub(super) clients: usize,
    /// From the first connection to the last answer.
    pub(super) seconds: f64,
    /// Until a client was connected.
    pub(super) connect_ms: Waits,
    /// Until a client was answered.
    pub(super) answer_ms: Waits,
    /// The longest time in which nobody was answered.
    pub(super) longest_pause_ms: f64,
}

/// Percentiles of how long clients waited, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Waits {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// Where the clients come from and go to.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) server: SocketAddr,
    /// Addresses to connect from, in turn; none if that is left to the system.
    pub(super) from: Vec<IpAddr>,
    pub(super) timeout: Duration,
    /// How many may be on their way at the same time.
    pub(super) coming: usize,
}

/// One client's way in.
struct Arrived {
    number: usize,
    client: Client,
    session: Session,
    begun: Instant,
    connected: Instant,
    answered: Instant,
}

/// Has a client come by each entry. Gives those that were let in, in the order of the entries, and how many were not for
/// which cause.
pub(super) async fn arrive(
    route: &Arc<Route>,
    entries: &[Entry],
) -> (Vec<(Client, Session)>, Result<Arrival, Causes>) {
    let begun = Instant::now();
    let (mut coming, gate) = (JoinSet::new(), Arc::new(Semaphore::new(route.coming)));
    for (number, entry) in entries.iter().cloned().enumerate() {
        coming.spawn(come(Arc::clone(route), Arc::clone(&gate), number, entry));
    }
    let (mut arrived, mut causes) = (Vec::with_capacity(entries.len()), Causes::new());
    while let Some(client) = coming.join_next().await {
        match client {
            Ok(Ok(client)) => arrived.push(client),
            Ok(Err(error)) => count_cause(&mut causes, error.to_string()),
            Err(error) => count_cause(&mut causes, error.to_string()),
        }
    }
    arrived.sort_unstable_by_key(|client| client.number);
    let outcome = if causes.is_empty() { Ok(Arrival::new(begun, &arrived)) } else { Err(causes) };
    (arrived.into_iter().map(|arrived| (arrived.client, arrived.session)).collect(), outcome)
}

async fn come(
    route: Arc<Route>,
    gate: Arc<Semaphore>,
    number: usize,
    entry: Entry,
) -> Result<Arrived, ClientError> {
    // The semaphore is never closed.
    let _way = gate.acquire().await;
    let begun = Instant::now();
    let from = number.checked_rem(route.from.len()).and_then(|turn| route.from.get(turn).copied());
    let coming = async {
        let mut client = Client::connect(route.server, from).await?;
        let connected = Instant::now();
        let session = entry.through(&mut client).await?;
        Ok(Arrived { number, client, session, begun, connected, answered: Instant::now() })
    };
    timeout(route.timeout, coming).await.unwrap_or(Err(ClientError::TimedOut))
}

impl Arrival {
    fn new(begun: Instant, arrived: &[Arrived]) -> Self {
        let mut answers: Vec<_> = arrived.iter().map(|client| client.answered).collect();
        answers.sort_unstable();
        let waited = |until: fn(&Arrived) -> Instant| {
            Waits::of(arrived.iter().map(|client| until(client) - client.begun))
        };
        let last = answers.last().copied().unwrap_or(begun);
        Self {
            clients: arrived.len(),
            seconds: (last - begun).as_secs_f64(),
            connect_ms: waited(|client| client.connected),
            answer_ms: waited(|client| client.answered),
            longest_pause_ms: longest_pause(begun, &answers).as_secs_f64() * 1e3,
        }
    }
}

impl Waits {
    fn of(waits: impl Iterator<Item = Duration>) -> Self {
        let mut sorted: Vec<_> = waits.collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let wait =
                sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)));
            wait.map_or(0.0, Duration::as_secs_f64) * 1e3
        };
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// Between neighbours of a sorted row, its beginning included.
fn longest_pause(begun: Instant, sorted: &[Instant]) -> Duration {
    let before = std::iter::once(&begun).chain(sorted);
    sorted.iter().zip(before).map(|(next, before)| *next - *before).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_may_be_the_first() {
        let begun = Instant::now();
        let at =
            |ms: &[u64]| ms.iter().map(|ms| begun + Duration::from_millis(*ms)).collect::<Vec<_>>();
        assert_eq!(longest_pause(begun, &at(&[70, 80, 100])), Duration::from_millis(70));
        assert_eq!(longest_pause(begun, &at(&[10, 80, 100])), Duration::from_millis(70));
        assert_eq!(longest_pause(begun, &[]), Duration::ZERO);
    }

    #[test]
    fn waits_are_told_in_milliseconds() {
        let waits = Waits::of((1..=200).rev().map(Duration::from_millis));
        assert_eq!((waits.p50, waits.p99, waits.max), (101.0, 199.0, 200.0));
        assert_eq!(Waits::of(std::iter::empty()).max, 0.0);
    }
}
