//! Posting and watching.

use std::time::Duration;

use chat_client::{
    Client, ClientError, ConnectOptions, ConnectionState, DeliveryState, Direction, ErrorCode,
    Event, IncomingMessage, MessageId, Privacy, PrivacySubject, Resume, Watch, WatchEnd,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{PASSWORD, Running, bodies};

/// The next message; other events are left out.
async fn next_message(watch: &mut Watch) -> IncomingMessage {
    loop {
        match timeout(Duration::from_secs(20), watch.next()).await.unwrap().unwrap() {
            Event::Message(message) => return message,
            Event::Gap(gap) => panic!("{gap:?}"),
            Event::Ended(end) => panic!("{end:?}"),
            _ => {}
        }
    }
}

/// The next event of that kind; others are left out.
async fn next_of<T>(watch: &mut Watch, kind: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let event = timeout(Duration::from_secs(20), watch.next()).await.unwrap().unwrap();
        if let Some(found) = kind(event) {
            return found;
        }
    }
}

async fn connected(client: &Client) {
    let mut state = client.state();
    state.wait_for(|state| matches!(state, ConnectionState::Connected { .. })).await.unwrap();
}

#[tokio::test]
async fn a_watch_gives_what_waits_and_then_what_comes() {
    let server = Running::start().await;
    let (messi, lineker) = (server.client_of("messi").await, server.client_of("lineker").await);
    messi.send("lineker", "before").await.unwrap();
    let mut watch = lineker.watch().await.unwrap();
    assert_eq!((watch.resume(), watch.after()), (Resume::Undelivered, MessageId::ZERO));
    messi.send("lineker", "after").await.unwrap();
    let (first, second) = (next_message(&mut watch).await, next_message(&mut watch).await);
    assert_eq!((&*first.body, &*second.body), ("before", "after"));
    assert_eq!((first.id.get(), second.id.get(), &*first.from), (1, 2, "messi"));
    watch.ack(&first).await.unwrap();
    assert_eq!(bodies(&lineker).await, ["after"]);

    // Another begins behind what is acknowledged, and one behind an id there.
    drop(watch);
    let mut watch = lineker.watch().await.unwrap();
    assert_eq!(next_message(&mut watch).await.body, "after");
    drop(watch);
    let mut watch = lineker.watch_from(MessageId::ZERO, &first.incarnation).await.unwrap();
    assert_eq!((watch.resume(), &*next_message(&mut watch).await.body), (Resume::Exact, "before"));
    server.stop().await;
}

