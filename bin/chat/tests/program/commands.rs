//! Commands, one-shot and from a pipe.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::world::{World, json, run};

#[test]
fn one_shot_commands() {
    let world = World::new();
    let ran = world.chat(&["login", "messi", "--password-stdin"], "surabaya\n");
    assert!(ran.out.starts_with("username messi logged in, token "), "{ran:?}");
    assert!(ran.out.ends_with("…\n"), "{ran:?}");
    assert_eq!(world.chat(&["send", "messi", "apa", "kabar"], "").out, "message sent to messi\n");
    assert_eq!(world.chat(&["send", "messi"], "satu\n\n  dua  \r\n").code, 0);
    assert_eq!(world.chat(&["list"], "").out, "messi\n");
    let inbox = world.chat(&["inbox"], "").out;
    let lines: Vec<&str> = inbox.lines().map(|line| line.split_once("] ").unwrap().1).collect();
    assert_eq!(
        lines,
        [
            "messi (Lionel Messi): apa kabar",
            "messi (Lionel Messi): satu",
            "messi (Lionel Messi):   dua  "
        ]
    );
    assert_eq!(world.chat(&["inbox"], "").out, "no new messages\n");
    assert!(world.chat(&["whoami"], "").out.starts_with("messi (Lionel Messi)"));
    assert_eq!(world.chat(&["logout"], "").code, 0);
    let ran = world.chat(&["inbox"], "");
    assert_eq!((ran.code, &*ran.out), (4, ""));
    assert!(ran.err.contains("chat login"), "{ran:?}");
}

#[test]
fn one_shot_json() {
    let world = World::new();
    let address = world.address.clone();
    let ran = world.chat(&["login", "lineker", "--password-stdin", "--json"], "surabaya");
    assert_eq!(json(&ran.out), serde_json::json!({"user": "lineker", "server": address}));
    let ran = world.chat(&["send", "lineker", "--json", "-"], "h\u{e9}llo \u{202e}x\ndua\n");
    let sent = json(&ran.out);
    assert_eq!((&sent["to"], &sent["sent"]), (&"lineker".into(), &2.into()));
    assert!(sent["id"].is_string());
    let ran = world.chat(&["inbox", "--json"], "");
    let messages: Vec<Value> = ran.out.lines().map(json).collect();
    assert_eq!(messages[0]["body"], "h\u{e9}llo \u{202e}x");
    assert_eq!(messages[0]["from_name"], "Gary \u{202e}Lineker");
    assert_eq!((&messages[0]["id"], &messages[1]["id"]), (&"1".into(), &"2".into()));
    let ran = world.chat(&["list", "--json"], "");
    assert_eq!(json(&ran.out), serde_json::json!({"active": ["lineker"], "more": false}));
    let ran = world.chat(&["send", "--json", "ghost", "halo"], "");
    assert_eq!((ran.code, &*ran.out), (1, ""));
    let error = &json(&ran.err)["error"];
    assert_eq!((&error["code"], &error["exit"]), (&"no_such_recipient".into(), &1.into()));
}

#[test]
fn json_keys_stand_in_the_order_of_the_help() {
    fn assert_order(line: &str, keys: &[&str]) {
        let places: Vec<_> = keys.iter().map(|key| line.find(&format!("\"{key}\":"))).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{keys:?} in {line}");
    }
    let world = World::new();
    let out = |arguments: &[&str]| world.chat(arguments, "surabaya").out;
    assert_order(&out(&["login", "messi", "--password-stdin", "--json"]), &["user", "server"]);
    assert_order(&out(&["send", "--json", "messi", "halo"]), &["to", "sent", "id"]);
    assert_order(&out(&["inbox", "--json"]), &["id", "time", "from", "from_name", "body"]);
    assert_order(&out(&["list", "--json"]), &["active", "more"]);
    let owner = ["user", "name", "incarnation", "created", "expires"];
    assert_order(&out(&["whoami", "--json"]), &owner);
    assert_eq!(out(&["logout", "--json"]), "{\"logged_out\":true}\n");
    let error = world.chat(&["whoami", "--json"], "").err;
    assert_order(&error, &["error", "code", "message", "exit"]);
}

