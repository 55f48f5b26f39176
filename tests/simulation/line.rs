//! [`Line`]: one connection of a device that speaks the protocol by itself.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::network::Socket;

/// A connection, and what came over it and is not read yet.
pub(crate) struct Line {
    socket: Socket,
    heard: Vec<u8>,
    /// So many bytes of it hold no end of a frame.
    searched: usize,
    /// Of all connections of the world.
    pub(crate) number: u64,
    patience: Duration,
}

/// The connection broke, or nothing came for too long.
#[derive(Debug)]
pub(crate) struct Lost(pub(crate) String);

impl Line {
    pub(crate) fn new(socket: Socket, number: u64, patience: Duration) -> Self {
        Self { socket, heard: Vec::new(), searched: 0, number, patience }
    }

    pub(crate) async fn say(&mut self, bytes: &str) -> Result<(), Lost> {
        let written = timeout(self.patience, self.socket.write_all(bytes.as_bytes())).await;
        written.map_err(|_| Lost("cannot write".into()))?.map_err(|error| Lost(error.to_string()))
    }

    /// The next frame, which must come soon.
    pub(crate) async fn hear(&mut self) -> Result<Value, Lost> {
        timeout(self.patience, self.wait()).await.unwrap_or_else(|_| Err(Lost("no answer".into())))
    }

    /// The next frame, whenever it comes. Cancel safe.
    pub(crate) async fn wait(&mut self) -> Result<Value, Lost> {
        loop {
            let rest = &self.heard[self.searched..];
            if let Some(end) = rest.windows(4).position(|piece| piece == b"\r\n\r\n") {
                let frame: Vec<u8> = self.heard.drain(..self.searched + end + 4).collect();
                self.searched = 0;
                return serde_json::from_slice(&frame).map_err(|error| Lost(error.to_string()));
            }
            self.searched = self.heard.len().saturating_sub(3);
            match self.socket.read_buf(&mut self.heard).await {
                Ok(0) => return Err(Lost("end of stream".into())),
                Ok(_) => {}
                Err(error) => return Err(Lost(error.to_string())),
            }
        }
    }

    /// Hangs up. Whoever gave up waiting resets, since an end of stream would say that all was read.
    pub(crate) fn hang_up(self, orderly: bool) {
        match orderly {
            true => drop(self.socket),
            false => self.socket.reset(),
        }
    }
}
