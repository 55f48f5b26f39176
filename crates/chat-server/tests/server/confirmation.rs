//! Guarantee 3, clause by clause: when what `inbox` gave counts as delivered.

use std::time::Duration;

use chat_server::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use crate::support::{code, on_pipes, on_tcp, on_transports, seconds, texts};

#[tokio::test]
async fn the_next_request_confirms_a_page() {
    let server = on_pipes().await;
    server.write_to_messi(&["satu"]).await;
    let mut messi = server.connect_narrow(4).await;
    let token = messi.login("messi").await;
    assert_eq!(messi.inbox(&token).await, ["satu"]);
    assert_eq!(server.undelivered("messi").await, ["satu"]);
    // Any request will do, a wrong one too, but only once it is whole. The pipe does not hold this much, so some is read.
    messi.say("terban").await;
    assert_eq!(server.undelivered("messi").await, ["satu"]);
    messi.say("g\r\n").await;
    messi.hear().await;
    assert!(server.undelivered("messi").await.is_empty());
}

#[tokio::test]
async fn an_orderly_end_confirms_a_page() {
    let server = on_pipes().await;
    server.write_to_messi(&["satu"]).await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    messi.inbox(&token).await;
    messi.stream.shutdown().await.unwrap();
    messi.end().await.unwrap();
    assert!(server.undelivered("messi").await.is_empty());
}

#[tokio::test]
async fn an_orderly_end_confirms_at_once_over_tcp() {
    let server = on_tcp(ServerConfig::default()).await;
    server.write_to_messi(&["satu"]).await;
    let begun = Instant::now();
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    assert_eq!(messi.inbox(&token).await, ["satu"]);
    messi.stream.shutdown().await.unwrap();
    messi.end().await.unwrap();
    assert!(server.undelivered("messi").await.is_empty());
    assert!(begun.elapsed() < seconds(2));
}

#[tokio::test]
async fn a_connection_that_breaks_in_mid_reply_confirms_nothing() {
    let mut server = on_pipes().await;
    server.write_to_messi(&["satu", "dua"]).await;
    let token = server.token("messi").await;
    let mut messi = server.connect_narrow(64).await;
    messi.say(format!("inbox {token}\r\n")).await;
    messi.stream.read_exact(&mut [0; 70]).await.unwrap();
    drop(messi);
    server.stop().await;
    assert_eq!(server.undelivered("messi").await, ["satu", "dua"]);
}

#[tokio::test]
async fn a_reset_confirms_nothing() {
    let mut server = on_tcp(ServerConfig::default()).await;
    server.write_to_messi(&["satu"]).await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    messi.inbox(&token).await;
    messi.reset();
    server.stop().await;
    assert_eq!(server.undelivered("messi").await, ["satu"]);
}

#[tokio::test]
async fn a_pipelined_inbox_gives_what_follows_and_confirms_nothing() {
    let mut config = ServerConfig::default();
    config.page_messages = 2;
    let server = on_transports(config).await;
    server.write_to_messi(&["a", "b", "c", "d", "e"]).await;
    let token = server.token("messi").await;
    let (mut messi, mut phone) = (server.connect().await, server.connect().await);
    messi.say(format!("inbox {token}\r\n").repeat(2)).await;
    assert_eq!(texts(&messi.hear().await), ["a", "b"]);
    assert_eq!(texts(&messi.hear().await), ["c", "d"]);
    // Other connections see from the cursor.
    assert_eq!(phone.inbox(&token).await, ["a", "b"]);
    assert_eq!(server.undelivered("messi").await.len(), 5);
    assert_eq!(messi.inbox(&token).await, ["e"]);
    assert_eq!(server.undelivered("messi").await, ["e"]);
    // Confirming what is delivered already changes nothing; the page that follows is the one behind the cursor.
    assert_eq!(phone.inbox(&token).await, ["e"]);
}

#[tokio::test]
async fn a_line_begun_before_the_page_was_out_does_not_confirm_it() {
    let server = on_pipes().await;
    server.write_to_messi(&["satu"]).await;
    let token = server.token("messi").await;
    let mut messi = server.connect().await;
    messi.say(format!("inbox {token}\r\npi")).await;
    messi.hear().await;
    messi.say("ng\r\n").await;
    messi.hear().await;
    assert_eq!(server.undelivered("messi").await, ["satu"]);
    messi.ask("ping").await;
    assert!(server.undelivered("messi").await.is_empty());
}

#[tokio::test]
async fn an_end_of_stream_inside_a_line_begun_before_the_page_waits_for_failure() {
    let mut server = on_transports(short_linger()).await;
    server.write_to_messi(&["satu"]).await;
    let token = server.token("messi").await;
    let mut messi = server.connect().await;
    messi.say(format!("inbox {token}\r\npi")).await;
    messi.stream.shutdown().await.unwrap();
    assert_eq!(texts(&messi.hear().await), ["satu"]);
    messi.end().await.unwrap();
    assert_eq!(server.undelivered("messi").await, ["satu"]);
    server.stop().await;
    assert!(server.undelivered("messi").await.is_empty());
}

#[tokio::test]
async fn an_end_of_stream_inside_a_line_begun_after_the_page_confirms_it() {
    let server = on_pipes().await;
    server.write_to_messi(&["satu"]).await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    messi.inbox(&token).await;
    messi.say("pi").await;
    messi.stream.shutdown().await.unwrap();
    messi.end().await.unwrap();
    assert!(server.undelivered("messi").await.is_empty());
}

