//! The recorded exchanges with the two existing servers, replayed.
//!
//! Every reply must have the recorded keys, values, order and separators, but for the corrections named in
//! [`CORRECTIONS`]; extra keys are only those of [`extra_keys`].

use std::collections::{BTreeMap, HashMap};

use chat_tests::client::TextClient;
use chat_tests::daemon::Site;
use chat_tests::json::Json;
use serde::Deserialize;

#[tokio::test]
async fn the_list_dialect() {
    let used = replay(include_str!("../golden/list-dialect.jsonl")).await;
    let expected = [
        ("body_is_verbatim", 3),
        ("no_sender_without_messages", 2),
        ("unknown_token_has_one_text", 4),
    ];
    assert_eq!(used, BTreeMap::from(expected));
}

#[tokio::test]
async fn the_user_aktif_dialect() {
    let used = replay(include_str!("../golden/user_aktif-dialect.jsonl")).await;
    let expected = [
        ("body_is_verbatim", 3),
        ("each_user_once", 1),
        ("login_errors_are_the_first_dialects", 2),
        ("logout_has_both_texts", 2),
        ("no_sender_without_messages", 2),
        ("unknown_token_has_one_text", 4),
        ("user_aktif_needs_a_token", 1),
    ];
    assert_eq!(used, BTreeMap::from(expected));
}

/// One recorded request and its reply.
#[derive(Debug, Deserialize)]
struct Exchange {
    conn: String,
    send: String,
    recv: String,
}

/// Replays a transcript against `chatd --demo` and says how often each correction was needed.
async fn replay(transcript: &str) -> BTreeMap<&'static str, usize> {
    let daemon = Site::demo();
    let daemon = (daemon.start().await, daemon);
    let mut connections: HashMap<String, TextClient> = HashMap::new();
    let mut tokens = HashMap::new();
    let mut used = BTreeMap::new();
    for line in transcript.lines() {
        let exchange: Exchange = serde_json::from_str(line).unwrap();
        let mut expected = Json::parse(exchange.recv.strip_suffix(REPLY_END).unwrap());
        for (name, correct) in CORRECTIONS {
            if correct(&exchange.send, &mut expected) {
                *used.entry(*name).or_default() += 1;
            }
        }
        if !connections.contains_key(&exchange.conn) {
            let client = TextClient::connect(daemon.0.address()).await;
            connections.insert(exchange.conn.clone(), client);
        }
        let connection = connections.get_mut(&exchange.conn).unwrap();
        connection.send(with_tokens(&exchange.send, &tokens).as_bytes()).await.unwrap();
        let reply = String::from_utf8(connection.receive().await.unwrap()).unwrap();
        let reply = reply.strip_suffix(REPLY_END).expect("a whole reply");
        bind_token(&mut expected, reply, &mut tokens);
        compare(&exchange.send, reply, &expected);
    }
    daemon.0.stop().await;
    used
}

fn with_tokens(request: &str, tokens: &HashMap<String, String>) -> String {
    tokens.iter().fold(request.to_owned(), |text, (name, token)| text.replace(name, token))
}

/// Where the record has `{token:NAME}` the reply has a UUID, which NAME then stands for.
fn bind_token(expected: &mut Json, reply: &str, tokens: &mut HashMap<String, String>) {
    let Some(Json::String(recorded)) = expected.get_mut("tokenid") else {
        return;
    };
    let token =
        Json::parse(reply).get("tokenid").and_then(Json::as_str).expect("a token").to_owned();
    assert_eq!(token.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{token}");
    tokens.insert(std::mem::replace(recorded, token.clone()), token);
}

fn compare(request: &str, reply: &str, expected: &Json) {
    let mut actual = Json::parse(reply);
    assert_eq!(actual.to_string(), reply, "separators or escapes differ in the reply to {request}");
    remove_extra_keys(request, &mut actual, expected);
    assert_eq!(actual.to_string(), expected.to_string(), "{request}");
    if expected.get("status").and_then(Json::as_str) == Some("ERROR") {
        let code = Json::parse(reply).get("code").and_then(Json::as_str).map(str::to_owned);
        assert!(code.is_some_and(|code| !code.is_empty()), "no code: {reply}");
    }
}

fn remove_extra_keys(request: &str, actual: &mut Json, expected: &Json) {
    let is_error = actual.get("status").and_then(Json::as_str) == Some("ERROR");
    let extra: Vec<&str> = extra_keys(request, is_error)
        .iter()
        .copied()
        .filter(|key| expected.get(key).is_none())
        .collect();
    actual.without(&extra);
    if let Some(Json::Object(senders)) = actual.get_mut("messages") {
        for (_, messages) in senders {
            let Json::Array(messages) = messages else { panic!("{messages}") };
            for message in messages {
                message.without(&["id", "time"]);
            }
        }
    }
}

/// The keys that a reply may have beyond the recorded ones.
fn extra_keys(request: &str, is_error: bool) -> &'static [&'static str] {
    match request.split_whitespace().next() {
        _ if is_error => &["code"],
        Some("inbox") => &["more"],
        Some("list") => &["message", "more", "users", "users_next"],
        Some("user_aktif") => &["messages", "more"],
        Some("logout") => &["message"],
        _ => &[],
    }
}

