//! A proxy that makes a broken server of a good one.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddling {
    /// Nothing.
    Nothing,
    /// Sending is answered before anything is stored: what the server has not stored when it is killed is lost.
    AnswersEarly,
    /// `ack` is answered before it is carried out: if the connection or the server breaks, it never is.
    AcksEarly,
    /// A KEY is another one each time it is used.
    ForgetsKeys,
    /// Of messages sent in one piece two that follow each other are stored the other way round, where they have one
    /// recipient.
    Swaps,
    /// One in so many messages is left out when it is read.
    Drops(u64),
    /// One in so many messages is read under the id of the one before.
    ReusesId(u64),
    /// One in so many messages is read with another text.
    Invents(u64),
}

/// The proxy. It ends when this is dropped.
#[derive(Debug)]
pub struct Meddler {
    address: SocketAddr,
    counted: watch::Receiver<u64>,
    _relays: JoinSet<()>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    /// What the server printed: where it listens is in there.
    said: PathBuf,
    meddling: Meddling,
    /// Messages that were read, and those posted where keys are replaced.
    counted: watch::Sender<u64>,
}

impl Meddler {
    /// Starts in front of the server whose output is in the file `said`, now or later.
    pub async fn start(said: &Path, meddling: Meddling) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { said: said.to_owned(), meddling, counted: watch::Sender::new(0) });
        let counted = shared.counted.subscribe();
        let mut relays = JoinSet::new();
        relays.spawn(async move {
            let mut relays = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                relays.spawn(relay(client, Arc::clone(&shared)));
                while relays.try_join_next().is_some() {}
            }
        });
        Self { address, counted, _relays: relays }
    }

    /// Waits until so many messages were read through it.
    pub async fn has_passed(&self, messages: u64) {
        self.counted.clone().wait_for(|counted| *counted >= messages).await.unwrap();
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Relays until either side ends, and ends the other the same way.
async fn relay(client: TcpStream, shared: Arc<Shared>) {
    let server = async { TcpStream::connect(listening(&shared.said)?).await.ok() };
    let Some(server) = server.await else {
        let _ = client.set_zero_linger();
        return;
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let mut relay = Relay {
        client,
        server,
        from_client: Vec::new(),
        from_server: Vec::new(),
        due: VecDeque::new(),
        held: None,
        shared,
    };
    if relay.run().await.is_err() {
        // What is broken already needs no reset.
        let _ = relay.client.set_zero_linger();
        let _ = relay.server.set_zero_linger();
    }
}

/// The address that a server printed last.
fn listening(said: &Path) -> Option<SocketAddr> {
    let said = std::fs::read_to_string(said).ok()?;
    said.lines().rev().find_map(|line| line.strip_prefix("listening on ")?.parse().ok())
}

impl Shared {
    /// The number of what is counted here, from 1 on.
    fn number(&self) -> u64 {
        let mut number = 0;
        self.counted.send_modify(|counted| {
            *counted += 1;
            number = *counted;
        });
        number
    }
}

struct Relay {
    client: TcpStream,
    server: TcpStream,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    /// For each reply that the server owes: whether the client gets it.
    due: VecDeque<bool>,
    /// An `ack` that was answered and not handed on.
    held: Option<String>,
    shared: Arc<Shared>,
}

impl Relay {
    /// Ends without an error when a side ended in order.
    async fn run(&mut self) -> io::Result<()> {
        loop {
            // Otherwise it would read 64 bytes at a time.
            self.from_client.reserve(READ_BYTES);
            self.from_server.reserve(READ_BYTES);
            tokio::select! {
                read = self.client.read_buf(&mut self.from_client) => {
                    if read? == 0 { return Ok(()); }
                    self.requests().await?;
                }
                read = self.server.read_buf(&mut self.from_server) => {
                    if read? == 0 { return Err(io::ErrorKind::ConnectionReset.into()); }
                    self.replies().await?;
                }
            }
        }
    }

    async fn requests(&mut self) -> io::Result<()> {
        let mut lines = take_units(&mut self.from_client, b"\n");
        if self.shared.meddling == Meddling::Swaps {
            swap(&mut lines);
        }
        for line in lines {
            self.request(line).await?;
        }
        Ok(())
    }

    async fn request(&mut self, line: String) -> io::Result<()> {
        if let Some(ack) = self.held.take() {
            self.hand_on(&ack, false).await?;
        }
        match (self.shared.meddling, line.split(' ').next()) {
            (Meddling::AnswersEarly, Some("send")) => {
                self.answer(&json!({"status": "OK", "message": "Message Sent"})).await?;
                self.hand_on(&line, false).await
            }
            (Meddling::AnswersEarly, Some("post")) => {
                let time = "2026-01-01T00:00:00.000Z";
                let posted = json!({
                    "status": "OK", "id": "0", "time": time, "duplicate": false, "durability": "power_loss"
                });
                self.answer(&posted).await?;
                self.hand_on(&line, false).await
            }
            (Meddling::ForgetsKeys, Some("post")) => {
                let words: Vec<&str> = line.splitn(4, ' ').collect();
                let [post, token, _, rest] = words[..] else { panic!("no post: {line}") };
                let key = self.shared.number();
                self.hand_on(&format!("{post} {token} {key} {rest}"), true).await
            }
            (Meddling::AcksEarly, Some("ack")) => {
                self.held = Some(line);
                self.answer(&json!({"status": "OK"})).await
            }
            _ => self.hand_on(&line, true).await,
        }
    }

    async fn hand_on(&mut self, line: &str, reply_is_wanted: bool) -> io::Result<()> {
        self.due.push_back(reply_is_wanted);
        self.server.write_all(line.as_bytes()).await
    }

    async fn answer(&mut self, reply: &Value) -> io::Result<()> {
        self.client.write_all(format!("{reply}\r\n\r\n").as_bytes()).await
    }

    async fn replies(&mut self) -> io::Result<()> {
        for frame in take_units(&mut self.from_server, b"\r\n\r\n") {
            let mut value: Value = serde_json::from_str(&frame).unwrap();
            let wanted = value.get("status").is_none() || self.due.pop_front().unwrap();
            if !wanted || !self.spoil(&mut value) {
                continue;
            }
            self.answer(&value).await?;
        }
        Ok(())
    }

    /// Breaks the messages in a reply or event. False if nothing is left of it.
    fn spoil(&self, value: &mut Value) -> bool {
        if value.get("event").is_some_and(|event| event == "message") {
            return self.spoil_one(value);
        }
        match value.get_mut("messages") {
            Some(Value::Array(flat)) => flat.retain_mut(|message| self.spoil_one(message)),
            Some(Value::Object(senders)) => {
                for (_, list) in senders.iter_mut() {
                    list.as_array_mut().unwrap().retain_mut(|message| self.spoil_one(message));
                }
            }
            _ => {}
        }
        true
    }

    /// Breaks a message if it is its turn. False if it is to be left out.
    fn spoil_one(&self, message: &mut Value) -> bool {
        let number = self.shared.number();
        match self.shared.meddling {
            Meddling::Drops(one_in) => return !number.is_multiple_of(one_in),
            Meddling::ReusesId(one_in) if number.is_multiple_of(one_in) => {
                let id: u64 = message["id"].as_str().unwrap().parse().unwrap();
                message["id"] = (id - 1).to_string().into();
            }
            Meddling::Invents(one_in) if number.is_multiple_of(one_in) => {
                let body = if message.get("msg").is_some() { "msg" } else { "body" };
                message[body] = message[body].as_str().unwrap().replace("xx", "xy").into();
            }
            _ => {}
        }
        true
    }
}

/// Takes all whole units with their ends.
fn take_units(buffer: &mut Vec<u8>, end: &[u8]) -> Vec<String> {
    let mut units = Vec::new();
    while let Some(at) = buffer.windows(end.len()).position(|window| window == end) {
        let rest = buffer.split_off(at + end.len());
        let unit = std::mem::replace(buffer, rest);
        units.push(String::from_utf8(unit).unwrap());
    }
    units
}

/// Swaps the first two neighbours that go to one recipient.
fn swap(lines: &mut [String]) {
    let recipient = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["send", _, to, ..] | ["post", _, _, to, ..] => Some(to.to_owned()),
            _ => None,
        }
    };
    let recipients: Vec<_> = lines.iter().map(|line| recipient(line)).collect();
    let pair = recipients.windows(2).position(|pair| pair[0].is_some() && pair[0] == pair[1]);
    if let Some(first) = pair {
        lines.swap(first, first + 1);
    }
}

const READ_BYTES: usize = 64 * 1024;
