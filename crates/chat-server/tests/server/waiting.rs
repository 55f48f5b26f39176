//! Every wait has a limit, and what a connection holds has one too.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use chat_server::{Close, ServerConfig, Transport};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

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

/// A peer that sends the same request again and again, as fast as it is read, and reads nothing.
#[derive(Debug)]
struct Glutton {
    request: Vec<u8>,
    left: usize,
    /// What was read of the request that is left now.
    position: usize,
    taken: Arc<AtomicUsize>,
    offered: Arc<AtomicUsize>,
    offer: Arc<Notify>,
}

impl AsyncRead for Glutton {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left > 0 && buffer.remaining() > 0 {
            let rest = &self.request[self.position..];
            let piece = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..piece]);
            self.taken.fetch_add(piece, Ordering::Relaxed);
            self.position += piece;
            if self.position == self.request.len() {
                (self.position, self.left) = (0, self.left - 1);
            }
        }
        if buffer.filled().is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncWrite for Glutton {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.offered.fetch_max(bytes.len(), Ordering::Relaxed);
        self.offer.notify_one();
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Transport for Glutton {
    async fn close(&mut self, _: Close) -> io::Result<()> {
        Ok(())
    }
}

/// What a connection holds for a peer that sends ten thousand of these and reads nothing: (input, output) in bytes.
async fn held_for(request: impl FnOnce(&str) -> String) -> (usize, usize) {
    let server = on_transports(ServerConfig::default()).await;
    let text = "\u{1F600}".repeat(100);
    for _ in 0..10 {
        server.write_to_messi(&[&*text; 250]).await;
    }
    let token = server.token("messi").await;
    let (taken, offered, offer) = (Arc::default(), Arc::default(), Arc::new(Notify::new()));
    let glutton = Glutton {
        request: request(&token).into_bytes(),
        left: 10_000,
        position: 0,
        taken: Arc::clone(&taken),
        offered: Arc::clone(&offered),
        offer: Arc::clone(&offer),
    };
    server.attach(glutton).await;
    offer.notified().await;
    (taken.load(Ordering::Relaxed), offered.load(Ordering::Relaxed))
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
