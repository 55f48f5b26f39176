//! What the real daemon makes of a directory after a cut.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io;

use chat_tests::client::{Kept, TextClient};
use chat_tests::daemon::Site;
use serde_json::Value;

use super::ledger::{Account, Ledger};
use super::load::{PASSWORD, shown_in_peek};

/// What was found.
#[derive(Debug)]
pub(super) struct Reopened {
    /// By owner, of those who had a token; or the code of the error.
    pub(super) mailboxes: BTreeMap<String, Result<Found, String>>,
    /// Owners without a token who could not log in.
    pub(super) shut_out: Vec<String>,
    /// The session and the password that work, of each account in [`Ledger::churns`].
    pub(super) accounts: Vec<Account>,
    /// What a mailbox held after one more message was sent to it; or why that did not work.
    pub(super) went_on: Result<(String, Found), String>,
}

/// A mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) incarnation: String,
    pub(super) messages: Vec<Kept>,
}

impl Reopened {
    /// Starts a daemon, asks it for everything, has it store one more message, and stops it.
    ///
    /// # Errors
    /// It does not start, does not answer, or does not end well.
    pub(super) async fn look(
        site: &Site,
        ledger: &Ledger,
        cut: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let daemon = site.try_start().await?;
        let mut look = Look { client: TextClient::connect(daemon.address()).await, ledger, cut };
        let mailboxes = look.mailboxes().await?;
        let shut_out = look.shut_out().await?;
        let accounts = look.accounts().await?;
        let went_on = look.go_on().await?;
        daemon.terminate();
        let status = daemon.ended().await;
        if !status.success() {
            return Err(format!("chatd ended with {status}").into());
        }
        Ok(Self { mailboxes, shut_out, accounts, went_on })
    }
}

/// A look into a daemon.
struct Look<'a> {
    client: TextClient,
    ledger: &'a Ledger,
    cut: usize,
}

impl Look<'_> {
    async fn mailboxes(&mut self) -> io::Result<BTreeMap<String, Result<Found, String>>> {
        let known: Vec<_> = self.ledger.known_tokens(self.cut).collect();
        let pages = self.all(known.iter().map(|(_, token)| format!("peek {token} - 1000"))).await?;
        let mut mailboxes = BTreeMap::new();
        for ((owner, token), page) in known.into_iter().zip(pages) {
            mailboxes.insert(owner.to_owned(), self.mailbox(token, page).await?);
        }
        Ok(mailboxes)
    }

    async fn shut_out(&mut self) -> io::Result<Vec<String>> {
        let has_token: BTreeSet<_> =
            self.ledger.known_tokens(self.cut).map(|(owner, _)| owner).collect();
        let registered = self.ledger.registered.iter().filter(|(_, left)| *left <= self.cut);
        let others: Vec<_> = registered
            .map(|(user, _)| user)
            .filter(|user| !has_token.contains(user.as_str()))
            .collect();
        let replies = self.all(others.iter().map(|user| format!("auth {user} {PASSWORD}"))).await?;
        let refused = others.into_iter().zip(replies).filter(|(_, reply)| reply["status"] != "OK");
        Ok(refused.map(|(user, _)| user.clone()).collect())
    }

    async fn accounts(&mut self) -> io::Result<Vec<Account>> {
        let mut accounts = Vec::new();
        for churn in &self.ledger.churns {
            let (sessions, passwords) = churn.questions(self.cut);
            let whoami = sessions.iter().map(|token| format!("whoami {token}"));
            let alive = self.all(whoami).await?;
            let auth = passwords.iter().map(|password| format!("auth {} {password}", churn.user));
            let good = self.all(auth).await?;
            accounts.push(Account {
                password: accepted(passwords, &good).last(),
                sessions: accepted(sessions, &alive).collect(),
            });
        }
        Ok(accounts)
    }

    /// Registers somebody new who sends a message, to the owner of a mailbox if there is one yet.
    async fn go_on(&mut self) -> io::Result<Result<(String, Found), String>> {
        let register = format!("register {NEWCOMER} {PASSWORD}");
        let auth = format!("auth {NEWCOMER} {PASSWORD}");
        let replies = self.all([register, auth].into_iter()).await?;
        let Some(token) = replies[1]["tokenid"].as_str() else {
            return Ok(Err(format!("{replies:?}")));
        };
        let (to, owner) = self.ledger.known_tokens(self.cut).next().unwrap_or((NEWCOMER, token));
        let lines = [format!("send {token} {to} {NEWS}"), format!("peek {owner} - 1000")];
        let mut replies = self.all(lines.into_iter()).await?;
        if replies[0]["status"] != "OK" {
            return Ok(Err(format!("{replies:?}")));
        }
        let found = self.mailbox(owner, replies.remove(1)).await?;
        Ok(found.map(|found| (to.to_owned(), found)))
    }

    /// The mailbox from its first page on; the code of an error.
    async fn mailbox(&mut self, token: &str, mut page: Value) -> io::Result<Result<Found, String>> {
        let mut found = Found { incarnation: String::new(), messages: Vec::new() };
        loop {
            if page["status"] != "OK" {
                return Ok(Err(page["code"].to_string()));
            }
            page["incarnation"].as_str().unwrap_or_default().clone_into(&mut found.incarnation);
            let messages = shown_in_peek(&page).map(|(id, from, body)| Kept { id, from, body });
            found.messages.extend(messages);
            let Some(last) = found.messages.last().filter(|_| page["more"] == true) else {
                return Ok(Ok(found));
            };
            let line = format!("peek {token} {} 1000", last.id);
            page = self.all([line].into_iter()).await?.remove(0);
        }
    }

    /// Asks everything at once.
    async fn all(&mut self, lines: impl Iterator<Item = String>) -> io::Result<Vec<Value>> {
        let lines: Vec<String> = lines.map(|line| line + "\r\n").collect();
        self.client.send(lines.concat().as_bytes()).await?;
        let mut replies = Vec::with_capacity(lines.len());
        for _ in lines {
            replies.push(serde_json::from_slice(&self.client.receive().await?)?);
        }
        Ok(replies)
    }
}

fn accepted(
    asked: impl IntoIterator<Item = String>,
    replies: &[Value],
) -> impl Iterator<Item = String> {
    let answered = asked.into_iter().zip(replies);
    answered.filter(|(_, reply)| reply["status"] == "OK").map(|(asked, _)| asked)
}

/// Who comes after the cut.
pub(super) const NEWCOMER: &str = "newcomer";
/// What they send.
pub(super) const NEWS: &str = "news";
