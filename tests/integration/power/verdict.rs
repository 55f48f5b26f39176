//! Whether a reopened daemon kept what was promised.

use chat_tests::client::Kept;

use super::ledger::{Account, Ledger, Mailbox, Post};
use super::reopened::{Found, NEWCOMER, NEWS, Reopened};

/// What can be wrong after a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It does not start, serve and stop as it should.
    DoesNotWork(String),
    /// A message was answered OK, or shown, and is not there. Announced if the mailbox has a new incarnation.
    Lost { owner: String, id: u64, announced: bool },
    /// A message is there that the client was told is delivered.
    CameBack { owner: String, id: u64, announced: bool },
    /// A message stands under an id that is not its own, or was never sent.
    Wrong { owner: String, id: u64, body: String },
    /// The ids of two neighbours do not follow one another.
    Hole { owner: String, after: u64 },
    /// The mailbox has another incarnation than was shown.
    NewIncarnation { owner: String },
    /// A token that was handed out does not work.
    NoSession { owner: String, code: String },
    /// An account that was made cannot be used.
    ShutOut { user: String },
    /// Password and sessions are none of what they may be.
    WrongAccount { user: String, found: Account, possible: Vec<Account> },
    /// A message that was posted is posted again and gets another answer than the first time.
    Forgotten { post: Post, answer: String },
    /// A new message does not stand where it belongs.
    Misplaced { owner: String },
}

impl Fault {
    /// Whether relaxed durability allows it: the newest is lost, and clients can see that.
    pub(super) fn is_weakening(&self) -> bool {
        match self {
            Self::Lost { announced, .. } | Self::CameBack { announced, .. } => *announced,
            Self::NewIncarnation { .. }
            | Self::NoSession { .. }
            | Self::ShutOut { .. }
            | Self::Forgotten { .. }
            | Self::WrongAccount { .. } => true,
            Self::DoesNotWork(_)
            | Self::Wrong { .. }
            | Self::Hole { .. }
            | Self::Misplaced { .. } => false,
        }
    }
}

/// All that is wrong.
pub(super) fn judge(ledger: &Ledger, cut: usize, reopened: &Reopened) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (owner, found) in &reopened.mailboxes {
        match found {
            Ok(found) => judge_mailbox(owner, &ledger.mailboxes[owner], cut, found, &mut faults),
            Err(code) => {
                faults.push(Fault::NoSession { owner: owner.clone(), code: code.clone() });
            }
        }
    }
    let shut_out = reopened.shut_out.iter().cloned();
    faults.extend(shut_out.map(|user| Fault::ShutOut { user }));
    for (churn, found) in ledger.churns.iter().zip(&reopened.accounts) {
        let possible = &churn.states[churn.possible(cut)];
        if !possible.contains(found) {
            let (user, possible) = (churn.user.clone(), possible.to_vec());
            faults.push(Fault::WrongAccount { user, found: found.clone(), possible });
        }
    }
    let forgotten = reopened.forgotten.iter().cloned();
    faults.extend(forgotten.map(|(post, answer)| Fault::Forgotten { post, answer }));
    match &reopened.went_on {
        Ok((owner, found)) if goes_on(ledger, cut, reopened, owner, found) => {}
        Ok((owner, _)) => faults.push(Fault::Misplaced { owner: owner.clone() }),
        Err(why) => faults.push(Fault::DoesNotWork(why.clone())),
    }
    faults
}

fn judge_mailbox(
    owner: &str,
    mailbox: &Mailbox,
    cut: usize,
    found: &Found,
    faults: &mut Vec<Fault>,
) {
    let owned = || owner.to_owned();
    let (told, possible) = mailbox.cursor(cut);
    let announced = mailbox.has_new_incarnation(found);
    for pair in found.messages.windows(2) {
        if pair[1].id != pair[0].id + 1 {
            faults.push(Fault::Hole { owner: owned(), after: pair[0].id });
        }
    }
    for kept in &found.messages {
        if kept.id <= told {
            faults.push(Fault::CameBack { owner: owned(), id: kept.id, announced });
        }
        if !mailbox.has(kept) {
            let (id, body) = (kept.id, kept.body.clone());
            faults.push(Fault::Wrong { owner: owned(), id, body });
        }
    }
    let is_there = |id: u64| found.messages.iter().any(|kept| kept.id == id);
    // What may be delivered may be gone, but only from the front.
    let first = found.messages.first().map_or(possible + 1, |kept| kept.id.min(possible + 1));
    let missing = mailbox.known(cut).filter(|id| *id >= first && !is_there(*id));
    faults.extend(missing.map(|id| Fault::Lost { owner: owned(), id, announced }));
    let was_shown = mailbox.incarnation.as_ref().is_some_and(|(_, shown)| *shown <= cut);
    if announced && was_shown {
        faults.push(Fault::NewIncarnation { owner: owned() });
    }
}

