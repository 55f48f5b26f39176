//! Input that is wrong gets a clear error, in its place, and nothing is lost.

use crate::support::{code, on_pipes, seconds, texts};
use tokio::time::Instant;

const NO_TOKEN: &str = "00000000-0000-0000-0000-000000000000";

#[tokio::test]
async fn a_wrong_line_is_answered_and_the_connection_goes_on() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let token = client.login("messi").await;
    let long = "x".repeat(16 * 1024 + 1);
    for (line, expected) in [
        ("terbang".into(), "bad_command"),
        ("AUTH messi surabaya".into(), "bad_command"),
        ("\0".into(), "bad_command"),
        ("auth".into(), "bad_arguments"),
        ("auth messi".into(), "bad_arguments"),
        ("auth nobody surabaya".into(), "no_such_user"),
        ("auth messi wrong".into(), "bad_password"),
        ("inbox".into(), "bad_arguments"),
        ("inbox messi".into(), "no_session"),
        (format!("inbox {NO_TOKEN}"), "no_session"),
        (format!("inbox {{{token}}}"), "no_session"),
        (format!("user_aktif {NO_TOKEN}"), "no_session"),
        (format!("logout {NO_TOKEN}"), "no_session"),
        (format!("send {token}"), "bad_arguments"),
        (format!("send {token} lineker"), "bad_arguments"),
        (format!("send {token} ghost halo"), "no_such_recipient"),
        (format!("send {token} lineker nul \0 byte"), "bad_arguments"),
        (format!("send {token} lineker return \r inside"), "bad_arguments"),
        (format!("send {token} lineker escape \u{1b}[2J"), "bad_arguments"),
        (format!("send {token} lineker {long}"), "message_too_long"),
        (format!("send {token} lineker tab\tis fine"), "OK"),
        (format!("list {token} - many"), "bad_arguments"),
        (format!("list {token} - 1001"), "bad_arguments"),
        (format!("list {token} - 1 ignored words"), "OK"),
        (format!("peek {token} first"), "bad_arguments"),
        (format!("peek {token} - 0"), "bad_arguments"),
        (format!("peek {token} - 1 extra"), "bad_arguments"),
        (format!("ack {token} -1"), "bad_arguments"),
        (format!("ack {token} 99"), "bad_arguments"),
        (format!("ack {token} 0 0123456789abcdef"), "stale_incarnation"),
        (format!("whoami {token} extra"), "bad_arguments"),
        (format!("revoke {token} none"), "no_such_session"),
    ] {
        assert_eq!(client.ask_code(&line).await, expected, "{line:.60}");
    }
    assert_eq!(client.ask("ping still here").await["text"], "still here");
}

#[tokio::test]
async fn the_token_is_checked_first_and_the_rest_from_left_to_right() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let token = client.login("messi").await;
    let long = "x".repeat(16 * 1024 + 1);
    for (line, expected) in [
        (format!("send {NO_TOKEN} ghost {long}"), "no_session"),
        (format!("send {NO_TOKEN} lineker \0"), "no_session"),
        (format!("send {token} ghost {long}"), "no_such_recipient"),
        (format!("list {NO_TOKEN} - many"), "no_session"),
        (format!("peek {NO_TOKEN} first 0"), "no_session"),
        (format!("ack {NO_TOKEN} first"), "no_session"),
        (format!("passwd {NO_TOKEN} wrong x"), "no_session"),
        (format!("whoami {NO_TOKEN} extra"), "bad_arguments"),
    ] {
        assert_eq!(client.ask_code(&line).await, expected, "{line:.60}");
    }
    // A token that was good on this connection and is no more.
    server.store.set_password("messi", "barcelona").await.unwrap();
    assert_eq!(client.ask_code(&format!("peek {token} first")).await, "no_session");
    assert_eq!(client.ask_code(&format!("send {token} ghost {long}")).await, "no_session");
}

