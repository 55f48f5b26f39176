//! The two old servers, as they were recorded.

use std::collections::HashMap;
use std::time::Duration;

use chat_client::{Client, ClientError, ErrorCode, Sent, Token};
use serde_json::Value;

use crate::peer::{BAD_COMMAND, Peer, TOKEN, connect_legacy, legacy_logged_in};

/// One recorded exchange.
struct Exchange {
    connection: String,
    request: String,
    reply: String,
}

/// Connections by their recorded name, and the tokens given so far.
#[derive(Default)]
struct Replay {
    connections: HashMap<String, (Client, Peer)>,
    tokens: HashMap<String, Token>,
    /// Exchanges that a call of the client made.
    replayed: usize,
}

fn recorded(file: &str) -> Vec<Exchange> {
    let path = format!("{}/../../tests/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    let lines = std::fs::read_to_string(path).unwrap();
    let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|value: Value| Exchange {
            connection: text(&value, "conn"),
            request: text(&value, "send"),
            reply: text(&value, "recv"),
        })
        .collect()
}

impl Replay {
    async fn run(file: &str) -> usize {
        let mut replay = Self::default();
        for exchange in recorded(file) {
            replay.exchange(exchange).await;
        }
        replay.replayed
    }

    async fn exchange(&mut self, exchange: Exchange) {
        let request = self.with_tokens(&exchange.request);
        let reply = self.with_tokens(&exchange.reply);
        let mut connection = match self.connections.remove(&exchange.connection) {
            Some(connection) => connection,
            None => connect_legacy().await,
        };
        self.replayed += usize::from(
            replay(&mut connection, request.trim_end_matches(['\r', '\n']), &reply).await,
        );
        self.connections.insert(exchange.connection, connection);
    }

    /// The recording with a token for each `{token:NAME}`.
    fn with_tokens(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        while let Some((before, rest)) = text.split_once("{token:") {
            let (name, after) = rest.split_once('}').unwrap();
            let token = *self.tokens.entry(name.to_owned()).or_insert_with(Token::random);
            text = format!("{before}{}{after}", token.expose());
        }
        text
    }
}

/// Makes the call that sends `request`, answers it as recorded, and checks what the call gives. `false` if no call
/// of the client sends such a line.
async fn replay((client, peer): &mut (Client, Peer), request: &str, reply: &str) -> bool {
    let expected: Value = serde_json::from_str(reply).unwrap();
    let words: Vec<&str> = request.splitn(4, ' ').collect();
    let answering = async {
        let mut sent = peer.next_request().await.unwrap();
        if words[0] == "user_aktif" && sent.starts_with("list ") {
            // The first call on a connection finds out which of the two words this server knows.
            peer.reply(BAD_COMMAND).await;
            sent = peer.next_request().await.unwrap();
        }
        // The existing clients put a space before the end of every line; ours only where it is part of a message.
        let same = if words[0] == "send" { request } else { request.trim_end() };
        assert_eq!(sent, same);
        peer.send(reply.as_bytes()).await;
    };
    let with = |token: &str| client.with_token(token.parse().unwrap());
    match words.as_slice() {
        ["auth", username, password, ..] => {
            let (given, ()) = tokio::join!(client.login(username, password), answering);
            let given = given.map(|token| Value::from(token.expose()));
            check(given, &expected["tokenid"], &expected);
        }
        ["send", token, to, body] => {
            let (given, ()) = tokio::join!(async { with(token).send(to, body).await }, answering);
            let given = given.map(|sent| {
                assert_eq!(sent, Sent::Plain);
                Value::from("Message Sent")
            });
            check(given, &expected["message"], &expected);
        }
        ["inbox", token, ..] => {
            let (given, ()) = tokio::join!(async { with(token).inbox().await }, answering);
            let given = given.map(|delivery| {
                delivery
                    .messages()
                    .iter()
                    .map(|m| Value::from(format!("{}: {}", m.from, m.body)))
                    .collect()
            });
            check(given, &recorded_messages(&expected), &expected);
        }
        ["list" | "user_aktif", token, ..] => {
            let (given, ()) = tokio::join!(async { with(token).active_users().await }, answering);
            let given =
                given.map(|active| active.users.iter().map(|user| Value::from(&**user)).collect());
            check(given, &recorded_users(&expected), &expected);
        }
        ["logout", token, ..] => {
            let (given, ()) = tokio::join!(async { with(token).logout().await }, answering);
            check(given.map(|()| Value::Null), &Value::Null, &expected);
        }
        _ => return false,
    }
    true
}

