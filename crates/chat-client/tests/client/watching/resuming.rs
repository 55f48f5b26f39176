//! After a cut, a hole or a gap it goes on where it was.

use chat_client::{GapReason, MessageId, Resume};

use super::{
    announced, assert_gap, assert_message, assert_nothing, gap, message, options, unwatch_line,
    watch_after, watch_line, watched, watching,
};
use crate::peer::{Network, OK};

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
