//! A history for people: one line a fact.

use serde::Serialize;

use super::fact::{Connection, Fact, User};
use super::journal::Entry;

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// From the start of the run.
    pub(crate) at_ms: u32,
    pub(crate) what: String,
}

/// Puts a history into words. `user_of` says whose connection it is, `name` what a user is called.
pub(crate) fn tell<'a>(
    history: &[Entry],
    user_of: impl Fn(Connection) -> Option<User>,
    name: impl Fn(User) -> &'a str,
) -> Vec<Line> {
    let on = |connection: Connection| {
        let user = user_of(connection).map_or("?", &name);
        format!("{user}, connection {}", connection.0)
    };
    let line = |entry: &Entry| Line { at_ms: entry.at_ms, what: words(&entry.fact, on, &name) };
    history.iter().map(line).collect()
}

fn words<'a>(
    fact: &Fact,
    on: impl Fn(Connection) -> String,
    name: impl Fn(User) -> &'a str,
) -> String {
    match *fact {
        Fact::Emptied { user, id } => format!("the mailbox of {} ends with id {id}", name(user)),
        Fact::Opened { connection, .. } => format!("{}: opened", on(connection)),
        Fact::Ended { connection, how } => format!("{}: {how}", on(connection)),
        Fact::Sent { tag, connection, to } => {
            format!("{}: {tag} sent to {}", on(connection), name(to))
        }
        Fact::Answered { tag, connection, repeat } => {
            let repeat = if repeat { ", an earlier attempt had stored it" } else { "" };
            format!("{}: {tag} answered OK{repeat}", on(connection))
        }
        Fact::Refused { tag, connection } => format!("{}: {tag} refused", on(connection)),
        Fact::Unsure { tag, connection } => {
            format!("{}: {tag} answered with an error that leaves its outcome open", on(connection))
        }
        Fact::Living { connection, life } => {
            format!("{}: incarnation number {}", on(connection), life.0)
        }
        Fact::Asked { connection, via, resumes: true, after } => {
            format!("{}: {via} behind id {after} asked for", on(connection))
        }
        Fact::Asked { connection, via, .. } => format!("{}: {via} asked for", on(connection)),
        Fact::Watching { connection, after, gap } => {
            let gap = if gap { ", after a gap" } else { "" };
            format!("{}: watching, to go on behind id {after}{gap}", on(connection))
        }
        Fact::Unwatched { connection } => format!("{}: unwatched", on(connection)),
        Fact::Shown { connection, via, id, tag } => {
            format!("{}: {tag} read as id {id} through {via}", on(connection))
        }
        Fact::Strange { connection, via, id, .. } => {
            format!("{}: a message of nobody read as id {id} through {via}", on(connection))
        }
        Fact::Gap { connection, from, to } => {
            format!("{}: a gap from id {from} to {to} announced", on(connection))
        }
        Fact::Lagging { connection } => format!("{}: lagging", on(connection)),
        Fact::Confirming { connection, id } => {
            format!("{}: all up to id {id} about to be confirmed", on(connection))
        }
        Fact::Confirmed { connection, id } => {
            format!("{}: the confirmation up to id {id} answered", on(connection))
        }
        Fact::Killed => "server killed".to_owned(),
        Fact::Restarted => "server restarted".to_owned(),
    }
}