/// A fault of the recorded servers that is corrected on purpose: changes the recorded reply to a request, and says
/// whether it did.
type Correction = fn(&str, &mut Json) -> bool;

/// In the order in which they apply.
const CORRECTIONS: &[(&str, Correction)] = &[
    ("body_is_verbatim", body_is_verbatim),
    ("no_sender_without_messages", no_sender_without_messages),
    ("user_aktif_needs_a_token", user_aktif_needs_a_token),
    ("unknown_token_has_one_text", unknown_token_has_one_text),
    ("each_user_once", each_user_once),
    ("login_errors_are_the_first_dialects", login_errors_are_the_first_dialects),
    ("logout_has_both_texts", logout_has_both_texts),
];

/// They put a space in front of a message and kept the end of the line in it.
fn body_is_verbatim(_: &str, reply: &mut Json) -> bool {
    let Some(Json::Object(senders)) = reply.get_mut("messages") else {
        return false;
    };
    let mut changed = false;
    for (_, messages) in senders {
        let Json::Array(messages) = messages else { panic!("{messages}") };
        for message in messages {
            let Some(Json::String(body)) = message.get_mut("msg") else { panic!("no msg") };
            let sent = body.strip_prefix(' ').and_then(|body| body.strip_suffix("\r\n"));
            *body = sent.expect("a space in front and the line's end behind").to_owned();
            changed = true;
        }
    }
    changed
}

/// They listed everybody who had ever sent something.
fn no_sender_without_messages(_: &str, reply: &mut Json) -> bool {
    let Some(Json::Object(senders)) = reply.get_mut("messages") else {
        return false;
    };
    let before = senders.len();
    senders.retain(|(_, messages)| *messages != Json::Array(Vec::new()));
    senders.len() < before
}

/// The second told anybody who was here.
fn user_aktif_needs_a_token(request: &str, reply: &mut Json) -> bool {
    let applies = request.starts_with("user_aktif 00000000-");
    if applies {
        *reply = Json::parse(r#"{"status": "ERROR", "message": "Session Tidak Ditemukan"}"#);
    }
    applies
}

/// They had two sentences for it.
fn unknown_token_has_one_text(_: &str, reply: &mut Json) -> bool {
    replace_text(reply, "message", "Informasi tidak ditemukan", "Session Tidak Ditemukan")
}

/// The second listed a user once for each session.
fn each_user_once(request: &str, reply: &mut Json) -> bool {
    if !request.starts_with("user_aktif ") {
        return false;
    }
    let Some(Json::String(users)) = reply.get_mut("message") else {
        return false;
    };
    let mut seen = Vec::new();
    for user in users.split_inclusive(", ") {
        if !seen.contains(&user) {
            seen.push(user);
        }
    }
    let once = seen.concat();
    let changed = once != *users;
    *users = once;
    changed
}

/// The second had shorter ones; its client prints whatever stands there.
fn login_errors_are_the_first_dialects(_: &str, reply: &mut Json) -> bool {
    let unknown = "User Tidak Tersedia, Silahkan Coba Lagi";
    let wrong = "Password yang Anda Masukkan Salah, Silahkan Coba Lagi";
    replace_text(reply, "message", "User Tidak Ada", unknown)
        || replace_text(reply, "message", "Password Salah", wrong)
}

/// The dialects have different texts under one key: `messages` has the first's, `message` the second's.
fn logout_has_both_texts(_: &str, reply: &mut Json) -> bool {
    let first = "logout telah berhasil, Terimakasih telah menggunakan Chat :)";
    let changed = replace_text(reply, "messages", "logout success", first);
    if changed && let Json::Object(fields) = reply {
        fields.push(("message".to_owned(), Json::String("logout success".to_owned())));
    }
    changed
}

fn replace_text(reply: &mut Json, key: &str, from: &str, to: &str) -> bool {
    match reply.get_mut(key) {
        Some(Json::String(text)) if text == from => {
            to.clone_into(text);
            true
        }
        _ => false,
    }
}

const REPLY_END: &str = "\r\n\r\n";
