//! `watch`: what is there, then what comes.

use std::future::poll_fn;
use std::task::Poll;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::support::{code, on_pipes};

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_is_undelivered_comes_first_and_then_what_happens() {
    let server = on_pipes().await;
    server.write_to_messi(&["satu", "dua", "tiga"]).await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    let page = messi.ask(&format!("peek {token} - 1")).await;
    assert_eq!(messi.ask_code(&format!("ack {token} 1")).await, "OK");
    let watching = messi.ask(&format!("watch {token}")).await;
    assert_eq!(
        watching,
        json!({"status": "OK", "incarnation": page["incarnation"], "resume": "undelivered", "after": "1"})
    );
    assert_eq!(messi.pushed(2).await, ["dua", "tiga"]);
    server.write_to_messi(&["empat"]).await;
    let event = messi.event("message").await;
    assert_eq!(
        event,
        json!({"event": "message", "id": "4", "time": "2026-11-18T11:06:40.000Z", "from": "lineker",
            "from_name": "Gary Lineker", "to": "messi", "body": "empat"})
    );
    messi.hears_nothing_more().await;
    // Watching delivers nothing.
    assert_eq!(server.undelivered("messi").await, ["dua", "tiga", "empat"]);
}

#[tokio::test]
async fn only_who_said_watch_gets_events() {
    let server = on_pipes().await;
    let (mut messi, mut phone) = (server.connect().await, server.connect().await);
    let token = messi.watch("messi").await;
    phone.ask(&format!("whoami {token}")).await;
    server.write_to_messi(&["satu"]).await;
    messi.event("message").await;
    phone.hears_nothing_more().await;
    assert_eq!(messi.ask_code(&format!("unwatch {token}")).await, "OK");
    server.write_to_messi(&["dua"]).await;
    messi.hears_nothing_more().await;
}

#[tokio::test]
async fn a_watch_goes_on_after_an_id_delivered_or_not() {
    let server = on_pipes().await;
    server.write_to_messi(&["a", "b", "c", "d"]).await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    let page = messi.ask(&format!("peek {token}")).await;
    let incarnation = page["incarnation"].as_str().unwrap();
    assert_eq!(messi.ask_code(&format!("ack {token} 3")).await, "OK");
    let watching = messi.ask(&format!("watch {token} 2 {incarnation}")).await;
    assert_eq!(
        watching,
        json!({"status": "OK", "incarnation": incarnation, "resume": "exact", "after": "2"})
    );
    assert_eq!(messi.pushed(2).await, ["c", "d"]);
    let watching = messi.ask(&format!("watch {token} 4 {incarnation}")).await;
    assert_eq!((&watching["resume"], &watching["after"]), (&json!("exact"), &json!("4")));
    messi.hears_nothing_more().await;
}

#[tokio::test]
async fn a_stale_incarnation_is_a_gap() {
    let server = on_pipes().await;
    server.write_to_messi(&["a", "b"]).await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    let watching = messi.ask(&format!("watch {token} 2 0123456789abcdef")).await;
    assert_eq!(watching["resume"], "gap");
    let said = ["after", "from", "to"].map(|key| watching[key].as_str().unwrap());
    assert_eq!(said, ["0", "1", "2"]);
    assert_eq!(messi.pushed(2).await, ["a", "b"]);
}

/// Only a data directory that was put back explains it.
#[tokio::test]
async fn an_id_from_the_future_is_a_gap_and_begins_a_new_incarnation() {
    let server = on_pipes().await;
    server.write_to_messi(&["a", "b"]).await;
    let (mut messi, mut phone) = (server.connect().await, server.connect().await);
    let token = messi.login("messi").await;
    let before = messi.ask(&format!("whoami {token}")).await["incarnation"].clone();
    phone.ask("hello").await;
    phone.watch("messi").await;
    phone.pushed(2).await;
    let watching = messi.ask(&format!("watch {token} 9 {}", before.as_str().unwrap())).await;
    assert_eq!(watching["resume"], "gap");
    let said = ["after", "from", "to"].map(|key| watching[key].as_str().unwrap());
    assert_eq!(said, ["2", "3", "9"]);
    assert_ne!(watching["incarnation"], before);
    // The ids that others were shown may not mean what they meant, so they have to come back.
    phone.event("lagging").await;
    phone.end().await.unwrap();
    server.write_to_messi(&["c"]).await;
    assert_eq!(messi.event("message").await["id"], "3");
}

