//! A server of an in-memory store, and peers to talk to it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chat_core::account::PasswordParams;
use chat_core::store::{NewAccount, Store, StoreOptions};
use chat_core::{Clock, Timestamp};
use chat_server::{Listener, Served, Server, ServerConfig, Transport};
use serde_json::Value;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const PASSWORD: &str = "surabaya";

/// A server at work.
pub(crate) struct Running<A> {
    pub(crate) store: Store,
    pub(crate) stop: CancellationToken,
    pub(crate) at: A,
    pub(crate) clock: Arc<HandClock>,
    task: JoinHandle<Served>,
}

/// Shows the time it is set to.
#[derive(Default)]
pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    pub(crate) fn forward(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, Ordering::Relaxed);
    }

    /// Sets it forward or back.
    pub(crate) fn shift(&self, minutes: i64) {
        self.0.fetch_add(minutes * 60_000, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000 + self.0.load(Ordering::Relaxed))
    }
}

/// Where a server that listens to pipes is reached.
pub(crate) struct Pipes<T>(mpsc::Sender<T>);

struct PipeListener<T>(mpsc::Receiver<T>);

impl<T: Transport> Listener for PipeListener<T> {
    type Transport = T;

    async fn accept(&mut self) -> io::Result<(T, String)> {
        match self.0.recv().await {
            Some(pipe) => Ok((pipe, "pipe".into())),
            None => std::future::pending().await,
        }
    }
}

pub(crate) async fn on_pipes() -> Running<Pipes<DuplexStream>> {
    on_transports(ServerConfig::default()).await
}

/// A server whose peers are transports of the test's own making.
pub(crate) async fn on_transports<T: Transport>(config: ServerConfig) -> Running<Pipes<T>> {
    on_store(config, |_| {}).await
}

/// The same with a store of the test's own options.
pub(crate) async fn on_store<T: Transport>(
    config: ServerConfig,
    set: impl FnOnce(&mut StoreOptions),
) -> Running<Pipes<T>> {
    let (pipes, accepted) = mpsc::channel(16);
    serve(config, set, PipeListener(accepted), Pipes(pipes)).await
}

pub(crate) async fn on_tcp(config: ServerConfig) -> Running<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    serve(config, |_| {}, listener, at).await
}

/// A store with the accounts `messi`, `lineker` and `henderson`.
async fn store(clock: Arc<HandClock>, set: impl FnOnce(&mut StoreOptions)) -> Store {
    let mut options = StoreOptions::default();
    set(&mut options);
    options.clock = clock;
    options.password = PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };
    let store = Store::in_memory(options).unwrap();
    for (username, name) in
        [("messi", "Lionel Messi"), ("lineker", "Gary Lineker"), ("henderson", "Jordan Henderson")]
    {
        let account = NewAccount {
            username: username.parse().unwrap(),
            name: name.parse().unwrap(),
            password: PASSWORD.into(),
        };
        store.create_account(account).await.unwrap();
    }
    store
}

async fn serve<L, A>(
    config: ServerConfig,
    set: impl FnOnce(&mut StoreOptions),
    listener: L,
    at: A,
) -> Running<A>
where
    L: Listener + 'static,
{
    let clock = Arc::new(HandClock::default());
    let store = store(Arc::clone(&clock), set).await;
    let server = Server::new(store.clone(), config).unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let task = TaskTracker::new().spawn(async move { server.serve(listener, stopped).await });
    Running { store, stop, at, clock, task }
}

impl<A> Running<A> {
    pub(crate) async fn token(&self, username: &str) -> String {
        self.store.login(username, PASSWORD).await.unwrap().expose()
    }

    /// Stops the server and waits until its connections are gone.
    pub(crate) async fn stop(&mut self) -> Served {
        self.stop.cancel();
        (&mut self.task).await.unwrap()
    }

    /// Drops the server in the middle of its work.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// What the store would give the user now, by the texts.
    pub(crate) async fn undelivered(&self, username: &str) -> Vec<String> {
        let token = self.store.login(username, PASSWORD).await.unwrap();
        let limit = chat_core::store::PageLimit { messages: 1000, bytes: usize::MAX, cost: |_| 0 };
        let session = chat_core::store::SessionKey::of(&token);
        let page = self.store.peek(session, None, limit).await.unwrap();
        page.messages.iter().map(|message| message.body.to_string()).collect()
    }

    /// Stores messages from lineker to messi.
    pub(crate) async fn write_to_messi(&self, texts: &[&str]) {
        self.write("lineker", "messi", texts).await;
    }

