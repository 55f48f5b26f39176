//! Runs against a real server, with a store in memory.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

use chat_core::account::PasswordParams;
use chat_core::store::{NewAccount, Store, StoreOptions};
use chat_server::{Server, ServerConfig};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::PROGRAM;

#[tokio::test]
async fn a_mix_is_done_in_proportion_and_all_acknowledged() {
    let server = Running::start().await;
    let directory = tempfile::tempdir().unwrap();
    let tokens = directory.path().join("tokens.csv");
    let options = format!(
        "-c 8 -k 2 -n 2000 --mix send=6,post=2,inbox=1,login=1 --size 20..500 --save-tokens {}",
        tokens.display()
    );
    let result = server.load_json(&options).await;
    let done = |kind: &str| result["kinds"][kind]["acknowledged"].as_u64().unwrap();
    let counts = ["send", "post", "inbox", "login"].map(done);
    assert_eq!(counts.iter().sum::<u64>(), 2000, "{result}");
    for (count, expected) in counts.into_iter().zip([1200, 400, 200, 200]) {
        assert!(count.abs_diff(expected) < expected / 3, "{counts:?}");
    }
    assert_eq!(server.sessions().await, 8, "a login of the mix ends the session it made");
}

#[tokio::test]
async fn a_run_ends_the_sessions_it_made() {
    let server = Running::start().await;
    server.load_json("-c 6 -k 4 -n 600 --watchers 2 --mix send=9,inbox=1 --churn 20").await;
    server.load_json("-c 6 -n 600 --protocol old").await;
    assert_eq!(server.sessions().await, 0);
    // One of seven is nobody, so it comes to nothing.
    let accounts = format!("--user-prefix u --user-count 7 --password {PASSWORD}");
    let output = load(&format!("--server {} {accounts} -c 7 -n 10", server.address)).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(server.sessions().await, 0);
}

#[tokio::test]
async fn an_open_loop_begins_as_many_as_are_due() {
    let server = Running::start().await;
    let options = "-c 10 --rate 2000 -d 0.5 --warmup 0.1 --threads 2";
    // Unless this machine was too busy to begin the last ones, which is then told.
    let output = server.load(options).await;
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let send = &result["kinds"]["send"];
    let (begun, missed) =
        (send["offered"].as_u64().unwrap(), result["not_started"].as_u64().unwrap());
    assert_eq!(begun + missed, 1000, "{result}");
    assert_eq!(output.status.success(), missed == 0, "{result}");
    assert!(send["acknowledged"].as_u64().unwrap() > 0, "{result}");
}

#[tokio::test]
async fn watchers_are_pushed_every_message_of_theirs() {
    let server = Running::start().await;
    let result = server.load_json("-c 6 -k 4 -n 3000 --watchers 50% --recipients zipf").await;
    assert_eq!(
        (&result["sends"], &result["missing_pushes"]),
        (&3000.into(), &0.into()),
        "{result}"
    );
    // Three of six accounts, and the three that get most.
    assert!(result["kinds"]["push"]["acknowledged"].as_u64().unwrap() > 1500, "{result}");
    assert_eq!(result["connections_made"], 9);
}

#[tokio::test]
async fn what_waited_for_watchers_is_no_push_of_the_run() {
    let server = Running::start().await;
    server.load_json("-c 6 -n 300").await;
    let result = server.load_json("-c 6 -n 600 --watchers 6").await;
    assert_eq!(result["old_pushes"], 300, "{result}");
    assert_eq!(result["kinds"]["push"]["acknowledged"], 600, "{result}");
}

#[tokio::test]
async fn connections_are_made_anew_with_their_sessions() {
    let server = Running::start().await;
    let directory = tempfile::tempdir().unwrap();
    let tokens = directory.path().join("tokens.csv");
    let options = format!("-c 4 -d 0.5 --warmup 0 --churn 40/s --save-tokens {}", tokens.display());
    let result = server.load_json(&options).await;
    let churned = result["connections_churned"].as_u64().unwrap();
    assert!(churned > 0, "{result}");
    assert_eq!(result["connections_made"], 4 + churned);
    assert_eq!(server.sessions().await, 4);
}

