//! Every wait has a limit, and what a connection holds has one too.

use std::io;

use chat_server::ServerConfig;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, sleep, timeout};

use crate::deaf::Deaf;
use crate::support::{minutes, on_pipes, on_tcp, on_transports, seconds};

#[tokio::test(start_paused = true)]
async fn there_is_no_limit_before_the_first_request_nor_between_requests() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    sleep(minutes(60 * 24 * 7)).await;
    client.ask("ping").await;
    sleep(minutes(60 * 24 * 7)).await;
    client.ask("ping").await;
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_line_has_30_seconds_from_its_first_byte() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    client.ask("ping").await;
    sleep(seconds(100)).await;
    let begun = Instant::now();
    for byte in "pin".bytes() {
        client.say([byte]).await;
        sleep(seconds(9)).await;
    }
    client.end().await.unwrap();
    assert_eq!(begun.elapsed(), seconds(30));
}

#[tokio::test(start_paused = true)]
async fn an_empty_line_in_two_pieces_is_no_unfinished_line() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    for piece in ["ping\r\n\r", "\n"] {
        client.say(piece).await;
        sleep(seconds(1)).await;
    }
    client.hear().await;
    sleep(minutes(60)).await;
    client.ask("ping").await;
}

#[tokio::test(start_paused = true)]
async fn each_line_has_its_own_30_seconds() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    client.say("pi").await;
    for _ in 0..10 {
        sleep(seconds(20)).await;
        // The end of one line and the beginning of the next.
        client.say("ng\r\npi").await;
        client.hear().await;
    }
    let begun = Instant::now();
    client.end().await.unwrap();
    assert_eq!(begun.elapsed(), seconds(30));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_dropped_after_30_seconds() {
    let server = on_pipes().await;
    let mut client = server.connect_narrow(64).await;
    let begun = Instant::now();
    client
        .say("ping does not fit in the pipe along with what is around it, so that it waits\r\n")
        .await;
    // The pipe is full both ways until the server lets go of it.
    let mut rest = "ping\r\n".repeat(100);
    rest.push('\n');
    let written = tokio::io::AsyncWriteExt::write_all(&mut client.stream, rest.as_bytes()).await;
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(begun.elapsed(), seconds(30));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_gets_everything() {
    let server = on_pipes().await;
    let mut client = server.connect_narrow(64).await;
    let text = "x".repeat(1000);
    let begun = Instant::now();
    let (mut read, mut write) = tokio::io::split(client.stream);
    let request = format!("ping {text}\r\n");
    let reading = async {
        let mut reply = [0; 64];
        let mut heard = 0;
        while heard < 1000 {
            sleep(seconds(29)).await;
            heard += read.read(&mut reply).await.unwrap();
        }
    };
    let writing = tokio::io::AsyncWriteExt::write_all(&mut write, request.as_bytes());
    let ((), written) = tokio::join!(reading, writing);
    written.unwrap();
    assert!(begun.elapsed() > minutes(5));
    client = server.connect_narrow(64).await;
    client.ask("ping").await;
}

/// What a connection holds for a peer that sends ten thousand of these and reads nothing: (input, output) in bytes.
async fn held_for(request: impl FnOnce(&str) -> String) -> (usize, usize) {
    let server = on_transports(ServerConfig::default()).await;
    let text = "\u{1F600}".repeat(100);
    for _ in 0..10 {
        server.write_to_messi(&[&*text; 250]).await;
    }
    let token = server.token("messi").await;
    let (deaf, seen) = Deaf::new(request(&token), 10_000, 0);
    server.attach(deaf).await;
    seen.stuck().await
}

#[tokio::test]
async fn ten_thousand_inbox_of_a_peer_that_never_reads_hold_little() {
    let (input, output) = held_for(|token| format!("inbox {token}\r\n")).await;
    assert!(input <= 16 * 1024, "{input}");
    assert!((256 * 1024..=(256 + 64) * 1024).contains(&output), "{output}");
}

#[tokio::test]
async fn so_do_the_large_pages_after_hello() {
    let (input, output) = held_for(|token| format!("hello\r\npeek {token}\r\n")).await;
    assert!(input <= 16 * 1024, "{input}");
    assert!(output <= (256 + 1024) * 1024, "{output}");
}

#[tokio::test]
async fn and_replies_to_sends() {
    let (input, output) = held_for(|token| format!("send {token} g h\r\n")).await;
    assert!(input <= 64 * 1024, "{input}");
    assert!(output <= 64 * 1024, "{output}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_waits_costs_no_timer() {
    let server = on_pipes().await;
    let mut client = server.connect().await;
    client.ask("ping").await;
    // Nothing of the server's is due, so paused time runs straight to this.
    assert!(timeout(minutes(1), client.end()).await.is_err());
}

/// A socket calls itself writable only once a third of what it holds is gone. Until then a peer that reads little by little
/// looks like one that does not read.
#[tokio::test]
async fn a_peer_that_reads_slowly_over_tcp_gets_everything() {
    let mut config = ServerConfig::default();
    config.write_timeout = seconds(1);
    let server = on_tcp(config).await;
    let text = "x".repeat(16 * 1024);
    server.write_to_messi(&[&*text; 64]).await;
    let mut client = server.connect().await;
    let token = server.token("messi").await;
    client.say(format!("hello\r\n{}", format!("peek {token}\r\n").repeat(20))).await;

    let mut heard = 0;
    let mut piece = vec![0; 16 * 1024];
    let begun = Instant::now();
    // Longer than the limit; how long the socket's buffer keeps the server waiting only real time shows.
    while begun.elapsed() < seconds(2) {
        heard += client.stream.read(&mut piece).await.unwrap();
        sleep(seconds(1) / 20).await;
    }
    while heard < 20 * 1_000_000 {
        heard += client.stream.read(&mut piece).await.unwrap();
    }
}
