//! All talk: each sends to random others, the next message when the last one was answered.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::client::{Causes, Client, ClientError};
use crate::tally::count_cause;
use crate::tokens::Session;

/// What each got of the server's time.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Talk {
    pub(super) seconds: f64,
    /// Messages answered in that time.
    pub(super) answered: u64,
    pub(super) answered_per_second: f64,
    /// Messages a second that one client had answered.
    pub(super) per_client: Rates,
    /// The slowest client's rate over the median's.
    pub(super) fairness: f64,
    /// The longest that any message waited for its answer.
    pub(super) longest_wait_ms: f64,
}

/// Rates of the clients, in messages a second.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Rates {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
}

/// What the clients say.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) sessions: Vec<Session>,
    pub(super) body: String,
    pub(super) time: Duration,
    pub(super) timeout: Duration,
    pub(super) seed: u64,
}

/// What one client did.
struct Talked {
    answered: u64,
    longest_wait: Duration,
}

/// Has the clients talk, each as the session of its place. Gives them back, if all were served.
pub(super) async fn talk(
    clients: Vec<Client>,
    topic: &Arc<Topic>,
) -> (Vec<Client>, Result<Talk, Causes>) {
    let mut talking = JoinSet::new();
    let until = Instant::now() + topic.time;
    let count = clients.len();
    for (client, number) in clients.into_iter().zip(0..) {
        talking.spawn(talk_one(client, number, Arc::clone(topic), until));
    }
    let (mut clients, mut talked, mut causes) =
        (Vec::with_capacity(count), Vec::with_capacity(count), Causes::new());
    while let Some(client) = talking.join_next().await {
        match client {
            Ok((client, outcome)) => {
                clients.push(client);
                match outcome {
                    Ok(one) => talked.push(one),
                    Err(error) => count_cause(&mut causes, error.to_string()),
                }
            }
            Err(error) => count_cause(&mut causes, error.to_string()),
        }
    }
    (clients, if causes.is_empty() { Ok(Talk::new(&talked, topic.time)) } else { Err(causes) })
}

async fn talk_one(
    mut client: Client,
    number: usize,
    topic: Arc<Topic>,
    until: Instant,
) -> (Client, Result<Talked, ClientError>) {
    let mut talked = Talked { answered: 0, longest_wait: Duration::ZERO };
    let mut random = Rng::with_seed(topic.seed.wrapping_add(u64::try_from(number).unwrap_or(0)));
    while Instant::now() < until {
        let line = topic.line(number, &mut random);
        let sent = Instant::now();
        match timeout(topic.timeout, client.tell(&line)).await {
            Ok(Ok(())) => {
                talked.longest_wait = talked.longest_wait.max(sent.elapsed());
                talked.answered += u64::from(Instant::now() < until);
            }
            Ok(Err(error)) => return (client, Err(error)),
            Err(_) => return (client, Err(ClientError::TimedOut)),
        }
    }
    (client, Ok(talked))
}

impl Topic {
    fn line(&self, number: usize, random: &mut Rng) -> String {
        let token = self.sessions.get(number).map_or("", |session| &session.token);
        let to = random.choice(&self.sessions).map_or("", |session| &session.username);
        format!("send {token} {to} {}\r\n", self.body)
    }
}

impl Talk {
    fn new(talked: &[Talked], time: Duration) -> Self {
        let mut answered: Vec<_> = talked.iter().map(|one| one.answered).collect();
        answered.sort_unstable();
        let rate = |count: Option<&u64>| ratio(count.copied().unwrap_or(0), time.as_secs_f64());
        let per_client = Rates {
            min: rate(answered.first()),
            median: rate(answered.get(answered.len() / 2)),
            max: rate(answered.last()),
        };
        let longest = talked.iter().map(|one| one.longest_wait).max().unwrap_or_default();
        let total = answered.iter().sum();
        Self {
            seconds: time.as_secs_f64(),
            answered: total,
            answered_per_second: ratio(total, time.as_secs_f64()),
            per_client,
            fairness: if per_client.median > 0.0 {
                per_client.min / per_client.median
            } else {
                0.0
            },
            longest_wait_ms: longest.as_secs_f64() * 1e3,
        }
    }
}

/// Of a count and a time, which is never so short that it is none.
fn ratio(count: u64, seconds: f64) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from) / seconds.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(answered: &[u64]) -> Talk {
        let one = |answered: &u64| Talked {
            answered: *answered,
            longest_wait: Duration::from_millis(*answered),
        };
        Talk::new(&answered.iter().map(one).collect::<Vec<_>>(), Duration::from_secs(2))
    }

    #[test]
    fn fairness_is_the_slowest_over_the_median() {
        let talk = talk(&[40, 10, 20, 30, 50]);
        assert_eq!((talk.answered, talk.longest_wait_ms), (150, 50.0));
        let Rates { min, median, max } = talk.per_client;
        assert_eq!((min, median, max), (5.0, 15.0, 25.0));
        assert!((talk.fairness - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn who_is_served_by_nobody_starves() {
        assert_eq!(talk(&[0, 0, 0]).fairness, 0.0);
        assert_eq!(talk(&[0, 9, 9]).fairness, 0.0);
    }
}
