//! The real daemon on a disk that is full, and on one that cannot sync.

use chat_tests::client::{Kept, TextClient};
use chat_tests::daemon::{PASSWORD, Site};
use chat_tests::recorder::{Fault, Recorder};
use chat_tests::within;

#[tokio::test]
async fn a_full_disk_is_answered_as_unavailable_and_heals() {
    an_outage(Fault::Full).await;
}

#[tokio::test]
async fn a_full_disk_is_called_by_its_name() {
    let mut site = Site::new("");
    let recorder = Recorder::install(&mut site);
    site.import(["ana"]).await;
    let daemon = site.start().await;
    let (mut ana, token) = TextClient::login(daemon.address(), "ana", PASSWORD).await;
    recorder.fail(Fault::Full);
    let said = "the server's disk is full: no change is taken until there is room";
    for request in [format!("send {token} ana x"), format!("auth ana {PASSWORD}")] {
        let refused = ana.request(&request).await;
        assert_eq!((&refused["code"], &refused["message"]), (&"unavailable".into(), &said.into()));
    }
    let added = site.run(&["user", "add", "budi", "--password-stdin"], PASSWORD).await;
    assert_eq!(added.status.code(), Some(74));
    assert!(String::from_utf8(added.stderr).unwrap().contains(said));
    recorder.heal(Fault::Full);
    within("the store to heal", async {
        while ana.request(&format!("send {token} ana x")).await["status"] != "OK" {}
    })
    .await;
    let log = daemon.logged();
    let begins = log.find("the disk is full: changes are refused until there is room");
    assert!(begins.is_some() && begins < log.find("writes go through again"), "{log}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_failing_sync_is_never_acknowledged_and_the_store_reopens() {
    an_outage(Fault::Sync).await;
}

/// Sends before, during and after an outage; what was acknowledged is there, the rest at most once.
async fn an_outage(fault: Fault) {
    let mut site = Site::new("");
    let recorder = Recorder::install(&mut site);
    site.import(["ana", "budi"]).await;
    let mut daemon = site.start().await;
    let (mut ana, ana_token) = TextClient::login(daemon.address(), "ana", PASSWORD).await;
    let (mut budi, budi_token) = TextClient::login(daemon.address(), "budi", PASSWORD).await;
    ana.ok(&format!("send {ana_token} budi before")).await;

    recorder.fail(fault);
    for attempt in 0..20 {
        let code = ana.error(&format!("send {ana_token} budi during {attempt}")).await;
        assert_eq!(code, "unavailable");
        let login = budi.request(&format!("auth budi {PASSWORD}")).await;
        assert_eq!(login["code"], "unavailable");
        assert!(!login["message"].as_str().unwrap().contains("whether a change"), "{login}");
        check_read(&mut budi, &budi_token, fault).await;
    }
    recorder.heal(fault);
    within("the store to heal", async {
        while ana.request(&format!("send {ana_token} budi after")).await["status"] != "OK" {}
    })
    .await;
    assert!(daemon.is_running(), "it heals in process");
    judge(&budi.mailbox(&budi_token).await);

    daemon.kill().await;
    let daemon = site.start().await;
    let mut budi = TextClient::connect(daemon.address()).await;
    judge(&budi.mailbox(&budi_token).await);
    daemon.stop().await;
}

/// Nothing is shown that is not durable. With a full disk reads go on; while nothing can be synced the store cannot be
/// reopened, and may have nothing to read from.
async fn check_read(client: &mut TextClient, token: &str, fault: Fault) {
    let reply = client.request(&format!("peek {token}")).await;
    if fault == Fault::Sync && reply["status"] == "ERROR" {
        assert_eq!(reply["code"], "unavailable");
        return;
    }
    let messages = reply["messages"].as_array().expect("a page");
    let bodies: Vec<_> = messages.iter().map(|message| &message["body"]).collect();
    assert_eq!(bodies, ["before"]);
}

/// `before` first, each unacknowledged one at most once, one `after` acknowledged and last.
fn judge(kept: &[Kept]) {
    let bodies = bodies(kept);
    assert_eq!(bodies.first(), Some(&"before"));
    assert_eq!(bodies.last(), Some(&"after"));
    for body in &bodies {
        let times = bodies.iter().filter(|other| *other == body).count();
        assert!(times == 1 || *body == "after", "{body} is there {times} times");
    }
    let ids: Vec<u64> = kept.iter().map(|kept| kept.id).collect();
    assert!(ids.iter().copied().eq((1..).take(ids.len())), "{ids:?}");
}

fn bodies(kept: &[Kept]) -> Vec<&str> {
    kept.iter().map(|kept| kept.body.as_str()).collect()
}
