//! Lines of a pipe: bounded, and a bad one does not spoil the next.

use std::io::{BufRead, Read as _};

use crate::failure::Failure;

/// Reads lines, their ends (`\n` or `\r\n`) not included.
pub(crate) struct Lines<R> {
    input: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, number: 0 }
    }

    /// The next line; inside, what is wrong with it. `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Result<String, Failure>>, Failure> {
        let mut line = Vec::new();
        let mut limited = self.input.by_ref().take(MAX_LINE_BYTES);
        if limited.read_until(b'\n', &mut line).map_err(Failure::Input)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if line.last() != Some(&b'\n') && limited.limit() == 0 {
            self.input.skip_until(b'\n').map_err(Failure::Input)?;
            let wrong = format!("a line is longer than {MAX_LINE_BYTES} bytes");
            return Ok(Some(Err(Failure::Usage(wrong))));
        }
        let text = String::from_utf8(line).map(|mut text| {
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
            text
        });
        Ok(Some(text.map_err(|_| Failure::Usage("a line is not UTF-8".to_owned()))))
    }

    /// The number of the line given last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

/// More than any server takes; the server's own limit gives the better error below it.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Vec<Result<String, String>> {
        let mut lines = Lines::new(input);
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(line.map_err(|failure| failure.message()));
        }
        assert_eq!(lines.number(), u64::try_from(all.len()).unwrap());
        all
    }

    #[test]
    fn ends_of_lines() {
        let lines = read(b"a\nb \r\n\nc");
        let texts: Vec<_> = lines.iter().map(|line| line.as_deref().unwrap()).collect();
        assert_eq!(texts, ["a", "b ", "", "c"]);
        assert!(read(b"").is_empty());
    }

    #[test]
    fn a_bad_line_does_not_spoil_the_next() {
        let mut input = b"\xff\n".to_vec();
        input.resize(input.len() + 3 * 1024 * 1024, b'x');
        input.extend_from_slice(b"\ngood\n");
        let lines = read(&input);
        assert!(lines[0].as_ref().unwrap_err().contains("UTF-8"));
        assert!(lines[1].as_ref().unwrap_err().contains("longer"));
        assert_eq!(lines[2].as_deref(), Ok("good"));
        assert_eq!(lines.len(), 3);
    }
}
