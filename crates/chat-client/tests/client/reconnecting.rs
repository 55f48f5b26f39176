//! Lost connections: what is made again, what is sent again, what fails, and what the state says.

use std::time::Duration;

use chat_client::{
    Backoff, Client, ClientError, CloseReason, ConnectOptions, ConnectionState, MessageId, Privacy,
    PrivacySubject, Random,
};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::peer::{BAD_COMMAND, HELLO, NO_SESSION, Network, OK, Peer, Seeded, TOKEN};

fn options() -> ConnectOptions {
    ConnectOptions::default()
}

fn pong(text: &str) -> String {
    format!(r#"{{"status": "OK", "text": "{text}"}}"#)
}

async fn works(client: &Client, peer: &mut Peer) {
    let reply = pong("works");
    let (answer, ()) = tokio::join!(client.ping("works"), peer.answer("ping works", &reply));
    assert_eq!(answer.unwrap(), "works");
}

/// Starts a call and lets it come to rest.
async fn begun<F>(client: &Client, call: impl FnOnce(Client) -> F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let call = TaskTracker::new().spawn(call(client.clone()));
    tokio::time::sleep(Duration::from_millis(1)).await;
    call
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_made_again_and_the_state_says_so() {
    let mut network = Network::new();
    let (client, peer) = network.client(options()).await;
    let mut state = client.state();
    assert!(matches!(*state.borrow_and_update(), ConnectionState::Connected { .. }));
    drop(peer);
    state.changed().await.unwrap();
    assert!(matches!(
        &*state.borrow_and_update(),
        ConnectionState::Reconnecting { attempt: 1, delay, reason: CloseReason::EndOfStream }
            if *delay <= Duration::from_millis(100)
    ));
    let mut peer = network.accept_with(HELLO).await;
    state.changed().await.unwrap();
    let ConnectionState::Connected { server, session_ended: false } = state.borrow().clone() else {
        panic!("{:?}", *state.borrow());
    };
    assert_eq!(server.max_message_bytes(), 100);
    assert_eq!(client.server(), server);
    works(&client, &mut peer).await;
    assert!(client.close_reason().is_none());
}

#[tokio::test(start_paused = true)]
async fn pauses_are_random_below_bounds_that_double() {
    let mut network = Network::new();
    let (client, peer) = network.client(options()).await;
    network.fail(12);
    drop(peer);
    let cut = Instant::now();
    let mut peer = network.accept().await;
    works(&client, &mut peer).await;

    let random = Seeded::new(1);
    let mut due = cut;
    let attempts = network.attempts.lock().unwrap()[1..].to_vec();
    assert_eq!(attempts.len(), 13);
    for (number, at) in (0..).zip(attempts) {
        let bound = Duration::from_millis(100 << number).min(Duration::from_secs(30));
        let part = (bound.as_nanos() * u128::from(random.next_u64())) >> 64;
        due += Duration::from_nanos(u64::try_from(part).unwrap());
        // The clock of tests has milliseconds, and a pause is not cut short.
        assert!(at >= due && at < due + Duration::from_millis(2), "{number}: {:?}", at - due);
        due = at;
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_connection_that_held_starts_the_bounds_over() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let mut state = client.state();
    for (held, attempt) in [(0, 1), (1, 2), (9, 3), (11, 1), (0, 2)] {
        works(&client, &mut peer).await;
        tokio::time::sleep(Duration::from_secs(held)).await;
        state.borrow_and_update();
        drop(peer);
        state.changed().await.unwrap();
        let now = state.borrow_and_update().clone();
        let ConnectionState::Reconnecting { attempt: found, .. } = now else { panic!("{now:?}") };
        assert_eq!(found, attempt);
        peer = network.accept().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_is_left_alone_as_long_as_it_asks() {
    let mut network = Network::new();
    let (client, peer) = network.client(options()).await;
    drop(peer);
    let busy = r#"{"status": "ERROR", "message": "busy", "code": "busy", "retry_after_ms": 5000}"#;
    let refused = network.accept_with(busy).await;
    let then = Instant::now();
    let mut peer = network.accept().await;
    assert!(then.elapsed() >= Duration::from_secs(5));
    works(&client, &mut peer).await;
    drop(refused);
}

#[tokio::test(start_paused = true)]
async fn giving_up_ends_the_client_and_its_calls() {
    let mut network = Network::new();
    let (client, peer) =
        network.client(options().reconnect(Backoff::default().give_up_after(3))).await;
    network.fail(100);
    drop(peer);
    let error = client.ping("a").await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Closed { sent: false, reason: CloseReason::Connect(_), .. }),
        "{error:?}"
    );
    assert!(error.is_retryable());
    assert_eq!(network.attempts.lock().unwrap().len(), 4);
    assert!(matches!(client.close_reason(), Some(CloseReason::Connect(_))));
    assert!(matches!(*client.state().borrow(), ConnectionState::Closed { .. }));
}

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

#[tokio::test(start_paused = true)]
async fn an_idle_client_that_does_not_watch_never_speaks() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    assert!(timeout(Duration::from_secs(86400), peer.next_request()).await.is_err());
    works(&client, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_a_connection() {
    let mut network = Network::new();
    let (client, peer) = network.client(options()).await;
    network.fail(usize::MAX);
    drop(peer);
    let waiting = begun(&client, |c| async move { c.ping("a").await }).await;
    timeout(Duration::from_millis(10), client.close()).await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(
        matches!(error, ClientError::Closed { sent: false, reason: CloseReason::ByClient, .. }),
        "{error:?}"
    );
    assert!(network.accept_silently().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_ends_the_tries_to_connect() {
    let mut network = Network::new();
    let (client, peer) = network.client(options()).await;
    network.fail(usize::MAX);
    drop(peer);
    tokio::time::sleep(Duration::from_secs(60)).await;
    drop(client);
    // The connector went with the task.
    assert!(network.accept_silently().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_over_after_a_reconnect_shows_in_the_state() {
    let mut network = Network::new();
    let (client, peer) = network.client(options()).await;
    drop(peer);
    let mut peer = network.accept().await;
    let request = format!("whoami {TOKEN}");
    let (whoami, ()) = tokio::join!(client.whoami(), peer.answer(&request, NO_SESSION));
    assert!(whoami.unwrap_err().code().is_some());
    let is_over = |client: &Client| match *client.state().borrow() {
        ConnectionState::Connected { session_ended, .. } => session_ended,
        _ => panic!("connected"),
    };
    assert!(is_over(&client));
    let reply = format!(r#"{{"status": "OK", "tokenid": "{TOKEN}"}}"#);
    let (login, ()) = tokio::join!(client.login("a", "b"), peer.answer("auth a b", &reply));
    login.unwrap();
    assert!(!is_over(&client));
}

#[tokio::test(start_paused = true)]
async fn an_old_server_is_connected_to_again_too() {
    let mut network = Network::new();
    let (client, mut peer) = network.client_with(options(), BAD_COMMAND).await;
    let script = async {
        peer.expect(format!("send {TOKEN} arini halo")).await;
        drop(peer);
        network.accept_with(BAD_COMMAND).await
    };
    let (sent, mut peer) = tokio::join!(client.send("arini", "halo"), script);
    assert!(sent.unwrap_err().is_outcome_unknown());
    let list = format!("list {TOKEN}");
    let reply = r#"{"status": "OK", "messages": "messi,"}"#;
    let (active, ()) = tokio::join!(client.active_users(), peer.answer(&list, reply));
    assert_eq!(active.unwrap().users, ["messi"]);
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
