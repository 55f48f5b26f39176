//! Reading planned pages.

use std::sync::Arc;

use super::index::{Entry, look_up};
use super::log::{LogError, PageSource, Record, View};
use crate::MessageId;
use crate::store::backend::{Found, PageError, Pages, Placed, Plan};
use crate::store::{AccountNumber, Message, PageLimit, StoreError};

/// Reads pages from a log.
pub(super) struct LogPages(pub(super) Arc<dyn PageSource>);

impl Pages for LogPages {
    fn read(&self, plan: &Plan, limit: PageLimit) -> Result<Found, PageError> {
        let mut page = None;
        let read = self.0.with_view(&mut |view| {
            page = read_page(view, plan, limit)?;
            Ok(())
        });
        match read {
            Ok(()) => page.ok_or(PageError::Outdated),
            Err(error) => {
                error.tell_unreadable("cannot read a page");
                Err(PageError::Store(StoreError::Unavailable))
            }
        }
    }
}

impl Plan {
    /// The page, if all of it is in memory.
    pub(crate) fn in_memory(&self, limit: PageLimit) -> Option<Found> {
        let mut page = Page::new(self, limit);
        while let Some(id) = page.next() {
            match self.placed(id) {
                Some(Placed::Here(message)) => page.push(Arc::clone(message)),
                _ => return None,
            }
        }
        Some(page.finish())
    }

    fn placed(&self, id: MessageId) -> Option<&Placed> {
        let offset = id.get().checked_sub(self.placed_from.get())?;
        self.placed.get(usize::try_from(offset).ok()?)
    }
}

/// The page; `None` if a message that was planned on is gone, or a run that it was to be found by.
fn read_page(view: &dyn View, plan: &Plan, limit: PageLimit) -> Result<Option<Found>, LogError> {
    let mailbox = plan.page.account;
    let mut page = Page::new(plan, limit);
    let mut index = Index { view, plan, found: None, looked: Vec::new() };
    while let Some(id) = page.next() {
        let position = match plan.placed(id) {
            Some(Placed::Here(message)) => {
                page.push(Arc::clone(message));
                continue;
            }
            Some(Placed::At(position)) => Some(*position),
            None => index.position(id, limit)?,
        };
        match find(view, mailbox, id, position)? {
            Some(message) => page.push(message),
            None => return Ok(None),
        }
    }
    Ok(index.is_whole()?.then(|| page.finish()))
}

/// A message at its position in the log, or parked.
pub(super) fn find(
    view: &dyn View,
    mailbox: AccountNumber,
    id: MessageId,
    position: Option<u64>,
) -> Result<Option<Arc<Message>>, LogError> {
    if let Some(position) = position
        && let Some(record) = view.record(position)?
    {
        return match record {
            Record::Message { mailbox: owner, message, .. }
                if owner == mailbox && message.id == id =>
            {
                Ok(Some(message))
            }
            _ => Err(LogError::Failed(format!(
                "the index of mailbox {} is wrong at {id}",
                mailbox.0
            ))),
        };
    }
    Ok(view.parked(mailbox, id)?.map(|parked| parked.message))
}

/// What the index has of the page, once it was asked.
struct Index<'a> {
    view: &'a dyn View,
    plan: &'a Plan,
    /// The first id looked up, and the entries from there on.
    found: Option<(u64, Vec<Option<Entry>>)>,
    /// In which runs.
    looked: Vec<u64>,
}

impl Index<'_> {
    fn position(&mut self, id: MessageId, limit: PageLimit) -> Result<Option<u64>, LogError> {
        let (view, plan) = (self.view, self.plan);
        if self.found.is_none() {
            let most = u64::try_from(limit.messages.max(1)).unwrap_or(u64::MAX);
            let last = plan.last.get().min(plan.placed_from.get().saturating_sub(1));
            let upto = last.min(id.get().saturating_add(most - 1));
            let (found, looked) = look_up(view, &plan.index, plan.page.account, id.get(), upto)?;
            let positions = found.iter().flatten().map(|entry| entry.position);
            let positions: Vec<_> = positions.take(EXPECTED).collect();
            view.expect(&positions);
            (self.found, self.looked) = (Some((id.get(), found)), looked);
        }
        let entry = self.found.as_ref().and_then(|(from, found)| {
            *found.get(usize::try_from(id.get().checked_sub(*from)?).ok()?)?
        });
        Ok(entry.map(|entry| entry.position))
    }

    /// What was looked up counts only if each run still was there whole.
    fn is_whole(&self) -> Result<bool, LogError> {
        for run in &self.looked {
            if !self.view.run_is_complete(*run)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// How many messages of a page are read ahead. More may not fit into it, and each may open a file.
const EXPECTED: usize = 50;

/// A page as it fills.
struct Page {
    messages: Vec<Arc<Message>>,
    bytes: usize,
    limit: PageLimit,
    next: u64,
    last: u64,
    full: bool,
}

impl Page {
    fn new(plan: &Plan, limit: PageLimit) -> Self {
        Self {
            messages: Vec::new(),
            bytes: 0,
            limit,
            next: plan.from.get(),
            last: plan.last.get(),
            full: false,
        }
    }

    /// The id to fetch next, while there is one and there is room.
    fn next(&self) -> Option<MessageId> {
        let room = !self.full && self.messages.len() < self.limit.messages.max(1);
        (room && self.next <= self.last).then(|| MessageId::new(self.next))
    }

    /// Takes a message, unless it is one too many.
    fn push(&mut self, message: Arc<Message>) {
        let cost = (self.limit.cost)(&message);
        if !self.messages.is_empty() && self.bytes.saturating_add(cost) > self.limit.bytes {
            self.full = true;
            return;
        }
        self.bytes = self.bytes.saturating_add(cost);
        self.next += 1;
        self.messages.push(message);
    }

    fn finish(self) -> Found {
        Found { more: self.next <= self.last, messages: self.messages }
    }
}