#[tokio::test]
async fn a_removed_users_token_is_no_session() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let token = client.login("messi").await;
    server.store.remove_account("messi").await.unwrap();
    for command in ["send", "inbox", "list", "user_aktif", "whoami", "logout"] {
        let line =
            format!("{command} {token}{}", if command == "send" { " lineker x" } else { "" });
        assert_eq!(client.ask_code(&line).await, "no_session", "{command}");
    }
    assert_eq!(client.ask_code("auth messi surabaya").await, "no_such_user");
}

#[tokio::test]
async fn bytes_that_are_not_utf8_are_refused() {
    let mut client = on_pipes().await.connect().await;
    client.say(b"ping \xff\xfe\r\n").await;
    assert_eq!(code(&client.hear().await), "bad_utf8");
    assert_eq!(client.ask("ping ok").await["text"], "ok");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_too_long_is_answered_after_what_came_before_it_and_ends_the_connection() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let begun = Instant::now();
    client.say("ping first\r\n").await;
    client.say("x".repeat(64 * 1024 + 1)).await;
    assert_eq!(client.hear().await["text"], "first");
    assert_eq!(code(&client.hear().await), "frame_too_long");
    // What follows is read, so that it is in nobody's way, and not served.
    client.say(format!("{}\r\nping second\r\n", "y".repeat(300_000))).await;
    client.end().await.unwrap();
    assert!(begun.elapsed() <= seconds(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_longest_line_is_served() {
    let mut client = on_pipes().await.connect().await;
    let text = "x".repeat(64 * 1024 - "ping ".len());
    client.say(format!("ping {text}\r\n")).await;
    assert_eq!(client.hear().await["text"], text);
}

#[tokio::test]
async fn a_request_may_come_one_byte_at_a_time() {
    let server = on_pipes().await;
    let mut client = server.connect_narrow(1).await;
    let token = client.login("messi").await;
    for byte in format!("send {token} messi satu \r\n").bytes() {
        client.say([byte]).await;
    }
    assert_eq!(code(&client.hear().await), "OK");
    assert_eq!(client.inbox(&token).await, ["satu "]);
}

#[tokio::test]
async fn ten_thousand_pipelined_requests_are_answered_in_order() {
    let server = on_pipes().await;
    let client = server.connect().await;
    let (mut read, mut write) = tokio::io::split(client.stream);
    let requests: String = (0..10_000).map(|n| format!("ping {n}\r\n")).collect();
    let writing =
        async { tokio::io::AsyncWriteExt::write_all(&mut write, requests.as_bytes()).await };
    let reading = async {
        let mut replies = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(&mut read));
        for n in 0..10_000 {
            let reply = replies.next_line().await.unwrap().unwrap();
            assert_eq!(reply, format!(r#"{{"status": "OK", "text": "{n}"}}"#));
            assert_eq!(replies.next_line().await.unwrap().unwrap(), "");
        }
    };
    let (written, ()) = tokio::join!(writing, reading);
    written.unwrap();
}

#[tokio::test]
async fn pipelined_sends_are_stored_in_order_between_other_requests() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let token = client.login("messi").await;
    let mut requests = String::new();
    for n in 0..100 {
        let to = if n % 10 == 9 { "ghost" } else { "messi" };
        requests.push_str(&format!("send {token} {to} pesan {n}\r\n"));
        if n % 25 == 24 {
            requests.push_str("ping\r\nterbang\r\n");
        }
    }
    client.say(format!("{requests}inbox {token}\r\n")).await;
    for n in 0..100 {
        let expected = if n % 10 == 9 { "no_such_recipient" } else { "OK" };
        assert_eq!(code(&client.hear().await), expected, "{n}");
        if n % 25 == 24 {
            assert_eq!(code(&client.hear().await), "OK");
            assert_eq!(code(&client.hear().await), "bad_command");
        }
    }
    let stored = texts(&client.hear().await);
    let sent: Vec<_> = (0..100).filter(|n| n % 10 != 9).map(|n| format!("pesan {n}")).collect();
    assert_eq!(stored, sent);
}
