//! Dropped calls: the connection stays in step, and nothing is delivered that nobody got.

use std::time::Duration;

use tokio::time::timeout;

use crate::peer::{TOKEN, connect, logged_in};

const PONG: &str = r#"{"status": "OK", "text": "dropped"}"#;

#[tokio::test]
async fn a_reply_nobody_waits_for_is_not_given_to_the_next_call() {
    let (client, mut peer) = connect().await;
    {
        let call = client.ping("dropped");
        tokio::pin!(call);
        tokio::select! {
            _ = &mut call => panic!("no reply was sent"),
            () = peer.expect("ping dropped") => {}
        }
    }
    let (answer, ()) = tokio::join!(client.ping("next"), async {
        peer.reply(PONG).await;
        peer.answer("ping next", r#"{"status": "OK", "text": "next"}"#).await;
    });
    assert_eq!(answer.unwrap(), "next");
}

#[tokio::test]
async fn a_call_dropped_in_mid_reply_leaves_the_connection_in_step() {
    let (client, mut peer) = connect().await;
    {
        let call = client.ping("dropped");
        tokio::pin!(call);
        tokio::select! {
            _ = &mut call => panic!("only half a reply was sent"),
            () = async {
                peer.expect("ping dropped").await;
                peer.send(&PONG.as_bytes()[..10]).await;
                tokio::task::yield_now().await;
            } => {}
        }
    }
    let (answer, ()) = tokio::join!(client.ping("next"), async {
        peer.send(&PONG.as_bytes()[10..]).await;
        peer.send(b"\r\n\r\n").await;
        peer.answer("ping next", r#"{"status": "OK", "text": "next"}"#).await;
    });
    assert_eq!(answer.unwrap(), "next");
}

#[tokio::test]
async fn a_call_never_polled_sends_nothing() {
    let (client, mut peer) = connect().await;
    drop(client.ping("dropped"));
    drop(client);
    peer.expect_end().await;
}

/// The server of this test delivers what is acknowledged, as the real one does.
#[tokio::test]
async fn a_dropped_inbox_leaves_its_messages_undelivered() {
    let (client, mut peer) = logged_in().await;
    let page = r#"{"status": "OK", "incarnation": "i1", "messages": [{"id": "1", "time": "2026-11-18T11:06:40.007Z", "from": "lineker", "from_name": "Gary Lineker", "to": "messi", "body": "halo"}], "more": false}"#;
    let peek = format!("peek {TOKEN}");

    {
        let inbox = client.inbox();
        tokio::pin!(inbox);
        tokio::select! {
            _ = &mut inbox => panic!("no reply was sent"),
            () = peer.expect(&peek) => {}
        }
    }
    peer.reply(page).await;
    // Neither the dropped call nor a dropped value may have acknowledged anything: the next request is a peek again.
    let (delivery, ()) = tokio::join!(client.inbox(), peer.answer(&peek, page));
    drop(delivery.unwrap());
    let (delivery, ()) = tokio::join!(client.inbox(), peer.answer(&peek, page));
    let delivery = delivery.unwrap();
    assert_eq!(delivery.messages()[0].body, "halo");
    let ack = format!("ack {TOKEN} 1 i1");
    let (acked, ()) = tokio::join!(delivery.ack(), peer.answer(&ack, r#"{"status": "OK"}"#));
    acked.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_while_it_waits_is_never_sent() {
    let options = chat_client::ConnectOptions::default().in_flight_requests(1).queued_requests(1);
    let (client, mut peer) = crate::peer::connect_with(options, crate::peer::HELLO).await;
    let client = client.unwrap();
    let soon = Duration::from_secs(1);
    // The first fills the flight, the second the queue, the third waits for room there.
    assert!(timeout(soon, client.ping("a")).await.is_err());
    assert!(timeout(soon, client.ping("b")).await.is_err());
    assert!(timeout(soon, client.ping("c")).await.is_err());
    peer.answer("ping a", PONG).await;
    drop(client);
    peer.expect_end().await;
}
