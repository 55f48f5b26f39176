//! JSON lines of bounded length.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
};

/// The next line, or `None` at an orderly end.
///
/// # Errors
/// `InvalidData` when the line is too long, cut off, or not what is expected.
pub(super) async fn read<T: DeserializeOwned>(
    reader: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a line that was cut off, or is longer than {MAX_LINE_BYTES} bytes"),
        ));
    }
    // The parser's own words could quote a password.
    serde_json::from_slice(&line)
        .map(Some)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a line of this protocol"))
}

pub(super) async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    value: &impl Serialize,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await
}

/// Room for a slice of an import: 1,000 accounts of at most about 1 KiB each, four times over.
const MAX_LINE_BYTES: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut bytes: &[u8]) -> Vec<Result<u32, String>> {
        let mut seen = Vec::new();
        loop {
            match read::<u32>(&mut bytes).await {
                Ok(None) => return seen,
                Ok(Some(value)) => seen.push(Ok(value)),
                Err(error) => {
                    seen.push(Err(error.to_string()));
                    return seen;
                }
            }
        }
    }

    #[tokio::test]
    async fn lines_are_read_until_one_is_wrong() {
        assert_eq!(all(b"1\n2\n").await, [Ok(1), Ok(2)]);
        assert!(all(b"1\n2").await[1].is_err());
        assert_eq!(all(b"\"secret\"\n").await, [Err("not a line of this protocol".into())]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_not_kept() {
        let endless = vec![b'1'; usize::try_from(MAX_LINE_BYTES).unwrap() + 10];
        assert!(all(&endless).await[0].as_ref().unwrap_err().contains("longer than"));
    }
}
