//! How a watch ends, and what it does to its connection.

use std::time::Duration;

use chat_client::{ClientError, CloseReason, ConnectionState, ErrorCode, Event, WatchEnd};
use tokio::time::Instant;

use super::{
    PONG, assert_message, assert_nothing, message, next, options, unwatch_line, watch_after,
    watch_line, watched, watching,
};
use crate::peer::{BAD_COMMAND, HELLO, NO_SESSION, Network, OK};

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_is_unwatched_and_another_may_begin() {
    let mut network = Network::new();
    let (client, mut peer, watch) = watched(&mut network, options()).await;
    let error = client.watch().await.unwrap_err();
    assert!(matches!(error, ClientError::AlreadyWatching), "{error:?}");
    drop(watch);
    let reply = watching("undelivered", 10, "i1");
    let script = async {
        peer.answer(unwatch_line(), OK).await;
        peer.reply(message(11)).await;
        peer.answer(watch_line(), &reply).await;
        peer.reply(message(11)).await;
    };
    let (watch, ()) = tokio::join!(client.watch(), script);
    let mut watch = watch.unwrap();
    assert_message(&mut watch, 11, "i1").await;
    assert_nothing(&mut watch).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_given_up_while_it_begins_is_ended() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    tokio::select! {
        _ = client.watch() => panic!("no reply was sent"),
        () = peer.expect(watch_line()) => {}
    }
    peer.expect(unwatch_line()).await;
    peer.reply(watching("undelivered", 0, "i1")).await;
    peer.reply(message(1)).await;
    peer.reply(OK).await;
    let (pong, ()) = tokio::join!(client.ping("a"), peer.answer("ping a", PONG));
    pong.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watch_holds_the_connection_open() {
    let mut network = Network::new();
    let (client, mut peer, mut watch) = watched(&mut network, options()).await;
    drop(client);
    peer.reply(message(11)).await;
    assert_message(&mut watch, 11, "i1").await;
    // The end of the connection is the end of the watch.
    drop(watch);
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_its_session_ends_a_watch() {
    let mut network = Network::new();
    let (client, mut peer, mut watch) = watched(&mut network, options()).await;
    peer.reply(message(11)).await;
    peer.reply(r#"{"event": "session_ended", "reason": "revoked"}"#).await;
    assert_message(&mut watch, 11, "i1").await;
    let Event::Ended(WatchEnd::SessionEnded { reason }) = next(&mut watch).await else {
        panic!("the end");
    };
    assert_eq!(reason, "revoked");
    assert!(watch.next().await.is_none());
    assert!(matches!(
        *client.state().borrow(),
        ConnectionState::Connected { session_ended: true, .. }
    ));
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ended_while_the_client_was_away_ends_its_watch() {
    let mut network = Network::new();
    let (client, peer, mut watch) = watched(&mut network, options()).await;
    drop(peer);
    let mut peer = network.accept().await;
    peer.answer(watch_after(10, "i1"), NO_SESSION).await;
    let Event::Ended(WatchEnd::Refused(error)) = next(&mut watch).await else { panic!("the end") };
    assert_eq!(error.code(), Some(&ErrorCode::NoSession));
    assert!(matches!(
        *client.state().borrow(),
        ConnectionState::Connected { session_ended: true, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_time_for_a_watch_is_asked_again() {
    let mut network = Network::new();
    let (client, peer, mut watch) = watched(&mut network, options()).await;
    drop(peer);
    let mut peer = network.accept().await;
    let before = Instant::now();
    for code in ["unavailable", "internal", "busy"] {
        let error = format!(r#"{{"status": "ERROR", "message": "x", "code": "{code}"}}"#);
        peer.answer(watch_after(10, "i1"), &error).await;
    }
    let limited =
        r#"{"status": "ERROR", "message": "x", "code": "rate_limited", "retry_after_ms": 90000}"#;
    peer.answer(watch_after(10, "i1"), limited).await;
    peer.answer(watch_after(10, "i1"), watching("exact", 10, "i1")).await;
    assert!(before.elapsed() >= Duration::from_secs(90));
    peer.reply(message(11)).await;
    assert_message(&mut watch, 11, "i1").await;
    drop(client);
}

/// Whoever begins a watch hears at once why it cannot be.
#[tokio::test(start_paused = true)]
async fn a_refused_beginning_is_an_error() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    for (reply, code) in [
        (NO_SESSION, ErrorCode::NoSession),
        (r#"{"status": "ERROR", "message": "x", "code": "busy"}"#, ErrorCode::Busy),
    ] {
        let (watch, ()) = tokio::join!(client.watch(), peer.answer(watch_line(), reply));
        assert_eq!(watch.unwrap_err().code(), Some(&code));
    }
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_is_told_and_survived() {
    let mut network = Network::new();
    let (_client, mut peer, mut watch) = watched(&mut network, options()).await;
    peer.reply(r#"{"event": "shutdown"}"#).await;
    drop(peer);
    assert!(matches!(next(&mut watch).await, Event::Shutdown));
    network.fail(3);
    let mut peer = network.accept().await;
    peer.answer(watch_after(10, "i1"), watching("exact", 10, "i1")).await;
    peer.reply(message(11)).await;
    assert_message(&mut watch, 11, "i1").await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_makes_no_sense_costs_the_connection() {
    let mut network = Network::new();
    let (client, mut peer, mut watch) = watched(&mut network, options()).await;
    let mut state = client.state();
    state.borrow_and_update();
    peer.reply(r#"{"event": "message", "id": "eleven"}"#).await;
    state.changed().await.unwrap();
    assert!(matches!(
        *state.borrow_and_update(),
        ConnectionState::Reconnecting { reason: CloseReason::BadEvent(_), .. }
    ));
    let mut peer = network.accept().await;
    peer.answer(watch_after(10, "i1"), watching("exact", 10, "i1")).await;
    peer.reply(message(11)).await;
    assert_message(&mut watch, 11, "i1").await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_asked_for_a_sign_of_life() {
    let mut network = Network::new();
    let (_client, mut peer, mut watch) = watched(&mut network, options()).await;
    let before = Instant::now();
    peer.answer("ping", r#"{"status": "OK", "text": ""}"#).await;
    assert_eq!(before.elapsed().as_secs(), 60);
    // An event is a sign of life, too.
    tokio::time::sleep(Duration::from_secs(30)).await;
    peer.reply(message(11)).await;
    peer.expect("ping").await;
    assert_eq!(before.elapsed().as_secs(), 60 + 30 + 60);
    let mut next = network.accept().await;
    assert_eq!(before.elapsed().as_secs(), 60 + 30 + 60 + 20);
    next.answer(watch_after(11, "i1"), watching("exact", 11, "i1")).await;
    assert_message(&mut watch, 11, "i1").await;
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_watch_nothing_is_sent() {
    for hello in [HELLO, BAD_COMMAND] {
        let mut network = Network::new();
        let (client, mut peer) = network.client_with(options(), hello).await;
        for error in [
            client.watch().await.unwrap_err(),
            client.status("m1").await.unwrap_err(),
            client.history("arini", None, None).await.unwrap_err(),
            client.block("arini").await.unwrap_err(),
        ] {
            assert!(matches!(error, ClientError::Unsupported { .. }), "{error:?}");
        }
        drop(client);
        peer.expect_end().await;
    }
}
