//! `post`: stored once, however often it is said.

use chat_server::ServerConfig;
use serde_json::{Value, json};

use crate::support::{code, on_pipes, on_store};

const NO_TOKEN: &str = "00000000-0000-0000-0000-000000000000";

#[tokio::test]
async fn what_is_posted_again_is_stored_once() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let token = client.login("messi").await;
    let first = client.ask(&format!("post {token} k1 lineker apa kabar")).await;
    assert_eq!(first["status"], "OK");
    assert_eq!((&first["duplicate"], &first["durability"]), (&json!(false), &json!("memory")));
    assert_eq!(first["time"], "2026-11-18T11:06:40.000Z");
    assert_eq!(first["id"].as_str().unwrap().len(), 32);

    // From another connection and session, and for another case of the name.
    let mut again = server.connect().await;
    let other = again.login("messi").await;
    let repeated = again.ask(&format!("post {other} k1 LINEKER apa kabar")).await;
    assert_eq!(repeated["duplicate"], true);
    assert_eq!((&repeated["id"], &repeated["time"]), (&first["id"], &first["time"]));
    for line in
        [format!("post {token} k1 lineker lain"), format!("post {token} k1 henderson apa kabar")]
    {
        assert_eq!(client.ask_code(&line).await, "key_conflict");
    }
    // Keys are an account's own, and compared byte by byte.
    let lineker = client.login("lineker").await;
    for line in [format!("post {lineker} k1 lineker x"), format!("post {token} K1 lineker y")] {
        assert_eq!(client.ask(&line).await["duplicate"], false);
    }
    assert_eq!(server.undelivered("lineker").await, ["apa kabar ", "x ", "y "]);
}

#[tokio::test]
async fn a_key_outlives_the_recipient_and_jumps_of_the_clock() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let token = client.login("messi").await;
    let post = format!("post {token} k lineker halo");
    let first = client.ask(&post).await;
    for minutes in [2 * 24 * 60, -60] {
        server.clock.shift(minutes);
        let again = client.ask(&post).await;
        assert_eq!((&again["duplicate"], &again["id"]), (&json!(true), &first["id"]), "{again}");
    }
    server.store.remove_account("lineker").await.unwrap();
    assert_eq!(client.ask(&post).await["id"], first["id"]);
    let other = format!("post {token} other lineker halo");
    assert_eq!(client.ask_code(&other).await, "no_such_recipient");
}

#[tokio::test]
async fn a_key_is_used_up_only_by_what_is_stored() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let token = client.login("messi").await;
    let long = "x".repeat(16 * 1024 + 1);
    for (line, expected) in [
        (format!("post {token} k ghost halo"), "no_such_recipient"),
        (format!("post {token} k lineker \0"), "bad_arguments"),
        (format!("post {token} k lineker {long}"), "message_too_long"),
        (format!("post {token} k lineker halo"), "OK"),
        (format!("post {token} k lineker halo"), "OK"),
    ] {
        assert_eq!(client.ask_code(&line).await, expected, "{line:.60}");
    }
    assert_eq!(server.undelivered("lineker").await, ["halo "]);
}

#[tokio::test]
async fn a_key_is_1_to_128_printable_characters_and_checked_after_the_token() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let token = client.login("messi").await;
    let (longest, too_long) = ("~".repeat(128), "~".repeat(129));
    for (line, expected) in [
        (format!("post {token} {longest} lineker x"), "OK"),
        (format!("post {token} {too_long} lineker x"), "bad_arguments"),
        (format!("post {token}  lineker x"), "bad_arguments"),
        (format!("post {token} caf\u{e9} lineker x"), "bad_arguments"),
        (format!("post {token} tab\there lineker x"), "bad_arguments"),
        (format!("post {token} \u{7f} lineker x"), "bad_arguments"),
        (format!("post {token} {too_long} ghost x"), "bad_arguments"),
        (format!("post {NO_TOKEN} {too_long} ghost x"), "no_session"),
        (format!("post {token} k lineker"), "bad_arguments"),
        (format!("post {token} k"), "bad_arguments"),
        (format!("post {token} - lineker dash"), "OK"),
    ] {
        assert_eq!(client.ask_code(&line).await, expected, "{line:.80}");
    }
    let refused = client.ask(&format!("post {token} {too_long} lineker x")).await;
    assert_eq!(refused["message"], "KEY is 1 to 128 printable ASCII characters");
    // A token that was good on this connection and is no more.
    server.store.set_password("messi", "barcelona").await.unwrap();
    assert_eq!(client.ask_code(&format!("post {token} {too_long} ghost x")).await, "no_session");
}

#[tokio::test]
async fn pipelined_posts_and_sends_are_answered_in_order_each_in_its_way() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let token = client.login("messi").await;
    let requests = (0..100).map(|n| match n % 4 {
        0 => format!("send {token} lineker {n}\r\n"),
        1 => format!("post {token} k{n} lineker {n}\r\n"),
        2 => format!("post {token} k{n} ghost {n}\r\n"),
        _ => format!("post {token} k{} lineker {}\r\n", n - 2, n - 2),
    });
    client.say(requests.collect::<String>()).await;
    let mut last = Value::Null;
    for n in 0..100 {
        let reply = client.hear().await;
        match n % 4 {
            0 => assert_eq!(reply, json!({"status": "OK", "message": "Message Sent"})),
            1 => assert_eq!(reply["duplicate"], false),
            2 => assert_eq!(code(&reply), "no_such_recipient"),
            _ => assert_eq!((&reply["duplicate"], &reply["id"]), (&json!(true), &last["id"])),
        }
        if n % 4 == 1 {
            last = reply;
        }
    }
    let stored = server.undelivered("lineker").await;
    let sent: Vec<_> = (0..100).filter(|n| n % 4 < 2).map(|n| n.to_string()).collect();
    assert_eq!(stored, sent);
}

#[tokio::test]
async fn who_has_too_many_keys_is_told_when_to_go_on() {
    let server = on_store(ServerConfig::default(), |options| options.keys_per_account = 2).await;
    let mut client = server.connect().await;
    let token = client.login("messi").await;
    for key in ["a", "b"] {
        assert_eq!(client.ask_code(&format!("post {token} {key} lineker x")).await, "OK");
    }
    let refused = client.ask(&format!("post {token} c lineker x")).await;
    assert_eq!(code(&refused), "rate_limited");
    assert!(refused["retry_after_ms"].as_u64().unwrap() > 0, "{refused}");
    // A repeat needs no new key, and a send none at all.
    assert_eq!(client.ask(&format!("post {token} a lineker x")).await["duplicate"], true);
    assert_eq!(client.ask_code(&format!("send {token} lineker x")).await, "OK");
}
