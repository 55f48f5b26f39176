//! The order in which the real daemon writes, syncs and answers.

use chat_tests::audit::{Conversation, Violation, audit, tag};
use chat_tests::client::TextClient;
use chat_tests::daemon::{PASSWORD, Site};
use chat_tests::recorder::{Event, Record, Recorder};
use tokio::task::JoinSet;

#[tokio::test]
async fn no_ok_leaves_before_the_sync_that_covers_it() {
    let (records, conversations) = recorded_run("").await;
    assert_eq!(audit(&records, &conversations), Ok(()));
}

#[tokio::test]
async fn relaxed_durability_is_seen_to_answer_earlier() {
    let (records, conversations) = recorded_run("[store]\ndurability = \"process-crash\"\n").await;
    let verdict = audit(&records, &conversations);
    assert!(matches!(verdict, Err(Violation::NotSynced { .. })), "{verdict:?}");
}

/// Some clients send tagged messages, one at a time and pipelined, to a recorded daemon.
async fn recorded_run(config: &str) -> (Vec<Record>, Vec<Conversation>) {
    let mut site = Site::new(config);
    let recorder = Recorder::install(&mut site);
    site.import((0..CLIENTS).map(|n| format!("user{n}"))).await;
    let daemon = site.start().await;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(converse(daemon.address(), client));
    }
    let conversations = clients.join_all().await;
    let records = recorder.records();
    assert!(records.iter().any(|r| matches!(r.event, Event::Write { .. })), "nothing recorded");
    daemon.stop().await;
    (records, conversations)
}

async fn converse(address: std::net::SocketAddr, number: u64) -> Conversation {
    let (mut client, token) = TextClient::login(address, &format!("user{number}"), PASSWORD).await;
    let to = (number + 1) % CLIENTS;
    let mut confirmed = Vec::new();
    for burst in 0..BURSTS {
        let tags: Vec<_> = (0..=burst % 4).map(|n| tag(number << 32 | burst << 8 | n)).collect();
        let lines: String =
            tags.iter().map(|tag| format!("send {token} user{to} {tag}\r\n")).collect();
        client.send(lines.as_bytes()).await.unwrap();
        for tag in tags {
            assert!(client.receive().await.unwrap().starts_with(b"{\"status\": \"OK\""));
            confirmed.push(tag);
        }
    }
    Conversation { port: client.port(), confirmed }
}

const CLIENTS: u64 = 8;
const BURSTS: u64 = 25;
