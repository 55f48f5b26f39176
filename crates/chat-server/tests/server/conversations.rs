//! `status`, `history`, `block` and `privacy`.

use chat_server::ServerConfig;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::support::{minutes, on_pipes, on_transports, seconds};

const NO_TOKEN: &str = "00000000-0000-0000-0000-000000000000";

#[tokio::test]
async fn a_conversation_has_both_directions_newest_page_first() {
    let server = on_pipes().await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    let posted = messi.ask(&format!("post {token} k lineker satu")).await;
    server.write_to_messi(&["dua", "tiga"]).await;
    server.write("henderson", "messi", &["bukan ini"]).await;
    server.write("messi", "lineker", &["empat"]).await;

    let page = messi.ask(&format!("history {token} lineker - 2")).await;
    let who = messi.ask(&format!("whoami {token}")).await;
    assert_eq!(page["incarnation"], who["incarnation"]);
    let time = "2026-11-18T11:06:40.000Z";
    assert_eq!(
        page["messages"][0],
        json!({"direction": "in", "id": "2", "time": time, "from": "lineker",
            "from_name": "Gary Lineker", "to": "messi", "body": "tiga"})
    );
    assert_eq!(
        (&page["messages"][1]["direction"], bodies(&page)),
        (&json!("out"), texts(&["tiga", "empat"]))
    );
    let next = page["next"].as_str().unwrap();
    let page = messi.ask(&format!("history {token} LINEKER {next}")).await;
    assert_eq!(bodies(&page), texts(&["satu ", "dua"]));
    assert_eq!(
        page["messages"][0],
        json!({"direction": "out", "id": posted["id"], "time": time, "from": "messi",
            "from_name": "Lionel Messi", "to": "lineker", "body": "satu "})
    );
    assert!(page.get("next").is_none());
    // The other side sees the same, turned round; and nothing was delivered by looking.
    let lineker = messi.login("lineker").await;
    let page = messi.ask(&format!("history {lineker} messi")).await;
    assert_eq!(bodies(&page), texts(&["satu ", "dua", "tiga", "empat"]));
    assert_eq!(page["messages"][1]["direction"], "out");
    assert_eq!(server.undelivered("messi").await.len(), 3);
}

