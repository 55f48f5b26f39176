//! Reading planned pages of conversations.

use std::fmt;
use std::sync::Arc;

use super::incarnations::incarnation_tag;
use super::log::{LogError, PageSource, Record, RunKind, View};
use super::opaque::Opaque;
use super::runs::{Backward, Key};
use crate::store::backend::{PageError, PlannedHistory};
use crate::store::{
    AccountNumber, Conversation, ConversationEntry, EntryId, HistoryCursor, Message, PageLimit,
    StoreError,
};

/// A page of a conversation that was decided on but is not read yet.
pub(super) struct HistoryPlan {
    /// The page without its entries.
    pub(super) conversation: Conversation,
    pub(super) naming: Naming,
    /// Only what lies before this position in the log belongs to the page.
    pub(super) below: u64,
    /// Where the log begins.
    pub(super) start: u64,
    /// The newest that no run has, newest first.
    pub(super) memory: Vec<InMemory>,
    /// The runs and the newest position in each, newest first.
    pub(super) runs: Vec<(u64, u64)>,
    pub(super) source: Arc<dyn PageSource>,
}

/// A message that no run has: where it is, or the message itself.
#[derive(Debug)]
pub(super) struct InMemory {
    pub(super) position: u64,
    pub(super) message: Option<Arc<Message>>,
}

impl fmt::Debug for HistoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryPlan").field("below", &self.below).finish_non_exhaustive()
    }
}

impl PlannedHistory for HistoryPlan {
    fn in_memory(&self, limit: PageLimit) -> Option<Conversation> {
        self.page(None, limit).ok()
    }

    fn read(&self, limit: PageLimit) -> Result<Conversation, PageError> {
        let mut page = Err(PageError::Outdated);
        let read = self.source.with_view(&mut |view| {
            page = match self.page(Some(view), limit) {
                Ok(page) => Ok(page),
                Err(Stop::NotInMemory | Stop::Outdated) => Err(PageError::Outdated),
                Err(Stop::Failed(error)) => return Err(error),
            };
            Ok(())
        });
        read.map_err(|error| {
            error.tell_unreadable("cannot read a conversation");
            PageError::Store(StoreError::Unavailable)
        })?;
        page
    }
}

/// Why a page cannot be read as it was planned.
enum Stop {
    /// It takes the disk.
    NotInMemory,
    /// A run is not complete any more.
    Outdated,
    Failed(LogError),
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Failed(error)
    }
}

impl HistoryPlan {
    fn page(&self, view: Option<&dyn View>, limit: PageLimit) -> Result<Conversation, Stop> {
        let mut newest = Newest::new(self, view);
        let mut entries = Vec::new();
        let (mut bytes, mut oldest, mut more) = (0_usize, self.below, false);
        while let Some((position, message)) = newest.next()? {
            if entries.len() >= limit.messages.max(1) {
                more = true;
                break;
            }
            let Some((out, message)) = self.message(view, position, message)? else { break };
            bytes = bytes.saturating_add((limit.cost)(&message));
            if !entries.is_empty() && bytes > limit.bytes {
                more = true;
                break;
            }
            oldest = position;
            entries.push(self.naming.entry(position, out, message));
        }
        newest.check()?;
        entries.reverse();
        let next = more.then(|| self.naming.close(oldest));
        Ok(Conversation { entries, next, ..self.conversation.clone() })
    }

    /// The message at a position, and whether the user who asks sent it; `None` if it was trimmed.
    fn message(
        &self,
        view: Option<&dyn View>,
        position: u64,
        message: Option<Arc<Message>>,
    ) -> Result<Option<(bool, Arc<Message>)>, Stop> {
        let Naming { account, peer, .. } = self.naming;
        if let Some(message) = message {
            return Ok(Some((message.sender == account && account != peer, message)));
        }
        match view.ok_or(Stop::NotInMemory)?.record(position)? {
            None => Ok(None),
            Some(Record::Message { mailbox, message, .. })
                if (message.sender, mailbox) == (peer, account) =>
            {
                Ok(Some((false, message)))
            }
            Some(Record::Message { mailbox, message, .. })
                if (message.sender, mailbox) == (account, peer) =>
            {
                Ok(Some((true, message)))
            }
            Some(_) => {
                Err(LogError::Failed(format!("position {position} is not of its conversation"))
                    .into())
            }
        }
    }
}

/// Where the messages of a conversation lie, newest first, as far as the log has them.
struct Newest<'a> {
    plan: &'a HistoryPlan,
    view: Option<&'a dyn View>,
    memory: &'a [InMemory],
    /// Both ways of each run that is open.
    open: Vec<Way>,
    /// Runs not open yet: while something newer is at hand they need not be.
    closed: &'a [(u64, u64)],
}

