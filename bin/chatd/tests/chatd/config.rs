//! The config file: refused before anything is bound, with the place.

use crate::support::{Daemon, Home};

/// Serves with that config file.
fn with(home: &Home, text: impl AsRef<[u8]>) -> crate::support::Ended {
    let file = home.write("chatd.toml", text);
    let ended = home.run(&["--config", file.to_str().unwrap()]);
    assert!(!home.data().exists(), "it left something behind");
    ended
}

#[test]
fn a_corrupt_config_is_refused_with_its_place() {
    let home = Home::new();
    for (text, place, reason) in [
        ("listn = []\n", "chatd.toml:1:1", "unknown field `listn`"),
        ("\n[log]\nlevel = 5\n", "chatd.toml:3:9", "expected a string"),
        ("[connections]\nmax = -1\n", "chatd.toml:2:7", "at least 1"),
        ("[connections]\nmax = \"many\"\n", "chatd.toml:2:7", "invalid type: string \"many\""),
        ("listen = [\n", "chatd.toml:1:11", "unclosed array"),
        ("[messages]\nmax_size = \"1 MiB\"\n", "chatd.toml", "connections.max_frame"),
        ("[connections]\nbuffers = \"4 MiB\"\n", "chatd.toml", "at least 5505024"),
        ("[passwords]\npasses = 4000000\n", "chatd.toml", "[passwords]"),
    ] {
        let ended = with(&home, text);
        ended.refused(64, place);
        ended.refused(64, reason);
        ended.refused(64, "chatd config show");
    }
    with(&home, b"\xff\xfe").refused(64, "not UTF-8");
}

#[test]
fn a_config_that_is_not_there() {
    let home = Home::new();
    home.run(&["--config", "/nowhere/chatd.toml"]).refused(66, "cannot read the config file");
    home.run(&["config", "check", "/nowhere/chatd.toml"]).refused(66, "/nowhere/chatd.toml");
}

#[test]
fn check_says_whether_a_file_will_do() {
    let home = Home::new();
    let good = home.write("good.toml", "[log]\nlevel = \"debug\"\n");
    assert!(home.run(&["config", "check", good.to_str().unwrap()]).done().ends_with(": ok\n"));
    let bad = home.write("bad.toml", "[log]\nlvl = 1\n");
    home.run(&["config", "check", bad.to_str().unwrap()]).refused(64, "bad.toml:2:1");
    home.run(&["--config", bad.to_str().unwrap(), "config", "check"]).refused(64, "bad.toml:2:1");
}

#[test]
fn what_show_prints_can_be_fed_back() {
    let home = Home::new();
    let arguments = ["--listen", "127.0.0.1:0", "config", "show", "--log", "warn"];
    let shown = home.run(&arguments).done().to_owned();
    assert!(shown.contains("listen = [\"127.0.0.1:0\"]"), "{shown}");
    assert!(shown.contains(&format!("data = \"{}\"", home.data().display())), "{shown}");
    let file = home.write("shown.toml", &shown);
    let again = home.run(&["config", "show", "--config", file.to_str().unwrap()]);
    assert_eq!(again.done(), shown);
}

#[test]
fn the_conventional_file_and_the_environment_are_read() {
    let home = Home::new();
    let directory = home.path().join(".config/chatd");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("chatd.toml"), "data = \"here\"\nlisten = [\"127.0.0.1:1\"]")
        .unwrap();
    let mut command = home.command(&[]);
    command.env_remove("CHATD_CONFIG").env("CHATD_LISTEN", "127.0.0.1:0").current_dir(home.path());
    let daemon = Daemon::start(&mut command, 1);
    let here = home.path().canonicalize().unwrap().join("here");
    assert!(daemon.heading[0].ends_with(here.to_str().unwrap()), "{:?}", daemon.heading);
}
