//! How many connections there may be, and who makes room.

use chat_server::ServerConfig;
use tokio::io::AsyncReadExt as _;
use tokio::time::{sleep, timeout};

use crate::support::{on_tcp, on_transports, seconds};

fn two_connections() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.connections = 2;
    config
}

#[tokio::test(start_paused = true)]
async fn the_longest_silent_peer_that_never_logged_in_makes_room() {
    let server = on_transports(two_connections()).await;
    let mut first = server.connect().await;
    first.ask("ping").await;
    sleep(seconds(10)).await;
    let mut second = server.connect().await;
    second.ask("ping").await;
    sleep(seconds(10)).await;
    first.ask("ping").await;
    let mut third = server.connect().await;
    third.ask("ping").await;
    second.end().await.unwrap();
    first.ask("ping").await;
}

#[tokio::test(start_paused = true)]
async fn who_logged_in_stays_and_the_next_one_waits() {
    let server = on_transports(two_connections()).await;
    let mut messi = server.connect().await;
    messi.login("messi").await;
    let token = server.token("lineker").await;
    let mut lineker = server.connect().await;
    lineker.ask(&format!("whoami {token}")).await;
    sleep(seconds(3600)).await;

    let mut waiting = server.connect().await;
    waiting.say("ping\r\n").await;
    assert!(timeout(seconds(3600), waiting.hear()).await.is_err());
    messi.ask("ping").await;
    drop(messi);
    waiting.hear().await;
    lineker.ask("ping").await;
}

#[tokio::test(start_paused = true)]
async fn who_makes_room_is_answered_first() {
    let server = on_transports(two_connections()).await;
    let mut stuck = server.connect_narrow(16).await;
    stuck.say("ping longer than the pipe\r\n").await;
    sleep(seconds(1)).await;
    let _other = server.connect().await;
    let mut third = server.connect().await;
    third.ask("ping").await;
    assert_eq!(stuck.hear().await["text"], "longer than the pipe");
    stuck.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_is_to_make_room_and_reads_too_slowly_is_cut_off() {
    let server = on_transports(two_connections()).await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut client = server.connect_narrow(16).await;
        client.say(format!("ping {}\r\n", "x".repeat(1_000))).await;
        slow.push(client);
    }
    let mut newcomer = server.connect().await;
    newcomer.say("ping\r\n").await;
    // They go on reading, a byte at a time, which no limit on stalling minds.
    let dawdling = async {
        loop {
            sleep(seconds(1)).await;
            for client in &mut slow {
                let _ = client.stream.read_u8().await;
            }
        }
    };
    tokio::select! {
        answer = timeout(seconds(4), newcomer.hear()) => drop(answer.unwrap()),
        () = dawdling => {}
    }
}

#[tokio::test]
async fn a_peer_that_makes_room_sees_a_reset() {
    let mut config = two_connections();
    config.connections = 1;
    let server = on_tcp(config).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    second.ask("ping").await;
    let end = first.end().await.unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn the_end_of_a_connection_frees_its_place() {
    let mut config = two_connections();
    config.connections = 1;
    let mut server = on_tcp(config).await;
    for _ in 0..50 {
        let mut client = server.connect().await;
        client.login("messi").await;
    }
    assert_eq!(server.stop().await.connections, 50);
}
