//! Requests and their replies.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use chat_client::{Client, ClientError, CloseReason, ConnectOptions, ErrorCode, Fault};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::send_and_read;
use crate::support::{PASSWORD, Running, bodies};

#[tokio::test]
async fn another_kind_of_server_is_told_by_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let other = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let (client, _stream) = tokio::join!(Client::connect(at), other);
    let error = client.unwrap_err();
    assert!(matches!(error, ClientError::NotChatServer { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("{at} is not a chat server"));
    assert_eq!(error.fault(), Fault::Peer);
    assert!(!error.is_retryable() && !error.is_outcome_unknown());
}

#[tokio::test]
async fn a_conversation() {
    let server = Running::start().await;
    let (messi, lineker) = (server.client_of("messi").await, server.client_of("lineker").await);
    assert_eq!(messi.server().hello().unwrap().protocol, 1);
    messi.send("lineker", " apa  kabar \u{1f600} ").await.unwrap();
    let delivery = lineker.inbox().await.unwrap();
    let message = &delivery.messages()[0];
    assert_eq!((&*message.from, &*message.from_name), ("messi", "Lionel Messi"));
    assert_eq!(message.body, " apa  kabar \u{1f600} ");
    delivery.ack().await.unwrap();
    delivery.ack().await.unwrap();
    assert!(lineker.inbox().await.unwrap().messages().is_empty());

    assert_eq!(messi.active_users().await.unwrap().users, ["messi", "lineker"]);
    let list = messi.list().await.unwrap();
    assert_eq!(list.active.users, ["messi", "lineker"]);
    assert_eq!(list.directory.unwrap().users[0].name, "Gary Lineker");
    assert_eq!(messi.whoami().await.unwrap().user, "messi");
    assert_eq!(messi.ping("halo dunia").await.unwrap(), "halo dunia");
    server.stop().await;
}

#[tokio::test]
async fn what_the_server_refuses() {
    let server = Running::start().await;
    let client = Client::connect(server.at).await.unwrap();
    let code = |error: ClientError| error.code().cloned();
    let login = client.login("messi", "wrong").await.unwrap_err();
    assert_eq!(code(login), Some(ErrorCode::BadPassword));
    client.login("messi", PASSWORD).await.unwrap();
    let sent = client.send("ghost", "halo").await.unwrap_err();
    assert_eq!(code(sent), Some(ErrorCode::NoSuchRecipient));
    let registered = client.register("budi", "rahasia12", None).await.unwrap_err();
    assert_eq!(code(registered), Some(ErrorCode::NotAllowed));
    let token = client.token().unwrap();
    client.logout().await.unwrap();
    let ended = client.with_token(token).whoami().await.unwrap_err();
    assert_eq!(code(ended), Some(ErrorCode::NoSession));
    server.stop().await;
}

#[tokio::test]
async fn sessions_and_passwords() {
    let server = Running::start().await;
    let (one, other) = (server.client_of("messi").await, server.client_of("messi").await);
    let sessions = one.sessions().await.unwrap();
    assert_eq!(sessions.len(), 2);
    let theirs = sessions.iter().find(|session| !session.current).unwrap();
    one.revoke(&theirs.session).await.unwrap();
    assert!(other.whoami().await.is_err());
    assert_eq!(one.change_password(PASSWORD, "rahasia12").await.unwrap(), 0);
    other.login("messi", "rahasia12").await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_dropped_inbox_future_leaves_the_messages_undelivered() {
    let server = Running::start().await;
    let client = server.client_of("messi").await;
    client.send("messi", "penting").await.unwrap();
    {
        let mut inbox = pin!(client.inbox());
        let mut context = Context::from_waker(Waker::noop());
        // Once is enough to hand the request over.
        assert!(matches!(inbox.as_mut().poll(&mut context), Poll::Pending));
    }
    // Replies come in order, so once this is here the server has answered the dropped call too.
    client.ping("").await.unwrap();
    assert_eq!(bodies(&client).await, ["penting"]);

    // Nor does the end of the connection deliver what a value, since dropped, was given.
    client.close().await;
    let again = server.client_of("messi").await;
    assert_eq!(bodies(&again).await, ["penting"]);
    again.inbox().await.unwrap().ack().await.unwrap();
    assert!(bodies(&again).await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_thousand_sends_in_flight_keep_their_order() {
    let server = Running::start().await;
    let client = server.client_of("messi").await;
    // One task starts all calls in order; the replies are awaited by others.
    let mut calls = JoinSet::new();
    for number in 0..1000 {
        let (client, text) = (client.clone(), number.to_string());
        let mut call = Box::pin(async move { client.send("lineker", &text).await.unwrap() });
        let mut context = Context::from_waker(Waker::noop());
        if call.as_mut().poll(&mut context).is_pending() {
            calls.spawn(call);
        }
        if number % 100 == 99 {
            // The queue holds 256; a call that had to wait there could be overtaken.
            while calls.join_next().await.is_some() {}
        }
    }
    let lineker = server.client_of("lineker").await;
    let mut received = Vec::new();
    loop {
        let delivery = lineker.inbox().await.unwrap();
        received.extend(delivery.messages().iter().map(|message| message.body.clone()));
        delivery.ack().await.unwrap();
        if !delivery.more() {
            break;
        }
    }
    let sent: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(received, sent);
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_shuts_down_ends_the_connection_in_order() {
    let server = Running::start().await;
    let options = ConnectOptions::from(server.at).reconnect(None);
    let client = Client::connect(options).await.unwrap();
    server.stop().await;
    let error = client.ping("halo").await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Closed { reason: CloseReason::EndOfStream, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_example_works() {
    let server = Running::start().await;
    let mut output = Vec::new();
    send_and_read::send_and_read(&server.at.to_string(), "messi", PASSWORD, &mut output)
        .await
        .unwrap();
    assert_eq!(output, b"messi: catatan untuk diri sendiri\n");
    server.stop().await;
}
