//! A server that cuts the connection at random, answers and pushes in halves, repeats itself and leaves out: what was posted is
//! stored once, and a watch gives all of it once and in order.

use std::collections::HashSet;
use std::time::Duration;

use chat_client::{Backoff, Client, ConnectOptions, Event, Random as _, Watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::peer::{HELLO_ALL, Network, OK, Peer, Seeded, TOKEN};

/// What outlives connections.
struct Server {
    random: Seeded,
    /// The keys of the messages, in order; message `i` has the id `i + 1`.
    stored: Vec<String>,
    left_out: HashSet<usize>,
}

/// Only says that there is nothing more to serve on this connection.
struct Cut;

impl Server {
    fn one_in(&self, chance: u64) -> bool {
        self.random.next_u64().is_multiple_of(chance)
    }

    async fn serve(&mut self, peer: &mut Peer) -> Result<(), Cut> {
        let mut pushed = None;
        while let Some(line) = peer.next_request().await {
            self.cut_sometimes()?;
            let words: Vec<&str> = line.split(' ').collect();
            match *words.as_slice() {
                ["hello", ..] => self.say(peer, HELLO_ALL).await?,
                ["ping", ..] => self.say(peer, r#"{"status": "OK", "text": ""}"#).await?,
                ["post", TOKEN, key, "messi", _] => self.post(peer, key).await?,
                ["watch", TOKEN] => pushed = Some(self.watch(peer, 0).await?),
                ["watch", TOKEN, after, "i1"] => {
                    pushed = Some(self.watch(peer, after.parse().unwrap()).await?);
                }
                ["unwatch", TOKEN] => {
                    pushed = None;
                    self.say(peer, OK).await?;
                }
                _ => panic!("{line}"),
            }
            if let Some(pushed) = &mut pushed {
                self.push(peer, pushed).await?;
            }
        }
        Err(Cut)
    }

    async fn post(&mut self, peer: &mut Peer, key: &str) -> Result<(), Cut> {
        let known = self.stored.iter().any(|stored| stored == key);
        if !known {
            self.stored.push(key.to_owned());
        }
        self.cut_sometimes()?;
        let reply = format!(
            r#"{{"status": "OK", "id": "{key}", "time": "2026-11-18T11:06:40.007Z", "duplicate": {known}, "durability": "power_loss"}}"#
        );
        self.say(peer, &reply).await
    }

    async fn watch(&mut self, peer: &mut Peer, after: usize) -> Result<usize, Cut> {
        assert!(after <= self.stored.len());
        let reply = format!(
            r#"{{"status": "OK", "incarnation": "i1", "resume": "exact", "after": "{after}"}}"#
        );
        self.say(peer, &reply).await?;
        Ok(after)
    }

    async fn push(&mut self, peer: &mut Peer, pushed: &mut usize) -> Result<(), Cut> {
        while *pushed < self.stored.len() {
            *pushed += 1;
            let behind = *pushed < self.stored.len();
            if behind && self.one_in(20) && self.left_out.insert(*pushed) {
                continue;
            }
            for _ in 0..=usize::from(self.one_in(10)) {
                let (id, key) = (*pushed, &self.stored[*pushed - 1]);
                let event = format!(
                    r#"{{"event": "message", "id": "{id}", "time": "2026-11-18T11:06:40.007Z", "from": "messi", "from_name": "M", "to": "messi", "body": "{key}"}}"#
                );
                self.say(peer, &event).await?;
            }
        }
        Ok(())
    }

    async fn say(&self, peer: &mut Peer, json: &str) -> Result<(), Cut> {
        if self.one_in(25) {
            peer.send(&json.as_bytes()[..json.len() / 2]).await;
            return Err(Cut);
        }
        peer.reply(json).await;
        Ok(())
    }

    fn cut_sometimes(&self) -> Result<(), Cut> {
        if self.one_in(25) { Err(Cut) } else { Ok(()) }
    }
}

/// Posts under a key until that is confirmed.
async fn post(client: Client, key: String) {
    while let Err(error) = client.post(&key, "messi", "x").await {
        assert!(error.is_retryable(), "{error:?}");
    }
}

/// Reads until that many messages have come, at a pace of its own.
async fn read(watch: &mut Watch, messages: usize, random: &Seeded) -> Vec<String> {
    let mut bodies: Vec<String> = Vec::new();
    while bodies.len() < messages {
        match watch.next().await.unwrap() {
            Event::Message(message) => {
                bodies.push(message.body);
                assert_eq!(message.id.get(), u64::try_from(bodies.len()).unwrap());
            }
            Event::Lagging => {}
            other => panic!("{other:?}"),
        }
        if random.next_u64().is_multiple_of(4) {
            sleep(Duration::from_millis(random.next_u64() % 200)).await;
        }
    }
    bodies
}

/// Returns when the client tried to connect.
async fn round(seed: u64) -> Vec<Duration> {
    let start = Instant::now();
    let mut network = Network::new();
    let options = ConnectOptions::default()
        .reconnect(Backoff::new(Duration::from_millis(10), Duration::from_millis(100)))
        .event_buffer(16);
    let (client, mut peer) = network.client(options).await;
    let mut server =
        Server { random: Seeded::new(seed), stored: Vec::new(), left_out: HashSet::new() };
    let reader = Seeded::new(seed ^ 0xff);
    let conversation = async {
        let mut watch = client.watch().await.unwrap();
        let mut posts = JoinSet::new();
        for number in 0..MESSAGES {
            posts.spawn(post(client.clone(), format!("k{number}")));
            if number % 8 == 0 {
                sleep(Duration::from_millis(reader.next_u64() % 100)).await;
            }
        }
        let bodies = read(&mut watch, MESSAGES, &reader).await;
        posts.join_all().await;
        bodies
    };
    let serving = async {
        loop {
            let Err(Cut) = server.serve(&mut peer).await else { unreachable!() };
            drop(peer);
            network.fail(usize::try_from(server.random.next_u64() % 3).unwrap());
            let Some(next) = network.accept_silently().await else { break };
            peer = next;
        }
    };
    let bodies = tokio::select! {
        biased;
        bodies = timeout(Duration::from_secs(3600), conversation) => bodies.expect("it ends"),
        () = serving => unreachable!("the client is there"),
    };
    assert_eq!(bodies, server.stored);
    let keys: HashSet<_> = bodies.iter().collect();
    assert_eq!(keys.len(), MESSAGES);
    network.attempts.lock().unwrap().iter().map(|at| *at - start).collect()
}

const MESSAGES: usize = 60;

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_repeated_or_left_out() {
    let mut connections = 0;
    for seed in 0..100 {
        // Shown if the round fails.
        println!("seed {seed}");
        connections += round(seed).await.len();
    }
    assert!(connections > 100 * 5, "the rounds were too quiet: {connections}");
}

/// What a simulation needs: nothing but the random source and the clock decides what the client does.
#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        assert_eq!(round(seed).await, round(seed).await);
    }
}
