//! The least that a server of this protocol must do, to hold real servers against.
//!
//! `echo` answers every line with the reply to `send`. `durable` does the same once the line is in a file that was
//! synced; one sync covers everything that came while the last one ran. `hash` serves nothing: it checks passwords.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::thread;

use bytes::{Bytes, BytesMut};
use memchr::{memchr_iter, memrchr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::args::{FloorArgs, FloorKind};
use crate::bare_hash;
use crate::replies::SENT;

/// Serves until the process is ended; the first line on stdout says where.
pub(crate) fn run(args: &FloorArgs) -> Result<(), Box<dyn std::error::Error>> {
    if args.kind == FloorKind::Hash {
        return bare_hash::run(args.duration, args.threads);
    }
    let writer = match (args.kind, &args.file) {
        (FloorKind::Durable, Some(path)) => Some(Writer::start(path)?),
        _ => None,
    };
    Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(args.listen).await?;
        writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
        serve(listener, writer).await
    })
}

async fn serve(
    listener: TcpListener,
    writer: Option<Writer>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let writer = writer.clone();
        connections.spawn(async move {
            // A peer that goes away is no news here.
            let _ = Connection::new(stream, writer).serve().await;
        });
        while connections.try_join_next().is_some() {}
    }
}

struct Connection {
    stream: TcpStream,
    writer: Option<Writer>,
    input: BytesMut,
    output: BytesMut,
}

impl Connection {
    fn new(stream: TcpStream, writer: Option<Writer>) -> Self {
        Self { stream, writer, input: BytesMut::new(), output: BytesMut::new() }
    }

    async fn serve(mut self) -> io::Result<()> {
        loop {
            self.input.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(());
            }
            let Some(end) = memrchr(b'\n', &self.input) else {
                continue;
            };
            let lines = self.input.split_to(end + 1).freeze();
            answer(&lines, &mut self.output);
            if let Some(writer) = &self.writer {
                writer.append(lines).await?;
            }
            self.stream.write_all_buf(&mut self.output).await?;
        }
    }
}

/// Appends the reply to each line that is not empty.
fn answer(lines: &[u8], output: &mut BytesMut) {
    let mut start = 0;
    for end in memchr_iter(b'\n', lines) {
        let line = lines.get(start..end).unwrap_or_default();
        start = end + 1;
        if line.starts_with(b"auth ") {
            output.extend_from_slice(LOGGED_IN);
        } else if !matches!(line, b"" | b"\r") {
            output.extend_from_slice(SENT);
        }
    }
}

/// Hands lines to the thread that writes them.
#[derive(Clone)]
struct Writer {
    batches: mpsc::Sender<Batch>,
}

/// The lines one connection had read at once.
struct Batch {
    lines: Bytes,
    durable: oneshot::Sender<()>,
}

impl Writer {
    fn start(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let (batches, receiver) = mpsc::channel(QUEUE);
        thread::Builder::new().name("writer".to_owned()).spawn(move || write(file, receiver))?;
        Ok(Self { batches })
    }

    /// Returns once the lines are synced.
    async fn append(&self, lines: Bytes) -> io::Result<()> {
        let (durable, synced) = oneshot::channel();
        let gone = |_| io::Error::other("the writer has stopped");
        self.batches.send(Batch { lines, durable }).await.map_err(|_| gone(()))?;
        synced.await.map_err(|_| gone(()))
    }
}

/// Ends at the first error; the connections then close without an answer.
fn write(mut file: File, mut batches: mpsc::Receiver<Batch>) -> io::Result<()> {
    let mut drained = Vec::with_capacity(QUEUE);
    let mut bytes = Vec::new();
    while batches.blocking_recv_many(&mut drained, QUEUE) > 0 {
        bytes.clear();
        for batch in &drained {
            bytes.extend_from_slice(&batch.lines);
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        for batch in drained.drain(..) {
            // A connection that is gone needs no answer.
            let _ = batch.durable.send(());
        }
    }
    Ok(())
}

/// Batches that may wait, one a connection at most.
const QUEUE: usize = 4096;
/// Room for about a hundred sends of 100 bytes.
const READ_BYTES: usize = 16 * 1024;
const LOGGED_IN: &[u8] =
    b"{\"status\": \"OK\", \"tokenid\": \"00000000-0000-4000-8000-000000000000\"}\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    async fn floor(writer: Option<Writer>) -> (std::net::SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move { serve(listener, writer).await.unwrap() });
        (address, serving)
    }

    async fn exchange(address: std::net::SocketAddr, request: &[u8], replies: &[u8]) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut got = vec![0; replies.len()];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(got, replies);
    }

    #[tokio::test]
    async fn every_line_is_answered_once() {
        let (address, _serving) = floor(None).await;
        let expected = [LOGGED_IN, SENT, SENT].concat();
        exchange(address, b"auth a b\r\n\r\nsend t u hi\nsend t u ho \r\n", &expected).await;
    }

    #[tokio::test]
    async fn durable_lines_are_in_the_file_when_they_are_answered() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (address, _serving) = floor(Some(Writer::start(file.path()).unwrap())).await;
        exchange(address, b"send t u one\r\nsend t u two\r\n", &[SENT, SENT].concat()).await;
        let kept = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(kept, "send t u one\r\nsend t u two\r\n");
    }
}
