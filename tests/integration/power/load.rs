//! What the daemon is put to while it is recorded.

use std::io;
use std::sync::Arc;

use fastrand::Rng;
use serde_json::Value;

use super::talk::{Action, Talker};

/// People who write and read; most of them are in phase 1 only and then get mail.
#[derive(Debug)]
pub(super) struct People {
    /// By number.
    pub(super) tokens: Vec<String>,
}

/// Those that the busy connections write to and read from.
pub(super) const ACTIVE: usize = 8;
/// All with a mailbox..
pub(super) const PEOPLE: usize = 200;

pub(super) fn name(person: usize) -> String {
    format!("p{person:03}")
}

/// One kind of connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// Sends to anybody, a few at a time.
    Sender(usize),
    /// Sends everybody something, many at a time.
    Sweeper,
    /// Peeks and acknowledges.
    Acker(usize, usize),
    /// Reads `inbox` as existing clients do.
    Inboxer(usize),
    /// Reads `inbox` and acknowledges.
    InboxAcker(usize),
    /// Logs in and out and changes a password.
    Churner(usize),
}

/// Two mailboxes are never read, and grow.
pub(super) const PARTS: [Part; 15] = [
    Part::Sender(0),
    Part::Sender(1),
    Part::Sender(2),
    Part::Sender(6),
    Part::Sender(7),
    Part::Sweeper,
    Part::Acker(0, 3),
    Part::Acker(ACTIVE, 40),
    Part::Inboxer(3),
    Part::Inboxer(4),
    Part::InboxAcker(5),
    Part::InboxAcker(ACTIVE + 50),
    Part::Churner(0),
    Part::Churner(1),
    Part::Churner(2),
];

impl Part {
    /// Plays it to the end, or until the connection breaks.
    pub(super) async fn play(
        self,
        talker: &mut Talker,
        people: Arc<People>,
        mut random: Rng,
    ) -> io::Result<()> {
        match self {
            Self::Sender(person) => send(talker, &people, person, &mut random).await,
            Self::Sweeper => sweep(talker, &people).await,
            Self::Acker(first, count) => {
                for _ in 0..ROUNDS {
                    acknowledge(talker, &people, first..first + count, &mut random).await?;
                }
                Ok(())
            }
            Self::Inboxer(person) => read_inbox(talker, &people, person).await,
            Self::InboxAcker(person) => {
                greet(talker).await?;
                acknowledge_inbox(talker, &people, person).await
            }
            Self::Churner(number) => churn(talker, number).await,
        }
    }
}

/// Makes accounts and logs them in; gives their tokens.
pub(super) async fn sign_up(
    talker: &mut Talker,
    people: impl IntoIterator<Item = usize>,
) -> io::Result<Vec<String>> {
    let mut tokens = Vec::new();
    for person in people {
        let user = name(person);
        let requests = [register(&user, PASSWORD), login(&user, PASSWORD)];
        let replies = talker.all(requests).await?;
        tokens.push(token(&replies[1]));
    }
    Ok(tokens)
}

/// Shows everything that is undelivered.
pub(super) async fn drain(talker: &mut Talker, people: &People) -> io::Result<()> {
    for person in 0..PEOPLE {
        let mut after = "-".to_owned();
        loop {
            let page = peek(talker, people, person, &after, 1_000).await?;
            after = last_id(&page).map_or(after, |id| id.to_string());
            if page["more"] != true {
                break;
            }
        }
    }
    Ok(())
}

async fn send(
    talker: &mut Talker,
    people: &People,
    person: usize,
    random: &mut Rng,
) -> io::Result<()> {
    let from = name(person);
    for burst in 0..BURSTS {
        let messages: Vec<_> = (0..random.usize(1..=4))
            .map(|n| {
                let anybody = random.u8(..4) == 0;
                let to = random.usize(..if anybody { PEOPLE } else { ACTIVE });
                let most = if random.u8(..) < 16 { MOST_PADDING } else { USUAL_PADDING };
                let padding = "x".repeat(random.usize(..most));
                let body = format!("{}/{from}/{burst}/{n}/{padding}", talker.life());
                message(people, person, to, body)
            })
            .collect();
        talker.all(messages).await?;
    }
    Ok(())
}

async fn sweep(talker: &mut Talker, people: &People) -> io::Result<()> {
    for sweep in 0..SWEEPS {
        let everybody: Vec<usize> = (0..PEOPLE).collect();
        for some in everybody.chunks(SWEPT_AT_ONCE) {
            let life = talker.life();
            let body = |to: usize| format!("{life}/sweep/{sweep}/{to}");
            talker.all(some.iter().map(|to| message(people, SWEEPER, *to, body(*to)))).await?;
        }
    }
    Ok(())
}

async fn acknowledge(
    talker: &mut Talker,
    people: &People,
    persons: std::ops::Range<usize>,
    random: &mut Rng,
) -> io::Result<()> {
    for person in persons {
        let page = peek(talker, people, person, "-", 20).await?;
        let Some(last) = last_id(&page) else {
            continue;
        };
        let shown = u64::try_from(page["messages"].as_array().unwrap().len()).unwrap();
        // Now and then only a part of what was shown, or something again.
        let id = if random.u8(..4) == 0 {
            last.saturating_sub(random.u64(..=shown)).max(1)
        } else {
            last
        };
        let incarnation = page["incarnation"].as_str().unwrap();
        let line = format!("ack {} {id} {incarnation}", people.tokens[person]);
        talker.one(Action::Ack { user: name(person), id }, line).await?;
    }
    Ok(())
}

