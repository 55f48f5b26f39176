//! Existing clients against the real daemon.

use chat_tests::client::{Closing, TextClient};
use chat_tests::daemon::{Daemon, PASSWORD, Site};
use chat_tests::old_client::{OldClient, Trouble};
use serde_json::Value;

async fn site(config: &str) -> (Site, Daemon) {
    let site = Site::new(config);
    site.import(["ana", "budi"]).await;
    let daemon = site.start().await;
    (site, daemon)
}

async fn login(daemon: &Daemon, username: &str) -> (OldClient, String) {
    let mut client = OldClient::connect(daemon.address()).await;
    let reply = client.command(&format!("auth {username} {PASSWORD}")).await.unwrap();
    let reply: Value = serde_json::from_str(&reply).unwrap();
    (client, reply["tokenid"].as_str().unwrap().to_owned())
}

fn is_gagal<T: std::fmt::Debug>(outcome: &Result<T, Trouble>) -> bool {
    matches!(outcome, Err(Trouble::Gagal(_)))
}

#[tokio::test]
async fn survive_a_conversation_in_emoji_and_chinese() {
    let (_site, daemon) = site("").await;
    let (mut ana, ana_token) = login(&daemon, "ana").await;
    let (mut budi, budi_token) = login(&daemon, "budi").await;
    // Every length, so that characters fall on every place of a 64-byte piece.
    for length in 1..70 {
        for character in ["\u{1F600}", "\u{4f60}", "\u{e9}", "\u{1F468}\u{200d}\u{1F469}"] {
            let body = character.repeat(length);
            ana.command(&format!("send {ana_token} budi {body}")).await.unwrap();
            let reply = budi.command(&format!("inbox {budi_token}")).await.unwrap();
            let reply: Value = serde_json::from_str(&reply).unwrap();
            assert_eq!(reply["messages"]["ana"][0]["msg"], format!("{body} "));
        }
    }
    daemon.stop().await;
}

#[tokio::test]
async fn end_with_their_error_when_the_daemon_shuts_down() {
    let (_site, daemon) = site("").await;
    let mut silent = OldClient::connect(daemon.address()).await;
    let (mut idle, _) = login(&daemon, "ana").await;
    let (mut busy, token) = login(&daemon, "budi").await;
    daemon.terminate();
    let (silent, idle, busy) = tokio::join!(silent.receive(), idle.receive(), async {
        loop {
            if let outcome @ Err(_) = busy.command(&format!("list {token}")).await {
                break outcome;
            }
        }
    });
    assert!(is_gagal(&silent), "{silent:?}");
    assert!(is_gagal(&idle), "{idle:?}");
    assert!(is_gagal(&busy), "{busy:?}");
    assert!(daemon.ended().await.success());
}

#[tokio::test]
async fn end_with_their_error_after_a_line_that_is_too_long() {
    let (_site, daemon) = site("").await;
    let mut client = OldClient::connect(daemon.address()).await;
    let reply = client.command(&"x".repeat(70 * 1024)).await.unwrap();
    assert!(reply.contains("\"code\": \"frame_too_long\""), "{reply}");
    let end = client.receive().await;
    assert!(is_gagal(&end), "{end:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn end_with_their_error_when_a_line_is_never_finished() {
    let (_site, daemon) = site("[connections]\nline_timeout = \"1s\"\n").await;
    let mut client = TextClient::connect(daemon.address()).await;
    client.send(b"auth ana").await.unwrap();
    // The server may say why before it closes.
    let closing = match client.receive().await {
        Ok(_) => client.closing().await,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Closing::Reset,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(closing, Closing::Reset);
    daemon.stop().await;
}

#[tokio::test]
async fn that_are_silent_make_room_with_their_error() {
    let (_site, daemon) = site("[connections]\nmax = 2\n").await;
    let mut first = OldClient::connect(daemon.address()).await;
    // Its first bytes are read after the accept, so the first connection is the older one for sure.
    let (mut second, token) = login(&daemon, "ana").await;
    let (mut third, _) = login(&daemon, "budi").await;
    let end = first.receive().await;
    assert!(is_gagal(&end), "{end:?}");
    second.command(&format!("list {token}")).await.unwrap();
    third.command("list").await.unwrap();
    daemon.stop().await;
}

#[tokio::test]
async fn get_resets_where_newer_clients_get_an_orderly_end() {
    let (_site, daemon) = site("").await;
    let mut old = TextClient::connect(daemon.address()).await;
    old.error("list").await;
    let mut new = TextClient::connect(daemon.address()).await;
    new.ok("hello").await;
    daemon.terminate();
    assert_eq!(old.closing().await, Closing::Reset);
    assert_eq!(new.closing().await, Closing::End);
    assert!(daemon.ended().await.success());
}
