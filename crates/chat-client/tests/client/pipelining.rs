//! Many requests in flight, and how many.

use chat_client::{Client, ConnectOptions};
use tokio::task::JoinSet;

use crate::peer::{HELLO, connect, connect_with};

fn pong(text: &str) -> String {
    format!(r#"{{"status": "OK", "text": "{text}"}}"#)
}

/// Pings with the texts `0` to `count - 1`, all at once, and checks that each gets its own text back.
fn ping_all(client: &Client, count: usize) -> JoinSet<()> {
    let mut calls = JoinSet::new();
    for number in 0..count {
        let client = client.clone();
        calls.spawn(async move {
            let text = number.to_string();
            assert_eq!(client.ping(&text).await.unwrap(), text);
        });
    }
    calls
}

#[tokio::test]
async fn replies_find_their_calls_although_all_are_in_flight() {
    let (client, mut peer) = connect().await;
    let calls = ping_all(&client, 200);
    let mut texts = Vec::new();
    while texts.len() < 200 {
        let request = peer.next_request().await.unwrap();
        texts.push(request.strip_prefix("ping ").unwrap().to_owned());
    }
    for text in &texts {
        peer.reply(pong(text)).await;
    }
    calls.join_all().await;
}

#[tokio::test]
async fn replies_may_come_byte_by_byte_or_many_at_once() {
    let (client, mut peer) = connect().await;
    let calls = ping_all(&client, 20);
    let mut replies = String::new();
    for _ in 0..20 {
        let request = peer.next_request().await.unwrap();
        replies.push_str(&pong(request.strip_prefix("ping ").unwrap()));
        replies.push_str("\r\n\r\n");
    }
    let (bytes, rest) = replies.as_bytes().split_at(300);
    for byte in bytes {
        peer.send(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    peer.send(rest).await;
    calls.join_all().await;
}

#[tokio::test]
async fn requests_leave_in_the_order_of_the_calls() {
    let (client, mut peer) = connect().await;
    let (first, second, ()) = tokio::join!(biased; client.ping("first"), client.ping("second"), async {
        peer.answer("ping first", pong("first")).await;
        peer.answer("ping second", pong("second")).await;
    });
    assert_eq!((first.unwrap(), second.unwrap()), ("first".into(), "second".into()));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_is_in_flight() {
    let options = ConnectOptions::default().in_flight_requests(2).queued_requests(1);
    let (client, mut peer) = connect_with(options, HELLO).await;
    let client = client.unwrap();
    let calls = ping_all(&client, 5);
    for round in [2, 2, 1] {
        let mut texts = Vec::new();
        for _ in 0..round {
            texts.push(peer.next_request().await.unwrap());
        }
        // Time is paused, so this ends only when every task has come to rest.
        let waiting = tokio::time::timeout(std::time::Duration::from_secs(1), peer.next_request());
        assert!(waiting.await.is_err(), "a third request in flight");
        for text in texts {
            peer.reply(pong(text.strip_prefix("ping ").unwrap())).await;
        }
    }
    calls.join_all().await;
}
