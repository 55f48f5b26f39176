//! Messages with a key, and without.

use std::time::Duration;

use chat_client::{ClientError, ConnectOptions, ErrorCode, InvalidRequest, Sent};
use tokio::time::Instant;

use crate::peer::{BAD_COMMAND, HELLO, Network, OK, Peer, TOKEN};

const POSTED: &str = r#"{"status": "OK", "id": "m1", "time": "2026-11-18T11:06:40.007Z", "duplicate": false, "durability": "power_loss"}"#;
const AGAIN: &str = r#"{"status": "OK", "id": "m1", "time": "2026-11-18T11:06:40.007Z", "duplicate": true, "durability": "power_loss"}"#;
const UNAVAILABLE: &str = r#"{"status": "ERROR", "message": "x", "code": "unavailable"}"#;
const INTERNAL: &str = r#"{"status": "ERROR", "message": "x", "code": "internal"}"#;
const BUSY: &str = r#"{"status": "ERROR", "message": "x", "code": "busy"}"#;

fn options() -> ConnectOptions {
    ConnectOptions::default()
}

/// The key of the next request, which is a post of `halo` to arini.
async fn next_key(peer: &mut Peer) -> String {
    let line = peer.next_request().await.unwrap();
    let rest = line.strip_prefix(&format!("post {TOKEN} ")).unwrap();
    rest.strip_suffix(" arini halo").unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_send_is_a_post_under_a_random_key() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let script = async {
            keys.push(next_key(&mut peer).await);
            peer.reply(POSTED).await;
        };
        let (sent, ()) = tokio::join!(client.send("arini", "halo"), script);
        let sent = sent.unwrap();
        let receipt = sent.receipt().unwrap();
        assert_eq!((&*receipt.id, &*receipt.key), ("m1", &**keys.last().unwrap()));
        assert_eq!((receipt.duplicate, &*receipt.durability), (false, "power_loss"));
        assert_eq!(receipt.time.to_string(), "2026-11-18T11:06:40.007Z");
    }
    assert_ne!(keys[0], keys[1]);
    assert!(keys.iter().all(|key| key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit())));
}

