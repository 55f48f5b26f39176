//! Ends of a connection, from either side.

use std::time::Duration;

use chat_client::{Client, ClientError, CloseReason, ConnectOptions, Fault};
use tokio::net::TcpListener;

use crate::peer::{HELLO, TOKEN, connect, connect_with, logged_in};

const PONG: &str = r#"{"status": "OK", "text": "a"}"#;

#[tokio::test]
async fn the_server_closes_in_the_middle_of_a_reply() {
    let (client, mut peer) = logged_in().await;
    let request = format!("send {TOKEN} arini halo");
    let (sent, ()) = tokio::join!(client.send("arini", "halo"), async {
        peer.expect(&request).await;
        peer.send(br#"{"status": "OK", "mess"#).await;
        peer.end().await;
    });
    let error = sent.unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::Closed { command: "send", sent: true, reason: CloseReason::CutReply }
        ),
        "{error:?}"
    );
    assert!(error.is_outcome_unknown() && !error.is_retryable());
    assert_eq!(error.fault(), Fault::Peer);
}

#[tokio::test]
async fn after_the_end_calls_fail_at_once_and_were_never_sent() {
    let (client, mut peer) = logged_in().await;
    let (answer, ()) = tokio::join!(client.ping("a"), async {
        peer.expect("ping a").await;
        peer.end().await;
    });
    assert!(answer.is_err());
    let error = client.send("arini", "halo").await.unwrap_err();
    assert!(
        matches!(error, ClientError::Closed { sent: false, reason: CloseReason::EndOfStream, .. }),
        "{error:?}"
    );
    assert!(error.is_retryable() && !error.is_outcome_unknown());
    assert!(matches!(client.close_reason(), Some(CloseReason::EndOfStream)));
}

#[tokio::test]
async fn a_reply_that_nothing_asked_for_ends_the_connection() {
    let (client, mut peer) = connect().await;
    let (answer, ()) = tokio::join!(client.ping("a"), async {
        peer.expect("ping a").await;
        peer.send(format!("{PONG}\r\n\r\n{PONG}\r\n\r\n").as_bytes()).await;
    });
    assert_eq!(answer.unwrap(), "a");
    client.close().await;
    assert!(matches!(client.close_reason(), Some(CloseReason::Unasked)));
}

#[tokio::test]
async fn a_reply_over_the_limit_ends_the_connection() {
    let options = ConnectOptions::default().max_reply_bytes(1000);
    let (client, mut peer) = connect_with(options, HELLO).await;
    let client = client.unwrap();
    let (answer, ()) = tokio::join!(client.ping("a"), async {
        peer.expect("ping a").await;
        peer.send(&[b'x'; 1100]).await;
    });
    let reason = CloseReason::ReplyTooLong { max_reply_bytes: 1000 };
    let error = answer.unwrap_err();
    assert!(matches!(&error, ClientError::Closed { .. }), "{error:?}");
    assert_eq!(client.close_reason().unwrap().to_string(), reason.to_string());
}

#[tokio::test]
async fn close_waits_for_the_replies_to_what_was_asked() {
    let (client, mut peer) = connect().await;
    let clone = client.clone();
    let (answer, (), ()) = tokio::join!(biased; client.ping("a"), clone.close(), async {
        peer.answer("ping a", PONG).await;
        peer.expect_end().await;
        peer.end().await;
    });
    assert_eq!(answer.unwrap(), "a");
    assert!(matches!(
        client.ping("b").await.unwrap_err(),
        ClientError::Closed { sent: false, reason: CloseReason::ByClient, .. }
    ));
}

#[tokio::test]
async fn the_last_handle_ends_the_connection() {
    let (client, mut peer) = connect().await;
    let clone = client.clone();
    drop(client);
    let (answer, ()) = tokio::join!(clone.ping("a"), peer.answer("ping a", PONG));
    answer.unwrap();
    drop(clone);
    peer.expect_end().await;
}

#[tokio::test]
async fn a_refused_connection_says_where_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Client::connect(address).await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(error.is_retryable());
    assert_eq!(error.fault(), Fault::Peer);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_speaks_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = ConnectOptions::from(address).connect_timeout(Duration::from_secs(3));
    let error = Client::connect(options).await.unwrap_err();
    assert!(matches!(error, ClientError::ConnectTimeout { .. }), "{error:?}");
    assert!(error.is_retryable());
}
