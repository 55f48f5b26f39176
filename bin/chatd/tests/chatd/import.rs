//! `chatd user import`: all or nothing.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use chat_core::account::{Hasher, PasswordParams};

use crate::support::Home;

fn count(home: &Home) -> usize {
    home.run(&["user", "list", "--json"]).done().lines().count()
}

#[test]
fn accounts_from_a_file_can_log_in() {
    let home = Home::new();
    let csv =
        home.write("a.csv", "username,name,password\nmessi,Lionel Messi,surabaya\nb,,surabaya\n");
    let imported = home.run(&["user", "import", csv.to_str().unwrap()]);
    assert_eq!(imported.done(), "imported 2 accounts\n");
    // stderr is no terminal, so how far it has come is said in lines.
    assert!(imported.stderr.contains("hashing: 2 of 2"), "{imported:?}");
    let daemon = home.serve(&[]);
    let json = "{\"username\":\"lineker\",\"name\":\"Gary Lineker\",\"password\":\"surabaya\"}\n";
    assert_eq!(home.run_with(&["user", "import", "-"], json).done(), "imported 1 account\n");
    for user in ["messi", "b", "lineker"] {
        assert!(daemon.ask(&format!("auth {user} surabaya")).contains("tokenid"), "{user}");
    }
    assert!(home.run(&["user", "list"]).done().contains("Gary Lineker"));
}

#[test]
fn ready_hashes_are_taken_as_they_are() {
    let home = Home::new();
    let phc = phc_of_surabaya();
    home.run_with(&["user", "import", "-"], &format!("username,phc\nmessi,\"{phc}\"\n")).done();
    let daemon = home.serve(&[]);
    assert!(daemon.ask("auth messi surabaya").contains("tokenid"));
    assert!(daemon.ask("auth messi barcelona").contains("bad_password"));
}

#[test]
fn bad_lines_are_all_named_and_nothing_is_imported() {
    let home = Home::new();
    home.run_with(&["user", "add", "here", "--password-stdin"], "surabaya\n").done();
    let csv = home.write(
        "a.csv",
        "username,password\ngood,surabaya\nbad one,surabaya\nx,short\ngood,surabaya\n",
    );
    let path = csv.to_str().unwrap();
    for online in [false, true] {
        let daemon = online.then(|| home.serve(&[]));
        let ended = home.run(&["user", "import", path]);
        ended.refused(65, "nothing was imported");
        for line in [3, 4, 5] {
            ended.refused(65, &format!("{path}:{line}: "));
        }
        assert!(!ended.stderr.contains(":2: "), "{ended:?}");
        assert_eq!(count(&home), 1);
        drop(daemon);
    }
}

#[test]
fn a_taken_username_is_named_and_nothing_is_imported() {
    let home = Home::new();
    home.run_with(&["user", "add", "Taken", "--password-stdin"], "surabaya\n").done();
    home.run_with(&["user", "add", "gone", "--password-stdin"], "surabaya\n").done();
    home.run(&["user", "remove", "gone", "--yes"]).done();
    let text = "username,password\nnew,surabaya\ntaken,surabaya\ngone,surabaya\n";
    let ended = home.run_with(&["user", "import", "-"], text);
    ended.refused(65, "-:3: the username Taken is taken");
    ended.refused(65, "-:4: the username gone is taken");
    assert_eq!(count(&home), 2);
}

#[test]
fn many_bad_lines_are_counted() {
    let home = Home::new();
    let rows = "x y,surabaya\n".repeat(30);
    let ended = home.run_with(&["user", "import", "-"], &format!("username,password\n{rows}"));
    ended.refused(65, "and 10 more bad lines");
    assert_eq!(ended.stderr.matches("-:").count(), 20, "{ended:?}");
}

#[test]
fn a_file_without_accounts() {
    let home = Home::new();
    home.run_with(&["user", "import", "-"], "").refused(65, "-:1: the file is empty");
    home.run_with(&["user", "import", "-"], "username,password\n").refused(65, "no accounts in -");
    assert!(!home.data().exists());
}

#[test]
fn a_file_that_is_not_there() {
    Home::new().run(&["user", "import", "/nowhere.csv"]).refused(66, "cannot read /nowhere.csv");
}

#[test]
fn an_import_whose_connection_breaks_leaves_nothing() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let phc = phc_of_surabaya();
    let staged = format!(
        "{{\"request\":\"stage_import\",\"accounts\":[{{\"username\":\"half\",\"name\":\"H\",\"phc\":\"{phc}\"}}]}}"
    );
    let stream = UnixStream::connect(home.data().join("control.sock")).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().contains("\"control\":1"));
    writeln!(&stream, "{{\"request\":\"begin_import\"}}").unwrap();
    assert_eq!(next(), r#"{"Ok":{"answer":"done"}}"#);
    writeln!(&stream, "{staged}").unwrap();
    assert_eq!(next(), r#"{"Ok":{"answer":"staged","taken":[]}}"#);
    assert!(daemon.ask("auth half surabaya").contains("no_such_user"));
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    // The name is free again for whoever comes next, once the daemon has seen the end.
    let text = format!("username,phc\nhalf,\"{phc}\"\n");
    while home.run_with(&["user", "import", "-"], &text).code != Some(0) {}
    assert_eq!(count(&home), 1);
    daemon.stop();
}

/// Cheaper than any this program makes.
fn phc_of_surabaya() -> String {
    let mut cost = PasswordParams::default();
    (cost.memory_kib, cost.passes) = (8, 1);
    Hasher::hash_blocking(cost, "surabaya").unwrap().as_str().to_owned()
}
