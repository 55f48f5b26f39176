//! How a watch ends: with its session, with the server, with the peer.

use chat_server::ServerConfig;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::support::{PASSWORD, minutes, on_pipes, on_tcp};

#[tokio::test]
async fn a_session_that_ends_ends_its_watch_and_not_the_connection() {
    let server = on_pipes().await;
    for reason in ["logout", "revoked", "password_changed", "account_removed"] {
        let (mut messi, mut home) = (server.connect().await, server.connect().await);
        let token = messi.watch("messi").await;
        let other = home.login("messi").await;
        match reason {
            "logout" => drop(home.ask(&format!("logout {token}")).await),
            "revoked" => {
                let sessions = home.ask(&format!("sessions {other}")).await;
                let sessions = sessions["sessions"].as_array().unwrap();
                for session in sessions.iter().filter(|session| session["current"] == false) {
                    let name = session["session"].as_str().unwrap();
                    home.ask(&format!("revoke {other} {name}")).await;
                }
            }
            "password_changed" => {
                home.ask(&format!("passwd {other} {PASSWORD} barcelona")).await;
                server.store.set_password("messi", PASSWORD).await.unwrap();
            }
            _ => drop(server.store.remove_account("messi").await.unwrap()),
        }
        assert_eq!(messi.event("session_ended").await["reason"], reason);
        assert_eq!(messi.ask_code(&format!("watch {token}")).await, "no_session");
        messi.hears_nothing_more().await;
    }
}

#[tokio::test]
async fn an_open_watch_keeps_its_session_and_an_expired_one_ends() {
    let server = on_pipes().await;
    let mut messi = server.connect().await;
    let token = messi.watch("messi").await;
    // In use on this connection is another session, and the watch alone keeps the first.
    let other = server.token("lineker").await;
    assert_eq!(messi.ask_code(&format!("whoami {other}")).await, "OK");
    server.clock.forward(minutes(60 * 24 * 29));
    server.write_to_messi(&["a"]).await;
    messi.pushed(1).await;
    let mut phone = server.connect().await;
    assert_eq!(phone.ask_code(&format!("whoami {token}")).await, "OK");
    // A clock that jumps further than a session lives leaves no time to use it.
    server.clock.forward(minutes(60 * 24 * 31));
    server.write_to_messi(&["b"]).await;
    let mut heard = messi.hear().await;
    if heard["event"] == "message" {
        heard = messi.hear().await;
    }
    assert_eq!((&heard["event"], &heard["reason"]), (&json!("session_ended"), &json!("expired")));
}

#[tokio::test]
async fn a_logout_is_answered_before_its_event() {
    let server = on_pipes().await;
    let mut messi = server.connect().await;
    let token = messi.watch("messi").await;
    messi.say(format!("ping\r\nlogout {token}\r\nping after\r\n")).await;
    let heard = [messi.hear().await, messi.hear().await, messi.hear().await];
    assert_eq!(heard[1]["message"], "logout success");
    // The replies of one turn come together, before its events.
    let last = messi.hear().await;
    let (reply, event) =
        if heard[2].get("event").is_some() { (&last, &heard[2]) } else { (&heard[2], &last) };
    assert_eq!(reply["text"], "after");
    assert_eq!(event["reason"], "logout");
}

#[tokio::test]
async fn shutdown_is_told_and_then_the_connection_ends() {
    let mut server = on_pipes().await;
    let (mut messi, mut lineker) = (server.connect().await, server.connect().await);
    messi.ask("hello").await;
    messi.watch("messi").await;
    lineker.login("lineker").await;
    let (served, ()) = tokio::join!(server.stop(), async {
        assert_eq!(messi.event("shutdown").await, json!({"event": "shutdown"}));
        messi.end().await.unwrap();
        drop(messi);
        // Only who watches is told.
        lineker.end().await.unwrap();
    });
    assert_eq!((served.connections, served.cut_off), (2, 0));
}

#[tokio::test]
async fn who_watches_without_hello_is_reset_at_shutdown() {
    let mut server = on_tcp(ServerConfig::default()).await;
    let mut messi = server.connect().await;
    messi.watch("messi").await;
    server.stop().await;
    messi.event("shutdown").await;
    assert_eq!(messi.end().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_end_of_stream_ends_the_watch() {
    let server = on_tcp(ServerConfig::default()).await;
    let mut messi = server.connect().await;
    messi.watch("messi").await;
    server.write_to_messi(&["a"]).await;
    messi.pushed(1).await;
    messi.say("ping\r\n").await;
    messi.stream.shutdown().await.unwrap();
    messi.hear().await;
    messi.end().await.unwrap();
    server.write_to_messi(&["b"]).await;
    assert_eq!(server.undelivered("messi").await, ["a", "b"]);
}

#[tokio::test]
async fn a_watch_that_cannot_go_on_ends_its_connection() {
    let server = on_pipes().await;
    let (mut messi, mut lineker) = (server.connect().await, server.connect().await);
    messi.ask("hello").await;
    messi.watch("messi").await;
    server.store.close().await.unwrap();
    messi.end().await.unwrap();
    // Who does not watch is told at the next request.
    assert_eq!(lineker.ask_code("auth lineker surabaya").await, "unavailable");
}