#[tokio::test]
async fn a_second_watch_takes_the_place_of_the_first() {
    let server = on_pipes().await;
    server.write_to_messi(&["a"]).await;
    server.write("messi", "lineker", &["b"]).await;
    let mut client = server.connect().await;
    let token = client.watch("messi").await;
    assert_eq!(client.pushed(1).await, ["a"]);
    // The same again, then one that fails and leaves what was there, then another user's.
    assert_eq!(client.ask_code(&format!("watch {token}")).await, "OK");
    assert_eq!(client.pushed(1).await, ["a"]);
    assert_eq!(client.ask_code(&format!("watch {token} first x")).await, "bad_arguments");
    server.write_to_messi(&["c"]).await;
    assert_eq!(client.pushed(1).await, ["c"]);
    let other = server.token("lineker").await;
    assert_eq!(client.ask_code(&format!("watch {other}")).await, "OK");
    assert_eq!(client.pushed(1).await, ["b"]);
    server.write("henderson", "messi", &["d"]).await;
    client.hears_nothing_more().await;
}

#[tokio::test]
async fn unwatch_without_a_watch_is_fine() {
    let server = on_pipes().await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    assert_eq!(messi.ask(&format!("unwatch {token}")).await, json!({"status": "OK"}));
    messi.watch("messi").await;
    for _ in 0..2 {
        assert_eq!(messi.ask_code(&format!("unwatch {token}")).await, "OK");
    }
}

#[tokio::test]
async fn wrong_words_are_refused_from_left_to_right() {
    let server = on_pipes().await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    let none = "00000000-0000-0000-0000-000000000000";
    for (line, expected) in [
        ("watch".into(), "bad_arguments"),
        (format!("watch {none} first x"), "no_session"),
        (format!("watch {token} 1"), "bad_arguments"),
        (format!("watch {token} - 0123456789abcdef"), "bad_arguments"),
        (format!("watch {token} -1 0123456789abcdef"), "bad_arguments"),
        (format!("watch {token} 18446744073709551616 0123456789abcdef"), "bad_arguments"),
        (format!("watch {token} 1 0123456789abcdef more"), "bad_arguments"),
        ("unwatch".into(), "bad_arguments"),
        (format!("unwatch {none}"), "no_session"),
        (format!("unwatch {token} more"), "bad_arguments"),
        (format!("watch {token} - -"), "OK"),
        (format!("watch {token} 18446744073709551615 whatever"), "OK"),
    ] {
        assert_eq!(messi.ask_code(&line).await, expected, "{line}");
    }
    server.store.set_password("messi", "barcelona").await.unwrap();
    messi.event("session_ended").await;
    assert_eq!(messi.ask_code(&format!("watch {token} first x")).await, "no_session");
    assert_eq!(messi.ask_code(&format!("unwatch {token}")).await, "no_session");
}

#[tokio::test]
async fn what_was_pushed_may_be_acknowledged_without_its_incarnation() {
    let server = on_pipes().await;
    server.write_to_messi(&["a", "b", "c"]).await;
    let mut messi = server.connect().await;
    let token = messi.watch("messi").await;
    assert_eq!(messi.pushed(3).await, ["a", "b", "c"]);
    assert_eq!(messi.ask_code(&format!("ack {token} 4")).await, "bad_arguments");
    // The ids are those of one mailbox.
    server.write("messi", "lineker", &["x"]).await;
    messi.event("sent").await;
    let other = server.token("lineker").await;
    assert_eq!(messi.ask_code(&format!("ack {other} 1")).await, "bad_arguments");
    assert_eq!(messi.ask_code(&format!("ack {token} 2")).await, "OK");
    assert_eq!(server.undelivered("messi").await, ["c"]);
    server.write_to_messi(&["d"]).await;
    assert_eq!(messi.pushed(1).await, ["d"]);
    assert_eq!(messi.ask_code(&format!("ack {token} 4")).await, "OK");
    assert!(server.undelivered("messi").await.is_empty());
}

