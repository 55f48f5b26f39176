//! Reading without holding buffers while nothing comes.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::ReadBuf;

use crate::Transport;

/// Reads once, appending to `input`; 0 is the end of the stream. The chunk read into lives on the stack, and buffers with
/// nothing in them are given back before waiting, so a connection that waits holds none.
pub(super) fn poll_receive<T: Transport>(
    transport: &mut T,
    input: &mut BytesMut,
    output: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut chunk = [const { MaybeUninit::uninit() }; CHUNK_BYTES];
    let mut chunk = ReadBuf::uninit(&mut chunk);
    let Poll::Ready(read) = Pin::new(transport).poll_read(cx, &mut chunk) else {
        give_back(input);
        give_back(output);
        return Poll::Pending;
    };
    input.extend_from_slice(chunk.filled());
    Poll::Ready(read.map(|()| chunk.filled().len()))
}

/// Waits for [`poll_receive`]. Cancel safe: what was read is in `input`.
pub(super) async fn receive<T: Transport>(
    transport: &mut T,
    input: &mut BytesMut,
    output: &mut BytesMut,
) -> io::Result<usize> {
    poll_fn(|cx| poll_receive(transport, input, output, cx)).await
}

fn give_back(buffer: &mut BytesMut) {
    if buffer.is_empty() {
        *buffer = BytesMut::new();
    }
}

/// Read at most at once: some hundred requests, and small beside a runtime thread's stack of 2 MiB.
const CHUNK_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn waiting_gives_empty_buffers_back() {
        let (mut pipe, _peer) = tokio::io::duplex(16);
        let (mut input, mut output) = (BytesMut::from("pin"), BytesMut::with_capacity(1024));
        for held in [3, 0] {
            let read = receive(&mut pipe, &mut input, &mut output);
            assert!(timeout(Duration::ZERO, read).await.is_err());
            assert_eq!((input.len(), output.capacity()), (held, 0));
            input.clear();
        }
        assert_eq!(input.capacity(), 0);
    }
}
