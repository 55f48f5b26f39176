//! What else than this protocol is spoken.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{SENT, load, serve_with};

/// As the old servers do it: pieces of 32 bytes, a request is whatever there is when it ends in `\r\n`.
#[test]
fn old_servers_get_one_request_at_a_time_and_only_what_they_know() {
    let address = serve_with(|stream| {
        let mut request = Vec::new();
        let mut piece = [0; 32];
        while let Ok(length @ 1..) = stream.read(&mut piece) {
            request.extend_from_slice(&piece[..length]);
            if request.ends_with(b"\r\n") {
                let line = String::from_utf8(std::mem::take(&mut request)).unwrap();
                assert_eq!(line.matches("\r\n").count(), 1, "two requests at once: {line:?}");
                let reply = match line.trim_end().split(' ').collect::<Vec<_>>()[..] {
                    ["auth", user, _] => format!(r#"{{"status": "OK", "tokenid": "{user}"}}"#),
                    ["send", _, "arini", _] => {
                        r#"{"status": "ERROR", "message": "User Tidak Ditemukan"}"#.to_owned()
                    }
                    ["send", _, _, _] => SENT.to_owned(),
                    ["inbox", _] => r#"{"status": "OK", "messages": {"messi": []}}"#.to_owned(),
                    ["logout", _] => r#"{"status": "OK"}"#.to_owned(),
                    _ => r#"{"status": "ERROR", "message": "**Protocol Tidak Benar"}"#.to_owned(),
                };
                stream.write_all(format!("{reply}\r\n\r\n").as_bytes()).unwrap();
            }
        }
    });
    let options = "-c 3 -n 300 --protocol old --mix send=3,inbox=1,login=1 --churn 20 --json";
    let result: Value = serde_json::from_slice(&load(&address, options).stdout).unwrap();
    let refused = result["errors"]["User Tidak Ditemukan"].as_u64().unwrap();
    assert_eq!(result["errors"].as_object().unwrap().len(), 1, "{result}");
    let reconnects = result["kinds"]["reconnect"]["acknowledged"].as_u64().unwrap_or_default();
    assert_eq!(result["operations"].as_u64().unwrap() + refused, 300 + reconnects, "{result}");
    assert!(
        ["send", "inbox", "login"]
            .iter()
            .all(|kind| result["kinds"][kind]["acknowledged"].as_u64() > Some(0))
    );
}

#[test]
fn redis_gets_the_same_messages_on_a_stream_for_each_recipient() {
    let streams: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let seen = Arc::clone(&streams);
    let address = serve_with(move |stream| {
        let mut lines = BufReader::new(*stream).lines().map_while(Result::ok);
        while let Some(first) = lines.next() {
            let reply = if first == "PING" {
                "+PONG\r\n".to_owned()
            } else {
                assert_eq!(first, "*5");
                let words: Vec<_> = (0..5).map(|_| lines.nth(1).unwrap()).collect();
                assert_eq!((&*words[0], &*words[2], words[4].len()), ("XADD", "*", 30));
                let mut streams = seen.lock().unwrap();
                *streams.entry(words[1].clone()).or_default() += 1;
                match &*words[1] {
                    "arini" => "-OOM command not allowed\r\n".to_owned(),
                    _ => "$4\r\n1-23\r\n".to_owned(),
                }
            };
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    let options = "-c 2 -k 5 -n 400 -s 30 --protocol redis --json";
    let result: Value = serde_json::from_slice(&load(&address, options).stdout).unwrap();
    let streams = streams.lock().unwrap();
    assert_eq!(streams.values().sum::<u32>(), 400);
    assert_eq!(result["errors"]["-OOM command not allowed"], streams["arini"]);
    assert_eq!(result["sends"].as_u64().unwrap() + u64::from(streams["arini"]), 400);
}

#[test]
fn irc_nicks_write_to_each_other() {
    let address = serve_with(|stream| {
        let mut nick = String::new();
        let mut cookie_came = false;
        let mut refused = false;
        for line in BufReader::new(*stream).lines().map_while(Result::ok) {
            let reply = match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
                ["NICK", own] if !refused => {
                    refused = true;
                    format!(":s 433 * {own} :Nickname is already in use\r\n")
                }
                ["NICK", own] => {
                    nick = own.to_owned();
                    "PING :cookie\r\n".to_owned()
                }
                ["PONG", ":cookie"] => {
                    cookie_came = true;
                    format!(":s 001 {nick} :Welcome\r\n:s 422 {nick} :MOTD File is missing\r\n")
                }
                ["PRIVMSG", "load2", _] => format!(":s 401 {nick} load2 :No such nick\r\n"),
                ["PRIVMSG", to, text] => {
                    assert!(to.starts_with("load") && to != nick && cookie_came, "{line}");
                    assert_eq!(text, format!(":{}", "x".repeat(100)));
                    format!(":other!u@h PRIVMSG {nick} :noise\r\n")
                }
                ["PING", token] => format!(":s PONG s :{token}\r\n"),
                _ => String::new(),
            };
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    let result = load(&address, "-c 3 -k 2 -n 300 --protocol irc --json");
    let result: Value = serde_json::from_slice(&result.stdout).unwrap();
    let refused = result["errors"]["401 No such nick"].as_u64().unwrap();
    assert_eq!(result["sends"].as_u64().unwrap() + refused, 300, "{result}");
    assert!(refused > 50, "{result}");
}