fn bodies(page: &Value) -> Vec<String> {
    let messages = page["messages"].as_array().unwrap();
    messages.iter().map(|message| message["body"].as_str().unwrap().to_owned()).collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn words_of_history_are_checked_from_left_to_right() {
    let server = on_pipes().await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    server.write_to_messi(&["a", "b"]).await;
    server.write("henderson", "messi", &["c", "d"]).await;
    let page = messi.ask(&format!("history {token} henderson - 1")).await;
    let foreign = page["next"].as_str().unwrap();
    let forged = "0123456789abcdef0123456789abcdef";
    for (line, expected) in [
        (format!("history {token}"), "bad_arguments"),
        (format!("history {NO_TOKEN} ghost x 0"), "no_session"),
        (format!("history {token} ghost"), "no_such_user"),
        (format!("history {token} ghost x 0"), "no_such_user"),
        (format!("history {token} ghost - 0"), "no_such_user"),
        (format!("history {token} lineker x"), "bad_arguments"),
        (format!("history {token} lineker {forged}"), "bad_arguments"),
        (format!("history {token} lineker {foreign}"), "bad_arguments"),
        (format!("history {token} lineker - 0"), "bad_arguments"),
        (format!("history {token} lineker - 1001"), "bad_arguments"),
        (format!("history {token} lineker - 1 more"), "bad_arguments"),
        (format!("history {token} messi"), "OK"),
        (format!("history {token} henderson {foreign} 1"), "OK"),
    ] {
        assert_eq!(messi.ask_code(&line).await, expected, "{line}");
    }
    let refused = messi.ask(&format!("history {token} lineker {forged} 0")).await;
    assert!(refused["message"].as_str().unwrap().contains("CURSOR"), "{refused}");
    // Notes to oneself come once; who was removed is still in the conversation.
    server.write("messi", "messi", &["catatan"]).await;
    let notes = messi.ask(&format!("history {token} messi")).await;
    assert_eq!(
        (bodies(&notes), &notes["messages"][0]["direction"]),
        (texts(&["catatan"]), &json!("in"))
    );
    server.store.remove_account("lineker").await.unwrap();
    assert_eq!(bodies(&messi.ask(&format!("history {token} lineker")).await), texts(&["a", "b"]));
}

#[tokio::test]
async fn pages_of_history_are_bounded_and_leave_nothing_out() {
    let mut config = ServerConfig::default();
    config.page_bytes = 8 * 1024;
    let server = on_transports(config).await;
    let texts: Vec<_> = (0..100).map(|n| format!("{n} {}", "\u{1F600}".repeat(40))).collect();
    let both =
        |from: usize| texts[from..].iter().step_by(2).map(String::as_str).collect::<Vec<_>>();
    server.write_to_messi(&both(0)).await;
    server.write("messi", "lineker", &both(1)).await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    let (mut cursor, mut pages, mut seen) = ("-".to_owned(), 0, Vec::new());
    loop {
        messi.say(format!("history {token} lineker {cursor}\r\n")).await;
        let mut page = Vec::new();
        while !page.ends_with(b"\r\n\r\n") {
            messi.stream.read_buf(&mut page).await.unwrap();
        }
        assert!(page.len() <= 8 * 1024, "{}", page.len());
        let page: Value = serde_json::from_slice(&page).unwrap();
        seen.splice(0..0, bodies(&page));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert!(pages > 5, "{pages}");
    assert_eq!(seen, [both(0), both(1)].concat());
}

#[tokio::test]
async fn a_sender_learns_what_became_of_a_message() {
    let server = on_pipes().await;
    let (mut lineker, mut messi) = (server.connect().await, server.connect().await);
    let from = lineker.login("lineker").await;
    // Receipts are for those one has written to.
    server.write("messi", "lineker", &["halo"]).await;
    let posted = lineker.ask(&format!("post {from} k messi satu")).await;
    let status = format!("status {from} {}", posted["id"].as_str().unwrap());
    let time = posted["time"].clone();
    assert_eq!(
        lineker.ask(&status).await,
        json!({"status": "OK", "state": "stored", "stored": time})
    );
    server.clock.forward(minutes(1));
    let token = messi.watch("messi").await;
    messi.pushed(1).await;
    // What it hears next was written after its event was accepted.
    messi.ask("ping").await;
    let pushed = "2026-11-18T11:07:40.000Z";
    assert_eq!(
        lineker.ask(&status).await,
        json!({"status": "OK", "state": "pushed", "stored": time, "pushed": pushed})
    );
    server.clock.forward(minutes(1));
    assert_eq!(messi.ask_code(&format!("ack {token} 1")).await, "OK");
    let told = lineker.ask(&status).await;
    assert_eq!((&told["state"], &told["stored"]), (&json!("delivered"), &time));
    assert_eq!(told["delivered"], "2026-11-18T11:08:40.000Z");

    assert_eq!(messi.ask_code(&format!("privacy {token} receipts off")).await, "OK");
    assert_eq!(lineker.ask(&status).await["state"], "stored");
    assert_eq!(messi.ask_code(&format!("privacy {token} receipts on")).await, "OK");
    assert_eq!(lineker.ask(&status).await["state"], "delivered");
}

#[tokio::test]
async fn only_ones_own_messages_have_a_status() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let (a, b) = (client.login("messi").await, client.login("lineker").await);
    let posted = client.ask(&format!("post {a} k lineker satu")).await;
    let id = posted["id"].as_str().unwrap();
    for (line, expected) in [
        (format!("status {NO_TOKEN} x"), "no_session"),
        (format!("status {a}"), "bad_arguments"),
        (format!("status {a} x"), "no_such_message"),
        (format!("status {a} 1"), "no_such_message"),
        (format!("status {a} 0123456789abcdef0123456789abcdef"), "no_such_message"),
        (format!("status {a} {id}0"), "no_such_message"),
        (format!("status {a} {id} more"), "bad_arguments"),
        (format!("status {b} {id}"), "no_such_message"),
        (format!("status {a} {id}"), "OK"),
        (format!("status {a} {}", id.to_uppercase()), "OK"),
    ] {
        assert_eq!(client.ask_code(&line).await, expected, "{line}");
    }
}

#[tokio::test]
async fn who_is_blocked_sends_nothing() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let (messi, lineker) = (client.login("messi").await, client.login("lineker").await);
    for (line, expected) in [
        (format!("block {NO_TOKEN} ghost"), "no_session"),
        (format!("block {messi}"), "bad_arguments"),
        (format!("block {messi} ghost"), "no_such_user"),
        (format!("block {messi} messi"), "bad_arguments"),
        (format!("unblock {messi} ghost"), "no_such_user"),
        (format!("unblock {messi} lineker"), "OK"),
        (format!("send {lineker} messi satu"), "OK"),
        (format!("block {messi} LINEKER"), "OK"),
        (format!("block {messi} lineker"), "OK"),
        (format!("send {lineker} messi dua"), "not_allowed"),
        (format!("post {lineker} k messi dua"), "not_allowed"),
        (format!("send {messi} lineker tiga"), "OK"),
        (format!("unblock {messi} lineker"), "OK"),
        (format!("post {lineker} k messi empat"), "OK"),
    ] {
        assert_eq!(client.ask_code(&line).await, expected, "{line}");
    }
    assert_eq!(server.undelivered("messi").await, ["satu ", "empat "]);
}

#[tokio::test]
async fn words_of_privacy_are_checked_from_left_to_right() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let token = client.login("messi").await;
    for (line, expected) in [
        (format!("privacy {NO_TOKEN} x y"), "no_session"),
        (format!("privacy {token} receipts"), "bad_arguments"),
        (format!("privacy {token} Receipts on"), "bad_arguments"),
        (format!("privacy {token} receipts yes"), "bad_arguments"),
        (format!("privacy {token} receipts on more"), "bad_arguments"),
        (format!("privacy {token} receipts on"), "OK"),
        (format!("privacy {token} presence off"), "OK"),
        (format!("privacy {token} presence default"), "OK"),
    ] {
        assert_eq!(client.ask_code(&line).await, expected, "{line}");
    }
    let refused = client.ask(&format!("privacy {token} both maybe")).await;
    assert!(refused["message"].as_str().unwrap().contains("receipts or presence"), "{refused}");
}

#[tokio::test]
async fn who_was_written_to_learns_who_comes_and_goes() {
    let server = on_pipes().await;
    let (mut messi, mut henderson) = (server.connect().await, server.connect().await);
    messi.watch("messi").await;
    henderson.watch("henderson").await;
    server.write_to_messi(&["halo"]).await;
    messi.event("message").await;
    for (step, active) in [(seconds(2), true), (minutes(10), false)] {
        // It is looked for now and then, by a clock that this test moves.
        let event = loop {
            server.clock.forward(step);
            server.undelivered("henderson").await;
            let heard = messi.ask("ping").await;
            if heard.get("event").is_some() {
                messi.hear().await;
                break heard;
            }
        };
        assert_eq!(event, json!({"event": "presence", "user": "lineker", "active": active}));
    }
    henderson.hears_nothing_more().await;
}
