//! Watches: nothing twice, nothing left out, whatever happens to the connection.

mod ending;
mod resuming;
mod slow_readers;

use std::time::Duration;

use chat_client::{
    Client, CloseReason, ConnectOptions, Event, GapReason, MessageId, Resume, Watch, WatchEnd,
};
use tokio::time::timeout;

use crate::peer::{Network, OK, Peer, TOKEN};

fn options() -> ConnectOptions {
    ConnectOptions::default()
}

fn watching(resume: &str, after: u64, incarnation: &str) -> String {
    format!(
        r#"{{"status": "OK", "incarnation": "{incarnation}", "resume": "{resume}", "after": "{after}"}}"#
    )
}

fn message(id: u64) -> String {
    format!(
        r#"{{"event": "message", "id": "{id}", "time": "2026-11-18T11:06:40.007Z", "from": "lineker", "from_name": "Gary Lineker", "to": "messi", "body": "number {id}"}}"#
    )
}

fn gap(from: u64, to: u64) -> String {
    format!(r#"{{"event": "gap", "from": "{from}", "to": "{to}", "reason": "retention"}}"#)
}

const PONG: &str = r#"{"status": "OK", "text": "a"}"#;

fn watch_line() -> String {
    format!("watch {TOKEN}")
}

fn watch_after(id: u64, incarnation: &str) -> String {
    format!("watch {TOKEN} {id} {incarnation}")
}

fn unwatch_line() -> String {
    format!("unwatch {TOKEN}")
}

fn messages(ids: std::ops::RangeInclusive<u64>) -> String {
    ids.map(|id| message(id) + "\r\n\r\n").collect()
}

/// A client whose watch began behind message 10 of `i1`.
async fn watched(network: &mut Network, options: ConnectOptions) -> (Client, Peer, Watch) {
    let (client, mut peer) = network.client(options).await;
    let reply = watching("undelivered", 10, "i1");
    let (watch, ()) = tokio::join!(client.watch(), peer.answer(watch_line(), &reply));
    (client, peer, watch.unwrap())
}

async fn next(watch: &mut Watch) -> Event {
    timeout(Duration::from_secs(600), watch.next()).await.expect("an event").expect("an event")
}

async fn assert_message(watch: &mut Watch, id: u64, incarnation: &str) {
    match next(watch).await {
        Event::Message(message) => {
            assert_eq!((message.id.get(), &*message.incarnation), (id, incarnation));
            assert_eq!(message.body, format!("number {id}"));
        }
        other => panic!("{other:?} in place of {id}"),
    }
}

async fn assert_gap(watch: &mut Watch, from: u64, to: Option<u64>, reason: &GapReason) {
    match next(watch).await {
        Event::Gap(gap) => {
            assert_eq!((gap.from.get(), gap.to.map(MessageId::get)), (from, to));
            assert_eq!(&gap.reason, reason);
        }
        other => panic!("{other:?} in place of a gap"),
    }
}

/// Asserts that nothing is to be read for now.
async fn assert_nothing(watch: &mut Watch) {
    let next = timeout(Duration::from_millis(1), watch.next()).await;
    assert!(next.is_err(), "{next:?}");
}

fn announced() -> GapReason {
    GapReason::Announced("retention".to_owned())
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_event() {
    let mut network = Network::new();
    let (_client, mut peer, mut watch) = watched(&mut network, options()).await;
    assert_eq!((watch.incarnation(), watch.after().get()), ("i1", 10));
    assert_eq!(watch.resume(), Resume::Undelivered);
    peer.reply(message(11)).await;
    peer.reply(r#"{"event": "sent", "id": "m1", "time": "2026-11-18T11:06:40.007Z", "from": "messi", "from_name": "Lionel Messi", "to": "arini", "body": "halo"}"#).await;
    peer.reply(r#"{"event": "presence", "user": "arini", "active": true}"#).await;
    for event in ["lagging", "live", "of_a_later_version", "shutdown"] {
        peer.reply(format!(r#"{{"event": "{event}"}}"#)).await;
    }
    let Event::Message(first) = next(&mut watch).await else { panic!("a message") };
    assert_eq!((&*first.from, &*first.from_name, &*first.to), ("lineker", "Gary Lineker", "messi"));
    assert!(!format!("{first:?}").contains("number"));
    assert!(matches!(next(&mut watch).await, Event::Sent(sent) if sent.body == "halo"));
    assert!(
        matches!(next(&mut watch).await, Event::Presence { user, active: true } if user == "arini")
    );
    assert!(matches!(next(&mut watch).await, Event::Lagging));
    assert!(matches!(next(&mut watch).await, Event::Live));
    assert!(matches!(next(&mut watch).await, Event::Shutdown));
    assert_nothing(&mut watch).await;
    let ack = format!("ack {TOKEN} 11 i1");
    let (acked, ()) = tokio::join!(watch.ack(&first), peer.answer(&ack, OK));
    acked.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watch_may_begin_anywhere() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let reply = watching("exact", 3, "i1");
    let (watch, ()) = tokio::join!(
        client.watch_from(MessageId::new(3), "i1"),
        peer.answer(watch_after(3, "i1"), &reply)
    );
    let mut watch = watch.unwrap();
    assert_eq!(watch.resume(), Resume::Exact);
    peer.reply(message(4)).await;
    assert_message(&mut watch, 4, "i1").await;
}

#[tokio::test(start_paused = true)]
async fn it_is_a_stream() {
    let mut network = Network::new();
    let (client, mut peer, watch) = watched(&mut network, options()).await;
    let mut stream: std::pin::Pin<Box<dyn futures_core::Stream<Item = Event>>> = Box::pin(watch);
    peer.reply(message(11)).await;
    let mut next =
        async || std::future::poll_fn(|context| stream.as_mut().poll_next(context)).await;
    assert!(matches!(next().await, Some(Event::Message(_))));
    let (end, _, ()) = tokio::join!(next(), client.close(), async {
        peer.expect_end().await;
        drop(peer);
    });
    assert!(matches!(end, Some(Event::Ended(WatchEnd::Closed(CloseReason::ByClient)))));
    assert!(next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn replies_find_their_calls_between_events() {
    let mut network = Network::new();
    let (client, mut peer, mut watch) = watched(&mut network, options()).await;
    let script = async {
        peer.reply(message(11)).await;
        peer.expect("ping a").await;
        peer.expect("ping b").await;
        peer.reply(message(12)).await;
        peer.reply(r#"{"status": "OK", "text": "a"}"#).await;
        peer.reply(message(13)).await;
        peer.reply(r#"{"text": "b", "event": "of a reply", "status": "OK"}"#).await;
        peer.reply(message(14)).await;
    };
    let (a, b, ()) = tokio::join!(biased; client.ping("a"), client.ping("b"), script);
    assert_eq!((&*a.unwrap(), &*b.unwrap()), ("a", "b"));
    for id in 11..=14 {
        assert_message(&mut watch, id, "i1").await;
    }
}