/// A position, and the message there if it is in memory.
type Newer = (u64, Option<Arc<Message>>);

/// What a run has of one direction.
struct Way {
    from: AccountNumber,
    to: AccountNumber,
    cursor: Backward,
}

impl Way {
    /// The newest position not given yet.
    fn position(&self) -> Option<u64> {
        let Key([from, to, position]) = self.cursor.key()?;
        ((from, to) == (self.from.0, self.to.0)).then_some(position)
    }
}

impl<'a> Newest<'a> {
    fn new(plan: &'a HistoryPlan, view: Option<&'a dyn View>) -> Self {
        Self { plan, view, memory: &plan.memory, open: Vec::new(), closed: &plan.runs }
    }

    /// The next message's position, and the message if it is in memory.
    fn next(&mut self) -> Result<Option<Newer>, Stop> {
        while let Some((run, rest)) = self.next_run() {
            self.open_run(run)?;
            self.closed = rest;
        }
        let Some(position) = self.newest().filter(|position| *position >= self.plan.start) else {
            return Ok(None);
        };
        let mut message = None;
        if let Some((first, rest)) = self.memory.split_first()
            && first.position == position
        {
            message.clone_from(&first.message);
            self.memory = rest;
        }
        if let Some(view) = self.view {
            for way in self.open.iter_mut().filter(|way| way.position() == Some(position)) {
                way.cursor.advance(view)?;
            }
        }
        Ok(Some((position, message)))
    }

    /// The newest position at hand.
    fn newest(&self) -> Option<u64> {
        let open = self.open.iter().filter_map(Way::position);
        open.chain(self.memory.first().map(|first| first.position)).max()
    }

    /// A run that may have something newer than what is at hand, and the runs after it.
    fn next_run(&self) -> Option<(u64, &'a [(u64, u64)])> {
        let ((run, until), rest) = self.closed.split_first()?;
        let older = self.newest().is_none_or(|newest| newest < *until);
        (older && *until >= self.plan.start).then_some((*run, rest))
    }

    fn open_run(&mut self, run: u64) -> Result<(), Stop> {
        let view = self.view.ok_or(Stop::NotInMemory)?;
        let Naming { account, peer, .. } = self.plan.naming;
        for (from, to) in ways(account, peer) {
            let below = Key([from.0, to.0, self.plan.below]);
            let cursor = Backward::below(view, RunKind::Conversations, run, below)?;
            self.open.push(Way { from, to, cursor });
        }
        Ok(())
    }

    /// What was read counts only if each run still was there whole when everything was read.
    fn check(&self) -> Result<(), Stop> {
        let Some(view) = self.view else { return Ok(()) };
        let opened = self.plan.runs.len() - self.closed.len();
        for (run, _) in self.plan.runs.iter().take(opened) {
            if !view.run_is_complete(*run)? {
                return Err(Stop::Outdated);
            }
        }
        Ok(())
    }
}

/// From whom to whom the messages of a conversation go: both ways, which are one with oneself.
pub(super) fn ways(
    account: AccountNumber,
    peer: AccountNumber,
) -> impl Iterator<Item = (AccountNumber, AccountNumber)> {
    let back = (account != peer).then_some((peer, account));
    std::iter::once((account, peer)).chain(back)
}

/// How a conversation is called from outside.
#[derive(Debug)]
pub(super) struct Naming {
    pub(super) opaque: Arc<Opaque>,
    pub(super) account: AccountNumber,
    pub(super) peer: AccountNumber,
    pub(super) incarnations: Vec<(u64, [u8; 16])>,
}

impl Naming {
    fn entry(&self, position: u64, out: bool, message: Arc<Message>) -> ConversationEntry {
        let tag = incarnation_tag(&self.incarnations, position);
        let id = match out {
            true => EntryId::Out(self.opaque.sent(self.peer, message.id, tag)),
            false => EntryId::In(message.id),
        };
        ConversationEntry { id, message }
    }

    fn close(&self, position: u64) -> HistoryCursor {
        self.opaque.cursor(position, self.tag())
    }

    /// The position a cursor stands for, if it is one of this conversation.
    pub(super) fn open(&self, cursor: HistoryCursor) -> Option<u64> {
        let (position, tag) = self.opaque.open_cursor(cursor);
        (tag == self.tag()).then_some(position)
    }

    /// Names the conversation: there are fewer than 2^32 accounts.
    fn tag(&self) -> u64 {
        self.account.0.rotate_left(32) ^ self.peer.0
    }
}
