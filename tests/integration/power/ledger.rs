//! [`Ledger`]: what was promised to clients by any moment of a recording.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chat_tests::transcript::{Reply, replies};

use super::load::{shown_in_inbox, shown_in_peek, token};
use super::recording::Recording;
use super::talk::{Action, Conversation};

/// Moments are numbers of records: what has `left` at 7 has left when there are 7 or more.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By owner.
    pub(super) mailboxes: BTreeMap<String, Mailbox>,
    /// Owners of mailboxes, with their tokens and when those had left. These sessions never end.
    pub(super) tokens: Vec<(String, String, usize)>,
    /// Those owners, and when they had been registered.
    pub(super) registered: Vec<(String, usize)>,
    pub(super) churns: Vec<Churn>,
    /// In the order of each connection.
    pub(super) posts: Vec<Post>,
}

/// A message that was posted and answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Post {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) key: String,
    pub(super) body: String,
    /// What its sender was told it is known by.
    pub(super) id: String,
    /// When that had left.
    pub(super) left: usize,
}

/// A mailbox in the whole run.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// In order of id, from 1.
    pub(super) messages: Vec<Stored>,
    pub(super) deliveries: Vec<Delivery>,
    /// The first incarnation that was shown, and when.
    pub(super) incarnation: Option<(String, usize)>,
}

/// A message that a mailbox has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) from: String,
    pub(super) body: String,
    /// When its OK had left, or it had been shown.
    pub(super) known: usize,
}

/// Everything up to an id is delivered.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) upto: u64,
    /// From when on that may have been stored.
    pub(super) possible: usize,
    /// When the client had been told, if it was.
    pub(super) told: usize,
}

/// A conversation about an account that nobody else uses.
#[derive(Debug)]
pub(super) struct Churn {
    pub(super) user: String,
    /// Before the first request and after each.
    pub(super) states: Vec<Account>,
    /// From when on each request may have been carried out, and when its reply had left.
    pub(super) requests: Vec<(usize, usize)>,
}

/// An account as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) password: Option<String>,
    pub(super) sessions: BTreeSet<String>,
}

/// How many posts are posted again after a cut.
const REPEATED: usize = 40;
/// Never.
pub(super) const NEVER: usize = usize::MAX;

impl Ledger {
    /// Reads it off a recording of a daemon that did nothing wrong while there was power.
    ///
    /// # Panics
    /// When the daemon did.
    pub(super) fn of(recording: &Recording) -> Self {
        let mut ledger = Self::default();
        let mut sent = Vec::new();
        for (number, life) in recording.lives.iter().enumerate() {
            let begin = life.records.start;
            let mut replies = replies(&recording.records[life.records.clone()]);
            for conversation in recording.conversations.iter().filter(|c| c.life == number) {
                let mut replies = replies.remove(&conversation.port).unwrap_or_default();
                for reply in &mut replies {
                    reply.left += begin;
                }
                ledger.add(&Heard { conversation, replies, begin }, &mut sent);
            }
        }
        ledger.match_sent(&sent);
        ledger
    }

    /// Owners of mailboxes who had a token by then.
    pub(super) fn known_tokens(&self, cut: usize) -> impl Iterator<Item = (&str, &str)> {
        let left = self.tokens.iter().filter(move |(.., left)| *left <= cut);
        left.map(|(owner, token, _)| (owner.as_str(), token.as_str()))
    }

    /// The last posts that had been answered by then, with the tokens of who posted them.
    pub(super) fn last_posts(&self, cut: usize) -> Vec<(&Post, &str)> {
        let tokens: HashMap<_, _> = self.known_tokens(cut).collect();
        let mut posts: Vec<_> = self.posts.iter().filter(|post| post.left <= cut).collect();
        posts.sort_by_key(|post| std::cmp::Reverse(post.left));
        let last = posts.into_iter().take(REPEATED);
        last.filter_map(|post| Some((post, *tokens.get(post.from.as_str())?))).collect()
    }

