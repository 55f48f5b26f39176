//! Watches: nothing twice, nothing left out, whatever happens to the connection.

use std::time::Duration;

use chat_client::{
    Client, ClientError, CloseReason, ConnectOptions, ConnectionState, ErrorCode, Event, GapReason,
    MessageId, Resume, Watch, WatchEnd,
};
use tokio::time::{Instant, timeout};

use crate::peer::{BAD_COMMAND, HELLO, NO_SESSION, Network, OK, Peer, TOKEN};

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

#[tokio::test(start_paused = true)]
async fn after_a_cut_it_goes_on_behind_the_last_message() {
    let mut network = Network::new();
    let (_client, mut peer, mut watch) = watched(&mut network, options()).await;
    peer.reply(message(11)).await;
    peer.reply(message(12)).await;
    peer.send(&message(13).as_bytes()[..40]).await;
    drop(peer);
    // Nobody has read yet: what the stream holds is not asked for again.
    let mut peer = network.accept().await;
    peer.answer(watch_after(12, "i1"), watching("exact", 12, "i1")).await;
    peer.reply(message(13)).await;
    for id in 11..=13 {
        assert_message(&mut watch, id, "i1").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_before_the_reply_begins_the_watch_over() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let reply = watching("undelivered", 0, "i1");
    let script = async {
        peer.expect(watch_line()).await;
        drop(peer);
        let mut peer = network.accept().await;
        peer.answer(watch_line(), &reply).await;
        peer.reply(message(1)).await;
        peer
    };
    let (watch, _peer) = tokio::join!(client.watch(), script);
    assert_message(&mut watch.unwrap(), 1, "i1").await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_twice_is_given_once() {
    let mut network = Network::new();
    let (_client, mut peer, mut watch) = watched(&mut network, options()).await;
    for id in [11, 11, 10, 12, 11, 12, 13] {
        peer.reply(message(id)).await;
    }
    for id in 11..=13 {
        assert_message(&mut watch, id, "i1").await;
    }
    assert_nothing(&mut watch).await;
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_hole_is_asked_about_and_closed() {
    let mut network = Network::new();
    let (_client, mut peer, mut watch) = watched(&mut network, options()).await;
    peer.reply(message(11)).await;
    peer.reply(message(14)).await;
    peer.expect(unwatch_line()).await;
    peer.expect(watch_after(11, "i1")).await;
    // What still comes of the first watch does not count.
    peer.reply(message(15)).await;
    peer.reply(OK).await;
    peer.reply(watching("exact", 11, "i1")).await;
    for id in 12..=15 {
        peer.reply(message(id)).await;
    }
    for id in 11..=15 {
        assert_message(&mut watch, id, "i1").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hole_that_stays_is_a_gap() {
    let mut network = Network::new();
    let (_client, mut peer, mut watch) = watched(&mut network, options()).await;
    for (shown, after, hole) in [(12, 10, 11), (14, 12, 13)] {
        peer.reply(message(shown)).await;
        peer.answer(unwatch_line(), OK).await;
        peer.answer(watch_after(after, "i1"), watching("exact", after, "i1")).await;
        peer.reply(message(shown)).await;
        assert_gap(&mut watch, hole, Some(hole), &GapReason::Unannounced).await;
        assert_message(&mut watch, shown, "i1").await;
    }
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn an_announced_gap_is_no_hole() {
    let mut network = Network::new();
    let (_client, mut peer, mut watch) = watched(&mut network, options()).await;
    peer.reply(gap(11, 20)).await;
    peer.reply(message(21)).await;
    peer.reply(gap(1, 5)).await;
    peer.reply(gap(15, 30)).await;
    peer.reply(message(31)).await;
    assert_gap(&mut watch, 11, Some(20), &announced()).await;
    assert_message(&mut watch, 21, "i1").await;
    assert_gap(&mut watch, 22, Some(30), &announced()).await;
    assert_message(&mut watch, 31, "i1").await;
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn an_announced_gap_may_have_a_hole_before_it() {
    let mut network = Network::new();
    let (_client, mut peer, mut watch) = watched(&mut network, options()).await;
    peer.reply(gap(15, 20)).await;
    peer.answer(unwatch_line(), OK).await;
    peer.answer(watch_after(10, "i1"), watching("exact", 10, "i1")).await;
    peer.reply(gap(15, 20)).await;
    assert_gap(&mut watch, 11, Some(14), &GapReason::Unannounced).await;
    assert_gap(&mut watch, 15, Some(20), &announced()).await;
}

#[tokio::test(start_paused = true)]
async fn a_restored_mailbox_is_a_gap_with_its_new_incarnation() {
    let mut network = Network::new();
    let (_client, mut peer, mut watch) = watched(&mut network, options()).await;
    for id in 11..=14 {
        peer.reply(message(id)).await;
    }
    drop(peer);
    let mut peer = network.accept().await;
    let reply = r#"{"status": "OK", "incarnation": "i2", "resume": "gap", "after": "12", "from": "13", "to": "14"}"#;
    peer.answer(watch_after(14, "i1"), reply).await;
    peer.reply(message(13)).await;
    for id in 11..=14 {
        assert_message(&mut watch, id, "i1").await;
    }
    assert_gap(&mut watch, 13, Some(14), &GapReason::Restored { before: "i1".into() }).await;
    assert_message(&mut watch, 13, "i2").await;
    drop(peer);
    let mut peer = network.accept().await;
    peer.answer(watch_after(13, "i2"), watching("exact", 13, "i2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_stale_beginning_is_a_gap_too() {
    let mut network = Network::new();
    let (client, mut peer) = network.client(options()).await;
    let reply =
        r#"{"status": "OK", "incarnation": "i2", "resume": "gap", "after": "3", "from": "4"}"#;
    let (watch, ()) = tokio::join!(
        client.watch_from(MessageId::new(3), "i1"),
        peer.answer(watch_after(3, "i1"), reply)
    );
    let mut watch = watch.unwrap();
    assert_eq!((watch.resume(), watch.incarnation()), (Resume::Gap, "i2"));
    assert_gap(&mut watch, 4, None, &GapReason::Restored { before: "i1".into() }).await;
}

fn messages(ids: std::ops::RangeInclusive<u64>) -> String {
    ids.map(|id| message(id) + "\r\n\r\n").collect()
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_the_server_up() {
    let mut network = Network::new();
    let (_client, mut peer, mut watch) = watched(&mut network, options().event_buffer(16)).await;
    let text = messages(11..=60);
    {
        let mut pushing = std::pin::pin!(peer.send(text.as_bytes()));
        assert!(timeout(Duration::from_secs(4), &mut pushing).await.is_err(), "all was taken");
        let reading = async {
            for id in 11..=60 {
                assert_message(&mut watch, id, "i1").await;
            }
        };
        tokio::join!(pushing, reading);
    }
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_no_call_up() {
    let mut network = Network::new();
    let (client, mut peer, mut watch) = watched(&mut network, options().event_buffer(16)).await;
    let script = async {
        peer.expect("ping a").await;
        peer.send(messages(11..=100).as_bytes()).await;
        peer.reply(PONG).await;
    };
    let (pong, ()) = tokio::join!(client.ping("a"), script);
    pong.unwrap();
    peer.expect_nothing().await;
    for id in 11..=100 {
        assert_message(&mut watch, id, "i1").await;
    }
}

/// More comes before the reply than the stream has room for.
#[tokio::test(start_paused = true)]
async fn what_a_slow_reader_has_no_room_for_comes_again() {
    let mut network = Network::new();
    let (client, mut peer, mut watch) = watched(&mut network, options().event_buffer(16)).await;
    let script = async {
        peer.expect("ping a").await;
        peer.send(messages(11..=500).as_bytes()).await;
        peer.reply(PONG).await;
        peer.answer(unwatch_line(), OK).await;
    };
    let (pong, ()) = tokio::join!(client.ping("a"), script);
    pong.unwrap();
    for id in 11..=130 {
        peer.expect_nothing().await;
        assert_message(&mut watch, id, "i1").await;
    }
    peer.answer(watch_after(138, "i1"), watching("exact", 138, "i1")).await;
    peer.reply(message(139)).await;
    for id in 131..=138 {
        assert_message(&mut watch, id, "i1").await;
    }
    assert!(matches!(next(&mut watch).await, Event::Lagging));
    assert_message(&mut watch, 139, "i1").await;
}

/// A server gives up a client that does not read for 30 seconds.
#[tokio::test(start_paused = true)]
async fn a_reader_that_sleeps_costs_no_connection() {
    let mut network = Network::new();
    let (client, mut peer, mut watch) = watched(&mut network, options().event_buffer(16)).await;
    let before = Instant::now();
    peer.send(messages(11..=200).as_bytes()).await;
    assert_eq!(before.elapsed().as_secs(), 5);
    peer.answer(unwatch_line(), OK).await;
    let (pong, ()) = tokio::join!(client.ping("a"), peer.answer("ping a", PONG));
    pong.unwrap();
    // Nor does it matter if the connection is lost meanwhile.
    drop(peer);
    let mut peer = network.accept().await;
    peer.expect_nothing().await;
    let mut last = 10;
    let line = loop {
        last += 1;
        assert_message(&mut watch, last, "i1").await;
        if let Ok(line) = timeout(Duration::from_millis(1), peer.next_request()).await {
            break line.unwrap();
        }
    };
    let taken = line.strip_prefix(&format!("{} ", watch_line())).unwrap();
    let taken: u64 = taken.strip_suffix(" i1").unwrap().parse().unwrap();
    assert!(taken > last && taken < 30, "{taken}");
    peer.reply(watching("exact", taken, "i1")).await;
    for id in last + 1..=taken {
        assert_message(&mut watch, id, "i1").await;
    }
    assert!(matches!(next(&mut watch).await, Event::Lagging));
    drop((client, watch));
    peer.expect_end().await;
}

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
