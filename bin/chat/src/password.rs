//! Passwords from the terminal or from standard input, never from arguments.

use std::io::{self, BufRead as _, Write as _};

use crate::failure::Failure;

/// Asks on the terminal without showing what is typed.
pub(crate) fn ask(prompt: &str) -> Result<String, Failure> {
    match rpassword::prompt_password(prompt) {
        Ok(password) => given(password),
        // Ctrl-C and Ctrl-D. After the second the cursor still stands behind the prompt.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => given(String::new()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let _ = writeln!(io::stderr());
            given(String::new())
        }
        Err(error) => Err(Failure::AskPassword(error)),
    }
}

/// Asks for a new password twice.
pub(crate) fn ask_new() -> Result<String, Failure> {
    let password = ask("New password: ")?;
    if ask("Once more: ")? != password {
        return Err(Failure::Usage("the two passwords differ".to_owned()));
    }
    Ok(password)
}

/// The first line of standard input.
pub(crate) fn from_stdin() -> Result<String, Failure> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(Failure::Password)?;
    given(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn given(password: String) -> Result<String, Failure> {
    if password.is_empty() {
        return Err(Failure::Usage("no password was given".to_owned()));
    }
    Ok(password)
}
