//! What becomes of calls whose connection is cut.

use std::time::Duration;

use chat_client::{ClientError, MessageId, Privacy, PrivacySubject};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{begun, options, pong, works};
use crate::peer::{HELLO, NO_SESSION, Network, OK, TOKEN};

#[tokio::test(start_paused = true)]
async fn what_can_be_done_twice_goes_out_again_in_its_order() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let lines = [
        "ping a".to_owned(),
        format!("whoami {TOKEN}"),
        format!("sessions {TOKEN}"),
        format!("peek {TOKEN}"),
        format!("ack {TOKEN} 3 i1"),
        format!("status {TOKEN} m1"),
        format!("history {TOKEN} arini"),
        format!("block {TOKEN} arini"),
        format!("unblock {TOKEN} arini"),
        format!("privacy {TOKEN} presence off"),
        format!("list {TOKEN}"),
        format!("user_aktif {TOKEN}"),
        format!("logout {TOKEN}"),
    ];
    let script = async {
        for line in &lines {
            peer.expect(line).await;
        }
        drop(peer);
        let mut peer = network.accept().await;
        for line in &lines {
            peer.answer(line, NO_SESSION).await;
        }
        peer
    };
    let results = tokio::join!(
        biased;
        client.ping("a"),
        client.whoami(),
        client.sessions(),
        client.peek(None, None),
        client.ack(MessageId::new(3), "i1"),
        client.status("m1"),
        client.history("arini", None, None),
        client.block("arini"),
        client.unblock("arini"),
        client.privacy(PrivacySubject::Presence, Privacy::Off),
        client.list(),
        client.active_users(),
        client.logout(),
        script
    );
    assert!(results.0.unwrap_err().code().is_some());
    assert!(results.6.unwrap_err().code().is_some());
    // The first one had ended the session, if this one found none.
    results.12.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_twice_fails_once_it_was_written() {
    let mut network = Network::new();
    // Without `post`, so that a `send` is one.
    let (client, mut peer) = network.client_with(options(), HELLO).await;
    let script = async {
        for _ in 0..5 {
            peer.next_request().await.unwrap();
        }
        drop(peer);
        network.accept().await
    };
    let (login, send, register, passwd, revoke, mut peer) = tokio::join!(
        biased;
        client.login("messi", "surabaya"),
        client.send("arini", "halo"),
        client.register("a", "b", None),
        client.change_password("a", "b"),
        client.revoke("s1"),
        script
    );
    let errors = [
        login.unwrap_err(),
        send.unwrap_err(),
        register.unwrap_err(),
        passwd.unwrap_err(),
        revoke.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, ClientError::Closed { sent: true, .. }), "{error:?}");
        assert!(error.is_outcome_unknown() && !error.is_retryable());
    }
    works(&client, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn half_a_reply_is_none() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let script = async {
        peer.expect("ping a").await;
        peer.send(br#"{"status": "OK", "te"#).await;
        drop(peer);
        let mut peer = network.accept().await;
        peer.answer("ping a", pong("b")).await;
    };
    let (answer, ()) = tokio::join!(client.ping("a"), script);
    assert_eq!(answer.unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_came_whole_before_the_cut_counts() {
    let mut network = Network::new();
    let (client, mut peer) = network.client_with(options(), HELLO).await;
    let script = async {
        peer.answer(format!("send {TOKEN} arini halo"), OK).await;
        drop(peer);
    };
    let (sent, ()) = tokio::join!(client.send("arini", "halo"), script);
    sent.unwrap();
}

/// The pipe holds 256 bytes, so what comes behind a long line is not written.
#[tokio::test(start_paused = true)]
async fn what_was_not_written_goes_out_on_the_next_connection() {
    let mut network = Network::new();
    let (client, peer) = network.client_with(options(), HELLO).await;
    let long = "x".repeat(190);
    let mut pings = Vec::new();
    for _ in 0..2 {
        let long = long.clone();
        pings.push(begun(&client, |c| async move { c.ping(&long).await }).await);
    }
    let sending = begun(&client, |c| async move { c.send("arini", "halo").await }).await;
    drop(peer);
    let mut peer = network.accept_with(HELLO).await;
    for _ in 0..2 {
        peer.answer(format!("ping {long}"), pong("a")).await;
    }
    peer.answer(format!("send {TOKEN} arini halo"), OK).await;
    for ping in pings {
        ping.await.unwrap().unwrap();
    }
    sending.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_connection_waits_for_one_or_is_never_sent() {
    let mut network = Network::new();
    let options = options().request_timeout(Duration::from_secs(5));
    let (client, peer) = network.client_with(options, HELLO).await;
    network.fail(usize::MAX);
    drop(peer);
    let before = Instant::now();
    let error = client.send("arini", "halo").await.unwrap_err();
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    assert!(matches!(error, ClientError::Timeout { sent: false, .. }), "{error:?}");
    assert!(error.is_retryable() && !error.is_outcome_unknown());
    assert!(error.to_string().contains("never sent"));

    network.fail(0);
    let waiting = begun(&client, |c| async move { c.ping("b").await }).await;
    let mut peer = network.accept_with(HELLO).await;
    peer.answer("ping b", pong("b")).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "b");
    drop(client);
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_went_out_and_timed_out_says_so_and_is_not_repeated() {
    let mut network = Network::new();
    let options = options().request_timeout(Duration::from_secs(5));
    let (client, mut peer) = network.client(options).await;
    network.fail(usize::MAX);
    let script = async {
        peer.expect("ping a").await;
        drop(peer);
    };
    let (answer, ()) = tokio::join!(client.ping("a"), script);
    let error = answer.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { sent: true, .. }), "{error:?}");
    network.fail(0);
    let mut peer = network.accept().await;
    works(&client, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_owes_a_reply_and_is_silent_is_left() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let before = Instant::now();
    let script = async {
        peer.expect("ping a").await;
        // Anything at all shows that it lives.
        tokio::time::sleep(Duration::from_secs(5)).await;
        peer.send(b"{").await;
        let mut next = network.accept().await;
        assert_eq!(before.elapsed().as_secs(), 25);
        next.answer("ping a", pong("b")).await;
        drop(peer);
    };
    let (answer, ()) = tokio::join!(client.ping("a"), script);
    assert_eq!(answer.unwrap(), "b");
}

/// The second connection takes only some of what goes out again; the others wait, and go out behind it on the third.
#[tokio::test(start_paused = true)]
async fn what_waits_to_go_out_again_is_not_overtaken() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let line = |number: usize| format!("ping {number} {}", "x".repeat(1800));
    let mut calls = JoinSet::new();
    for number in 0..100 {
        let (client, text) = (client.clone(), line(number));
        calls.spawn(async move { client.ping(&text[5..]).await });
    }
    for number in 0..100 {
        peer.expect(line(number)).await;
    }
    drop(peer);
    let mut peer = network.accept().await;
    peer.answer(line(0), pong("a")).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(peer);
    let mut peer = network.accept().await;
    for number in 1..100 {
        peer.answer(line(number), pong("a")).await;
    }
    assert!(calls.join_all().await.iter().all(Result::is_ok));
}