/// Compares what a call gave with what the server had said: the value if it was OK, the sentence if not.
fn check(given: Result<Value, ClientError>, value: &Value, reply: &Value) {
    match given {
        Ok(given) => {
            assert_eq!(reply["status"], "OK");
            assert_eq!(&given, value);
        }
        Err(ClientError::Server(error)) => {
            assert_eq!(reply["status"], "ERROR");
            assert_eq!(reply["message"], error.message);
            assert!(error.code.is_some(), "{error} has a code");
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// The recorded messages without what the server added: a space in front and the end of the line.
fn recorded_messages(reply: &Value) -> Value {
    let empty = serde_json::Map::new();
    let senders = reply["messages"].as_object().unwrap_or(&empty);
    let text = |from: &str, message: &Value| {
        let body = message["msg"].as_str().unwrap();
        let body = body.strip_prefix(' ').unwrap().strip_suffix("\r\n").unwrap();
        Value::from(format!("{from}: {body}"))
    };
    senders
        .iter()
        .flat_map(|(from, messages)| {
            let messages = messages.as_array().unwrap();
            messages.iter().map(move |message| text(from, message))
        })
        .collect()
}

/// The recorded users, who stand under one key or the other.
fn recorded_users(reply: &Value) -> Value {
    let listed = reply["messages"].as_str().or(reply["message"].as_str());
    let users = listed.unwrap().split(',').map(str::trim);
    users.filter(|user| !user.is_empty()).map(Value::from).collect()
}

#[tokio::test]
async fn the_server_that_says_list() {
    assert_eq!(Replay::run("list-dialect.jsonl").await, 27);
}

#[tokio::test]
async fn the_server_that_says_user_aktif() {
    assert_eq!(Replay::run("user_aktif-dialect.jsonl").await, 27);
}

#[tokio::test]
async fn what_an_old_server_does_not_have_is_not_sent() {
    let (client, mut peer) = legacy_logged_in().await;
    assert!(client.is_legacy());
    for error in [
        client.whoami().await.unwrap_err(),
        client.peek(None, None).await.unwrap_err(),
        client.ping("a").await.unwrap_err(),
        client.register("a", "b", None).await.unwrap_err(),
        client.directory(None, None).await.unwrap_err(),
    ] {
        assert!(matches!(error, ClientError::Unsupported { .. }), "{error:?}");
        assert!(!error.is_retryable());
    }
    drop(client);
    peer.expect_end().await;
}

#[tokio::test]
async fn acknowledging_does_nothing() {
    let (client, mut peer) = legacy_logged_in().await;
    let reply = r#"{"status": "OK", "messages": {"arini": [{"msg_from": "Arini", "msg_to": "Lionel Messi", "msg": " halo\r\n"}]}}"#;
    let request = format!("inbox {TOKEN}");
    let (delivery, ()) = tokio::join!(client.inbox(), peer.answer(&request, reply));
    let delivery = delivery.unwrap();
    assert_eq!(delivery.messages()[0].body, "halo");
    assert_eq!((delivery.messages()[0].id, delivery.more()), (None, false));
    delivery.ack().await.unwrap();
    drop((client, delivery));
    peer.expect_end().await;
}

/// The old servers answer only the first request of a packet.
#[tokio::test(start_paused = true)]
async fn one_request_at_a_time() {
    let (client, mut peer) = legacy_logged_in().await;
    let ok = r#"{"status": "OK", "message": "Message Sent"}"#;
    let (first, second, ()) = tokio::join!(biased; client.send("a", "1"), client.send("b", "2"), async {
        peer.expect(&format!("send {TOKEN} a 1")).await;
        let early = tokio::time::timeout(Duration::from_secs(1), peer.next_request());
        assert!(early.await.is_err(), "a second request before the first reply");
        peer.reply(ok).await;
        peer.answer(&format!("send {TOKEN} b 2"), ok).await;
    });
    first.unwrap();
    second.unwrap();
}

#[tokio::test]
async fn an_ended_session_has_the_code_it_would_have_today() {
    let (client, mut peer) = legacy_logged_in().await;
    let reply = r#"{"status": "ERROR", "message": "Informasi tidak ditemukan"}"#;
    let request = format!("inbox {TOKEN}");
    let (inbox, ()) = tokio::join!(client.inbox(), peer.answer(&request, reply));
    assert_eq!(inbox.unwrap_err().code(), Some(&ErrorCode::NoSession));
}
