//! `chat watch`.

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::world::{World, json};

/// A `chat watch` that runs.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn of(world: &World, arguments: &[&str]) -> Self {
        let mut command = world.command(&["watch"]);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        json(&self.lines.next().unwrap().unwrap())
    }

    /// Its exit code and what it said on standard error.
    fn end(mut self) -> (i32, String) {
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code().unwrap(), err)
    }
}

#[test]
fn lines_of_json_until_the_login_ends() {
    let world = World::new();
    world.log_in("messi");
    world.chat(&["send", "messi", "sebelum"], "");
    let mut watch = Watch::of(&world, &[]);
    let first = watch.next();
    assert_eq!((&first["event"], &first["body"]), (&"message".into(), &"sebelum".into()));
    world.chat(&["send", "messi", "h\u{e9}llo \u{202e}x"], "");
    let second = watch.next();
    assert_eq!((&second["id"], &second["body"]), (&"2".into(), &"h\u{e9}llo \u{202e}x".into()));
    assert_eq!((&second["from"], &second["to"]), (&"messi".into(), &"messi".into()));
    world.chat(&["send", "lineker", "ke sana"], "");
    let sent = watch.next();
    assert_eq!((&sent["event"], &sent["to"]), (&"sent".into(), &"lineker".into()));
    world.chat(&["logout"], "");
    let end = watch.next();
    assert_eq!(end, serde_json::json!({"event": "session_ended", "reason": "logout"}));
    let (code, err) = watch.end();
    assert_eq!((code, err.contains("the login has ended: logout")), (4, true), "{err}");

    // Nothing was acknowledged.
    world.log_in("messi");
    assert_eq!(world.chat(&["inbox"], "").out.lines().count(), 2);
}

#[test]
fn what_was_written_is_acknowledged_if_asked_for() {
    let world = World::new();
    world.log_in("messi");
    let texts: String = (0..250).map(|number| format!("pesan {number}\n")).collect();
    world.chat(&["send", "messi"], &texts);
    let mut watch = Watch::of(&world, &["--ack"]);
    let mut last = Value::Null;
    for number in 0..250 {
        last = watch.next();
        assert_eq!(last["body"], format!("pesan {number}"));
    }
    // It says so after the line; the next line comes after that.
    world.chat(&["send", "messi", "lagi"], "");
    assert_eq!(watch.next()["body"], "lagi");
    watch.child.kill().unwrap();
    watch.child.wait().unwrap();
    assert!(world.chat(&["inbox"], "").out.lines().count() <= 1);

    let incarnation = last["incarnation"].as_str().unwrap();
    let mut again = Watch::of(&world, &["--after", "249", "--incarnation", incarnation]);
    assert_eq!(again.next(), last);
    assert_eq!(again.next()["body"], "lagi");
    again.child.kill().unwrap();
    again.child.wait().unwrap();
    let mut stale = Watch::of(&world, &["--after", "249", "--incarnation", "0000000000000000"]);
    let gap = stale.next();
    assert_eq!((&gap["event"], &gap["reason"]), (&"gap".into(), &"restored".into()));
    stale.child.kill().unwrap();
    stale.child.wait().unwrap();
}

#[test]
fn what_could_not_be_written_is_not_acknowledged() {
    let world = World::new();
    world.log_in("messi");
    world.chat(&["send", "messi", "penting"], "");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ran = crate::world::run(world.command(&["watch", "--ack"]).stdout(full), "");
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(world.chat(&["inbox"], "").out.contains("penting"));
}

#[test]
fn it_survives_the_server() {
    let mut world = World::new();
    world.log_in("messi");
    let mut watch = Watch::of(&world, &[]);
    world.chat(&["send", "messi", "satu"], "");
    assert_eq!(watch.next()["body"], "satu");
    world.restart_server();
    assert_eq!(watch.next(), serde_json::json!({"event": "shutdown"}));
    world.chat(&["send", "messi", "dua"], "");
    assert_eq!(watch.next()["body"], "dua");
    world.chat(&["logout"], "");
    let (code, err) = watch.end();
    assert_eq!(code, 4);
    assert!(err.contains("chat: (connection lost: ") && err.contains("chat: (connected again)\n"));
}

#[test]
fn a_place_needs_both_of_its_words() {
    let world = World::new();
    assert_eq!(world.chat(&["watch", "--after", "3"], "").code, 2);
    assert_eq!(world.chat(&["watch"], "").code, 4);
}
