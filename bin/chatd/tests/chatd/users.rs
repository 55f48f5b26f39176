//! `chatd user`, with and without a daemon: the same either way.

use std::os::unix::fs::chown;

use crate::support::{Ended, Home, is_root};

/// Does the same without a daemon and beside one; what is printed must not differ.
fn both_ways(scenario: impl Fn(&Home) -> Vec<Ended>) -> Vec<Ended> {
    let offline = scenario(&Home::new());
    let home = Home::new();
    let daemon = home.serve(&[]);
    let online = scenario(&home);
    daemon.stop();
    assert_eq!(offline, online);
    online
}

fn add(home: &Home, user: &str) -> Ended {
    home.run_with(&["user", "add", user, "--password-stdin"], "surabaya\n")
}

#[test]
fn the_life_of_an_account() {
    let steps = both_ways(|home| {
        vec![
            home.run_with(
                &["user", "add", "messi", "--name", "Lionel Messi", "--password-stdin"],
                "surabaya\n",
            ),
            home.run_with(&["user", "passwd", "messi", "--password-stdin"], "barcelona\n"),
            home.run(&["user", "rename", "messi", "--username", "leo", "--name", "Leo Messi"]),
            home.run(&["user", "remove", "leo", "--yes"]),
            home.run(&["user", "remove", "leo", "--yes"]),
            add(home, "leo"),
            home.run(&["user", "release", "leo"]),
            add(home, "leo"),
        ]
    });
    assert_eq!(steps[0].done(), "added messi\n");
    assert_eq!(steps[1].done(), "messi has a new password; sessions ended: 0\n");
    assert_eq!(steps[2].done(), "renamed messi to leo\n");
    assert!(steps[3].done().starts_with("removed leo; undelivered messages deleted: 0;"));
    steps[4].refused(67, "removed already");
    steps[5].refused(65, "`chatd user release leo` frees it");
    assert_eq!(steps[6].done(), "leo can be taken again\n");
    assert_eq!(steps[7].done(), "added leo\n");
}

#[test]
fn refusals() {
    let steps = both_ways(|home| {
        add(home, "messi").done();
        vec![
            add(home, "MESSI"),
            add(home, "two words"),
            home.run_with(&["user", "add", "short", "--password-stdin"], "hehe\n"),
            home.run_with(&["user", "add", "empty", "--password-stdin"], "\n"),
            home.run_with(&["user", "add", "x", "--name", " ", "--password-stdin"], "surabaya\n"),
            home.run_with(&["user", "passwd", "nobody", "--password-stdin"], "surabaya\n"),
            home.run(&["user", "rename", "nobody", "--name", "N"]),
            home.run(&["user", "remove", "nobody", "--yes"]),
            home.run(&["user", "remove", "messi"]),
            home.run(&["user", "release", "messi"]),
        ]
    });
    steps[0].refused(65, "MESSI: the username is taken");
    steps[1].refused(65, "letters, digits");
    steps[2].refused(65, "at least 8 bytes");
    steps[3].refused(65, "no password");
    steps[4].refused(65, "full name");
    for step in &steps[5..8] {
        step.refused(67, "nobody: no such user");
    }
    steps[8].refused(64, "with 0 undelivered messages");
    steps[8].refused(64, "--yes");
    steps[9].refused(65, "only the username of a removed one");
}

#[test]
fn a_password_is_never_an_argument() {
    Home::new().run(&["user", "add", "messi", "surabaya"]).refused(64, "unexpected argument");
}

#[test]
fn without_terminal_or_stdin_it_says_what_to_do() {
    let home = Home::new();
    // In a session of its own there is no terminal to ask on.
    let program = home.command(&["user", "add", "messi"]);
    let mut setsid = std::process::Command::new("setsid");
    setsid.arg("-w").arg(program.get_program()).args(program.get_args());
    setsid.env("HOME", home.path());
    crate::support::end(&mut setsid, "").refused(64, "--password-stdin");
    // Who has no account is not asked about.
    add(&home, "lineker").done();
    let program = home.command(&["user", "passwd", "messi"]);
    let mut setsid = std::process::Command::new("setsid");
    setsid.arg("-w").arg(program.get_program()).args(program.get_args());
    setsid.env("HOME", home.path());
    crate::support::end(&mut setsid, "").refused(67, "messi: no such user");
}