    /// Stores messages.
    pub(crate) async fn write(&self, from: &str, to: &str, texts: &[&str]) {
        let token = self.store.login(from, PASSWORD).await.unwrap();
        let session = chat_core::store::SessionKey::of(&token);
        let outgoing = |text: &&str| chat_core::store::Outgoing::new(session, to, *text);
        for outcome in self.store.send(texts.iter().map(outgoing).collect()).await {
            outcome.unwrap();
        }
    }
}

impl<T: Transport> Running<Pipes<T>> {
    pub(crate) async fn attach(&self, transport: T) {
        self.at.0.send(transport).await.unwrap();
    }
}

impl Running<Pipes<DuplexStream>> {
    pub(crate) async fn connect(&self) -> Client<DuplexStream> {
        self.connect_narrow(64 * 1024).await
    }

    /// Over a pipe that holds so many bytes each way.
    pub(crate) async fn connect_narrow(&self, bytes: usize) -> Client<DuplexStream> {
        let (ours, theirs) = duplex(bytes);
        self.attach(theirs).await;
        Client::new(ours)
    }
}

impl Running<SocketAddr> {
    pub(crate) async fn connect(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.at).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client::new(stream)
    }
}

/// A peer.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    heard: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn new(stream: S) -> Self {
        Self { stream, heard: Vec::new() }
    }

    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One reply or event.
    pub(crate) async fn hear(&mut self) -> Value {
        self.hear_or_end().await.expect("the connection ended")
    }

    /// One reply or event, or nothing at the end of the stream.
    pub(crate) async fn hear_or_end(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.heard.windows(4).position(|piece| piece == b"\r\n\r\n") {
                let reply: Vec<u8> = self.heard.drain(..end + 4).collect();
                assert!(reply.is_ascii());
                return Some(serde_json::from_slice(&reply).unwrap());
            }
            if self.stream.read_buf(&mut self.heard).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// Says a line the way existing clients do, and hears the reply.
    pub(crate) async fn ask(&mut self, line: &str) -> Value {
        self.say(format!("{line} \r\n")).await;
        self.hear().await
    }

    pub(crate) async fn ask_code(&mut self, line: &str) -> String {
        code(&self.ask(line).await)
    }

    pub(crate) async fn login(&mut self, username: &str) -> String {
        let reply = self.ask(&format!("auth {username} {PASSWORD}")).await;
        reply["tokenid"].as_str().unwrap().to_owned()
    }

    /// Logs in and watches from what is undelivered on.
    pub(crate) async fn watch(&mut self, username: &str) -> String {
        let token = self.login(username).await;
        assert_eq!(self.ask_code(&format!("watch {token}")).await, "OK");
        token
    }

    /// One event of this name.
    pub(crate) async fn event(&mut self, name: &str) -> Value {
        let event = self.hear().await;
        assert_eq!(event["event"], name, "{event}");
        assert!(event.get("status").is_none(), "{event}");
        event
    }

    /// The texts of so many `message` events.
    pub(crate) async fn pushed(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            texts.push(self.event("message").await["body"].as_str().unwrap().to_owned());
        }
        texts
    }

    /// Makes sure that nothing else came than the reply to this.
    pub(crate) async fn hears_nothing_more(&mut self) {
        assert_eq!(self.ask("ping is there more").await["text"], "is there more");
    }

    /// The texts `inbox` gives.
    pub(crate) async fn inbox(&mut self, token: &str) -> Vec<String> {
        texts(&self.ask(&format!("inbox {token}")).await)
    }

    /// Reads to the end, which must come without another reply.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        let read = self.stream.read_buf(&mut self.heard).await?;
        assert_eq!(read, 0, "{:?}", String::from_utf8_lossy(&self.heard));
        Ok(())
    }
}

impl Client<TcpStream> {
    /// Breaks the connection.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// The code of an error reply; `OK` for any other.
pub(crate) fn code(reply: &Value) -> String {
    match reply["status"].as_str() {
        Some("OK") => "OK".into(),
        _ => reply["code"].as_str().unwrap().into(),
    }
}

/// The texts in a reply to `inbox`.
pub(crate) fn texts(reply: &Value) -> Vec<String> {
    let senders = reply["messages"].as_object().unwrap().values();
    let messages = senders.flat_map(|messages| messages.as_array().unwrap());
    messages.map(|message| message["msg"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn minutes(minutes: u64) -> Duration {
    seconds(60 * minutes)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
