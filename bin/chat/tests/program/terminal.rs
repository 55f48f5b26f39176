//! The interactive program on a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::world::World;

/// The program at work on a terminal of ours.
struct Terminal {
    child: Child,
    keys: File,
    output: Receiver<Vec<u8>>,
    /// What was shown and not yet looked at.
    shown: String,
}

impl Terminal {
    fn new(world: &World) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let open = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let mut command = world.command(&[]);
        command.env("TERM", "xterm").stdin(open()).stdout(open()).stderr(open());
        let child = command.spawn().unwrap();
        let keys = File::from(ours);
        let output = read_all(keys.try_clone().unwrap());
        Self { child, keys, output, shown: String::new() }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until that is shown, behind what was waited for before.
    fn expect(&mut self, text: &str) {
        self.expect_all(&[text]);
    }

    /// The same of several, in whatever order.
    fn expect_all(&mut self, texts: &[&str]) {
        loop {
            let ends: Option<Vec<_>> =
                texts.iter().map(|text| Some(self.shown.find(text)? + text.len())).collect();
            if let Some(ends) = ends {
                self.shown.drain(..ends.into_iter().max().unwrap());
                return;
            }
            let more = self.output.recv_timeout(Duration::from_secs(20));
            let more = more.unwrap_or_else(|_| panic!("no {texts:?} in {:?}", self.shown));
            self.shown.push_str(&String::from_utf8_lossy(&more));
        }
    }

    fn leave(mut self) {
        self.press("quit\r");
        assert!(self.child.wait().unwrap().success());
    }
}

/// What comes, until the other side is gone.
fn read_all(mut from: File) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

#[test]
fn messages_appear_above_the_line_being_typed() {
    let world = World::new();
    world.log_in("lineker");
    world.chat(&["send", "messi", "sebelum"], "");
    let mut terminal = Terminal::new(&world);
    terminal.expect("Connected to ");
    terminal.press("auth messi surabaya\r");
    terminal.expect("username messi logged in, token ");
    terminal.expect("1 unread message: lineker 1");
    terminal.expect("lineker (Gary <U+202E>Lineker): sebelum");
    terminal.press("send lineker apa ka");
    terminal.expect("apa ka");
    world.chat(&["send", "messi", "halo"], "");
    terminal.expect("lineker (Gary <U+202E>Lineker): halo");
    // The line is there again, and goes on.
    terminal.expect("send lineker apa ka");
    terminal.press("bar\r");
    terminal.expect("message sent to lineker");
    terminal.press("history lineker\r");
    terminal.expect(": sebelum");
    terminal.expect(": halo");
    terminal.expect(": apa kabar");
    assert!(world.chat(&["inbox"], "").out.ends_with(": apa kabar\n"));
    terminal.leave();
}

#[test]
fn what_was_seen_is_delivered() {
    let world = World::new();
    world.log_in("lineker");
    let mut terminal = Terminal::new(&world);
    terminal.press("auth messi surabaya\r");
    terminal.expect("username messi logged in");
    let sent = world.chat(&["send", "--json", "messi", "halo"], "").out;
    terminal.expect(": halo");
    let id = crate::world::json(&sent)["id"].as_str().unwrap().to_owned();
    // Receipts are for those one has written to.
    terminal.press("send lineker ya\r");
    terminal.expect("message sent");
    terminal.press("status\r");
    terminal.expect("stored ");
    while !world.chat(&["status", &id], "").out.starts_with("delivered") {}
    terminal.leave();
}

#[test]
fn a_connection_that_is_lost_is_made_again_in_sight() {
    let mut world = World::new();
    world.log_in("lineker");
    let mut terminal = Terminal::new(&world);
    terminal.press("auth messi surabaya\r");
    terminal.expect("username messi logged in");
    world.chat(&["send", "messi", "satu"], "");
    terminal.expect(": satu");
    terminal.press("send line");
    world.restart_server();
    // What the server said and what became of the connection are told by different tasks.
    let lost = ["(connection lost: ", "; reconnecting…)", "(connected again)"];
    terminal.expect_all(&[&["(the server is shutting down)"], &lost[..]].concat());
    terminal.press("ker dua\r");
    terminal.expect("message sent to lineker");
    world.chat(&["send", "messi", "tiga"], "");
    terminal.expect(": tiga");
    terminal.leave();
}

#[test]
fn a_login_ended_elsewhere_is_told() {
    let world = World::new();
    let mut terminal = Terminal::new(&world);
    terminal.press("auth messi surabaya\r");
    terminal.expect("username messi logged in");
    terminal.expect("Command ");
    // As if on another device: `passwd` ends all other sessions.
    world.chat(&[], "auth messi surabaya\npasswd surabaya jembatan-merah\n");
    terminal.expect("(your login has ended: password_changed)");
    terminal.press("\r");
    terminal.expect("Command : ");
    terminal.press("inbox\r");
    terminal.expect("Error, not authorized");
    terminal.leave();
}
