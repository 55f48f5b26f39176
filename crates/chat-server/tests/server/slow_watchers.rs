//! A watcher that does not read slows nobody down, costs little, and misses nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use chat_server::{Close, ServerConfig, Transport};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::deaf::Deaf;
use crate::support::{on_pipes, on_transports, seconds};

/// More than waits for a watcher, and less than a mailbox holds.
const MANY: usize = 4_000;

#[tokio::test]
async fn one_that_stops_reading_is_caught_up_from_the_store() {
    let server = on_pipes().await;
    let mut slow = server.connect_narrow(1024).await;
    let mut quick = server.connect().await;
    let token = slow.watch("messi").await;
    quick.watch("messi").await;
    // Nobody waits for the one that does not read.
    for batch in 0..MANY / 100 {
        let texts: Vec<_> = (0..100).map(|n| (batch * 100 + n).to_string()).collect();
        server.write_to_messi(&texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(quick.pushed(100).await, texts);
    }
    // It gets all of it, in order; once it is told that it lags, and then that it does not any more.
    let (mut events, mut told) = (Vec::new(), Vec::new());
    while events.len() < MANY || told.len() < 2 {
        let event = slow.hear().await;
        match event["event"].as_str().unwrap() {
            "message" => events.push(event["id"].as_str().unwrap().to_owned()),
            name => told.push(name.to_owned()),
        }
    }
    let dense: Vec<_> = (1..=MANY).map(|id| id.to_string()).collect();
    assert_eq!(events, dense);
    assert_eq!(told, ["lagging", "live"]);
    server.write_to_messi(&["akhir"]).await;
    assert_eq!(slow.pushed(1).await, ["akhir"]);
    assert_eq!(slow.ask_code(&format!("ack {token} {MANY}")).await, "OK");
}

#[tokio::test(start_paused = true)]
async fn one_that_never_reads_is_dropped_after_30_seconds() {
    let server = on_pipes().await;
    let mut messi = server.connect_narrow(64).await;
    messi.watch("messi").await;
    server.write_to_messi(&["longer than the pipe, with what is around it"]).await;
    messi.stream.read_u8().await.unwrap();
    let begun = Instant::now();
    // What the pipe does not hold any more shows that it was let go of.
    let mut rest = Vec::new();
    sleep(seconds(31)).await;
    messi.stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() <= 65, "{}", rest.len());
    assert_eq!(begun.elapsed(), seconds(31));
    assert_eq!(server.undelivered("messi").await.len(), 1);
}

#[tokio::test]
async fn a_line_has_to_be_finished_though_events_flow() {
    let mut config = ServerConfig::default();
    config.line_timeout = seconds(1);
    let server = on_transports(config).await;
    let mut messi = server.connect().await;
    messi.ask("hello").await;
    messi.watch("messi").await;
    messi.say("pin").await;
    let flowing = async {
        loop {
            server.write_to_messi(&["x"]).await;
            if messi.hear_or_end().await.is_none() {
                return;
            }
        }
    };
    timeout(seconds(20), flowing).await.unwrap();
}

/// A peer that watches, and says something again whenever it is listened to.
#[derive(Debug)]
struct Talker {
    begin: Option<Vec<u8>>,
    events: usize,
    replies: usize,
    /// Told of both once all events came.
    done: Option<oneshot::Sender<(usize, usize)>>,
}

impl AsyncRead for Talker {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let said = self.begin.take().unwrap_or_else(|| b"ping\r\n".repeat(10));
        buffer.put_slice(&said);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Talker {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // As a socket would, lets others have their turn now and then.
        let Poll::Ready(turn) = tokio::task::coop::poll_proceed(cx) else {
            return Poll::Pending;
        };
        turn.made_progress();
        let text = std::str::from_utf8(bytes).unwrap();
        self.events += text.matches(r#"{"event": "message""#).count();
        self.replies += text.matches(r#"{"status": "OK""#).count();
        if self.events == MANY
            && let Some(done) = self.done.take()
        {
            done.send((self.events, self.replies)).unwrap();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Transport for Talker {
    async fn close(&mut self, _: Close) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_requests_nor_events_starve_the_other() {
    let server = on_transports(ServerConfig::default()).await;
    let texts: Vec<_> = (0..MANY).map(|n| n.to_string()).collect();
    for batch in texts.chunks(500) {
        server.write_to_messi(&batch.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    let token = server.token("messi").await;
    let (done, heard) = oneshot::channel();
    let begin = Some(format!("watch {token}\r\n").into_bytes());
    server.attach(Talker { begin, events: 0, replies: 0, done: Some(done) }).await;
    let (_, replies) = timeout(seconds(20), heard).await.expect("no more events").unwrap();
    assert!(replies > 10, "{replies}");
}

#[tokio::test]
async fn what_is_held_for_one_that_never_reads_is_bounded() {
    let server = on_transports(ServerConfig::default()).await;
    let text = "\u{1F600}".repeat(1_000);
    for _ in 0..8 {
        server.write_to_messi(&[&*text; 100]).await;
    }
    let token = server.token("messi").await;
    // It takes the reply.
    let (deaf, seen) = Deaf::new(format!("watch {token}\r\n"), 1, 1);
    server.attach(deaf).await;
    let (_, offered) = seen.stuck().await;
    // 800 messages of 12,000 bytes each when encoded: one that it waited for, and those that reach the bound.
    assert!(offered <= 256 * 1024 + 2 * 13_000, "{offered}");
    for _ in 0..8 {
        server.write_to_messi(&[&*text; 100]).await;
    }
}
