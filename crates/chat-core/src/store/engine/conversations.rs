//! Conversations: who has written to whom, and where in the log.

use std::sync::Arc;

use super::history::{HistoryPlan, InMemory, Naming, ways};
use super::log::{AccountRow, Log, Record, RunKind};
use super::runs::{Backward, Forward, Key, Probe};
use super::stretch::Stretch;
use super::{Engine, State};
use crate::Timestamp;
use crate::store::request::{Answer, Outcome};
use crate::store::{AccountNumber, Conversation, HistoryCursor, SessionKey, StoreError};

impl<L: Log> Engine<L> {
    /// Whether the one ever wrote to the other, as far back as anybody can remember.
    pub(super) fn has_written(
        &mut self,
        sender: AccountNumber,
        recipient: AccountNumber,
    ) -> Result<bool, StoreError> {
        let state = self.state.as_ref().ok_or(StoreError::Unavailable)?;
        let end = Key([sender.0, recipient.0, u64::MAX]);
        let is =
            |key: Option<Key>| key.is_some_and(|Key([a, b, _])| a == sender.0 && b == recipient.0);
        if state.stretches().any(|stretch| is(stretch.conversations.last_below(end))) {
            return Ok(true);
        }
        let probe = Probe::new([sender.0, recipient.0, 0]);
        for run in state.runs.conversations.iter().filter(|run| run.may_have(&probe)) {
            let found = Backward::below(&self.log, RunKind::Conversations, run.number, end);
            if is(found.map_err(Self::unreadable)?.key()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whom an account wrote to: up to `limit` of them, in order of number.
    pub(super) fn contacts(
        &mut self,
        sender: AccountNumber,
        limit: usize,
    ) -> Result<Vec<AccountNumber>, StoreError> {
        let state = self.state.as_ref().ok_or(StoreError::Unavailable)?;
        let mut from = Key([sender.0, 0, 0]);
        let begin = |run: &super::runs::Run| {
            Forward::from(&self.log, RunKind::Conversations, run.number, from)
        };
        let runs = state.runs.conversations.iter().map(begin);
        let mut runs = runs.collect::<Result<Vec<_>, _>>().map_err(Self::unreadable)?;
        let mut contacts = Vec::new();
        while contacts.len() < limit {
            let recent =
                state.stretches().filter_map(|stretch| stretch.conversations.first_from(from));
            let next = recent.chain(runs.iter().filter_map(Forward::key)).min();
            let Some(Key([_, recipient, _])) = next.filter(|Key([owner, ..])| *owner == sender.0)
            else {
                break;
            };
            contacts.push(AccountNumber(recipient));
            from = Key([sender.0, recipient.saturating_add(1), 0]);
            for run in &mut runs {
                run.seek(&self.log, from).map_err(Self::unreadable)?;
            }
        }
        Ok(contacts)
    }

    pub(super) fn history(
        &mut self,
        session: SessionKey,
        with: &str,
        cursor: Option<HistoryCursor>,
        messages: usize,
        now: Timestamp,
    ) -> Outcome {
        let account = self.user(session, now)?;
        let plan = self.plan_history(account, with, cursor, messages)?;
        Ok(Answer::History(Box::new(plan)))
    }

    /// Plans a page of an account's conversation with a user.
    pub(super) fn plan_history(
        &mut self,
        account: AccountNumber,
        with: &str,
        cursor: Option<HistoryCursor>,
        messages: usize,
    ) -> Result<HistoryPlan, StoreError> {
        let AccountRow { number: peer, username: peer_name, .. } = self.known_account(with)?;
        let (username, _) = self.names(account)?;
        let conversation = Conversation {
            username,
            peer: peer_name,
            incarnation: self.incarnation(account)?,
            entries: Vec::new(),
            next: None,
        };
        let source = self.log.pages();
        let state = self.state()?;
        let naming = Naming {
            opaque: Arc::clone(&state.opaque),
            account,
            peer,
            incarnations: state.incarnations.clone(),
        };
        let below = match cursor {
            Some(cursor) => naming.open(cursor).ok_or(StoreError::BadArguments(FOREIGN_CURSOR))?,
            None => u64::MAX,
        };
        let memory = state.newest(account, peer, below, messages.max(1).saturating_add(1));
        let mut runs: Vec<_> =
            state.runs.conversations.iter().map(|run| (run.number, run.until)).collect();
        runs.sort_by_key(|(_, until)| std::cmp::Reverse(*until));
        let start = state.start;
        Ok(HistoryPlan { conversation, naming, below, start, memory, runs, source })
    }
}

impl State {
    /// The newest messages between two accounts below a position that no run has yet, at most so many, newest first.
    fn newest(
        &self,
        account: AccountNumber,
        peer: AccountNumber,
        below: u64,
        most: usize,
    ) -> Vec<InMemory> {
        let mut found: Vec<_> = ways(account, peer)
            .flat_map(|(from, to)| {
                let (low, high) = (Key([from.0, to.0, 0]), Key([from.0, to.0, below]));
                let range = move |stretch: &'_ Stretch| {
                    stretch.conversations.range(low, high, most).collect::<Vec<_>>()
                };
                self.stretches().flat_map(range)
            })
            .map(|Key([_, _, position])| position)
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.truncate(most);
        let place = |position| {
            let pending = || match self.pending.get(position) {
                Some(Record::Message { message, .. }) => Some(message),
                _ => None,
            };
            InMemory { position, message: self.recent.get(position).or_else(pending).cloned() }
        };
        found.into_iter().map(place).collect()
    }
}

const FOREIGN_CURSOR: &str = "CURSOR is the `next` of a page of this conversation";