    fn add(&mut self, heard: &Heard<'_>, sent: &mut Vec<Vec<Sent>>) {
        if heard.conversation.about_account {
            self.churns.push(churn(heard));
            return;
        }
        let mut sent_here = Vec::new();
        for (at, asked) in heard.conversation.asked.iter().enumerate() {
            match &asked.action {
                Action::Register { user, .. } => {
                    self.registered.push((user.clone(), heard.left(at)));
                }
                Action::Send { from, to, body, key } => {
                    let (from, to, body) = (from.clone(), to.clone(), body.clone());
                    if let (Some(key), Some(reply)) = (key, heard.replies.get(at)) {
                        let id = reply.value["id"].as_str().expect("an id").to_owned();
                        let (from, to, body) = (from.clone(), to.clone(), body.clone());
                        let (key, left) = (key.clone(), reply.left);
                        self.posts.push(Post { from, to, key, body, id, left });
                    }
                    sent_here.push(Sent { from, to, body, left: heard.left(at) });
                }
                Action::Login { user } if heard.left(at) != NEVER => {
                    let token = token(&heard.replies[at].value);
                    self.tokens.push((user.clone(), token, heard.left(at)));
                }
                Action::Peek { user } => self.peeked(user, heard, at),
                Action::Inbox { user, confirms } => self.read(user, *confirms, heard, at),
                Action::Ack { user, id } => {
                    let (possible, told) = (heard.possible(at), heard.left(at));
                    self.mailbox(user).deliveries.push(Delivery { upto: *id, possible, told });
                }
                _ => {}
            }
        }
        sent.push(sent_here);
    }

    fn peeked(&mut self, user: &str, heard: &Heard<'_>, at: usize) {
        let Some(reply) = heard.replies.get(at) else {
            return;
        };
        let incarnation = reply.value["incarnation"].as_str().unwrap();
        let mailbox = self.mailbox(user);
        match &mut mailbox.incarnation {
            Some((known, left)) => {
                assert_eq!(known, incarnation, "{user} has another incarnation");
                *left = reply.left.min(*left);
            }
            None => mailbox.incarnation = Some((incarnation.to_owned(), reply.left)),
        }
        for (id, from, body) in shown_in_peek(&reply.value) {
            mailbox.shown(id, Stored { from, body, known: reply.left });
        }
    }

    fn read(&mut self, user: &str, confirms: bool, heard: &Heard<'_>, at: usize) {
        let Some(reply) = heard.replies.get(at) else {
            return;
        };
        let mailbox = self.mailbox(user);
        let mut last = None;
        for (id, from, body) in shown_in_inbox(&reply.value) {
            mailbox.shown(id, Stored { from, body, known: reply.left });
            last = last.max(Some(id));
        }
        if let (Some(upto), true) = (last, confirms) {
            let (possible, told) = (reply.left, heard.left(at + 1));
            mailbox.deliveries.push(Delivery { upto, possible, told });
        }
    }

    fn mailbox(&mut self, user: &str) -> &mut Mailbox {
        self.mailboxes.entry(user.to_owned()).or_default()
    }

    /// Finds each message that was answered OK, once and in the order of its connection.
    fn match_sent(&mut self, sent: &[Vec<Sent>]) {
        for (owner, mailbox) in &mut self.mailboxes {
            let unseen = mailbox.messages.iter().position(|stored| stored.body.is_empty());
            assert_eq!(unseen, None, "a hole in the mailbox of {owner}");
            let ids = mailbox.messages.iter().enumerate();
            let ids: HashMap<_, _> = ids.map(|(at, stored)| (stored.body.clone(), at)).collect();
            assert_eq!(ids.len(), mailbox.messages.len(), "a message twice for {owner}");
            let mut found = 0;
            for sent in sent {
                let mut last = None;
                for message in sent.iter().filter(|message| message.to == *owner) {
                    let Some(at) = ids.get(&message.body).copied() else {
                        assert_eq!(message.left, NEVER, "lost: {message:?}");
                        continue;
                    };
                    assert!(last < Some(at), "out of order: {message:?}");
                    last = Some(at);
                    let stored = &mut mailbox.messages[at];
                    assert_eq!(stored.from, message.from);
                    stored.known = stored.known.min(message.left);
                    found += 1;
                }
            }
            assert_eq!(found, mailbox.messages.len(), "{owner} has messages nobody sent");
        }
    }
}

