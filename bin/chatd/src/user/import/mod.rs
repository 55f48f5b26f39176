//! `chatd user import`: many accounts, all of them or none.
//!
//! The file is read and checked whole, its usernames are compared with those there are, the passwords are hashed in this
//! process on all cores, and only then is anything given to the store: staged slice by slice, and made visible at once.

mod hash;
mod parse;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use super::progress::Progress;
use super::{list, unexpected};
use crate::config::Config;
use crate::control::{Answer, First, Operator, Request, StagedAccount};
use crate::datadir::DataDir;
use crate::exit::{Exit, Failure};
use crate::terminal::say;
use parse::{BadLine, Entry};

pub(super) async fn run(
    file: &Path,
    config: &Config,
    directory: &DataDir,
    control: Option<&Path>,
) -> Result<(), Failure> {
    let entries = parse::parse(&read(file)?).map_err(|bad| refuse(file, &bad))?;
    if entries.is_empty() {
        let why = format!("no accounts in {}; nothing was imported", file.display());
        return Err(Failure::new(Exit::Data, why));
    }
    // Hashing may take hours, so a name that is taken had better be known before; and no store is held open meanwhile.
    let mut operator = Operator::reach(config, directory, control, First::Makes).await?;
    let free = check_free(file, &entries, &mut operator).await;
    operator.finish().await;
    free?;
    let hashed = hash::all(&entries, config.password_params())?;
    let mut operator = Operator::reach(config, directory, control, First::Makes).await?;
    let imported = store(file, &entries, hashed, &mut operator).await;
    operator.finish().await;
    match imported? {
        1 => say("imported 1 account"),
        accounts => say(format_args!("imported {accounts} accounts")),
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(file)
    };
    bytes.map_err(|error| {
        Failure::new(Exit::NoInput, format!("cannot read {}: {error}", file.display()))
    })
}

/// Refuses if a username of the file is taken already.
async fn check_free(
    file: &Path,
    entries: &[Entry],
    operator: &mut Operator,
) -> Result<(), Failure> {
    let lines = Lines::of(entries);
    let accounts = list::all(operator).await?;
    lines.refuse_taken(file, accounts.iter().map(|account| account.username.as_str()))
}

/// Stages the accounts and commits them; nothing is visible before that, and nothing stays if it fails.
async fn store(
    file: &Path,
    entries: &[Entry],
    hashed: Vec<StagedAccount>,
    operator: &mut Operator,
) -> Result<u64, Failure> {
    let lines = Lines::of(entries);
    let progress = Progress::new("storing", hashed.len());
    operator.call(Request::BeginImport).await?;
    let mut hashed = hashed.into_iter().peekable();
    while hashed.peek().is_some() {
        let accounts: Vec<_> = hashed.by_ref().take(SLICE).collect();
        let count = accounts.len();
        let Answer::Staged { taken } = operator.call(Request::StageImport { accounts }).await?
        else {
            return Err(unexpected());
        };
        lines.refuse_taken(file, taken.iter().map(String::as_str))?;
        progress.advance(count);
    }
    progress.finish();
    match operator.call(Request::CommitImport).await? {
        Answer::Imported { accounts } => Ok(accounts),
        _ => Err(unexpected()),
    }
}

/// On which line a username stands.
struct Lines(HashMap<Box<str>, u64>);

impl Lines {
    fn of(entries: &[Entry]) -> Self {
        Self(entries.iter().map(|entry| (entry.username.key(), entry.line)).collect())
    }

    fn refuse_taken<'a>(
        &self,
        file: &Path,
        taken: impl Iterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        let mut bad: Vec<_> = taken
            .filter_map(|username| {
                let line = *self.0.get(username.to_ascii_lowercase().as_str())?;
                Some(BadLine { line, reason: format!("the username {username} is taken") })
            })
            .collect();
        if bad.is_empty() {
            return Ok(());
        }
        bad.sort_by_key(|bad| bad.line);
        Err(refuse(file, &bad))
    }
}

fn refuse(file: &Path, bad: &[BadLine]) -> Failure {
    let mut text = String::from("nothing was imported");
    for BadLine { line, reason } in bad.iter().take(MAX_REPORTED) {
        let _ = write!(text, "\n{}:{line}: {reason}", file.display());
    }
    if let Some(more @ 1..) = bad.len().checked_sub(MAX_REPORTED) {
        let _ = write!(text, "\nand {more} more bad lines");
    }
    Failure::new(Exit::Data, text)
}

/// Accounts in one request: small enough for a line of the control protocol, and for a store that has other work.
const SLICE: usize = 1_000;
/// Bad lines reported one by one: more is not read, and whoever sees twenty alike knows what to look for.
const MAX_REPORTED: usize = 20;
