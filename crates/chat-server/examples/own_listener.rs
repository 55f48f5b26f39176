//! Mounts the server on a listener of one's own, here one that hands out in-memory pipes, talks to it, and stops it.
//!
//! `cargo run -p chat-server --example own_listener`

use std::error::Error;
use std::io;

use chat_core::store::{NewAccount, Store, StoreOptions};
use chat_server::{Listener, Server, ServerConfig};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Accepts what the other half of its channel sends.
struct Pipes(mpsc::Receiver<DuplexStream>);

impl Listener for Pipes {
    type Transport = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, String)> {
        match self.0.recv().await {
            Some(pipe) => Ok((pipe, "pipe".into())),
            // Nobody can connect any more. That is no failure to report again and again.
            None => std::future::pending().await,
        }
    }
}

/// Runs the example.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::in_memory(StoreOptions::default())?;
    let (username, name) = ("messi".parse()?, "Lionel Messi".parse()?);
    store.create_account(NewAccount { username, name, password: "surabaya".into() }).await?;

    let server = Server::new(store.clone(), ServerConfig::default())?;
    let (connect, pipes) = mpsc::channel(1);
    let stop = CancellationToken::new();

    let talk = async {
        let (ours, theirs) = duplex(1024);
        connect.send(theirs).await?;
        let mut peer = BufReader::new(ours);
        peer.write_all(b"hello\r\nauth messi surabaya\r\n").await?;
        let mut lines = peer.lines();
        for _ in 0..2 {
            let reply = lines.next_line().await?.ok_or("the server hung up")?;
            show(&reply);
            lines.next_line().await?;
        }
        stop.cancel();
        Ok::<(), Box<dyn Error>>(())
    };
    let (served, talked) = tokio::join!(server.serve(Pipes(pipes), stop.clone()), talk);
    talked?;
    store.close().await?;
    show(&format!("served {} connection(s)", served.connections));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn show(line: &str) {
    println!("{line}");
}