#[tokio::test(start_paused = true)]
async fn without_post_a_send_has_no_receipt() {
    for hello in [HELLO, BAD_COMMAND] {
        let mut network = Network::new();
        let (client, mut peer) = network.client_with(options(), hello).await;
        let line = format!("send {TOKEN} arini halo");
        let (sent, ()) = tokio::join!(client.send("arini", "halo"), peer.answer(&line, OK));
        assert_eq!(sent.unwrap(), Sent::Plain);
        let posted = client.post("k", "arini", "halo").await;
        assert!(matches!(posted, Err(ClientError::Unsupported { command: "post" })));
        drop(client);
        peer.expect_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_cut_off_is_repeated_under_its_key_until_it_is_answered() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let script = async {
        let key = next_key(&mut peer).await;
        for cut in ["", r#"{"status""#, POSTED] {
            peer.send(cut.as_bytes()).await;
            drop(peer);
            peer = network.accept().await;
            assert_eq!(next_key(&mut peer).await, key);
        }
        peer.reply(AGAIN).await;
    };
    let (sent, ()) = tokio::join!(client.send("arini", "halo"), script);
    assert!(sent.unwrap().receipt().unwrap().duplicate);
}

#[tokio::test(start_paused = true)]
async fn posts_cut_off_keep_their_order() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let line = |number: u32| format!("post {TOKEN} k{number} arini {number}");
    let script = async {
        for number in 0..3 {
            peer.expect(&line(number)).await;
        }
        peer.reply(POSTED).await;
        drop(peer);
        let mut peer = network.accept().await;
        for number in 1..3 {
            peer.answer(&line(number), POSTED).await;
        }
    };
    let posts = tokio::join!(biased;
        client.post("k0", "arini", "0"),
        client.post("k1", "arini", "1"),
        client.post("k2", "arini", "2"),
        script
    );
    assert!(posts.0.is_ok() && posts.1.is_ok() && posts.2.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_for() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let limited =
        r#"{"status": "ERROR", "message": "x", "code": "rate_limited", "retry_after_ms": 7000}"#;
    let script = async {
        let key = next_key(&mut peer).await;
        for reply in [UNAVAILABLE, INTERNAL, BUSY] {
            peer.reply(reply).await;
            assert_eq!(next_key(&mut peer).await, key);
        }
        let before = Instant::now();
        peer.reply(limited).await;
        assert_eq!(next_key(&mut peer).await, key);
        assert!(before.elapsed() >= Duration::from_secs(7));
        peer.reply(POSTED).await;
    };
    let (sent, ()) = tokio::join!(client.send("arini", "halo"), script);
    sent.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_is_told_at_once() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    for code in ["key_conflict", "no_such_recipient", "inbox_full", "not_allowed", "no_session"] {
        let reply = format!(r#"{{"status": "ERROR", "message": "x", "code": "{code}"}}"#);
        let line = format!("post {TOKEN} k arini halo");
        let (posted, ()) =
            tokio::join!(client.post("k", "arini", "halo"), peer.answer(&line, &reply));
        let error = posted.unwrap_err();
        assert_eq!(error.code().map(ErrorCode::as_str), Some(code));
        assert!(!error.is_outcome_unknown());
    }
    let late =
        r#"{"status": "ERROR", "message": "x", "code": "rate_limited", "retry_after_ms": 30000}"#;
    let before = Instant::now();
    let line = format!("post {TOKEN} k arini halo");
    let (posted, ()) = tokio::join!(client.post("k", "arini", "halo"), peer.answer(&line, late));
    assert_eq!(posted.unwrap_err().code(), Some(&ErrorCode::RateLimited));
    assert_eq!(before.elapsed(), Duration::ZERO);
}

/// Answers every post with the next of `replies` and the last one from then on.
async fn answer_posts(peer: &mut Peer, replies: &[&str]) {
    let mut replies = replies.iter();
    let mut reply = *replies.next().unwrap();
    loop {
        peer.next_request().await.unwrap();
        peer.reply(reply).await;
        reply = replies.next().unwrap_or(&reply);
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_that_cannot_be_confirmed_leaves_its_key() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let before = Instant::now();
    let mut key = String::new();
    let script = async {
        key = next_key(&mut peer).await;
        peer.reply(UNAVAILABLE).await;
        answer_posts(&mut peer, &[UNAVAILABLE]).await;
    };
    let error = tokio::select! {
        sent = client.send("arini", "halo") => sent.unwrap_err(),
        () = script => unreachable!(),
    };
    assert!(
        before.elapsed() > Duration::from_secs(10) && before.elapsed() <= Duration::from_secs(30)
    );
    assert!(error.is_outcome_unknown() && !error.is_retryable());
    assert_eq!(error.code(), Some(&ErrorCode::Unavailable));
    let ClientError::Unconfirmed { key: left, .. } = error else { panic!("{error:?}") };
    assert_eq!(left, key);

    let line = format!("post {TOKEN} {key} arini halo");
    let (posted, ()) = tokio::join!(client.post(&key, "arini", "halo"), peer.answer(&line, AGAIN));
    assert!(posted.unwrap().duplicate);
}

/// The second answer says that nothing was changed, of the second try.
#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_not_forgotten_over_a_try_that_did_nothing() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let error = tokio::select! {
        posted = client.post("k", "arini", "halo") => posted.unwrap_err(),
        () = answer_posts(&mut peer, &[UNAVAILABLE, BUSY]) => unreachable!(),
    };
    assert!(error.is_outcome_unknown() && error.is_retryable(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_checked_before_it_is_sent() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    for key in ["", "two words", "b\u{e9}", "tab\t", "line\n", &"x".repeat(129)] {
        let error = client.post(key, "arini", "halo").await.unwrap_err();
        assert!(matches!(error, ClientError::Invalid(InvalidRequest::Key)), "{error:?}");
    }
    let longest = "~".repeat(128);
    let line = format!("post {TOKEN} {longest} arini halo");
    let (posted, ()) =
        tokio::join!(client.post(&longest, "arini", "halo"), peer.answer(&line, POSTED));
    posted.unwrap();
}
