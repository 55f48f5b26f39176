//! Replies as bytes, against what the two existing servers were recorded to say.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;

use super::super::{Command, Event, Frame};
use super::*;

fn encoded(reply: &Reply<'_>) -> String {
    let mut dst = BytesMut::new();
    reply.encode(&mut dst);
    let text = String::from_utf8(dst.to_vec()).unwrap();
    text.strip_suffix("\r\n\r\n").unwrap().to_owned()
}

fn decoded(command: &'static str, json: &str) -> Result<Reply<'static>, ReplyError> {
    Reply::decode(command, &Frame(Bytes::from(json.to_owned())))
}

fn assert_survives(command: &'static str, reply: &Reply<'_>, json: &str) {
    assert_eq!(encoded(reply), json);
    assert_eq!(decoded(command, json).unwrap(), *reply);
}

const TIME: Timestamp = Timestamp::from_millis(1_795_000_000_007);

fn inbox_message(from: &'static str, id: u64, body: &'static str) -> InboxMessage<'static> {
    InboxMessage {
        from: from.into(),
        from_name: "Jordan Henderson".into(),
        to_name: "Lionel Messi".into(),
        body: body.into(),
        id: Some(MessageId::new(id)),
        time: Some(TIME),
    }
}

#[test]
fn the_old_six() {
    let token = "b9a3a4b1-8d3c-4a38-9a5f-0b2f6b0c5f11";
    assert_survives(
        "auth",
        &Reply::LoggedIn(token.parse().unwrap()),
        &format!(r#"{{"status": "OK", "tokenid": "{token}"}}"#),
    );
    assert_survives("send", &Reply::Sent, r#"{"status": "OK", "message": "Message Sent"}"#);
    assert_survives(
        "logout",
        &Reply::LoggedOut,
        r#"{"status": "OK", "messages": "logout telah berhasil, Terimakasih telah menggunakan Chat :)", "message": "logout success"}"#,
    );
    let active = ActiveUsers { users: vec!["messi".into(), "lineker".into()], more: true };
    assert_survives(
        "user_aktif",
        &Reply::ActiveUsers(active.clone()),
        r#"{"status": "OK", "message": "messi, lineker, ", "messages": "messi, lineker, ", "more": true}"#,
    );
    let entry = DirectoryEntry { username: "arini".into(), name: "Arini".into(), active: false };
    let directory = Directory { users: vec![entry], next: Some("arini".into()) };
    assert_survives(
        "list",
        &Reply::List(List { active, directory: Some(directory) }),
        r#"{"status": "OK", "messages": "messi,lineker,", "message": "messi,lineker,", "more": true, "users": [{"username": "arini", "name": "Arini", "active": false}], "users_next": "arini"}"#,
    );
    assert_survives(
        "list",
        &Reply::List(List::default()),
        r#"{"status": "OK", "messages": "", "message": ""}"#,
    );
}

#[test]
fn an_inbox_is_grouped_by_sender_in_order_of_first_message() {
    let messages = vec![
        inbox_message("henderson", 7, " a"),
        inbox_message("lineker", 8, "b\u{1f600}"),
        inbox_message("henderson", 9, "c"),
    ];
    let entry = |id: u64, body: &str| {
        format!(
            r#"{{"msg_from": "Jordan Henderson", "msg_to": "Lionel Messi", "msg": "{body}", "id": "{id}", "time": "2026-11-18T11:06:40.007Z"}}"#
        )
    };
    assert_survives(
        "inbox",
        &Reply::Inbox(InboxPage { messages, more: true }),
        &format!(
            r#"{{"status": "OK", "messages": {{"henderson": [{}, {}], "lineker": [{}]}}, "more": true}}"#,
            entry(7, " a"),
            entry(9, "c"),
            entry(8, r"b\ud83d\ude00"),
        ),
    );
    assert_survives(
        "inbox",
        &Reply::Inbox(InboxPage::default()),
        r#"{"status": "OK", "messages": {}}"#,
    );
}

#[test]
fn our_own() {
    let hello = Hello {
        server: "chatd".into(),
        version: "0.1.0".into(),
        protocol: 1,
        commands: vec!["auth".into(), "send".into()],
        limits: Limits {
            frame_bytes: 65536,
            message_bytes: 16384,
            page_messages: 1000,
            page_bytes: 1_048_576,
        },
        features: vec!["explicit_ack".into()],
    };
    assert_survives(
        "hello",
        &Reply::Hello(hello),
        r#"{"status": "OK", "server": "chatd", "version": "0.1.0", "protocol": 1, "commands": ["auth", "send"], "limits": {"frame_bytes": 65536, "message_bytes": 16384, "page_messages": 1000, "page_bytes": 1048576}, "features": ["explicit_ack"]}"#,
    );
    assert_survives("ping", &Reply::Pong("".into()), r#"{"status": "OK", "text": ""}"#);
    assert_survives("register", &Reply::Registered("a".into()), r#"{"status": "OK", "user": "a"}"#);
    assert_survives(
        "passwd",
        &Reply::PasswordChanged(2),
        r#"{"status": "OK", "sessions_ended": 2}"#,
    );
    assert_survives("revoke", &Reply::Revoked, r#"{"status": "OK"}"#);
    assert_survives("ack", &Reply::Acked, r#"{"status": "OK"}"#);
    let whoami = Whoami {
        user: "messi".into(),
        name: "Lionel Messi".into(),
        incarnation: "0011223344556677".into(),
        created: TIME,
        expires: TIME,
    };
    assert_survives(
        "whoami",
        &Reply::Whoami(whoami),
        r#"{"status": "OK", "user": "messi", "name": "Lionel Messi", "incarnation": "0011223344556677", "created": "2026-11-18T11:06:40.007Z", "expires": "2026-11-18T11:06:40.007Z"}"#,
    );
    let session = SessionEntry {
        session: "0123456789abcdef".into(),
        created: TIME,
        last_used: TIME,
        expires: TIME,
        current: true,
    };
    assert_survives(
        "sessions",
        &Reply::Sessions(vec![session]),
        r#"{"status": "OK", "sessions": [{"session": "0123456789abcdef", "created": "2026-11-18T11:06:40.007Z", "last_used": "2026-11-18T11:06:40.007Z", "expires": "2026-11-18T11:06:40.007Z", "current": true}]}"#,
    );
    let message = PeekMessage {
        id: MessageId::new(5),
        time: TIME,
        from: "lineker".into(),
        from_name: "Gary Lineker".into(),
        to: "messi".into(),
        body: "\u{4f60}".into(),
    };
    let page =
        PeekPage { incarnation: "0011223344556677".into(), messages: vec![message], more: false };
    assert_survives(
        "peek",
        &Reply::Peek(page),
        r#"{"status": "OK", "incarnation": "0011223344556677", "messages": [{"id": "5", "time": "2026-11-18T11:06:40.007Z", "from": "lineker", "from_name": "Gary Lineker", "to": "messi", "body": "\u4f60"}], "more": false}"#,
    );
}

#[test]
fn errors() {
    for (code, json) in [
        (
            ErrorCode::NoSession,
            r#"{"status": "ERROR", "message": "Session Tidak Ditemukan", "code": "no_session"}"#,
        ),
        (
            ErrorCode::Other("later".into()),
            r#"{"status": "ERROR", "message": "error", "code": "later"}"#,
        ),
    ] {
        assert_survives("send", &Reply::Error(code.into()), json);
    }
    let limited = ErrorReply { retry_after_ms: Some(1500), ..ErrorCode::RateLimited.into() };
    assert_survives(
        "send",
        &Reply::Error(limited),
        r#"{"status": "ERROR", "message": "too many requests, slow down", "code": "rate_limited", "retry_after_ms": 1500}"#,
    );
}

/// The pre-rendered reply must be what the general encoder makes of the same parts.
#[test]
fn rendered_errors_are_what_would_be_encoded() {
    for code in ErrorCode::ALL {
        let reply = ErrorReply::from(code.clone());
        assert!(code.rendered().is_some());
        let json = encoded(&Reply::Error(reply.clone()));
        assert_eq!(decoded("send", &json).unwrap(), Reply::Error(reply));
        let text = serde_json::to_string(code.text()).unwrap();
        let expected = format!(r#"{{"status": "ERROR", "message": {text}, "code": "{code}"}}"#);
        assert_eq!(json, expected);
    }
}

#[test]
fn an_error_in_own_words_is_not_replaced_by_the_standard_text() {
    let own = ErrorReply { message: "too short".into(), ..ErrorCode::WeakPassword.into() };
    assert_survives(
        "passwd",
        &Reply::Error(own),
        r#"{"status": "ERROR", "message": "too short", "code": "weak_password"}"#,
    );
}

#[derive(Deserialize)]
struct Recorded {
    send: String,
    recv: String,
}

/// Every exchange recorded with the two existing servers.
fn recorded() -> impl Iterator<Item = Recorded> {
    let files = [
        include_str!("../../../../../tests/golden/list-dialect.jsonl"),
        include_str!("../../../../../tests/golden/user_aktif-dialect.jsonl"),
    ];
    let lines = files.into_iter().flat_map(str::lines);
    lines.map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn every_recorded_reply_is_understood() {
    const COMMANDS: [&str; 6] = ["auth", "send", "inbox", "list", "user_aktif", "logout"];
    for Recorded { send, recv } in recorded() {
        let word = send.split_ascii_whitespace().next().unwrap();
        let command = COMMANDS.into_iter().find(|name| *name == word).unwrap_or("send");
        let token =
            if recv.contains("{token:") { "00000000-0000-4000-8000-000000000000" } else { "" };
        let json = recv.trim_end().replace("{token:messi}", token).replace("{token:messi2}", token);
        let json = json.replace("{token:lineker}", token).replace("{token:henderson}", token);
        let reply = decoded(command, &json).unwrap();
        let is_error = matches!(reply, Reply::Error(ErrorReply { code: None, .. }));
        assert_eq!(is_error, recv.contains("ERROR"), "{recv}");
    }
}

#[test]
fn old_inboxes_are_taken_as_they_came() {
    let json = r#"{"status": "OK", "messages": {"henderson": [], "lineker": [{"msg_from": "Gary Lineker", "msg_to": "Lionel Messi", "msg": "  halo \r\n"}]}}"#;
    let Reply::Inbox(page) = decoded("inbox", json).unwrap() else { panic!() };
    let [message] = &page.messages[..] else { panic!() };
    assert_eq!((&*message.from, &*message.body), ("lineker", "  halo \r\n"));
    assert_eq!((message.id, message.time, page.more), (None, None, false));
}

#[test]
fn unknown_keys_are_ignored() {
    let json = r#" {"later": [{}], "status": "OK", "text": "a", "more": {"x": null}}"#;
    assert_eq!(decoded("ping", json).unwrap(), Reply::Pong("a".into()));
}

#[test]
fn what_is_no_reply_is_refused_without_quoting_it() {
    for (command, json) in [
        ("ping", ""),
        ("ping", "[\"OK\"]"),
        ("ping", "{\"status\": \"secret\"}"),
        ("ping", "{\"status\": \"OK\"}"),
        ("ping", "{\"status\": \"OK\", \"text\": {\"secret\": 1}}"),
        ("passwd", "{\"status\": \"OK\", \"sessions_ended\": \"secret\"}"),
        ("auth", "{\"status\": \"OK\", \"tokenid\": \"secret\"}"),
        ("list", "{\"status\": \"OK\"}"),
        (
            "peek",
            "{\"status\": \"OK\", \"incarnation\": \"i\", \"messages\": [{\"id\": \"secret\"}], \"more\": false}",
        ),
        ("send", "{\"event\": \"message\"}"),
        ("terbang", "{\"status\": \"OK\"}"),
    ] {
        let error = decoded(command, json).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn deep_nesting_is_refused_or_skipped() {
    let deep = "[".repeat(100_000);
    assert!(decoded("ping", &format!("{{\"status\": {deep}")).is_err());
    assert!(decoded("ping", &format!("{{\"status\": \"OK\", \"x\": {deep}")).is_err());
}

#[test]
fn debug_leaves_bodies_and_tokens_out() {
    let page = InboxPage { messages: vec![inbox_message("a", 1, "secret")], more: false };
    assert!(!format!("{:?}", Reply::Inbox(page)).contains("secret"));
}

const DOCUMENT: &str = include_str!("../../../../../docs/protocol.md");

fn documented(by: &'static str) -> impl Iterator<Item = String> {
    DOCUMENT.lines().filter_map(move |line| line.strip_prefix(by)).map(str::to_owned)
}

fn event(json: &str) -> Option<Event<'static>> {
    Event::decode(&Frame(Bytes::from(json.to_owned()))).unwrap()
}

/// The examples of the document, as bytes: a request and its reply.
fn documented_exchanges() -> Vec<(String, String)> {
    let token = "b9a3a4b1-8d3c-4a38-9a5f-0b2f6b0c5f11";
    let written = |line: String| line.replace("TOKEN", token).replace('\u{2420}', " ");
    let replies = documented("S: ").filter(|json| event(json).is_none());
    let requests: Vec<_> = documented("C: ").map(written).collect();
    let exchanges: Vec<_> = requests.iter().cloned().zip(replies).collect();
    assert_eq!(exchanges.len(), requests.len());
    exchanges
}

#[test]
fn the_examples_of_the_document_are_true() {
    let exchanges = documented_exchanges();
    assert!(exchanges.len() > 15);
    for (request, json) in exchanges {
        let frame = Frame(Bytes::from(request));
        let command = Command::parse(&frame).unwrap();
        let reply = decoded(command.name(), &json).unwrap();
        assert_eq!(encoded(&reply), json);
    }
}

#[test]
fn the_events_of_the_document_are_true_and_all_there() {
    let mut names = Vec::new();
    for json in documented("S: ") {
        if let Some(event) = event(&json) {
            let mut bytes = BytesMut::new();
            event.encode(&mut bytes);
            assert_eq!(bytes, format!("{json}\r\n\r\n"));
            names.push(event.name().to_owned());
        }
    }
    assert_eq!(
        names,
        ["message", "sent", "presence", "gap", "lagging", "live", "session_ended", "shutdown"]
    );
}

#[test]
fn the_document_lists_every_code() {
    for code in ErrorCode::ALL {
        let words = DOCUMENT.matches(&format!("\n| `{code}` |")).count();
        let recorded = code.text().contains("Tidak") || code.text().contains("Silahkan");
        assert_eq!(words, if recorded { 2 } else { 1 }, "{code}");
        let row = format!("| `{code}` | `{}` |", code.text());
        assert_eq!(DOCUMENT.contains(&row), recorded, "{code}");
    }
}

#[test]
fn what_posts_and_conversations_answer() {
    let posted =
        Posted { id: "0a".into(), time: TIME, duplicate: true, durability: "power_loss".into() };
    assert_survives(
        "post",
        &Reply::Posted(posted),
        r#"{"status": "OK", "id": "0a", "time": "2026-11-18T11:06:40.007Z", "duplicate": true, "durability": "power_loss"}"#,
    );
    let state = DeliveryState::Delivered;
    assert_survives(
        "status",
        &Reply::Status(MessageStatus { state, stored: TIME, pushed: None, delivered: Some(TIME) }),
        r#"{"status": "OK", "state": "delivered", "stored": "2026-11-18T11:06:40.007Z", "delivered": "2026-11-18T11:06:40.007Z"}"#,
    );
    let message = HistoryMessage {
        direction: Direction::Out,
        id: "0a".into(),
        time: TIME,
        from: "messi".into(),
        from_name: "Lionel Messi".into(),
        to: "lineker".into(),
        body: "halo".into(),
    };
    assert_survives(
        "history",
        &Reply::History(HistoryPage {
            incarnation: "ab".into(),
            messages: vec![message.clone()],
            next: Some("0c".into()),
        }),
        r#"{"status": "OK", "incarnation": "ab", "messages": [{"direction": "out", "id": "0a", "time": "2026-11-18T11:06:40.007Z", "from": "messi", "from_name": "Lionel Messi", "to": "lineker", "body": "halo"}], "next": "0c"}"#,
    );
    assert!(
        message.encoded_len_bound()
            >= encoded(&Reply::History(HistoryPage {
                messages: vec![message],
                ..HistoryPage::default()
            }))
            .len()
                - encoded(&Reply::History(HistoryPage::default())).len()
    );
}

#[test]
fn watching_says_how_it_goes_on() {
    let watching = |resume, from, to| {
        let (from, to) = (Option::map(from, MessageId::new), Option::map(to, MessageId::new));
        Watching { incarnation: "ab".into(), resume, after: MessageId::new(7), from, to }
    };
    assert_survives(
        "watch",
        &Reply::Watching(watching(Resume::Undelivered, None, None)),
        r#"{"status": "OK", "incarnation": "ab", "resume": "undelivered", "after": "7"}"#,
    );
    assert_survives(
        "watch",
        &Reply::Watching(watching(Resume::Gap, Some(8), Some(9))),
        r#"{"status": "OK", "incarnation": "ab", "resume": "gap", "after": "7", "from": "8", "to": "9"}"#,
    );
    for command in ["unwatch", "block", "unblock", "privacy"] {
        assert_eq!(
            encoded(&decoded(command, r#"{"status": "OK"}"#).unwrap()),
            r#"{"status": "OK"}"#
        );
    }
}
