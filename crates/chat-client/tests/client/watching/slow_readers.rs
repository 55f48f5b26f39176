//! A reader that is slow, or sleeps.

use std::time::Duration;

use chat_client::Event;
use tokio::time::{Instant, timeout};

use super::{
    PONG, assert_message, message, messages, next, options, unwatch_line, watch_after, watch_line,
    watched, watching,
};
use crate::peer::{Network, OK};

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
