//! What the real daemon makes of a directory after a cut.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io;
use std::net::SocketAddr;

use chat_tests::client::{Kept, TextClient};
use chat_tests::daemon::Site;
use serde_json::Value;
use tokio::task::JoinSet;

use super::ledger::{Account, Ledger, Post};
use super::load::{PASSWORD, shown_in_peek};

/// What was found.
#[derive(Debug)]
pub(super) struct Reopened {
    /// By owner, of those who had a token; or the code of the error.
    pub(super) mailboxes: Mailboxes,
    /// Owners without a token who could not log in.
    pub(super) shut_out: Vec<String>,
    /// The session and the password that work, of each account in [`Ledger::churns`].
    pub(super) accounts: Vec<Account>,
    /// Posts that were posted again and not known for such, with the answers.
    pub(super) forgotten: Vec<(Post, String)>,
    /// What a mailbox held after one more message was sent to it; or why that did not work.
    pub(super) went_on: Result<(String, Found), String>,
}

pub(super) type Mailboxes = BTreeMap<String, Result<Found, String>>;

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
        let mailboxes = mailboxes(daemon.address(), ledger, cut).await?;
        let mut look = Look { client: TextClient::connect(daemon.address()).await, ledger, cut };
        let shut_out = look.shut_out().await?;
        let accounts = look.accounts().await?;
        let went_on = look.go_on(&mailboxes).await?;
        let forgotten = look.forgotten().await?;
        // The daemon would give a connection time before it resets it.
        drop(look);
        daemon.terminate();
        let status = daemon.ended().await;
        if !status.success() {
            return Err(format!("chatd ended with {status}").into());
        }
        Ok(Self { mailboxes, shut_out, accounts, forgotten, went_on })
    }
}

/// A look into a daemon.
struct Look<'a> {
    client: TextClient,
    ledger: &'a Ledger,
    cut: usize,
}

impl Look<'_> {
    async fn shut_out(&mut self) -> io::Result<Vec<String>> {
        let has_token: BTreeSet<_> =
            self.ledger.known_tokens(self.cut).map(|(owner, _)| owner).collect();
        let registered = self.ledger.registered.iter().filter(|(_, left)| *left <= self.cut);
        let others: Vec<_> = registered
            .map(|(user, _)| user)
            .filter(|user| !has_token.contains(user.as_str()))
            .collect();
        let replies =
            all(&mut self.client, others.iter().map(|user| format!("auth {user} {PASSWORD}")))
                .await?;
        let refused = others.into_iter().zip(replies).filter(|(_, reply)| reply["status"] != "OK");
        Ok(refused.map(|(user, _)| user.clone()).collect())
    }

    async fn accounts(&mut self) -> io::Result<Vec<Account>> {
        let mut accounts = Vec::new();
        for churn in &self.ledger.churns {
            let (sessions, passwords) = churn.questions(self.cut);
            let whoami = sessions.iter().map(|token| format!("whoami {token}"));
            let alive = all(&mut self.client, whoami).await?;
            let auth = passwords.iter().map(|password| format!("auth {} {password}", churn.user));
            let good = all(&mut self.client, auth).await?;
            accounts.push(Account {
                password: accepted(passwords, &good).last(),
                sessions: accepted(sessions, &alive).collect(),
            });
        }
        Ok(accounts)
    }

    /// Posts again what had been posted: each gets its first answer.
    async fn forgotten(&mut self) -> io::Result<Vec<(Post, String)>> {
        let posts = self.ledger.last_posts(self.cut);
        let line = |(post, token): &(&Post, &str)| {
            format!("post {token} {} {} {}", post.key, post.to, post.body)
        };
        let replies = all(&mut self.client, posts.iter().map(line)).await?;
        let repeats = posts.into_iter().map(|(post, _)| post).zip(replies);
        let forgotten =
            repeats.filter(|(post, reply)| reply["id"] != *post.id || reply["duplicate"] != true);
        Ok(forgotten.map(|(post, reply)| (post.clone(), reply.to_string())).collect())
    }

    /// Registers somebody new who sends a message, to the owner of a mailbox if there is one yet.
    async fn go_on(
        &mut self,
        mailboxes: &Mailboxes,
    ) -> io::Result<Result<(String, Found), String>> {
        let register = format!("register {NEWCOMER} {PASSWORD}");
        let auth = format!("auth {NEWCOMER} {PASSWORD}");
        let replies = all(&mut self.client, [register, auth].into_iter()).await?;
        let Some(token) = replies[1]["tokenid"].as_str() else {
            return Ok(Err(format!("{replies:?}")));
        };
        let mut known = self.ledger.known_tokens(self.cut);
        let (to, owner) =
            known.find(|(owner, _)| mailboxes[*owner].is_ok()).unwrap_or((NEWCOMER, token));
        let lines = [format!("send {token} {to} {NEWS}"), format!("peek {owner} - 1000")];
        let mut replies = all(&mut self.client, lines.into_iter()).await?;
        if replies[0]["status"] != "OK" {
            return Ok(Err(format!("{replies:?}")));
        }
        let found = mailbox(&mut self.client, owner, replies.remove(1)).await?;
        Ok(found.map(|found| (to.to_owned(), found)))
    }
}

