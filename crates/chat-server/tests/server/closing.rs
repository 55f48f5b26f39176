//! How connections end: by a reset, or by an end of stream for those that understand one.

use std::io::{self, ErrorKind};
use std::time::Duration;

use chat_server::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::support::{code, on_pipes, on_tcp, on_transports, seconds};

/// What an existing client does with a request: it receives pieces until one ends in an empty line, going round again
/// for ever when there is nothing to receive.
async fn existing_client(stream: &mut TcpStream, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut reply = String::new();
    loop {
        let mut piece = [0; 64];
        let length = stream.read(&mut piece).await?;
        reply.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        if reply.ends_with("\r\n\r\n") {
            return Ok(reply);
        }
        tokio::task::yield_now().await;
    }
}

async fn fails(client: &mut TcpStream, request: &str) -> ErrorKind {
    let asked = timeout(seconds(5), existing_client(client, request)).await;
    asked.expect("the client loops for ever").unwrap_err().kind()
}

#[tokio::test]
async fn an_idle_existing_client_fails_at_its_next_request_after_shutdown() {
    let mut server = on_tcp(ServerConfig::default()).await;
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    existing_client(&mut stream, "auth messi surabaya \r\n").await.unwrap();
    assert_eq!(server.stop().await.cut_off, 0);
    let error = fails(&mut stream, "list x \r\n").await;
    assert!(matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
}

#[tokio::test]
async fn an_existing_client_that_waits_for_a_reply_fails_at_shutdown() {
    let mut server = on_tcp(ServerConfig::default()).await;
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    existing_client(&mut stream, "ping \r\n").await.unwrap();
    // A request without its end is never answered.
    stream.write_all(b"list x").await.unwrap();
    let (error, _) = tokio::join!(fails(&mut stream, ""), server.stop());
    assert_eq!(error, ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_existing_client_fails_when_the_server_is_dropped() {
    let server = on_tcp(ServerConfig::default()).await;
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    existing_client(&mut stream, "ping \r\n").await.unwrap();
    let (error, ()) = tokio::join!(fails(&mut stream, ""), server.kill());
    assert_eq!(error, ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_existing_client_fails_when_its_line_is_too_long_or_unfinished() {
    let mut config = ServerConfig::default();
    config.line_timeout = seconds(1);
    config.linger = Duration::from_millis(100);
    let server = on_tcp(config).await;
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    let long = existing_client(&mut stream, &"x".repeat(100_000)).await.unwrap();
    assert!(long.contains("frame_too_long"));
    assert_eq!(fails(&mut stream, "").await, ErrorKind::ConnectionReset);
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    assert_eq!(fails(&mut stream, "list").await, ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn who_said_hello_gets_an_end_of_stream() {
    let mut server = on_tcp(ServerConfig::default()).await;
    let mut client = server.connect().await;
    client.ask("hello").await;
    let ((), served) = tokio::join!(
        async {
            client.end().await.unwrap();
            drop(client);
        },
        server.stop()
    );
    assert_eq!((served.connections, served.cut_off), (1, 0));
}

/// One request is served in a turn, and the rest of what was read is held.
fn one_by_one() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.turn_bytes = 1;
    config
}

#[tokio::test]
async fn requests_read_before_shutdown_are_answered() {
    let mut server = on_transports(one_by_one()).await;
    let mut client = server.connect().await;
    let token = server.token("messi").await;
    let requests = format!("send {token} lineker halo\r\nping\r\n").repeat(50);
    client.say(format!("ping\r\nauth lineker surabaya\r\n{requests}")).await;
    client.hear().await;
    server.stop.cancel();
    for _ in 0..101 {
        assert_eq!(code(&client.hear().await), "OK");
    }
    client.end().await.unwrap();
    assert_eq!(server.undelivered("lineker").await.len(), 50);
    assert_eq!(server.stop().await.cut_off, 0);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_cuts_off_who_does_not_read() {
    let mut server = on_pipes().await;
    let mut client = server.connect_narrow(16).await;
    client.say("ping longer than the pipe\r\n").await;
    client.stream.read_u8().await.unwrap();
    let begun = Instant::now();
    let served = server.stop().await;
    assert_eq!((served.connections, served.cut_off), (1, 1));
    assert_eq!(begun.elapsed(), seconds(10));
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() <= 16, "only what was in the pipe");
}

#[tokio::test]
async fn a_half_close_after_a_request_is_answered_and_ended_in_order() {
    let server = on_tcp(ServerConfig::default()).await;
    let mut client = server.connect().await;
    client.say("ping satu\r\nping dua\r\nping ti").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.hear().await["text"], "satu");
    assert_eq!(client.hear().await["text"], "dua");
    client.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_just_answered_is_kept_for_a_moment_one_long_silent_is_not() {
    for (silence, kept) in [(0, 200), (150, 50), (200, 0), (60_000, 0)] {
        let mut server = on_pipes().await;
        let mut client = server.connect().await;
        client.ask("ping").await;
        tokio::time::sleep(Duration::from_millis(silence)).await;
        let begun = Instant::now();
        let (end, _) = tokio::join!(client.end(), server.stop());
        end.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_millis(kept), "after {silence} ms");
    }
}

#[tokio::test]
async fn the_last_reply_reaches_a_peer_before_the_reset() {
    let mut server = on_tcp(ServerConfig::default()).await;
    let mut client = server.connect().await;
    let text = "x".repeat(60_000);
    client.say(format!("ping {text}\r\n")).await;
    client.stream.readable().await.unwrap();
    server.stop().await;
    assert_eq!(client.hear().await["text"], text);
    assert_eq!(client.end().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}