fn short_linger() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.linger = Duration::from_millis(500);
    config
}

#[tokio::test]
async fn a_half_close_after_inbox_is_answered_and_confirms_when_no_failure_shows() {
    let mut server = on_tcp(short_linger()).await;
    server.write_to_messi(&["satu"]).await;
    let token = server.token("messi").await;
    let mut messi = server.connect().await;
    // In one segment with the end, as `printf ... | nc -N` does it.
    messi.stream.set_nodelay(false).unwrap();
    messi.say(format!("inbox {token}\r\n")).await;
    messi.stream.shutdown().await.unwrap();
    assert_eq!(texts(&messi.hear().await), ["satu"]);
    messi.end().await.unwrap();
    server.stop().await;
    assert!(server.undelivered("messi").await.is_empty());
}

#[tokio::test]
async fn a_peer_that_is_gone_before_its_page_confirms_nothing() {
    let mut server = on_tcp(short_linger()).await;
    server.write_to_messi(&["satu"]).await;
    let token = server.token("messi").await;
    for _ in 0..20 {
        let mut messi = server.connect().await;
        messi.say(format!("inbox {token}\r\n")).await;
        // Both directions: the page meets a closed socket.
        drop(messi);
    }
    server.stop().await;
    assert_eq!(server.undelivered("messi").await, ["satu"]);
}

#[tokio::test(start_paused = true)]
async fn timeouts_confirm_nothing() {
    let server = on_pipes().await;
    server.write_to_messi(&["satu"]).await;
    let token = server.token("messi").await;
    let mut messi = server.connect().await;
    messi.inbox(&token).await;
    messi.say("pin").await;
    messi.end().await.unwrap();
    assert_eq!(server.undelivered("messi").await, ["satu"]);

    let mut messi = server.connect_narrow(64).await;
    messi.say(format!("inbox {token}\r\n")).await;
    // Once the page is on its way the only thing to wait for is time.
    messi.stream.read_u8().await.unwrap();
    sleep(seconds(31)).await;
    assert_eq!(server.undelivered("messi").await, ["satu"]);
}

#[tokio::test]
async fn after_explicit_ack_only_ack_confirms() {
    let mut server = on_pipes().await;
    server.write_to_messi(&["a", "b", "c"]).await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    // The page in flight when `hello` comes is included.
    assert_eq!(messi.inbox(&token).await, ["a", "b", "c"]);
    messi.ask("hello explicit_ack").await;
    messi.ask("ping").await;
    assert!(messi.inbox(&token).await.is_empty());
    assert_eq!(server.undelivered("messi").await, ["a", "b", "c"]);

    assert_eq!(messi.ask_code(&format!("ack {token} 2")).await, "OK");
    assert_eq!(messi.ask_code(&format!("ack {token} 1")).await, "OK");
    assert_eq!(server.undelivered("messi").await, ["c"]);
    messi.stream.shutdown().await.unwrap();
    messi.end().await.unwrap();
    server.stop().await;
    assert_eq!(server.undelivered("messi").await, ["c"]);
}

#[tokio::test]
async fn ack_needs_an_incarnation_for_what_this_connection_was_not_shown() {
    let server = on_pipes().await;
    server.write_to_messi(&["a", "b", "c"]).await;
    let (mut messi, mut phone) = (server.connect().await, server.connect().await);
    let token = messi.login("messi").await;
    messi.ask("hello explicit_ack").await;
    assert_eq!(messi.ask_code(&format!("ack {token} 2")).await, "bad_arguments");
    let page = messi.ask(&format!("peek {token} - 2")).await;
    assert_eq!(messi.ask_code(&format!("ack {token} 3")).await, "bad_arguments");
    assert_eq!(messi.ask_code(&format!("ack {token} 2")).await, "OK");

    let incarnation = page["incarnation"].as_str().unwrap();
    assert_eq!(phone.ask_code(&format!("ack {token} 3")).await, "bad_arguments");
    assert_eq!(phone.ask_code(&format!("ack {token} 4 {incarnation}")).await, "bad_arguments");
    assert_eq!(
        phone.ask_code(&format!("ack {token} 3 ffffffffffffffff")).await,
        "stale_incarnation"
    );
    assert_eq!(server.undelivered("messi").await, ["c"]);
    assert_eq!(phone.ask_code(&format!("ack {token} 3 {incarnation}")).await, "OK");
    assert!(server.undelivered("messi").await.is_empty());
}

#[tokio::test]
async fn pages_of_several_mailboxes_are_kept_apart() {
    let server = on_pipes().await;
    server.write_to_messi(&["untuk messi"]).await;
    let mut client = server.connect().await;
    let (a, b) = (server.token("messi").await, server.token("lineker").await);
    client
        .say(format!(
            "inbox {a}\r\ninbox {b}\r\nsend {a} lineker halo\r\ninbox {b}\r\ninbox {a}\r\n"
        ))
        .await;
    assert_eq!(texts(&client.hear().await), ["untuk messi"]);
    assert!(texts(&client.hear().await).is_empty());
    assert_eq!(code(&client.hear().await), "OK");
    assert_eq!(texts(&client.hear().await), ["halo"]);
    assert!(texts(&client.hear().await).is_empty());
    client.ask("ping").await;
    assert!(server.undelivered("messi").await.is_empty());
    assert!(server.undelivered("lineker").await.is_empty());
}
