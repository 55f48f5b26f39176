//! What is said to the person or the script at the other end: results on stdout, complaints and questions on stderr.

use std::fmt::Display;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::exit::{Exit, Failure};

/// A line on stdout, at once. Whether anybody reads it is not our concern.
pub(crate) fn say(line: impl Display) {
    let _ = write(&format!("{line}\n"));
}

/// What a command was asked to print. Whoever stops reading has read enough; any other failure is the command's.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    written(write(text))
}

/// The help or the version, in colours where there are some.
pub(crate) fn print_styled(help: &clap::Error) -> Result<(), Failure> {
    written(help.print().and_then(|()| io::stdout().flush()))
}

/// A line on stderr, with the program's name.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "chatd: {line}");
}

/// Asks a question; anything but yes is a refusal, and so is nobody to ask.
pub(crate) fn confirm(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "{question} There is no terminal to ask on: --yes says yes; nothing was changed"
            ),
        ));
    }
    let _ = write!(io::stderr().lock(), "{question} [y/N] ");
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Usage, "nothing was changed")),
    }
}

fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Io, format!("cannot write the output: {error}")))
        }
        _ => Ok(()),
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}