#[test]
fn a_list_for_people_and_one_for_programs() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    assert!(home.run(&["user", "list"]).done().starts_with("no accounts"));
    add(&home, "messi").done();
    add(&home, "lineker").done();
    let reply = daemon.ask("auth messi surabaya");
    let reply: serde_json::Value = serde_json::from_str(&reply).unwrap();
    let token = reply["tokenid"].as_str().unwrap();
    assert!(daemon.ask(&format!("send {token} lineker halo")).contains("OK"));
    let rows: Vec<serde_json::Value> = home
        .run(&["user", "list", "--json"])
        .done()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows[0]["username"], "lineker");
    assert_eq!(rows[0]["undelivered"], 1);
    assert_eq!(rows[1]["sessions"], 1);
    assert!(home.run(&["user", "list"]).done().starts_with("USERNAME"));
    // How much goes with an account is said before.
    home.run(&["user", "remove", "lineker"]).refused(64, "with 1 undelivered messages");
    let removed = home.run(&["user", "remove", "lineker", "--yes"]);
    assert!(removed.done().contains("undelivered messages deleted: 1"));
    assert!(home.run(&["user", "list"]).done().contains("(removed "));
}

#[test]
fn more_accounts_than_a_page() {
    let home = Home::new();
    let phc = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA\
               $Ja5BvDmDiy0uyhpwZBhCsFQVmOBm0bGzCWLDXCsb4gA";
    let rows: String = (0..2_345).map(|n| format!("user{n},\"{phc}\"\n")).collect();
    home.run_with(&["user", "import", "-"], &format!("username,phc\n{rows}")).done();
    assert_eq!(home.run(&["user", "list", "--json"]).done().lines().count(), 2_345);
}

#[test]
fn a_password_changed_beside_the_daemon_counts_at_once() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    add(&home, "messi").done();
    assert!(daemon.ask("auth messi surabaya").contains("tokenid"));
    let changed = home.run_with(&["user", "passwd", "messi", "--password-stdin"], "barcelona\n");
    assert_eq!(changed.done(), "messi has a new password; sessions ended: 1\n");
    assert!(daemon.ask("auth messi surabaya").contains("bad_password"));
    assert!(daemon.ask("auth messi barcelona").contains("tokenid"));
}

#[test]
fn a_wrong_data_directory_is_not_made_by_looking() {
    let home = Home::new();
    for arguments in [&["user", "list"][..], &["user", "remove", "x", "--yes"]] {
        home.run(arguments).refused(66, "there is no data directory");
    }
    assert!(!home.data().exists());
}

#[test]
fn a_directory_without_a_store_gets_none_by_looking() {
    let home = Home::new();
    home.serve(&["--demo"]).stop();
    for arguments in [
        &["user", "list"][..],
        &["user", "passwd", "messi", "--password-stdin"],
        &["user", "rename", "messi", "--name", "M"],
        &["user", "remove", "messi", "--yes"],
        &["user", "release", "messi"],
    ] {
        home.run_with(arguments, "surabaya\n").refused(66, "there is no store in");
    }
    let inside: Vec<_> =
        std::fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(inside, ["demo"]);
    add(&home, "messi").done();
    home.run(&["user", "list"]).done();
}

#[test]
fn root_does_not_take_the_files_of_another_user_over() {
    if !is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let home = Home::new();
    add(&home, "messi").done();
    for entry in std::fs::read_dir(home.data()).unwrap() {
        chown(entry.unwrap().path(), Some(65_534), None).unwrap();
    }
    add(&home, "lineker").refused(77, "start the daemon first");
}