#[tokio::test]
async fn saved_tokens_are_used_without_passwords() {
    let server = Running::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.csv");
    let file = file.to_str().unwrap();
    let logins = server.load_json(&format!("-c 5 -d 0 --save-tokens {file}")).await;
    assert_eq!((&logins["setup"]["logins"], &logins["operations"]), (&5.into(), &0.into()));
    let saved = std::fs::read_to_string(file).unwrap();
    let users: Vec<_> = saved.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(users, ["username", "u0", "u1", "u2", "u3", "u4"]);

    // Fewer sessions than clients, and no accounts named at all.
    let options = format!("--server {} -c 7 -n 70 --tokens {file} --json", server.address);
    let output = load(&options).await;
    assert_eq!(json(&output)["sends"], 70);
    assert_eq!(server.sessions().await, 5);

    rewrite(Path::new(file), |text| text.replace('-', "_"));
    let output = load(&options).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("7 x no_session (the tokens have expired"), "{said}");
}

#[tokio::test]
async fn thinking_clients_pause() {
    let server = Running::start().await;
    let result = server.load_json("-c 3 -d 0.4 --warmup 0 --think 0.1..0.2").await;
    // At most five each, of the thousands that would be without.
    let done = result["operations"].as_u64().unwrap();
    assert!((1..=15).contains(&done), "{result}");
}

#[tokio::test]
async fn the_old_commands_alone_work_here_too() {
    let server = Running::start().await;
    let options = "-c 3 -n 600 --protocol old --mix send=8,inbox=1,login=1 --churn 100";
    let result = server.load_json(options).await;
    let reconnects = result["kinds"]["reconnect"]["acknowledged"].as_u64().unwrap_or_default();
    assert_eq!(result["operations"], 600 + reconnects, "{result}");
}

#[tokio::test]
async fn a_million_accounts_need_not_exist_to_be_named() {
    let server = Running::start().await;
    let options = format!(
        "--server {} -c 2 -n 50 --user-prefix u --user-count 1000000 --password {PASSWORD} --json",
        server.address
    );
    let output = load(&options).await;
    assert_eq!(output.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(result["errors"]["no_such_recipient"].as_u64().unwrap() > 40, "{result}");
}

#[tokio::test]
async fn drain_begins_with_empty_mailboxes() {
    let mut options = StoreOptions::default();
    options.mailbox_messages = 300;
    let server = Running::start_with(options).await;
    let accounts = format!("--user-prefix u --user-count 6 --password {PASSWORD}");
    let options = format!("--server {} {accounts} -c 6 -n 3000 --json", server.address);
    let filled: Value = serde_json::from_slice(&load(&options).await.stdout).unwrap();
    assert_eq!(filled["errors"]["inbox_full"], 3000 - 6 * 300, "{filled}");
    // Some 150 to each, which nobody reads meanwhile.
    let drained = server.load_json("-c 9 -k 4 -n 900 --drain").await;
    assert_eq!((&drained["sends"], &drained["inbox_pages"]), (&900.into(), &0.into()));
}

/// A server of six accounts, `u0` to `u5`.
struct Running {
    store: Store,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinSet<()>,
}

impl Running {
    async fn start() -> Self {
        Self::start_with(StoreOptions::default()).await
    }

    async fn start_with(mut options: StoreOptions) -> Self {
        options.password = PasswordParams { memory_kib: 8, passes: 1, lanes: 1 };
        let store = Store::in_memory(options).unwrap();
        for user in 0..6 {
            let name = format!("u{user}");
            let (username, name) = (name.parse().unwrap(), name.parse().unwrap());
            let account = NewAccount { username, name, password: PASSWORD.into() };
            store.create_account(account).await.unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(store.clone(), ServerConfig::default()).unwrap();
        let (stop, mut serving) = (CancellationToken::new(), JoinSet::new());
        let stopped = stop.clone();
        serving.spawn(async move {
            server.serve(listener, stopped).await;
        });
        Self { store, address, stop, serving }
    }

    /// How many there are of all accounts.
    async fn sessions(&self) -> usize {
        let mut sessions = 0;
        for user in 0..6 {
            sessions += self.store.account(&format!("u{user}")).await.unwrap().sessions;
        }
        sessions
    }

    /// A run that goes well.
    async fn load_json(&self, options: &str) -> Value {
        json(&self.load(options).await)
    }

    async fn load(&self, options: &str) -> Output {
        let accounts = format!("--user-prefix u --user-count 6 --password {PASSWORD}");
        load(&format!("--server {} {accounts} {options} --json", self.address)).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.serving.detach_all();
    }
}

async fn load(options: &str) -> Output {
    Command::new(PROGRAM).args(options.split(' ')).output().await.unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn rewrite(path: &Path, change: impl FnOnce(String) -> String) {
    std::fs::write(path, change(std::fs::read_to_string(path).unwrap())).unwrap();
}

const PASSWORD: &str = "surabaya-1";