#[test]
fn conversations_and_who_may_take_part() {
    let world = World::new();
    world.log_in("messi");
    let sent = json(&world.chat(&["send", "--json", "lineker", "satu"], "").out);
    let id = sent["id"].as_str().unwrap();
    assert!(world.chat(&["status", id], "").out.starts_with("stored "));
    let status = json(&world.chat(&["status", "--json", id], "").out);
    assert_eq!((&status["id"], &status["state"]), (&sent["id"], &"stored".into()));
    assert_eq!((&status["pushed"], &status["delivered"]), (&Value::Null, &Value::Null));
    assert_eq!(world.chat(&["status", "0"], "").code, 1);

    world.log_in("lineker");
    world.chat(&["send", "messi", "dua"], "");
    world.chat(&["send", "messi", "tiga"], "");
    let bodies = |out: &str| -> Vec<String> {
        out.lines().map(|line| line.split_once("): ").unwrap().1.to_owned()).collect()
    };
    assert_eq!(bodies(&world.chat(&["history", "messi"], "").out), ["satu", "dua", "tiga"]);
    assert_eq!(bodies(&world.chat(&["history", "messi", "2"], "").out), ["dua", "tiga"]);
    let out = world.chat(&["history", "messi", "--json"], "").out;
    let directions: Vec<_> = out.lines().map(|line| json(line)["direction"].clone()).collect();
    assert_eq!(directions, ["in", "out", "out"]);
    assert_eq!(world.chat(&["history", "messi", "0"], "").code, 2);
    assert_eq!(world.chat(&["history", "ghost"], "").code, 1);

    let blocked = world.chat(&["block", "messi"], "").out;
    assert_eq!(blocked, "messi can no longer send you messages\n");
    world.log_in("messi");
    let refused = json(&world.chat(&["send", "--json", "lineker", "empat"], "").err);
    assert_eq!(refused["error"]["code"], "not_allowed");
    world.log_in("lineker");
    let unblocked = json(&world.chat(&["unblock", "--json", "messi"], "").out);
    assert_eq!(unblocked, serde_json::json!({"user": "messi", "blocked": false}));
    assert_eq!(world.chat(&["privacy", "presence", "off"], "").out, "your choice is kept\n");
    assert_eq!(world.chat(&["privacy", "presence", "maybe"], "").code, 2);
}

#[test]
fn a_second_login_ends_the_first() {
    let world = World::new();
    world.log_in("messi");
    world.log_in("messi");
    let ran = world.chat(&[], "auth messi surabaya\nsessions\n");
    // The login kept and this one, each on a line, after the line of the login.
    assert_eq!(ran.out.lines().count(), 3, "{ran:?}");
}

#[test]
fn the_file_of_a_login_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    world.log_in("messi");
    let directory = world.home.path().join(".local/state/chat/logins");
    let files: Vec<_> = directory.read_dir().unwrap().map(Result::unwrap).collect();
    assert_eq!(files.len(), 1);
    let mode = files[0].metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_could_not_be_written_out_is_not_delivered() {
    let world = World::new();
    world.log_in("messi");
    world.chat(&["send", "messi", "penting"], "");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ran = run(world.command(&["inbox"]).stdout(full), "");
    assert_eq!(ran.code, 6, "{ran:?}");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ran = run(world.command(&[]).stdout(full), "auth messi surabaya\ninbox\n");
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(world.chat(&["inbox"], "").out.contains("penting"));
}

#[test]
fn a_line_that_cannot_be_sent_says_how_far_it_got() {
    let world = World::new();
    world.log_in("messi");
    let ran = world.chat(&["send", "messi"], "satu\nbe\x07l\ntiga\n");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("line 2 was not sent (1 sent before it)"), "{ran:?}");
    assert!(world.chat(&["inbox"], "").out.ends_with("satu\n"));
    assert_eq!(world.chat(&["send", "messi"], "\n").code, 2);
}

