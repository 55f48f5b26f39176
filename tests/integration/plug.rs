//! Pulls the plug: `kill -9` at random moments under load, again and again on one data directory.
//!
//! `CHAT_TEST_ROUNDS` sets how often (20), `CHAT_TEST_SEED` repeats a run's random choices.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use chat_tests::client::{Kept, TextClient};
use chat_tests::daemon::{Daemon, PASSWORD, Site};
use chat_tests::within;
use fastrand::Rng;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[tokio::test]
#[allow(clippy::print_stderr, reason = "the seed, shown when the test fails")]
async fn nothing_acknowledged_is_lost_when_the_plug_is_pulled() {
    let seed = setting("CHAT_TEST_SEED").unwrap_or_else(|| Rng::new().u64(..));
    eprintln!("CHAT_TEST_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let site = Site::new("");
    site.import((0..USERS).map(username)).await;
    let mut daemon = site.start().await;
    let mut ledger = Ledger::new(tokens(&daemon).await);
    for round in 0..setting("CHAT_TEST_ROUNDS").unwrap_or(20) {
        let attempts = pull_plug(daemon, &ledger.tokens, &mut random, round).await;
        ledger.attempts.extend(attempts);
        daemon = site.start().await;
        ledger.check(daemon.address()).await;
    }
    assert!(ledger.attempts.iter().any(|attempt| attempt.acknowledged), "nothing was tested");
    daemon.stop().await;
}

/// A message that was sent. The attempts of one sender are in the order in which it sent them.
#[derive(Debug)]
struct Attempt {
    from: usize,
    to: usize,
    body: String,
    acknowledged: bool,
}

/// All that was sent, and what the mailboxes were last seen to hold.
struct Ledger {
    tokens: Arc<[String]>,
    attempts: Vec<Attempt>,
    mailboxes: Vec<Vec<Kept>>,
}

impl Ledger {
    fn new(tokens: Arc<[String]>) -> Self {
        Self { tokens, attempts: Vec::new(), mailboxes: vec![Vec::new(); USERS] }
    }

    async fn check(&mut self, address: SocketAddr) {
        for user in 0..USERS {
            let mut client = TextClient::connect(address).await;
            let kept = client.mailbox(&self.tokens[user]).await;
            let name = username(user);
            assert!(kept.starts_with(&self.mailboxes[user]), "what {name} was shown has changed");
            judge(&self.attempts, user, &kept).unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
            self.mailboxes[user] = kept;
        }
    }
}

/// What can be wrong with a mailbox.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Hole,
    Invented(String),
    RepeatedOrOutOfOrder(String),
    Lost(String),
}

/// Ids without a hole; what was acknowledged once, in order; nothing else twice; nothing that was never sent.
fn judge(attempts: &[Attempt], user: usize, kept: &[Kept]) -> Result<(), Fault> {
    let ids = kept.iter().map(|kept| kept.id);
    if !ids.eq((1..).take(kept.len())) {
        return Err(Fault::Hole);
    }
    let to_user = || attempts.iter().enumerate().filter(|(_, attempt)| attempt.to == user);
    let sent: HashMap<_, _> =
        to_user().map(|(order, a)| (a.body.as_str(), (a.from, order))).collect();
    let mut last_of = HashMap::new();
    for Kept { from, body, .. } in kept {
        let &(sender, order) = sent
            .get(body.as_str())
            .filter(|(sender, _)| username(*sender) == *from)
            .ok_or_else(|| Fault::Invented(body.clone()))?;
        if last_of.insert(sender, order) >= Some(order) {
            return Err(Fault::RepeatedOrOutOfOrder(body.clone()));
        }
    }
    let there: HashSet<&str> = kept.iter().map(|kept| kept.body.as_str()).collect();
    let lost = to_user().find(|(_, a)| a.acknowledged && !there.contains(a.body.as_str()));
    lost.map_or(Ok(()), |(_, attempt)| Err(Fault::Lost(attempt.body.clone())))
}

async fn tokens(daemon: &Daemon) -> Arc<[String]> {
    let mut tokens = Vec::new();
    for user in 0..USERS {
        tokens.push(TextClient::login(daemon.address(), &username(user), PASSWORD).await.1);
    }
    tokens.into()
}

