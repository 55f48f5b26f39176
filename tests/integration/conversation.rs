//! Accounts and a conversation through raw sockets, as with `nc`.

use chat_tests::client::{Closing, TextClient};
use chat_tests::daemon::{Daemon, PASSWORD, Site};

async fn site() -> (Site, Daemon) {
    let site = Site::new("");
    site.import(["ana", "budi"]).await;
    let daemon = site.start().await;
    (site, daemon)
}

#[tokio::test]
async fn two_people_chat_and_a_restart_forgets_nothing() {
    let (site, daemon) = site().await;
    let (mut ana, ana_token) = TextClient::login(daemon.address(), "ana", PASSWORD).await;
    let (_budi, budi_token) = TextClient::login(daemon.address(), "budi", PASSWORD).await;
    ana.ok(&format!("send {ana_token} budi halo budi")).await;
    ana.ok(&format!("send {ana_token} BUDI apa kabar?")).await;
    daemon.stop().await;

    let daemon = site.start().await;
    let mut budi = TextClient::connect(daemon.address()).await;
    let inbox = budi.ok(&format!("inbox {budi_token}")).await;
    let from_ana = inbox["messages"]["ana"].as_array().unwrap();
    let texts: Vec<_> = from_ana.iter().map(|message| &message["msg"]).collect();
    assert_eq!(texts, ["halo budi", "apa kabar?"]);
    assert_eq!(from_ana[0]["msg_from"], "Name of ana");
    assert_eq!(from_ana[0]["msg_to"], "Name of budi");
    let empty = budi.ok(&format!("inbox {budi_token}")).await;
    assert_eq!(empty["messages"], serde_json::json!({}));
    budi.ok(&format!("logout {budi_token}")).await;
    assert_eq!(budi.error(&format!("inbox {budi_token}")).await, "no_session");
    daemon.stop().await;
}

#[tokio::test]
async fn a_half_close_after_a_request_gets_the_answer() {
    let (_site, daemon) = site().await;
    for end in ["\n", "\r\n", "\r\n\r\n", " \r\n"] {
        let mut client = TextClient::connect(daemon.address()).await;
        client.send(format!("auth ana {PASSWORD}{end}").as_bytes()).await.unwrap();
        client.half_close().await;
        let reply = String::from_utf8(client.receive().await.unwrap()).unwrap();
        assert!(reply.starts_with("{\"status\": \"OK\", \"tokenid\": "), "{reply}");
        assert_eq!(client.closing().await, Closing::End);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte_and_many_at_once() {
    let (_site, daemon) = site().await;
    let (mut ana, token) = TextClient::login(daemon.address(), "ana", PASSWORD).await;
    for byte in format!("send {token} budi satu\r\n").as_bytes() {
        ana.send(std::slice::from_ref(byte)).await.unwrap();
    }
    ana.receive().await.unwrap();
    let requests: String = (0..2_000).map(|n| format!("send {token} budi pesan {n}\n")).collect();
    ana.send(requests.as_bytes()).await.unwrap();
    for _ in 0..2_000 {
        assert!(ana.receive().await.unwrap().starts_with(b"{\"status\": \"OK\""));
    }
    let (mut budi, token) = TextClient::login(daemon.address(), "budi", PASSWORD).await;
    let kept = budi.mailbox(&token).await;
    let bodies = kept.iter().map(|kept| kept.body.clone());
    let expected =
        std::iter::once("satu".to_owned()).chain((0..2_000).map(|n| format!("pesan {n}")));
    assert!(bodies.eq(expected));
    daemon.stop().await;
}

#[tokio::test]
async fn accounts_come_and_go_while_the_daemon_runs() {
    let (site, daemon) = site().await;
    site.import(["cita"]).await;
    let (mut cita, token) = TextClient::login(daemon.address(), "cita", PASSWORD).await;
    cita.ok(&format!("send {token} ana halo")).await;
    let removed = site.run(&["user", "remove", "cita", "--yes"], "").await;
    assert!(removed.status.success(), "{removed:?}");
    assert_eq!(cita.error(&format!("send {token} ana halo")).await, "no_session");
    assert_eq!(cita.error(&format!("auth cita {PASSWORD}")).await, "no_such_user");
    let again = site.run(&["user", "add", "cita", "--password-stdin"], "another-password\n").await;
    assert!(!again.status.success(), "the name stays reserved: {again:?}");
    daemon.stop().await;
}
