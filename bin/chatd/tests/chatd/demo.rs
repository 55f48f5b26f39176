//! `--demo`.

use crate::support::Home;

#[test]
fn is_ready_to_chat_in_one_command() {
    let home = Home::new();
    for _ in 0..2 {
        let daemon = home.serve(&["--demo"]);
        let told: Vec<_> = std::iter::from_fn(|| Some(daemon.line()))
            .take_while(|line| !line.contains("send TOKEN"))
            .collect();
        let told = told.join("\n");
        assert!(told.contains("everybody knows these passwords"), "{told}");
        assert!(told.contains(&format!("nc 127.0.0.1 {}", daemon.addresses[0].port())), "{told}");
        for account in ["messi surabaya", "henderson surabaya", "lineker surabaya", "arini hehe"] {
            assert!(daemon.ask(&format!("auth {account}")).contains("tokenid"), "{account}");
        }
        assert!(daemon.stop().contains("this is a demo"));
    }
    let accounts = home.run(&["--demo", "user", "list"]);
    for name in ["Lionel Messi", "Jordan Henderson", "Gary Lineker", "Arini"] {
        assert!(accounts.done().contains(name));
    }
}

#[test]
fn is_not_to_be_had_from_beyond_this_machine() {
    let home = Home::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        home.run(&["--demo", "--listen", address]).refused(64, "everybody knows its passwords");
        home.run(&["--demo", "--listen", "127.0.0.1:0", "--listen", address]).refused(64, "--demo");
    }
    assert!(!home.data().exists(), "it left something behind");
}

#[test]
fn keeps_apart_from_the_real_thing() {
    let home = Home::new();
    home.serve(&["--demo"]).stop();
    let demo = home.data().join("demo");
    assert!(demo.join("DEMO").exists());
    let demo = demo.to_str().unwrap();
    home.run(&["--data", demo]).refused(64, "was made by --demo");
    home.run(&["--data", demo, "user", "list"]).refused(64, "was made by --demo");
    home.serve(&["--demo", "--data", demo]).stop();

    home.serve(&[]).stop();
    let data = home.data();
    home.run(&["--demo", "--data", data.to_str().unwrap()]).refused(64, "was not made by --demo");
    assert!(!data.join("DEMO").exists());
}

#[test]
fn has_its_accounts_even_if_a_command_comes_first() {
    let home = Home::new();
    home.run_with(&["--demo", "user", "add", "fifth", "--password-stdin"], "surabaya\n").done();
    assert_eq!(home.run(&["--demo", "user", "list", "--json"]).done().lines().count(), 5);
}
