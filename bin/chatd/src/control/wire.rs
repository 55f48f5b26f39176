//! What goes over the control socket.

use std::fmt;

use chat_core::Timestamp;
use chat_core::store::{AccountSummary, StoreError};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

/// The daemon's first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Greeting {
    /// The daemon's version, for people.
    pub(crate) chatd: String,
    /// The version of this protocol; a command and a daemon talk only if they agree on it.
    pub(crate) control: u32,
}

/// What a command asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    Add {
        username: String,
        name: Option<String>,
        password: Secret,
    },
    SetPassword {
        username: String,
        password: Secret,
    },
    Rename {
        username: String,
        new_username: Option<String>,
        new_name: Option<String>,
    },
    Show {
        username: String,
    },
    Remove {
        username: String,
    },
    Release {
        username: String,
    },
    /// A page of accounts in order of username.
    List {
        after: Option<String>,
        limit: usize,
    },
    BeginImport,
    StageImport {
        accounts: Vec<StagedAccount>,
    },
    CommitImport,
}

/// An account of an import, its password hashed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StagedAccount {
    pub(crate) username: String,
    pub(crate) name: String,
    pub(crate) phc: Secret,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(crate) enum Answer {
    Done,
    /// How many sessions ended.
    SessionsEnded {
        sessions: u64,
    },
    /// How many undelivered messages went with the account.
    Removed {
        undelivered: u64,
    },
    Account {
        account: AccountRow,
    },
    Accounts {
        accounts: Vec<AccountRow>,
    },
    /// The usernames of a slice that are taken.
    Staged {
        taken: Vec<String>,
    },
    Imported {
        accounts: u64,
    },
}

/// Why nothing came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) kind: RefusalKind,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefusalKind {
    NoSuchUser,
    Invalid,
    Busy,
    Unavailable,
    Internal,
}

/// An account as it is listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AccountRow {
    pub(crate) username: String,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) removed: Option<Timestamp>,
    pub(crate) undelivered: u64,
    pub(crate) sessions: usize,
}

/// A password or its hash; `Debug` does not show it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) Box<str>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl From<AccountSummary> for AccountRow {
    fn from(account: AccountSummary) -> Self {
        Self {
            username: account.username.as_ref().to_owned(),
            name: account.name.as_ref().to_owned(),
            created: account.created,
            removed: account.removed,
            undelivered: account.undelivered,
            sessions: account.sessions,
        }
    }
}

impl Refusal {
    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self { kind: RefusalKind::Invalid, message: message.to_string() }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::NoSuchUser => RefusalKind::NoSuchUser,
            StoreError::Busy { .. } => RefusalKind::Busy,
            StoreError::Unavailable | StoreError::NoSpace | StoreError::Closed => {
                RefusalKind::Unavailable
            }
            StoreError::Internal => RefusalKind::Internal,
            _ => RefusalKind::Invalid,
        };
        Self { kind, message: error.to_string() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let exit = match refusal.kind {
            RefusalKind::NoSuchUser => Exit::NoUser,
            RefusalKind::Invalid => Exit::Data,
            RefusalKind::Busy => Exit::TryAgain,
            RefusalKind::Unavailable => Exit::Io,
            RefusalKind::Internal => Exit::Software,
        };
        Self::new(exit, refusal.message)
    }
}

/// Changes when a daemon and a command of different versions could misunderstand each other.
pub(super) const CONTROL_VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let secret = || Secret("surabaya".into());
        let requests = [
            Request::Add { username: "messi".into(), name: None, password: secret() },
            Request::SetPassword { username: "messi".into(), password: secret() },
            Request::StageImport {
                accounts: vec![StagedAccount {
                    username: "a".into(),
                    name: "A".into(),
                    phc: secret(),
                }],
            },
        ];
        for request in requests {
            assert!(!format!("{request:?}").contains("surabaya"));
        }
    }

    #[test]
    fn requests_and_answers_read_well_on_the_wire() {
        let request = Request::List { after: None, limit: 2 };
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(text, r#"{"request":"list","after":null,"limit":2}"#);
        let answer: Result<Answer, Refusal> = Ok(Answer::Removed { undelivered: 3 });
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(text, r#"{"Ok":{"answer":"removed","undelivered":3}}"#);
    }
}
