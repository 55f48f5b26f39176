//! A server to talk to.

use std::net::SocketAddr;

use chat_client::Client;
use chat_core::account::PasswordParams;
use chat_core::store::{NewAccount, Store, StoreOptions};
use chat_server::{Served, Server, ServerConfig};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A server of an in-memory store with the accounts `messi` and `lineker`.
pub(crate) struct Running {
    pub(crate) at: SocketAddr,
    /// Bound and not listening: while the server is down no other connection gets its port.
    port: TcpSocket,
    store: Store,
    stop: CancellationToken,
    task: JoinHandle<Served>,
}

impl Running {
    pub(crate) async fn start() -> Self {
        let mut options = StoreOptions::default();
        // As cheap as a hash gets: nothing here is about it.
        options.password = PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };
        let store = Store::in_memory(options).unwrap();
        for (username, name) in [("messi", "Lionel Messi"), ("lineker", "Gary Lineker")] {
            let account = NewAccount {
                username: username.parse().unwrap(),
                name: name.parse().unwrap(),
                password: PASSWORD.into(),
            };
            store.create_account(account).await.unwrap();
        }
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self::serve(store, port).await
    }

    async fn serve(store: Store, port: TcpSocket) -> Self {
        let at = port.local_addr().unwrap();
        let listener = TcpListener::bind(at).await.unwrap();
        let server = Server::new(store.clone(), ServerConfig::default()).unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = TaskTracker::new().spawn(async move { server.serve(listener, stopped).await });
        Self { at, port, store, stop, task }
    }

    /// Another server of the same store, at the same address.
    pub(crate) async fn restart(self) -> Self {
        let Self { port, store, stop, task, .. } = self;
        stop.cancel();
        task.await.unwrap();
        Self::serve(store, port).await
    }

    pub(crate) async fn client_of(&self, username: &str) -> Client {
        let client = Client::connect(self.at).await.unwrap();
        client.login(username, PASSWORD).await.unwrap();
        client
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

pub(crate) async fn bodies(client: &Client) -> Vec<String> {
    let delivery = client.inbox().await.unwrap();
    let messages = delivery.messages().iter();
    messages.map(|message| message.body.clone()).collect()
}

pub(crate) const PASSWORD: &str = "surabaya";