/// Has everybody send until a random number of messages was acknowledged, and kills the daemon there and then.
async fn pull_plug(
    daemon: Daemon,
    tokens: &Arc<[String]>,
    random: &mut Rng,
    round: u64,
) -> Vec<Attempt> {
    let acknowledged = Arc::new(Semaphore::new(0));
    let mut senders = JoinSet::new();
    for user in 0..USERS {
        let client = TextClient::connect(daemon.address()).await;
        let sender = Sender {
            client,
            user,
            tokens: Arc::clone(tokens),
            random: random.fork(),
            pipeline: random.usize(1..=MOST_IN_FLIGHT),
            acknowledged: Arc::clone(&acknowledged),
            attempts: Vec::new(),
        };
        senders.spawn(sender.run(round));
    }
    let enough = random.u32(0..=MOST_ACKNOWLEDGED);
    within("messages to be acknowledged", acknowledged.acquire_many(enough))
        .await
        .unwrap()
        .forget();
    daemon.kill().await;
    senders.join_all().await.into_iter().flatten().collect()
}

struct Sender {
    client: TextClient,
    user: usize,
    tokens: Arc<[String]>,
    random: Rng,
    pipeline: usize,
    acknowledged: Arc<Semaphore>,
    attempts: Vec<Attempt>,
}

impl Sender {
    /// Sends until the connection breaks; gives what it sent.
    async fn run(mut self, round: u64) -> Vec<Attempt> {
        let mut unanswered = VecDeque::new();
        loop {
            while unanswered.len() < self.pipeline {
                let line = self.next(round);
                unanswered.push_back(self.attempts.len() - 1);
                if self.client.send(line.as_bytes()).await.is_err() {
                    return self.attempts;
                }
            }
            let Ok(reply) = self.client.receive().await else {
                return self.attempts;
            };
            let attempt: usize = unanswered.pop_front().expect("a reply that was asked for");
            let reply = String::from_utf8(reply).unwrap();
            assert!(reply.starts_with("{\"status\": \"OK\""), "{reply}");
            self.attempts[attempt].acknowledged = true;
            self.acknowledged.add_permits(1);
        }
    }

    fn next(&mut self, round: u64) -> String {
        let (from, to) = (self.user, self.random.usize(..USERS));
        let most = if self.random.u8(..) < 16 { MOST_PADDING } else { USUAL_PADDING };
        let size = self.random.usize(..most);
        let body = format!("{round}/{from}/{}/{}", self.attempts.len(), "x".repeat(size));
        let line = format!("send {} {} {body}\r\n", self.tokens[from], username(to));
        self.attempts.push(Attempt { from, to, body, acknowledged: false });
        line
    }
}

fn username(user: usize) -> String {
    format!("user{user}")
}

fn setting(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect(variable))
}

const USERS: usize = 24;
const MOST_IN_FLIGHT: usize = 8;
const MOST_ACKNOWLEDGED: u32 = 600;
const USUAL_PADDING: usize = 200;
/// Now and then a message takes more than a page of the store's file.
const MOST_PADDING: usize = 6_000;

mod the_judge {
    use super::*;

    /// Two senders; the second message of the first was not acknowledged.
    fn attempts() -> Vec<Attempt> {
        let attempt = |from, body: &str, acknowledged| Attempt {
            from,
            to: 0,
            body: body.to_owned(),
            acknowledged,
        };
        vec![
            attempt(1, "1/a", true),
            attempt(1, "1/b", false),
            attempt(1, "1/c", true),
            attempt(2, "2/a", true),
        ]
    }

    fn verdict(bodies: &[&str]) -> Result<(), Fault> {
        let kept = bodies.iter().zip(1..).map(|(body, id)| Kept {
            id,
            from: format!("user{}", &body[..1]),
            body: (*body).to_owned(),
        });
        judge(&attempts(), 0, &kept.collect::<Vec<_>>())
    }

    #[test]
    fn accepts_the_unacknowledged_once_or_never() {
        assert_eq!(verdict(&["1/a", "1/b", "2/a", "1/c"]), Ok(()));
        assert_eq!(verdict(&["2/a", "1/a", "1/c"]), Ok(()));
    }

    #[test]
    fn catches_each_fault() {
        assert_eq!(verdict(&["1/a", "1/b", "1/c"]), Err(Fault::Lost("2/a".to_owned())));
        let repeated = |body: &str| Err(Fault::RepeatedOrOutOfOrder(body.to_owned()));
        assert_eq!(verdict(&["1/a", "1/b", "1/b", "1/c", "2/a"]), repeated("1/b"));
        assert_eq!(verdict(&["1/a", "1/c", "1/b", "2/a"]), repeated("1/b"));
        let invented = Err(Fault::Invented("1/x".to_owned()));
        assert_eq!(verdict(&["1/a", "1/c", "1/x", "2/a"]), invented);
        let holed = [Kept { id: 2, from: "user1".to_owned(), body: "1/a".to_owned() }];
        assert_eq!(judge(&attempts(), 0, &holed), Err(Fault::Hole));
    }
}