#[test]
fn wrong_passwords_and_no_server() {
    let world = World::new();
    let ran = world.chat(&["login", "messi", "--password-stdin"], "wrong\n");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("Password yang Anda Masukkan Salah"), "{ran:?}");
    assert_eq!(world.chat(&["login", "messi", "--password-stdin"], "\n").code, 2);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let ran = world.chat(&["login", "messi", "--password-stdin", "-s", &address], "surabaya\n");
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains(&address), "{ran:?}");
    let ran = world.chat(&["-s", &address], "auth messi surabaya\n");
    assert_eq!(ran.code, 3);
    assert!(ran.out.starts_with("Error, cannot connect to"), "{ran:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_terminal_the_password_comes_from_standard_input() {
    let world = World::new();
    let mut chat = Command::new("setsid");
    chat.args(["--wait", env!("CARGO_BIN_EXE_chat"), "login", "messi", "-s", &world.address])
        .env("HOME", world.home.path())
        .stdout(Stdio::piped());
    let ran = run(&mut chat, "surabaya\n");
    assert_eq!((ran.code, &*ran.out), (6, ""));
    assert!(ran.err.contains("--password-stdin"), "{ran:?}");
}

#[test]
fn an_option_after_the_text_is_neither_obeyed_nor_sent() {
    let world = World::new();
    world.log_in("messi");
    let ran = world.chat(&["send", "messi", "halo", "--server", "elsewhere"], "");
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert!(ran.err.contains("chat send USER -- TEXT"), "{ran:?}");
    assert_eq!(world.chat(&["send", "messi", "--", "pakai", "--json"], "").code, 0);
    assert!(world.chat(&["inbox"], "").out.ends_with(": pakai --json\n"));
}

/// The contract's texts, letter by letter.
#[test]
fn a_piped_session_speaks_as_the_old_clients_did() {
    let world = World::new();
    let script = "list\nsend lineker halo\ninbox\nlogout\nterbang\nauth messi\n\
        auth messi wrong\nauth messi surabaya\nsend lineker apa kabar\nsend messi halo\nsend messi\n\
        list\nuser_aktif\nlogout\nquit\nlist\n";
    let ran = world.chat(&[], script);
    let (before, rest) = ran.out.split_once("token ").unwrap();
    let (token, after) = rest.split_once('\n').unwrap();
    assert_eq!(
        before,
        "Error, not authorized\nError, not authorized\nError, not authorized\n\
        WARNING! ERROR silahkan login terlebih dahulu\n*Maaf, command tidak benar\n-Maaf, command tidak benar\n\
        Error, Password yang Anda Masukkan Salah, Silahkan Coba Lagi\nusername messi logged in, "
    );
    assert_eq!((token.chars().count(), token.ends_with('…')), (9, true));
    assert_eq!(
        after,
        "message sent to lineker\nmessage sent to messi\n-Maaf, command tidak benar\n\
        User yang sedang aktif adalah :\nmessi\nUser yang sedang aktif adalah :\nmessi\n\
        logout telah berhasil, Terimakasih telah menggunakan Chat :)\n"
    );
    // The first that failed was a command without a login.
    assert_eq!((ran.code, &*ran.err), (4, ""));
}

#[test]
fn what_others_wrote_is_neutralised() {
    let world = World::new();
    let ran = world.chat(&[], "auth lineker surabaya\nsend lineker \u{202e}olah\u{200b}\ninbox\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    let expected = "lineker (Gary <U+202E>Lineker): <U+202E>olah<U+200B>";
    assert!(ran.out.contains(expected), "{ran:?}");
}

#[test]
fn a_bad_line_in_a_pipe_does_not_end_the_session() {
    let world = World::new();
    let mut child =
        world.command(&[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let script = b"auth messi surabaya\nsend messi \xff\nsend messi halo\ninbox\n";
    child.stdin.take().unwrap().write_all(script).unwrap();
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("Error, a line is not UTF-8\nmessage sent to messi\n"), "{out}");
    assert!(out.ends_with("messi (Lionel Messi): halo\n"), "{out}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn completions() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = world.chat(&["completions", shell], "");
        assert!(ran.out.contains("inbox"), "{shell}");
    }
}