/// Whether the newcomer's message is the one more, behind all that was there or shown.
fn goes_on(ledger: &Ledger, cut: usize, before: &Reopened, owner: &str, found: &Found) -> bool {
    let Some((news, rest)) = found.messages.split_last() else {
        return false;
    };
    let there: &[Kept] = match before.mailboxes.get(owner) {
        Some(Ok(before)) => &before.messages,
        _ => &[],
    };
    let (least, most) = match (there.last(), ledger.mailboxes.get(owner)) {
        (Some(last), _) => (last.id + 1, last.id + 1),
        (None, Some(mailbox)) => {
            let known = mailbox.known(cut).max().unwrap_or(0);
            let least = if mailbox.has_new_incarnation(found) { 1 } else { known + 1 };
            (least, mailbox.cursor(cut).1.max(known) + 1)
        }
        (None, None) => (1, 1),
    };
    rest == there
        && (least..=most).contains(&news.id)
        && (&*news.from, &*news.body) == (NEWCOMER, NEWS)
}

impl Mailbox {
    /// Whether it is another than in the recorded run, which had but one.
    fn has_new_incarnation(&self, found: &Found) -> bool {
        self.incarnation.as_ref().is_some_and(|(known, _)| *known != found.incarnation)
    }

    fn has(&self, kept: &Kept) -> bool {
        let at = usize::try_from(kept.id - 1).unwrap();
        let stored = self.messages.get(at);
        stored.is_some_and(|stored| stored.from == kept.from && stored.body == kept.body)
    }

    /// The ids of what was answered OK or shown by then.
    fn known(&self, cut: usize) -> impl Iterator<Item = u64> {
        let known = (1..).zip(&self.messages).filter(move |(_, stored)| stored.known <= cut);
        known.map(|(id, _)| id)
    }
}

mod the_judge {
    use super::*;
    use crate::power::ledger::{Churn, Delivery, NEVER, Stored};

    /// At record 10 messages 1 to 4 are known and 5 is not; 1 was told delivered, 2 may be.
    fn ledger() -> Ledger {
        let messages = (1..=5).map(|n| Stored {
            from: "budi".to_owned(),
            body: format!("m{n}"),
            known: if n == 5 { 11 } else { n },
        });
        let delivery = |upto, possible, told| Delivery { upto, possible, told };
        let mailbox = Mailbox {
            messages: messages.collect(),
            deliveries: vec![delivery(1, 2, 3), delivery(2, 9, NEVER), delivery(4, 11, NEVER)],
            incarnation: Some(("i".to_owned(), 1)),
        };
        let account =
            |password: &str| Account { password: Some(password.to_owned()), ..Account::default() };
        let churn = Churn {
            user: "cici".to_owned(),
            states: vec![Account::default(), account("old"), account("new"), account("newer")],
            requests: vec![(1, 2), (3, 12), (12, 13)],
        };
        Ledger {
            mailboxes: [("ana".to_owned(), mailbox)].into(),
            churns: vec![churn],
            ..Ledger::default()
        }
    }

    fn found(ids: &[u64]) -> Found {
        let kept = |id: &u64| Kept { id: *id, from: "budi".to_owned(), body: format!("m{id}") };
        Found { incarnation: "i".to_owned(), messages: ids.iter().map(kept).collect() }
    }

    fn reopened(found: Found) -> Reopened {
        let mut after = found.clone();
        let id = found.messages.last().map_or(5, |last| last.id + 1);
        after.messages.push(Kept { id, from: NEWCOMER.to_owned(), body: NEWS.to_owned() });
        Reopened {
            mailboxes: [("ana".to_owned(), Ok(found))].into(),
            shut_out: Vec::new(),
            accounts: vec![ledger().churns[0].states[1].clone()],
            forgotten: Vec::new(),
            went_on: Ok(("ana".to_owned(), after)),
        }
    }