#[tokio::test]
async fn what_becomes_of_a_post() {
    let server = Running::start().await;
    let (messi, lineker) = (server.client_of("messi").await, server.client_of("lineker").await);
    let receipt = messi.post("k1", "lineker", "halo").await.unwrap();
    assert!(!receipt.duplicate);
    let again = messi.post("k1", "lineker", "halo").await.unwrap();
    assert!(again.duplicate);
    assert_eq!((&again.id, again.time), (&receipt.id, receipt.time));
    let conflict = messi.post("k1", "lineker", "other").await.unwrap_err();
    assert_eq!(conflict.code(), Some(&ErrorCode::KeyConflict));

    // Lineker shows receipts to those he has written to.
    lineker.send("messi", "ya").await.unwrap();
    let state = async || messi.status(&receipt.id).await.unwrap().state;
    assert_eq!(state().await, DeliveryState::Stored);
    let mut watch = lineker.watch().await.unwrap();
    let message = next_message(&mut watch).await;
    watch.ack(&message).await.unwrap();
    assert_eq!(state().await, DeliveryState::Delivered);
    lineker.privacy(PrivacySubject::Receipts, Privacy::Off).await.unwrap();
    assert_eq!(state().await, DeliveryState::Stored);

    let page = messi.history("lineker", None, Some(1)).await.unwrap();
    assert_eq!((&*page.messages[0].body, page.messages[0].direction), ("ya", Direction::In));
    let page = messi.history("lineker", page.next.as_deref(), None).await.unwrap();
    assert_eq!((&*page.messages[0].id, page.messages[0].direction), (&*receipt.id, Direction::Out));
    assert!(page.next.is_none());

    lineker.block("messi").await.unwrap();
    let refused = messi.send("lineker", "halo?").await.unwrap_err();
    assert_eq!(refused.code(), Some(&ErrorCode::NotAllowed));
    lineker.unblock("messi").await.unwrap();
    messi.send("lineker", "halo!").await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn two_devices_see_what_the_other_sends() {
    let server = Running::start().await;
    let (phone, desk) = (server.client_of("messi").await, server.client_of("messi").await);
    let mut on_phone = phone.watch().await.unwrap();
    let sent = desk.send("lineker", "dari meja").await.unwrap();
    let told = next_of(&mut on_phone, |event| match event {
        Event::Sent(message) => Some(message),
        _ => None,
    })
    .await;
    assert_eq!((&*told.id, &*told.body), (&*sent.receipt().unwrap().id, "dari meja"));
    server.stop().await;
}

#[tokio::test]
async fn a_revoked_session_ends_its_watch_and_no_other() {
    let server = Running::start().await;
    let (one, other) = (server.client_of("messi").await, server.client_of("messi").await);
    let (mut one_watch, mut other_watch) =
        (one.watch().await.unwrap(), other.watch().await.unwrap());
    let sessions = one.sessions().await.unwrap();
    let theirs = sessions.iter().find(|session| !session.current).unwrap();
    one.revoke(&theirs.session).await.unwrap();
    let reason = next_of(&mut other_watch, |event| match event {
        Event::Ended(WatchEnd::SessionEnded { reason }) => Some(reason),
        _ => None,
    })
    .await;
    assert_eq!(reason, "revoked");
    assert!(other_watch.next().await.is_none());
    other.login("messi", PASSWORD).await.unwrap();
    let _again = other.watch().await.unwrap();
    one.send("messi", "masih").await.unwrap();
    assert_eq!(next_message(&mut one_watch).await.body, "masih");
    server.stop().await;
}

#[tokio::test]
async fn a_slow_reader_gets_everything_and_its_calls_go_on() {
    let server = Running::start().await;
    let messi = server.client_of("messi").await;
    let options = ConnectOptions::from(server.at).event_buffer(64);
    let lineker = Client::connect(options).await.unwrap();
    lineker.login("lineker", PASSWORD).await.unwrap();
    let mut watch = lineker.watch().await.unwrap();
    let mut sends = JoinSet::new();
    for number in 0..2000 {
        let messi = messi.clone();
        sends.spawn(async move { messi.send("lineker", &number.to_string()).await.unwrap() });
    }
    sends.join_all().await;
    for id in 1..=2000 {
        let message = next_message(&mut watch).await;
        assert_eq!(message.id.get(), id);
        if id % 10 == 0 {
            watch.ack(&message).await.unwrap();
        }
    }
    assert!(bodies(&lineker).await.is_empty());
    server.stop().await;
}

/// Everything goes on over restarts: logins, posts under way, the watch.
#[tokio::test]
async fn restarts_lose_nothing() {
    let mut server = Running::start().await;
    let (messi, lineker) = (server.client_of("messi").await, server.client_of("lineker").await);
    let mut watch = lineker.watch().await.unwrap();
    let mut posts = JoinSet::new();
    for round in 0..4 {
        for number in 0..50 {
            let (messi, key) = (messi.clone(), format!("{round}.{number}"));
            posts.spawn(async move { messi.post(&key, "lineker", &key).await.unwrap() });
        }
        tokio::task::yield_now().await;
        server = server.restart().await;
        // A connection made, so that the next round does not wait longer and longer.
        connected(&messi).await;
        messi.ping("").await.unwrap();
    }
    posts.join_all().await;
    let mut bodies = Vec::new();
    for id in 1..=200 {
        let message = next_message(&mut watch).await;
        assert_eq!(message.id.get(), id);
        bodies.push(message.body);
    }
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 200);
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_says_so_to_who_watches() {
    let server = Running::start().await;
    let client = server.client_of("messi").await;
    let mut watch = client.watch().await.unwrap();
    server.stop().await;
    next_of(&mut watch, |event| matches!(event, Event::Shutdown).then_some(())).await;
    let mut state = client.state();
    state.wait_for(|state| matches!(state, ConnectionState::Reconnecting { .. })).await.unwrap();
    client.close().await;
    let error = client.ping("a").await.unwrap_err();
    assert!(matches!(error, ClientError::Closed { sent: false, .. }));
}
