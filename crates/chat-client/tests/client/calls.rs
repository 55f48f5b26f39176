//! What each call asks, and what it makes of the answer.

use std::time::Duration;

use chat_client::{ClientError, ConnectOptions, ErrorCode, Fault, MessageId};

use crate::peer::{HELLO, NO_SESSION, OTHER_TOKEN, TOKEN, connect, connect_with, logged_in, token};

const PEEKED: &str = r#"{"status": "OK", "incarnation": "i1", "messages": [{"id": "7", "time": "2026-11-18T11:06:40.007Z", "from": "lineker", "from_name": "Gary Lineker", "to": "messi", "body": " halo "}, {"id": "8", "time": "2026-11-18T11:06:41.000Z", "from": "arini", "from_name": "Arini", "to": "messi", "body": "\ud83d\ude00"}], "more": true}"#;

#[tokio::test]
async fn hello_is_typed() {
    let (client, _peer) = connect().await;
    assert!(!client.is_legacy());
    let server = client.server();
    let hello = server.hello().unwrap();
    assert_eq!((&*hello.server, &*hello.version), ("chatd", "0.1.0"));
    assert_eq!(client.server().max_message_bytes(), 100);
    assert_eq!(client.server().max_frame_bytes(), 200);
}

#[tokio::test]
async fn login_is_kept_used_by_clones_and_ended_by_logout() {
    let (client, mut peer) = connect().await;
    let clone = client.clone();
    let token_reply = format!(r#"{{"status": "OK", "tokenid": "{TOKEN}"}}"#);
    let (login, ()) = tokio::join!(
        client.login("messi", "surabaya"),
        peer.answer("auth messi surabaya", &token_reply)
    );
    assert_eq!(login.unwrap(), token());
    assert_eq!(clone.token(), Some(token()));

    let request = format!("send {TOKEN} lineker  apa kabar ");
    let (sent, ()) = tokio::join!(
        clone.send("lineker", " apa kabar "),
        peer.answer(&request, r#"{"status": "OK", "message": "Message Sent"}"#)
    );
    sent.unwrap();

    let request = format!("logout {TOKEN}");
    let (logout, ()) = tokio::join!(
        client.logout(),
        peer.answer(&request, r#"{"status": "OK", "messages": "logout telah berhasil"}"#)
    );
    logout.unwrap();
    assert_eq!(clone.token(), None);
    assert!(matches!(clone.inbox().await, Err(ClientError::NotLoggedIn)));
}

#[tokio::test]
async fn a_session_the_server_had_ended_is_forgotten_at_logout() {
    let (client, mut peer) = logged_in().await;
    let request = format!("logout {TOKEN}");
    let (logout, ()) = tokio::join!(client.logout(), peer.answer(&request, NO_SESSION));
    assert_eq!(logout.unwrap_err().code(), Some(&ErrorCode::NoSession));
    assert_eq!(client.token(), None);
}

#[tokio::test]
async fn neither_token_nor_body_is_shown() {
    let (client, mut peer) = logged_in().await;
    let request = format!("peek {TOKEN}");
    let (delivery, ()) = tokio::join!(client.inbox(), peer.answer(&request, PEEKED));
    let shown = format!("{client:?} {:?}", delivery.unwrap());
    assert!(!shown.contains(TOKEN) && !shown.contains("halo"), "{shown}");
}

#[tokio::test]
async fn an_inbox_is_acknowledged_by_its_value_for_the_login_that_got_it() {
    let (client, mut peer) = logged_in().await;
    let request = format!("peek {TOKEN}");
    let (delivery, ()) = tokio::join!(client.inbox(), peer.answer(&request, PEEKED));
    let delivery = delivery.unwrap();
    assert!(delivery.more());
    let [first, second] = delivery.messages() else {
        panic!("two messages");
    };
    assert_eq!(first.id, Some(MessageId::new(7)));
    assert_eq!(first.time.unwrap().to_string(), "2026-11-18T11:06:40.007Z");
    assert_eq!((&*first.from, &*first.from_name), ("lineker", "Gary Lineker"));
    assert_eq!((&*first.body, &*second.body), (" halo ", "\u{1f600}"));

    let other = format!(r#"{{"status": "OK", "tokenid": "{OTHER_TOKEN}"}}"#);
    let (login, ()) =
        tokio::join!(client.login("arini", "hehe"), peer.answer("auth arini hehe", &other));
    login.unwrap();
    let request = format!("ack {TOKEN} 8 i1");
    let (acked, ()) = tokio::join!(delivery.ack(), peer.answer(&request, r#"{"status": "OK"}"#));
    acked.unwrap();
}

#[tokio::test]
async fn an_empty_inbox_needs_no_ack() {
    let (client, mut peer) = logged_in().await;
    let empty = r#"{"status": "OK", "incarnation": "i1", "messages": [], "more": false}"#;
    let request = format!("peek {TOKEN}");
    let (delivery, ()) = tokio::join!(client.inbox(), peer.answer(&request, empty));
    delivery.unwrap().ack().await.unwrap();
    drop(client);
    peer.expect_end().await;
}

#[tokio::test]
async fn optional_words_are_left_out_or_stood_in_for() {
    let (client, mut peer) = logged_in().await;
    for (after, limit, words) in [
        (None, None, ""),
        (None, Some(5), " - 5"),
        (Some(MessageId::new(3)), None, " 3"),
        (Some(MessageId::new(3)), Some(5), " 3 5"),
    ] {
        let request = format!("peek {TOKEN}{words}");
        let (peeked, ()) = tokio::join!(client.peek(after, limit), peer.answer(&request, PEEKED));
        assert_eq!(peeked.unwrap().messages().len(), 2);
    }
}

#[tokio::test]
async fn list_says_who_is_here_and_who_has_an_account() {
    let (client, mut peer) = logged_in().await;
    let reply = r#"{"status": "OK", "messages": "messi,arini,", "message": "messi, arini, ", "users": [{"username": "arini", "name": "Arini", "active": true}], "users_next": "arini"}"#;
    let request = format!("list {TOKEN}");
    let (list, ()) = tokio::join!(client.list(), peer.answer(&request, reply));
    let list = list.unwrap();
    assert_eq!(list.active.users, ["messi", "arini"]);
    assert_eq!(list.directory.unwrap().users[0].name, "Arini");

    let request = format!("list {TOKEN} arini 1");
    let (page, ()) =
        tokio::join!(client.directory(Some("arini"), Some(1)), peer.answer(&request, reply));
    assert_eq!(page.unwrap().next.as_deref(), Some("arini"));

    let request = format!("user_aktif {TOKEN}");
    let (active, ()) = tokio::join!(client.active_users(), peer.answer(&request, reply));
    assert_eq!(active.unwrap().users, ["messi", "arini"]);
}

#[tokio::test]
async fn accounts_and_sessions() {
    let (client, mut peer) = logged_in().await;
    let name = "Arini Putri".parse().unwrap();
    let (registered, ()) = tokio::join!(
        client.register("arini", "rahasia12", Some(&name)),
        peer.answer("register arini rahasia12 Arini Putri", r#"{"status": "OK", "user": "arini"}"#)
    );
    registered.unwrap();

    let request = format!("passwd {TOKEN} lama12345 baru12345");
    let (changed, ()) = tokio::join!(
        client.change_password("lama12345", "baru12345"),
        peer.answer(&request, r#"{"status": "OK", "sessions_ended": 3}"#)
    );
    assert_eq!(changed.unwrap(), 3);

    let request = format!("whoami {TOKEN}");
    let reply = r#"{"status": "OK", "user": "messi", "name": "Lionel Messi", "incarnation": "i1", "created": "2026-11-18T11:06:40.007Z", "expires": "2026-12-18T11:06:40.007Z"}"#;
    let (whoami, ()) = tokio::join!(client.whoami(), peer.answer(&request, reply));
    assert_eq!(whoami.unwrap().name, "Lionel Messi");

    let request = format!("sessions {TOKEN}");
    let reply = r#"{"status": "OK", "sessions": [{"session": "s1", "created": "2026-11-18T11:06:40.007Z", "last_used": "2026-11-18T11:06:40.007Z", "expires": "2026-12-18T11:06:40.007Z", "current": true}]}"#;
    let (sessions, ()) = tokio::join!(client.sessions(), peer.answer(&request, reply));
    assert!(sessions.unwrap()[0].current);

    let request = format!("revoke {TOKEN} s1");
    let reply = r#"{"status": "ERROR", "message": "no such session", "code": "no_such_session"}"#;
    let (revoked, ()) = tokio::join!(client.revoke("s1"), peer.answer(&request, reply));
    assert_eq!(revoked.unwrap_err().code(), Some(&ErrorCode::NoSuchSession));
}

#[tokio::test]
async fn what_cannot_be_framed_is_refused_before_it_is_sent() {
    let (client, mut peer) = logged_in().await;
    let long = "x".repeat(101);
    for (to, body) in [
        ("messi", ""),
        ("messi", "two\r\nlines"),
        ("messi", "escape\x1b"),
        ("messi", long.as_str()),
        ("", "halo"),
        ("me ssi", "halo"),
        ("me\r\nssi", "halo"),
    ] {
        let error = client.send(to, body).await.unwrap_err();
        assert!(matches!(error, ClientError::Invalid(_)), "{error:?}");
        assert_eq!(error.fault(), Fault::User);
        assert!(!error.is_retryable() && !error.is_outcome_unknown());
        assert!(!error.to_string().contains("two"), "{error}");
    }
    let error = client.login("messi", "two words").await.unwrap_err();
    assert!(!error.to_string().contains("two words"), "{error}");
    assert!(client.ping(&"x".repeat(200)).await.is_err());
    drop(client);
    peer.expect_end().await;
}

#[tokio::test]
async fn errors_carry_the_code_and_when_to_try_again() {
    let (client, mut peer) = logged_in().await;
    let request = format!("send {TOKEN} arini halo");
    let reply = r#"{"status": "ERROR", "message": "slow down", "code": "rate_limited", "retry_after_ms": 1500}"#;
    let (sent, ()) = tokio::join!(client.send("arini", "halo"), peer.answer(&request, reply));
    let error = sent.unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::RateLimited));
    assert_eq!(error.retry_after(), Some(Duration::from_millis(1500)));
    assert!(error.is_retryable());
    assert_eq!(error.to_string(), "slow down");
}

#[tokio::test]
async fn a_reply_that_is_none_fails_its_call_alone() {
    let (client, mut peer) = connect().await;
    for junk in ["GET / HTTP/1.1", "[]", r#"{"status": "OK"}"#, "{\"status\"", "\u{fffd}"] {
        let (answer, ()) = tokio::join!(client.ping("a"), peer.answer("ping a", junk));
        let error = answer.unwrap_err();
        assert!(matches!(error, ClientError::BadReply(_)), "{error:?}");
        assert_eq!(error.fault(), Fault::Peer);
    }
    let (answer, ()) =
        tokio::join!(client.ping("b"), peer.answer("ping b", r#"{"status": "OK", "text": "b"}"#));
    assert_eq!(answer.unwrap(), "b");
}

#[tokio::test]
async fn a_refused_hello_is_an_error_and_not_an_old_server() {
    let busy = r#"{"status": "ERROR", "message": "too many connections", "code": "busy"}"#;
    let (client, _peer) = connect_with(ConnectOptions::default(), busy).await;
    let error = client.unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::Busy));
    assert!(error.is_retryable());

    let (client, _peer) = connect_with(ConnectOptions::default(), "SSH-2.0-OpenSSH").await;
    assert!(matches!(client.unwrap_err(), ClientError::BadReply(_)));
}

#[tokio::test(start_paused = true)]
async fn no_reply_in_time_fails_the_call_and_leaves_the_connection_in_step() {
    let options = ConnectOptions::default().request_timeout(Duration::from_secs(5));
    let (client, mut peer) = connect_with(options, HELLO).await;
    let client = client.unwrap();
    let before = tokio::time::Instant::now();
    let error = client.ping("slow").await.unwrap_err();
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    assert!(matches!(error, ClientError::Timeout { command: "ping", .. }), "{error:?}");
    assert!(error.is_retryable());

    let (answer, ()) = tokio::join!(client.ping("next"), async {
        peer.answer("ping slow", r#"{"status": "OK", "text": "slow"}"#).await;
        peer.answer("ping next", r#"{"status": "OK", "text": "next"}"#).await;
    });
    assert_eq!(answer.unwrap(), "next");
}

#[test]
fn futures_can_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    fn check(client: &chat_client::Client, delivery: &chat_client::Delivery) {
        is_send(client.login("a", "b"));
        is_send(client.send("a", "b"));
        is_send(client.inbox());
        is_send(client.list());
        is_send(client.close());
        is_send(delivery.ack());
    }
    let _ = check;
    is_send(chat_client::Client::connect("localhost"));
}
