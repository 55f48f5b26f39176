//! What all connections hold together has a limit, too.

use std::io;

use chat_server::ServerConfig;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::support::{Client, code, minutes, on_tcp, on_transports, seconds};

/// Room for some 90 of the longest lines, which may wait for long.
fn little_memory() -> ServerConfig {
    let mut config = ServerConfig::default();
    (config.line_timeout, config.write_timeout) = (minutes(60), minutes(60));
    config.buffer_bytes = 6_000_000;
    config
}

/// Reads the stream to its end, whatever comes before; whether the end was a reset.
async fn is_reset(client: &mut Client<TcpStream>) -> bool {
    let mut rest = Vec::new();
    match client.stream.read_to_end(&mut rest).await {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            true
        }
    }
}

#[tokio::test]
async fn the_oldest_unfinished_lines_of_strangers_go_and_everybody_else_stays() {
    let mut server = on_tcp(little_memory()).await;
    let mut messi = server.connect().await;
    let token = messi.login("messi").await;
    messi.say(format!("send {token} messi {}", "m".repeat(10_000))).await;
    let mut silent = server.connect().await;
    silent.ask("ping").await;

    // 18 MB of unfinished lines, each 60 KiB.
    let mut strangers = Vec::new();
    for _ in 0..300 {
        let mut stranger = server.connect().await;
        stranger.say(format!("ping {}", "x".repeat(60 * 1024))).await;
        strangers.push(stranger);
    }
    let newest = strangers.split_off(280);
    for stranger in strangers.iter_mut().take(150) {
        assert!(is_reset(stranger).await);
    }
    for mut stranger in newest {
        stranger.say("\r\n").await;
        assert_eq!(stranger.hear().await["text"].as_str().unwrap().len(), 60 * 1024);
    }
    silent.ask("ping").await;
    messi.say("\r\n").await;
    assert_eq!(code(&messi.hear().await), "OK");
    assert_eq!(messi.inbox(&token).await, ["m".repeat(10_000)]);
    drop((strangers, silent, messi));
    assert_eq!(server.stop().await.connections, 302);
}

#[tokio::test]
async fn who_said_hello_gets_an_orderly_end() {
    let server = on_tcp(little_memory()).await;
    let mut first = server.connect().await;
    first.ask("hello").await;
    first.say("x".repeat(60 * 1024)).await;
    let mut others = Vec::new();
    for _ in 0..120 {
        let mut other = server.connect().await;
        other.say("x".repeat(60 * 1024)).await;
        others.push(other);
    }
    first.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn users_lines_go_only_when_there_is_no_stranger() {
    let server = on_transports(little_memory()).await;
    let token = server.token("messi").await;
    let mut users = Vec::new();
    for _ in 0..100 {
        let mut user = server.connect().await;
        user.ask(&format!("whoami {token}")).await;
        users.push(user);
    }
    // From here on nothing waits for the store, which would let the time run.
    for user in &mut users {
        user.say("x".repeat(60 * 1024)).await;
    }
    let mut stranger = server.connect().await;
    stranger.say("x".repeat(60 * 1024)).await;
    let begun = Instant::now();
    users[0].end().await.unwrap();
    stranger.end().await.unwrap();
    assert!(begun.elapsed() < seconds(1), "{:?}", begun.elapsed());
    // Short ones are not minded.
    let mut stranger = server.connect().await;
    stranger.say("ping ").await;
    sleep(seconds(20)).await;
    stranger.say("halo\r\n").await;
    assert_eq!(stranger.hear().await["text"], "halo");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_goes_before_who_reads_slowly() {
    let server = on_transports(little_memory()).await;
    let request = format!("ping {}\r\n", "\u{e9}".repeat(30_000)).repeat(2);
    let mut slow = server.connect_narrow(200_000).await;
    slow.say(&request).await;
    let mut deaf = Vec::new();
    for _ in 0..60 {
        let mut client = server.connect_narrow(200_000).await;
        client.say(&request).await;
        deaf.push(client);
        slow.stream.read_u8().await.unwrap();
        sleep(seconds(1) / 10).await;
    }
    let mut heard = Vec::new();
    deaf[0].stream.read_to_end(&mut heard).await.unwrap();
    assert!(heard.len() < 2 * 180_000, "it was cut off after {}", heard.len());
    // The rest of the first reply, less the first bytes that were read one by one, and the second.
    let mut rest = vec![0; 2 * (180_000 + 32) - 60];
    slow.stream.read_exact(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"\"}\r\n\r\n"));
}

#[tokio::test]
async fn where_many_read_slowly_each_comes_to_hold_little() {
    let server = on_transports(little_memory()).await;
    let text = "x".repeat(1_000);
    server.write_to_messi(&[&*text; 4]).await;
    let token = server.token("messi").await;
    let mut slow = Vec::new();
    // All that one asks for is 250 kB beyond what its pipe holds, 25 MB together.
    for _ in 0..100 {
        let mut client = server.connect_narrow(10_000).await;
        client.ask(&format!("whoami {token}")).await;
        client.say(format!("peek {token} - 4\r\n").repeat(60)).await;
        // The first reply shows that the others wait to be written.
        client.hear().await;
        slow.push(client);
    }
    for client in &mut slow {
        for _ in 1..60 {
            assert_eq!(client.hear().await["messages"].as_array().unwrap().len(), 4);
        }
    }
}