/// What is pushed is not in flight as a page of `inbox` is: only `ack` delivers it.
#[tokio::test]
async fn requests_and_an_orderly_end_confirm_nothing_that_was_pushed() {
    let mut server = on_pipes().await;
    server.write_to_messi(&["a"]).await;
    let mut messi = server.connect().await;
    messi.watch("messi").await;
    messi.pushed(1).await;
    messi.ask("ping").await;
    messi.stream.shutdown().await.unwrap();
    messi.end().await.unwrap();
    server.stop().await;
    assert_eq!(server.undelivered("messi").await, ["a"]);
}

#[tokio::test]
async fn an_inbox_on_a_watching_connection_is_confirmed_as_ever() {
    let server = on_pipes().await;
    server.write_to_messi(&["a"]).await;
    let mut messi = server.connect().await;
    let token = messi.watch("messi").await;
    messi.pushed(1).await;
    assert_eq!(messi.inbox(&token).await, ["a"]);
    server.write_to_messi(&["b"]).await;
    messi.pushed(1).await;
    assert_eq!(server.undelivered("messi").await, ["a", "b"]);
    messi.ask("ping").await;
    assert_eq!(server.undelivered("messi").await, ["b"]);
}

#[tokio::test]
async fn sends_that_race_a_watch_are_pushed_once_each() {
    const MESSAGES: usize = 3_000;
    let server = on_pipes().await;
    let mut lineker = server.connect().await;
    let from = lineker.login("lineker").await;
    let (seen, told) = tokio::sync::watch::channel(0);
    let sending = async {
        for batch in 0..MESSAGES / 10 {
            let sends = (0..10).map(|n| format!("send {from} messi {}\r\n", batch * 10 + n));
            lineker.say(sends.collect::<String>()).await;
            for _ in 0..10 {
                assert_eq!(code(&lineker.hear().await), "OK");
            }
        }
    };
    // Each begins when the first has seen so many.
    let watching = (0..10).map(|begin| {
        let (server, seen, mut told) = (&server, &seen, told.clone());
        async move {
            told.wait_for(|seen| *seen >= begin * MESSAGES / 10).await.unwrap();
            let mut messi = server.connect().await;
            messi.watch("messi").await;
            for n in 0..MESSAGES {
                let event = messi.event("message").await;
                assert_eq!(event["id"], (n + 1).to_string());
                assert_eq!(event["body"], n.to_string());
                seen.send_if_modified(|seen| std::mem::replace(seen, (*seen).max(n)) < n);
            }
        }
    });
    tokio::join!(sending, all(watching));
}

/// Waits for all of them at the same time.
async fn all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    poll_fn(|cx| {
        futures.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn replies_keep_their_order_while_events_flow() {
    let server = on_pipes().await;
    let mut messi = server.connect().await;
    let token = messi.watch("messi").await;
    let writing = async {
        for n in 0..200 {
            server.write_to_messi(&[&*n.to_string()]).await;
        }
    };
    let talking = async {
        let (mut replies, mut events) = (0, Vec::new());
        for round in 0..20 {
            let requests =
                (0..10).map(|n| format!("ping {}\r\nstatus {token} x\r\n", round * 10 + n));
            messi.say(requests.collect::<String>()).await;
            while replies < (round + 1) * 20 {
                let heard = messi.hear().await;
                if heard.get("event").is_some() {
                    events.push(heard);
                    continue;
                }
                match replies % 2 {
                    0 => assert_eq!(heard["text"], (replies / 2).to_string()),
                    _ => assert_eq!(code(&heard), "no_such_message"),
                }
                replies += 1;
            }
        }
        while events.len() < 200 {
            events.push(messi.event("message").await);
        }
        let dense: Vec<_> = (1..=200).map(|id| id.to_string()).collect();
        assert_eq!(ids(&events), dense);
    };
    tokio::join!(writing, talking);
}