impl Mailbox {
    /// What was delivered for sure by then, and what may have been.
    pub(super) fn cursor(&self, cut: usize) -> (u64, u64) {
        let upto = |by: fn(&Delivery) -> usize| {
            let delivered = self.deliveries.iter().filter(|delivery| by(delivery) <= cut);
            delivered.map(|delivery| delivery.upto).max().unwrap_or(0)
        };
        let told = upto(|delivery| delivery.told);
        (told, upto(|delivery| delivery.possible).max(told))
    }

    fn shown(&mut self, id: u64, stored: Stored) {
        let at = usize::try_from(id - 1).unwrap();
        if self.messages.len() <= at {
            let unseen = Stored { from: String::new(), body: String::new(), known: NEVER };
            self.messages.resize(at + 1, unseen);
        }
        let known = &mut self.messages[at];
        if known.body.is_empty() {
            *known = stored;
        } else {
            assert_eq!(
                (&known.from, &known.body),
                (&stored.from, &stored.body),
                "id {id} is reused"
            );
            known.known = known.known.min(stored.known);
        }
    }
}

impl Churn {
    /// Which states the account may be in: the last that was answered, and one more if something was asked.
    pub(super) fn possible(&self, cut: usize) -> std::ops::RangeInclusive<usize> {
        let answered = self.requests.iter().take_while(|(_, left)| *left <= cut).count();
        let asked = self.requests.get(answered).is_some_and(|(possible, _)| *possible <= cut);
        answered..=answered + usize::from(asked)
    }

    /// Every session that there was by then, or may have been, and the latest passwords.
    pub(super) fn questions(&self, cut: usize) -> (BTreeSet<String>, BTreeSet<String>) {
        let past = &self.states[..=*self.possible(cut).end()];
        let passwords =
            past.iter().rev().take(OLD_STATES).filter_map(|state| state.password.clone());
        let sessions = past.iter().flat_map(|state| state.sessions.iter().cloned());
        (sessions.collect(), passwords.collect())
    }
}

/// A conversation with the replies that left.
struct Heard<'a> {
    conversation: &'a Conversation,
    replies: Vec<Reply>,
    /// When the daemon started.
    begin: usize,
}

impl Heard<'_> {
    fn left(&self, request: usize) -> usize {
        self.replies.get(request).map_or(NEVER, |reply| reply.left)
    }

    /// When the client may have asked: when it had what it waited for.
    fn possible(&self, request: usize) -> usize {
        match self.conversation.asked[request].after {
            0 => self.begin,
            after => self.replies[after - 1].left,
        }
    }
}

/// A message that a client sent.
#[derive(Debug)]
struct Sent {
    from: String,
    to: String,
    body: String,
    left: usize,
}

fn churn(heard: &Heard<'_>) -> Churn {
    let mut churn =
        Churn { user: String::new(), states: vec![Account::default()], requests: Vec::new() };
    for (at, asked) in heard.conversation.asked.iter().enumerate() {
        let mut account = churn.states[at].clone();
        match &asked.action {
            Action::Register { user, password } => {
                churn.user.clone_from(user);
                account.password = Some(password.clone());
            }
            Action::Login { .. } => {
                account.sessions.extend(heard.replies.get(at).map(|reply| token(&reply.value)));
            }
            Action::Passwd { token, new } => {
                account.password = Some(new.clone());
                account.sessions.retain(|session| session == token);
            }
            Action::Logout { token } => {
                account.sessions.remove(token);
            }
            other => panic!("{other:?} in a conversation about an account"),
        }
        churn.states.push(account);
        churn.requests.push((heard.possible(at), heard.left(at)));
    }
    churn
}

/// So many states back a password is tried that must not work any more: the last two.
const OLD_STATES: usize = 8;