    fn verdict(reopened: &Reopened) -> Vec<Fault> {
        judge(&ledger(), 10, reopened)
    }

    fn owner() -> String {
        "ana".to_owned()
    }

    #[test]
    fn accepts_what_may_be() {
        for ids in [&[2, 3, 4][..], &[3, 4], &[2, 3, 4, 5], &[3, 4, 5]] {
            assert_eq!(verdict(&reopened(found(ids))), [], "{ids:?}");
        }
        let mut changed = reopened(found(&[3, 4]));
        changed.accounts = vec![ledger().churns[0].states[2].clone()];
        assert_eq!(verdict(&changed), []);
    }

    #[test]
    fn catches_each_fault_of_a_mailbox() {
        let lost = |id| Fault::Lost { owner: owner(), id, announced: false };
        assert_eq!(verdict(&reopened(found(&[3]))), [lost(4)]);
        assert_eq!(verdict(&reopened(found(&[4]))), [lost(3)]);
        assert_eq!(verdict(&reopened(found(&[]))), [lost(3), lost(4)]);
        let back = Fault::CameBack { owner: owner(), id: 1, announced: false };
        assert_eq!(verdict(&reopened(found(&[1, 2, 3, 4]))), [back]);
        let hole = Fault::Hole { owner: owner(), after: 2 };
        assert_eq!(verdict(&reopened(found(&[2, 4]))), [hole, lost(3)]);
        let mut other = found(&[3, 4]);
        other.messages[1].body = "m9".to_owned();
        let wrong = Fault::Wrong { owner: owner(), id: 4, body: "m9".to_owned() };
        assert_eq!(verdict(&reopened(other)), [wrong]);
        let invented = Fault::Wrong { owner: owner(), id: 6, body: "m6".to_owned() };
        assert_eq!(verdict(&reopened(found(&[3, 4, 5, 6]))), [invented]);
        let mut fresh = found(&[3]);
        fresh.incarnation = "j".to_owned();
        let lost = Fault::Lost { owner: owner(), id: 4, announced: true };
        let new = Fault::NewIncarnation { owner: owner() };
        assert_eq!(verdict(&reopened(fresh)), [lost, new]);
    }

    #[test]
    fn catches_every_other_fault() {
        let mut refused = reopened(found(&[3, 4]));
        refused.mailboxes.insert(owner(), Err("no_session".to_owned()));
        refused.shut_out.push("dedi".to_owned());
        refused.accounts = vec![ledger().churns[0].states[3].clone()];
        refused.went_on = Err("busy".to_owned());
        let post = Post {
            from: "budi".to_owned(),
            to: owner(),
            key: "k".to_owned(),
            body: "m1".to_owned(),
            id: "0a".to_owned(),
            left: 1,
        };
        refused.forgotten = vec![(post.clone(), "{}".to_owned())];
        let churn = &ledger().churns[0];
        let wanted = [
            Fault::NoSession { owner: owner(), code: "no_session".to_owned() },
            Fault::ShutOut { user: "dedi".to_owned() },
            Fault::WrongAccount {
                user: "cici".to_owned(),
                found: churn.states[3].clone(),
                possible: churn.states[1..=2].to_vec(),
            },
            Fault::Forgotten { post, answer: "{}".to_owned() },
            Fault::DoesNotWork("busy".to_owned()),
        ];
        assert_eq!(verdict(&refused), wanted);
    }

    #[test]
    fn a_new_message_goes_behind_everything() {
        let misplaced = [Fault::Misplaced { owner: owner() }];
        let with_news = |ids: &[u64], id| {
            let mut reopened = reopened(found(ids));
            if let Ok((_, after)) = &mut reopened.went_on {
                after.messages.last_mut().unwrap().id = id;
            }
            verdict(&reopened)
        };
        assert_eq!(with_news(&[3, 4], 5), []);
        assert_eq!(with_news(&[3, 4], 6), misplaced);
        assert_eq!(with_news(&[3, 4], 4), misplaced);
    }
}
