//! What each command answers.

use chat_server::ServerConfig;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::support::{PASSWORD, code, minutes, on_pipes, on_transports, texts};

#[tokio::test]
async fn two_people_chat() {
    let server = on_pipes().await;
    let (mut messi, mut lineker) = (server.connect().await, server.connect().await);
    let (a, b) = (messi.login("messi").await, lineker.login("lineker").await);

    let sent = messi.ask(&format!("send {a} lineker apa  kabar \u{1F600}")).await;
    assert_eq!(sent, json!({"status": "OK", "message": "Message Sent"}));
    let inbox = lineker.ask(&format!("inbox {b}")).await;
    let message = &inbox["messages"]["messi"][0];
    assert_eq!(message["msg"], "apa  kabar \u{1F600} ");
    assert_eq!(message["msg_from"], "Lionel Messi");
    assert_eq!(message["msg_to"], "Gary Lineker");
    assert_eq!(message["id"], "1");

    let list = messi.ask(&format!("list {a}")).await;
    assert_eq!(list["messages"], "messi,lineker,");
    assert_eq!(list["message"], "messi,lineker,");
    let henderson = json!({"username": "henderson", "name": "Jordan Henderson", "active": false});
    assert_eq!(list["users"][0], henderson);
    let active = messi.ask(&format!("user_aktif {a}")).await;
    assert_eq!(active["message"], "messi, lineker, ");
    assert!(active.get("users").is_none());

    let bye = messi.ask(&format!("logout {a}")).await;
    assert_eq!(bye["message"], "logout success");
    assert_eq!(messi.ask_code(&format!("list {a}")).await, "no_session");
    assert_eq!(lineker.ask(&format!("list {b}")).await["messages"], "lineker,");
}

#[tokio::test]
async fn the_directory_comes_in_pages() {
    let server = on_pipes().await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    let page = messi.ask(&format!("list {token} - 2")).await;
    assert_eq!(page["users"][1]["username"], "lineker");
    assert_eq!(page["users_next"], "lineker");
    let page = messi.ask(&format!("list {token} lineker 2")).await;
    assert_eq!(page["users"][0]["username"], "messi");
    assert!(page.get("users_next").is_none());
}

#[tokio::test]
async fn hello_tells_what_the_server_takes() {
    let mut config = ServerConfig::default();
    config.name = "mychat".into();
    let server = on_transports(config).await;
    let mut client = server.connect().await;
    let hello = client.ask("hello later_option").await;
    assert_eq!(hello["server"], "mychat");
    assert_eq!(hello["protocol"], 1);
    assert_eq!(hello["features"], json!(["explicit_ack"]));
    assert_eq!(hello["limits"]["frame_bytes"], 65536);
    assert_eq!(hello["limits"]["message_bytes"], 16384);
    for command in hello["commands"].as_array().unwrap() {
        let known = client.ask_code(command.as_str().unwrap()).await;
        assert_ne!(known, "bad_command", "{command}");
    }
    assert_eq!(client.ask("ping are you there").await["text"], "are you there");
}

#[tokio::test]
async fn sessions_are_told_apart_and_ended() {
    let server = on_pipes().await;
    let (mut home, mut phone) = (server.connect().await, server.connect().await);
    let (a, b) = (home.login("messi").await, phone.login("messi").await);
    let who = home.ask(&format!("whoami {a}")).await;
    assert_eq!((&who["user"], &who["name"]), (&json!("messi"), &json!("Lionel Messi")));

    let sessions = home.ask(&format!("sessions {a}")).await;
    assert_eq!(sessions["sessions"][0]["current"], true);
    let other = &sessions["sessions"][1];
    assert_eq!(other["current"], false);
    let name = other["session"].as_str().unwrap();
    assert!(!sessions.to_string().contains(&b));
    assert_eq!(home.ask_code(&format!("revoke {a} {name}")).await, "OK");
    assert_eq!(home.ask_code(&format!("revoke {a} {name}")).await, "no_such_session");
    assert_eq!(phone.ask_code(&format!("whoami {b}")).await, "no_session");
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let server = on_pipes().await;
    let (mut home, mut phone) = (server.connect().await, server.connect().await);
    let (a, b) = (home.login("messi").await, phone.login("messi").await);
    for (old, new, expected) in [
        ("wrong", "barcelona", "bad_password"),
        (PASSWORD, "short", "weak_password"),
        (PASSWORD, "barcelona", "OK"),
    ] {
        assert_eq!(home.ask_code(&format!("passwd {a} {old} {new}")).await, expected);
    }
    assert_eq!(phone.ask_code(&format!("whoami {b}")).await, "no_session");
    assert_eq!(home.ask_code(&format!("whoami {a}")).await, "OK");
    assert_eq!(phone.ask_code("auth messi barcelona").await, "OK");
}