/// All mailboxes, over some connections at once, which is faster.
async fn mailboxes(address: SocketAddr, ledger: &Ledger, cut: usize) -> io::Result<Mailboxes> {
    let owned = |(owner, token): (&str, &str)| (owner.to_owned(), token.to_owned());
    let known: Vec<_> = ledger.known_tokens(cut).map(owned).collect();
    let mut looks = JoinSet::new();
    for some in known.chunks(known.len().div_ceil(CONNECTIONS).max(1)) {
        looks.spawn(some_mailboxes(address, some.to_vec()));
    }
    let mut mailboxes = BTreeMap::new();
    for some in looks.join_all().await {
        mailboxes.extend(some?);
    }
    Ok(mailboxes)
}

async fn some_mailboxes(
    address: SocketAddr,
    tokens: Vec<(String, String)>,
) -> io::Result<Vec<(String, Result<Found, String>)>> {
    let mut client = TextClient::connect(address).await;
    let first = tokens.iter().map(|(_, token)| format!("peek {token} - 1000"));
    let pages = all(&mut client, first).await?;
    let mut mailboxes = Vec::new();
    for ((owner, token), page) in tokens.into_iter().zip(pages) {
        mailboxes.push((owner, mailbox(&mut client, &token, page).await?));
    }
    Ok(mailboxes)
}

/// The mailbox from its first page on; the code of an error.
async fn mailbox(
    client: &mut TextClient,
    token: &str,
    mut page: Value,
) -> io::Result<Result<Found, String>> {
    let mut found = Found { incarnation: String::new(), messages: Vec::new() };
    loop {
        if page["status"] != "OK" {
            return Ok(Err(page["code"].to_string()));
        }
        page["incarnation"].as_str().unwrap_or_default().clone_into(&mut found.incarnation);
        found.messages.extend(shown_in_peek(&page).map(|(id, from, body)| Kept { id, from, body }));
        let Some(last) = found.messages.last().filter(|_| page["more"] == true) else {
            return Ok(Ok(found));
        };
        let line = format!("peek {token} {} 1000", last.id);
        page = all(client, [line].into_iter()).await?.remove(0);
    }
}

/// Asks everything at once.
async fn all(
    client: &mut TextClient,
    lines: impl Iterator<Item = String>,
) -> io::Result<Vec<Value>> {
    let lines: Vec<String> = lines.map(|line| line + "\r\n").collect();
    client.send(lines.concat().as_bytes()).await?;
    let mut replies = Vec::with_capacity(lines.len());
    for _ in lines {
        replies.push(serde_json::from_slice(&client.receive().await?)?);
    }
    Ok(replies)
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
/// How many mailboxes are looked into at once.
const CONNECTIONS: usize = 4;
