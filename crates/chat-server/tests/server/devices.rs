//! Several connections of one user: each gets everything, and none takes anything from another.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{code, on_pipes, texts};

#[tokio::test]
async fn each_device_gets_each_message_and_what_the_others_sent() {
    let server = on_pipes().await;
    let (mut phone, mut laptop) = (server.connect().await, server.connect().await);
    let token = phone.watch("messi").await;
    laptop.watch("messi").await;
    let sent = phone.ask(&format!("post {token} k1 lineker dari hp")).await;
    let copy = laptop.event("sent").await;
    assert_eq!(
        copy,
        json!({"event": "sent", "id": sent["id"], "time": sent["time"], "from": "messi",
            "from_name": "Lionel Messi", "to": "lineker", "body": "dari hp "})
    );
    // Who does not watch has no copy of its own to leave out.
    let mut script = server.connect().await;
    script.ask(&format!("send {token} lineker dari skrip")).await;
    for device in [&mut phone, &mut laptop] {
        assert_eq!(device.event("sent").await["body"], "dari skrip ");
    }
    server.write_to_messi(&["untuk semua"]).await;
    for device in [&mut phone, &mut laptop] {
        assert_eq!(device.pushed(1).await, ["untuk semua"]);
        device.hears_nothing_more().await;
    }
}

#[tokio::test]
async fn a_message_to_oneself_comes_as_a_message_alone() {
    let server = on_pipes().await;
    let (mut phone, mut laptop) = (server.connect().await, server.connect().await);
    let token = phone.watch("messi").await;
    laptop.watch("messi").await;
    phone.say(format!("send {token} messi catatan\r\n")).await;
    assert_eq!(code(&phone.hear().await), "OK");
    for device in [&mut phone, &mut laptop] {
        assert_eq!(device.pushed(1).await, ["catatan"]);
        device.hears_nothing_more().await;
    }
}

const MESSAGES: usize = 300;

/// Sends numbered messages to messi, the way existing clients send.
async fn send_all(
    server: &crate::support::Running<crate::support::Pipes<tokio::io::DuplexStream>>,
) {
    let mut lineker = server.connect().await;
    let token = lineker.login("lineker").await;
    for n in 0..MESSAGES {
        assert_eq!(lineker.ask_code(&format!("send {token} messi pesan {n}")).await, "OK");
    }
}

fn all() -> BTreeSet<String> {
    (0..MESSAGES).map(|n| format!("pesan {n} ")).collect()
}

#[tokio::test]
async fn an_old_client_and_a_watching_one_that_does_not_ack_each_get_every_message() {
    let server = on_pipes().await;
    let (mut old, mut new) = (server.connect().await, server.connect().await);
    let token = old.login("messi").await;
    new.watch("messi").await;
    let polling = async {
        let mut got = BTreeSet::new();
        while got.len() < MESSAGES {
            // Nothing comes twice: what the last page held, this request confirms.
            for text in texts(&old.ask(&format!("inbox {token}")).await) {
                assert!(got.insert(text));
            }
        }
        got
    };
    let watching = async {
        let pushed = new.pushed(MESSAGES).await;
        pushed.into_iter().collect::<BTreeSet<_>>()
    };
    let ((), polled, pushed) = tokio::join!(send_all(&server), polling, watching);
    assert_eq!(polled, all());
    assert_eq!(pushed, all());
}

#[tokio::test]
async fn with_one_that_acks_each_message_reaches_at_least_one_of_them() {
    let server = on_pipes().await;
    let (mut old, mut new) = (server.connect().await, server.connect().await);
    let token = old.login("messi").await;
    new.ask("hello explicit_ack").await;
    let same = new.watch("messi").await;
    let polling = async {
        let mut got = Vec::new();
        loop {
            let page = texts(&old.ask(&format!("inbox {token}")).await);
            let is_end = page.iter().any(|text| text == "selesai");
            got.extend(page);
            if is_end {
                return got;
            }
            // Leaves the other one something to acknowledge first.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    };
    let watching = async {
        let (mut got, mut replies) = (Vec::new(), 0);
        while got.len() < MESSAGES || replies < MESSAGES / 3 {
            let heard = new.hear().await;
            if heard.get("event").is_none() {
                assert_eq!(code(&heard), "OK");
                replies += 1;
                continue;
            }
            got.push(heard["body"].as_str().unwrap().to_owned());
            if got.len() % 3 == 0 {
                new.say(format!("ack {same} {}\r\n", heard["id"].as_str().unwrap())).await;
            }
        }
        // The last one, which nobody acknowledges, tells the other that it has seen all it will see.
        server.write_to_messi(&["selesai"]).await;
        got
    };
    let ((), polled, pushed) = tokio::join!(send_all(&server), polling, watching);
    assert_eq!(pushed.into_iter().collect::<BTreeSet<_>>(), all());
    // The old one sees nothing twice, nothing out of order, and nothing that was not sent.
    let numbers: Vec<usize> = polled[..polled.len() - 1]
        .iter()
        .map(|text| text.trim().strip_prefix("pesan ").unwrap().parse().unwrap())
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    old.ask("ping").await;
    assert!(server.undelivered("messi").await.is_empty());
}

/// Two watchers, an `ack` and an `inbox` at the same messages.
#[tokio::test]
async fn an_ack_and_an_inbox_hide_nothing_from_watchers() {
    let server = on_pipes().await;
    let (mut phone, mut laptop, mut old) =
        (server.connect().await, server.connect().await, server.connect().await);
    let token = phone.watch("messi").await;
    laptop.watch("messi").await;
    for round in 0..50 {
        let (text, inbox) = (format!("{round}"), format!("inbox {token}"));
        let (ack, page) = tokio::join!(
            async {
                server.write_to_messi(&[&*text]).await;
                let event = phone.event("message").await;
                phone.ask_code(&format!("ack {token} {}", event["id"].as_str().unwrap())).await
            },
            old.ask(&inbox),
        );
        assert_eq!((&*ack, &*code(&page)), ("OK", "OK"));
        assert_eq!(laptop.pushed(1).await, [text]);
    }
    assert!(server.undelivered("messi").await.is_empty());
}
