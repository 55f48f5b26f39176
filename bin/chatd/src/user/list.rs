//! `chatd user list`: a table for people, JSON lines for programs.

use std::fmt::Write as _;

use super::unexpected;
use crate::control::{AccountRow, Answer, Operator, Request};
use crate::exit::{Exit, Failure};
use crate::terminal::print;

pub(super) async fn run(json: bool, operator: &mut Operator) -> Result<(), Failure> {
    let accounts = all(operator).await?;
    let text = if json { json_lines(&accounts)? } else { table(&accounts) };
    print(&text)
}

/// Every account, a page at a time.
pub(super) async fn all(operator: &mut Operator) -> Result<Vec<AccountRow>, Failure> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let request = Request::List { after, limit: PAGE };
        let Answer::Accounts { accounts } = operator.call(request).await? else {
            return Err(unexpected());
        };
        let Some(last) = accounts.last() else {
            return Ok(all);
        };
        after = Some(last.username.clone());
        all.extend(accounts);
    }
}

/// Without the invisible characters that change the direction of the text around them (Unicode Bidi_Control).
pub(super) fn plain(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| !turns(*c)).collect()
}

fn json_lines(accounts: &[AccountRow]) -> Result<String, Failure> {
    let mut text = String::new();
    for account in accounts {
        let line = serde_json::to_string(account)
            .map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// The full name comes last, as its width on the screen is anybody's guess.
fn table(accounts: &[AccountRow]) -> String {
    if accounts.is_empty() {
        return "no accounts; `chatd user add USER` makes one\n".to_owned();
    }
    let width = accounts.iter().map(|account| account.username.len()).max();
    let width = width.unwrap_or(0).max("USERNAME".len());
    let mut text =
        format!("{:width$}  {:20}  UNDELIVERED  SESSIONS  NAME\n", "USERNAME", "CREATED");
    for account in accounts {
        let AccountRow { username, undelivered, sessions, .. } = account;
        let created = to_the_second(account.created.to_string());
        let name = plain(&account.name);
        let _ = write!(
            text,
            "{username:width$}  {created:20}  {undelivered:>11}  {sessions:>8}  {name}"
        );
        let _ = match account.removed {
            None => writeln!(text),
            Some(time) => writeln!(text, "  (removed {})", to_the_second(time.to_string())),
        };
    }
    text
}

/// `2026-11-18T11:06:40.007Z` without its milliseconds.
fn to_the_second(time: String) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time,
    }
}

/// As many as the daemon gives at once.
const PAGE: usize = 1_000;

#[cfg(test)]
mod tests {
    use chat_core::Timestamp;

    use super::*;

    fn account(username: &str, removed: Option<i64>) -> AccountRow {
        AccountRow {
            username: username.into(),
            name: "Lionel \u{202e}Messi".into(),
            created: Timestamp::from_millis(1_795_000_000_007),
            removed: removed.map(Timestamp::from_millis),
            undelivered: 3,
            sessions: 1,
        }
    }

    #[test]
    fn a_table_for_people() {
        assert_eq!(
            table(&[account("messi", None), account("gone", Some(0))]),
            "\
USERNAME  CREATED               UNDELIVERED  SESSIONS  NAME
messi     2026-11-18T11:06:40Z            3         1  Lionel Messi
gone      2026-11-18T11:06:40Z            3         1  Lionel Messi  (removed 1970-01-01T00:00:00Z)
"
        );
    }

    #[test]
    fn a_line_for_each_account() {
        assert_eq!(
            json_lines(&[account("messi", None)]).unwrap(),
            "{\"username\":\"messi\",\"name\":\"Lionel \u{202e}Messi\",\"created\":\"2026-11-18T11:06:40.007Z\",\
             \"removed\":null,\"undelivered\":3,\"sessions\":1}\n"
        );
    }
}
