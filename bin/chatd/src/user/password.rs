//! Reads a new password: asked twice without echo, or the first line of stdin. Never an argument.

use std::io::{self, BufRead as _};

use crate::args::PasswordSource;
use crate::control::Secret;
use crate::exit::{Exit, Failure};

pub(super) fn read(username: &str, source: PasswordSource) -> Result<Secret, Failure> {
    if source.password_stdin { from_line(io::stdin().lock()) } else { ask(username) }
}

fn ask(username: &str) -> Result<Secret, Failure> {
    for _ in 0..TRIES {
        let first = prompt(&format!("New password for {username}: "))?;
        if first == prompt("The same again: ")? {
            return Ok(Secret(first.into()));
        }
        crate::terminal::complain("they differ");
    }
    Err(Failure::new(Exit::Data, "no password was given twice the same"))
}

fn prompt(text: &str) -> Result<String, Failure> {
    rpassword::prompt_password(text).map_err(|error| {
        let why =
            format!("cannot ask for a password ({error}): give it on stdin with --password-stdin");
        Failure::new(Exit::Usage, why)
    })
}

/// The first line without its end. More than a password may have is read, so that the rule about that can answer.
fn from_line(reader: impl io::BufRead) -> Result<Secret, Failure> {
    let mut line = Vec::new();
    let read = reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
    read.map_err(|error| {
        Failure::new(Exit::NoInput, format!("cannot read the password from stdin: {error}"))
    })?;
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(Failure::new(Exit::Data, "the first line of stdin has no password in it"));
    }
    match std::str::from_utf8(line) {
        Ok(password) => Ok(Secret(password.into())),
        Err(_) => Err(Failure::new(Exit::Data, "the password on stdin is not UTF-8")),
    }
}

const TRIES: usize = 3;
/// Above the 1,024 bytes that a password may have.
const MAX_LINE_BYTES: u64 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        for (input, password) in
            [("surabaya\n", "surabaya"), ("surabaya\r\nmore\n", "surabaya"), ("no end", "no end")]
        {
            assert_eq!(&*from_line(input.as_bytes()).unwrap().0, password);
        }
        for bad in [&b""[..], b"\n", b"\r\n", b"\xff\xff\xff\n"] {
            assert_eq!(from_line(bad).unwrap_err().exit, Exit::Data);
        }
    }
}