#[tokio::test]
async fn register_is_off_unless_allowed() {
    let mut client = on_pipes().await.connect().await;
    assert_eq!(client.ask_code("register arini rahasia99").await, "not_allowed");

    let mut config = ServerConfig::default();
    config.registration = true;
    let server = on_transports(config).await;
    let mut client = server.connect().await;
    for (line, expected) in [
        ("register arini rahasia99 Arini Putri", "OK"),
        ("register Arini rahasia99", "user_exists"),
        ("register ar\u{131}n\u{131} rahasia99", "bad_username"),
        ("register budi short", "weak_password"),
        ("auth arini rahasia99", "OK"),
    ] {
        assert_eq!(client.ask_code(line).await, expected, "{line}");
    }
    let token = client.login("messi").await;
    let names = client.ask(&format!("list {token}")).await;
    assert_eq!(names["users"][0]["name"], "Arini Putri");
}

#[tokio::test]
async fn one_connection_may_use_several_sessions() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    let (a, b) = (server.token("messi").await, server.token("lineker").await);
    for _ in 0..3 {
        client.say(format!("send {a} lineker dari a\r\nsend {b} messi dari b\r\n")).await;
        assert_eq!(code(&client.hear().await), "OK");
        assert_eq!(code(&client.hear().await), "OK");
    }
    assert_eq!(client.inbox(&a).await, ["dari b"; 3]);
    assert_eq!(client.inbox(&b).await, ["dari a"; 3]);
}

#[tokio::test]
async fn a_user_is_active_while_connected_and_five_minutes_longer() {
    let server = on_pipes().await;
    let mut messi = server.connect().await;
    messi.login("messi").await;
    let mut lineker = server.connect().await;
    let token = lineker.login("lineker").await;
    server.clock.forward(minutes(10));
    let list = format!("list {token}");
    assert_eq!(lineker.ask(&list).await["messages"], "messi,lineker,");

    // Neither a word that is no token nor a session that has ended leaves the old one in use.
    messi.ask("whoami x").await;
    let ended = messi.login("messi").await;
    messi.ask(&format!("logout {ended}")).await;
    assert_eq!(messi.ask_code(&format!("inbox {ended}")).await, "no_session");
    messi.login("messi").await;
    drop(messi);
    // As long as the connection has not ended for the store too, no clock makes the user inactive.
    for _ in 0..1000 {
        server.clock.forward(minutes(6));
        if lineker.ask(&list).await["messages"] == "lineker," {
            return;
        }
    }
    panic!("messi is active for ever");
}

#[tokio::test]
async fn peek_removes_nothing() {
    let server = on_pipes().await;
    server.write_to_messi(&["a", "b", "c"]).await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    let page = messi.ask(&format!("peek {token} - 2")).await;
    assert_eq!(page["messages"][1]["body"], "b");
    assert_eq!(page["messages"][1]["from"], "lineker");
    assert_eq!(page["messages"][1]["to"], "messi");
    assert_eq!(page["more"], true);
    let page = messi.ask(&format!("peek {token} 2")).await;
    assert_eq!(page["messages"][0]["id"], "3");
    assert_eq!(page["more"], false);
    assert_eq!(messi.inbox(&token).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn pages_of_inbox_are_small_until_hello() {
    let server = on_pipes().await;
    let text = "x".repeat(10_000);
    server.write_to_messi(&[&*text; 20]).await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    messi.say(format!("inbox {token}\r\nhello\r\ninbox {token}\r\n")).await;
    let page = messi.hear().await;
    assert_eq!(page["more"], true);
    assert_eq!(texts(&page).len(), 6);
    assert!(page.to_string().len() <= 64 * 1024);
    messi.hear().await;
    let page = messi.hear().await;
    assert!(page.get("more").is_none());
    assert_eq!(texts(&page).len(), 14);
}

#[tokio::test]
async fn pages_of_inbox_are_small_whatever_the_owners_name() {
    let server = on_pipes().await;
    let name = "\u{1F600}".repeat(64).parse().unwrap();
    server.store.rename_account("messi", None, Some(name)).await.unwrap();
    server.write_to_messi(&["halo"; 500]).await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    messi.say(format!("inbox {token}\r\n")).await;
    let mut page = vec![0; 64 * 1024];
    let mut length = 0;
    while !page[..length].ends_with(b"\r\n\r\n") {
        length += messi.stream.read(&mut page[length..]).await.unwrap();
        assert!(length < page.len());
    }
    assert!(length > 60 * 1024, "{length}");
}

#[tokio::test]
async fn a_message_larger_than_a_page_is_a_page() {
    let mut config = ServerConfig::default();
    config.page_bytes = 1;
    let server = on_transports(config).await;
    server.write_to_messi(&["satu", "dua"]).await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    assert_eq!(messi.inbox(&token).await, ["satu"]);
    assert_eq!(messi.inbox(&token).await, ["dua"]);
    assert!(messi.inbox(&token).await.is_empty());
}
