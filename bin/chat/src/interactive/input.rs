//! Where typed lines come from: an editor on a terminal, or a pipe.

use std::io::{self, StdinLock};
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, ExternalPrinter, Helper};

use super::typed::{COMMANDS, belongs_in_history};
use crate::failure::Failure;
use crate::lines::Lines;
use crate::state::StateDirectory;

/// A source of lines.
pub(super) enum Input {
    Terminal(Box<Editor>),
    Pipe(Lines<StdinLock<'static>>),
}

/// Prints above the line being typed. May block until the editor takes it.
pub(super) type Printer = Box<dyn ExternalPrinter + Send>;

/// What a source gives.
pub(super) enum Read {
    Line(String),
    /// A line that is none; the next may be better.
    Bad(Failure),
    /// Ctrl-C at the prompt: the line is given up.
    Interrupted,
    End,
}

impl Input {
    pub(super) fn pipe() -> Self {
        Self::Pipe(Lines::new(io::stdin().lock()))
    }

    /// An editor with the history of earlier sessions.
    pub(super) fn terminal() -> Result<Self, Failure> {
        Editor::open().map(|editor| Self::Terminal(Box::new(editor)))
    }

    /// The next line. The prompt is for people only.
    pub(super) fn read(&mut self, prompt: &str) -> Result<Read, Failure> {
        match self {
            Self::Terminal(editor) => editor.read(prompt),
            Self::Pipe(lines) => Ok(match lines.next()? {
                Some(Ok(line)) => Read::Line(line),
                Some(Err(failure)) => Read::Bad(failure),
                None => Read::End,
            }),
        }
    }

    /// What prints above the line being typed, if there is an editor that can do it.
    pub(super) fn printer(&mut self) -> Option<Printer> {
        match self {
            Self::Terminal(editor) => {
                let printer = editor.editor.create_external_printer().ok()?;
                Some(Box::new(printer))
            }
            Self::Pipe(_) => None,
        }
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }
}

/// Line editing, history and completion.
pub(super) struct Editor {
    editor: rustyline::Editor<Completion, FileHistory>,
    history: Option<PathBuf>,
}

impl Editor {
    fn open() -> Result<Self, Failure> {
        let config = Config::builder()
            .auto_add_history(false)
            .completion_type(CompletionType::List)
            .max_history_size(MAX_HISTORY_LINES)
            .map_err(terminal)?
            .build();
        let mut editor = rustyline::Editor::with_config(config).map_err(terminal)?;
        editor.set_helper(Some(Completion));
        // Without a place for it there is a history all the same, until the end of the session.
        let history = StateDirectory::conventional().and_then(|state| state.history_file()).ok();
        if let Some(path) = &history {
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history })
    }

    fn read(&mut self, prompt: &str) -> Result<Read, Failure> {
        match self.editor.readline(prompt) {
            Ok(line) => {
                self.remember(&line);
                Ok(Read::Line(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Read::Interrupted),
            Err(ReadlineError::Eof) => Ok(Read::End),
            Err(error) => Err(terminal(error)),
        }
    }

    /// Written at once, so that a killed session loses nothing.
    fn remember(&mut self, line: &str) {
        if !belongs_in_history(line) {
            return;
        }
        let added = self.editor.add_history_entry(line);
        if let (Ok(true), Some(path)) = (added, &self.history) {
            let _ = self.editor.append_history(path);
        }
    }
}

fn terminal(error: ReadlineError) -> Failure {
    Failure::Terminal(match error {
        ReadlineError::Io(error) => error,
        error => io::Error::other(error),
    })
}

/// Completes the first word.
struct Completion;

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete(line.get(..position).unwrap_or(line)))
    }
}

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Hinter for Completion {
    type Hint = String;
}
impl Validator for Completion {}

/// Where the first word begins, and what it may become.
fn complete(typed: &str) -> (usize, Vec<String>) {
    let word = typed.trim_start();
    let candidates = COMMANDS
        .iter()
        .filter(|command| command.starts_with(word))
        .map(|command| format!("{command} "))
        .collect();
    (typed.len() - word.len(), candidates)
}

const MAX_HISTORY_LINES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_the_first_word_only() {
        assert_eq!(complete("us"), (0, vec!["user_aktif ".to_owned()]));
        assert_eq!(complete("  li"), (2, vec!["list ".to_owned()]));
        assert_eq!(complete("l").1, ["list ", "logout "]);
        assert_eq!(complete("h").1, ["help ", "history "]);
        assert!(complete("send l").1.is_empty());
        assert_eq!(complete("").1.len(), COMMANDS.len());
    }
}
