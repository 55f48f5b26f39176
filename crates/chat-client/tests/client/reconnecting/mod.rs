//! Lost connections: what is made again, what is sent again, what fails, and what the state says.

mod calls;

use std::time::Duration;

use chat_client::{
    Backoff, Client, ClientError, CloseReason, ConnectOptions, ConnectionState, Random as _,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::peer::{BAD_COMMAND, HELLO, NO_SESSION, Network, Peer, Seeded, TOKEN};

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