async fn read_inbox(talker: &mut Talker, people: &People, person: usize) -> io::Result<()> {
    for _ in 0..ROUNDS {
        inbox(talker, people, person, true).await?;
    }
    Ok(())
}

async fn acknowledge_inbox(talker: &mut Talker, people: &People, person: usize) -> io::Result<()> {
    for _ in 0..ROUNDS {
        let page = inbox(talker, people, person, false).await?;
        if let Some(id) = shown_in_inbox(&page).map(|(id, ..)| id).max() {
            let line = format!("ack {} {id}", people.tokens[person]);
            talker.one(Action::Ack { user: name(person), id }, line).await?;
        }
    }
    Ok(())
}

async fn churn(talker: &mut Talker, number: usize) -> io::Result<()> {
    let user = format!("c{}-{number}", talker.life());
    let password = |change: usize| format!("surabaya-{change}");
    let (action, line) = register(&user, &password(0));
    talker.one(action, line).await?;
    for change in 0..CHANGES {
        let (old, new) = (password(change), password(change + 1));
        let (action, line) = login(&user, &old);
        let stays = token(&talker.one(action, line).await?);
        let (action, line) = login(&user, &old);
        talker.one(action, line).await?;
        let passwd = Action::Passwd { token: stays.clone(), new: new.clone() };
        talker.one(passwd, format!("passwd {stays} {old} {new}")).await?;
        if change % 2 == 1 {
            talker.one(Action::Logout { token: stays.clone() }, format!("logout {stays}")).await?;
        }
    }
    Ok(())
}

async fn greet(talker: &mut Talker) -> io::Result<()> {
    talker.one(Action::Hello, "hello explicit_ack".to_owned()).await.map(drop)
}

async fn peek(
    talker: &mut Talker,
    people: &People,
    person: usize,
    after: &str,
    limit: usize,
) -> io::Result<Value> {
    let line = format!("peek {} {after} {limit}", people.tokens[person]);
    talker.one(Action::Peek { user: name(person) }, line).await
}

async fn inbox(
    talker: &mut Talker,
    people: &People,
    person: usize,
    confirms: bool,
) -> io::Result<Value> {
    let action = Action::Inbox { user: name(person), confirms };
    talker.one(action, format!("inbox {}", people.tokens[person])).await
}

fn register(user: &str, password: &str) -> (Action, String) {
    let action = Action::Register { user: user.to_owned(), password: password.to_owned() };
    (action, format!("register {user} {password}"))
}

fn login(user: &str, password: &str) -> (Action, String) {
    (Action::Login { user: user.to_owned() }, format!("auth {user} {password}"))
}

fn message(people: &People, from: usize, to: usize, body: String) -> (Action, String) {
    let (token, recipient) = (&people.tokens[from], name(to));
    // About one of two is posted.
    let key =
        body.len().is_multiple_of(2).then(|| format!("{recipient}/{}", body.trim_end_matches('x')));
    let line = match &key {
        Some(key) => format!("post {token} {key} {recipient} {body}"),
        None => format!("send {token} {recipient} {body}"),
    };
    (Action::Send { from: name(from), to: recipient, body, key }, line)
}

pub(super) fn token(reply: &Value) -> String {
    reply["tokenid"].as_str().expect("a token").to_owned()
}

/// Id, sender and text of each message of a `peek`.
pub(super) fn shown_in_peek(page: &Value) -> impl Iterator<Item = (u64, String, String)> {
    let messages = page["messages"].as_array().expect("a list").iter();
    messages.map(|message| {
        let text = |key: &str| message[key].as_str().expect(key).to_owned();
        (text("id").parse().unwrap(), text("from"), text("body"))
    })
}

/// The same of an `inbox`.
pub(super) fn shown_in_inbox(page: &Value) -> impl Iterator<Item = (u64, String, String)> {
    let senders = page["messages"].as_object().expect("lists by sender").iter();
    senders.flat_map(|(sender, messages)| {
        messages.as_array().unwrap().iter().map(move |message| {
            let text = |key: &str| message[key].as_str().expect(key).to_owned();
            (text("id").parse().unwrap(), sender.clone(), text("msg"))
        })
    })
}

fn last_id(page: &Value) -> Option<u64> {
    shown_in_peek(page).map(|(id, ..)| id).last()
}

pub(super) const PASSWORD: &str = "surabaya-1";
const SWEEPER: usize = 8;
const BURSTS: usize = 40;
const SWEEPS: usize = 2;
const SWEPT_AT_ONCE: usize = 50;
/// How often a reader looks.
const ROUNDS: usize = 40;
/// How often a password changes.
const CHANGES: usize = 6;
const USUAL_PADDING: usize = 200;
/// Now and then a message takes more than a page of the store's file.
const MOST_PADDING: usize = 6_000;
