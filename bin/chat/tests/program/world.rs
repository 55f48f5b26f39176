//! A server, and the program to run against it.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use chat_core::account::PasswordParams;
use chat_core::store::{NewAccount, Store, StoreOptions};
use chat_server::{Served, Server, ServerConfig};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A server with the accounts `messi` and `lineker`, and a home for the program. The runtime's end is the server's.
pub(crate) struct World {
    runtime: Runtime,
    store: Store,
    stop: CancellationToken,
    server: JoinHandle<Served>,
    pub(crate) address: String,
    /// Bound and not listening: while the server is down no other connection gets its port.
    _port: TcpSocket,
    pub(crate) home: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let store = runtime.block_on(new_store());
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = port.local_addr().unwrap().to_string();
        let (stop, server) = serve(&runtime, store.clone(), &address);
        let home = tempfile::tempdir().unwrap();
        Self { runtime, store, stop, server, address, _port: port, home }
    }

    /// Stops the server and starts it again, with the same store at the same address.
    pub(crate) fn restart_server(&mut self) {
        self.stop.cancel();
        self.runtime.block_on(&mut self.server).unwrap();
        (self.stop, self.server) = serve(&self.runtime, self.store.clone(), &self.address);
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("CHAT_SERVER", &self.address)
            .env("TZ", "UTC");
        command
    }

    pub(crate) fn chat(&self, arguments: &[&str], input: &str) -> Ran {
        run(self.command(arguments).stdout(Stdio::piped()), input)
    }

    pub(crate) fn log_in(&self, username: &str) {
        let ran = self.chat(&["login", username, "--password-stdin"], "surabaya\n");
        assert_eq!(ran.code, 0, "{ran:?}");
    }
}

async fn new_store() -> Store {
    let mut options = StoreOptions::default();
    options.password = PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };
    let store = Store::in_memory(options).unwrap();
    for (username, name) in [("messi", "Lionel Messi"), ("lineker", "Gary \u{202e}Lineker")] {
        let account = NewAccount {
            username: username.parse().unwrap(),
            name: name.parse().unwrap(),
            password: "surabaya".into(),
        };
        store.create_account(account).await.unwrap();
    }
    store
}

fn serve(
    runtime: &Runtime,
    store: Store,
    address: &str,
) -> (CancellationToken, JoinHandle<Served>) {
    let server = Server::new(store, ServerConfig::default()).unwrap();
    let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let task = runtime.spawn(async move { server.serve(listener, stopped).await });
    (stop, task)
}

#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(command: &mut Command, input: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that fails early need not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Ran {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

pub(crate) fn json(line: &str) -> Value {
    assert!(line.is_ascii(), "{line}");
    serde_json::from_str(line).unwrap()
}
