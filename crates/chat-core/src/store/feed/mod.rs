//! [`Feed`]: what the actor hands a watch, bounded.

mod marks;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{SessionEnd, WatchEvent, WatchId};
use crate::{MessageId, Timestamp};
pub(crate) use marks::Marks;

/// Shared by the actor, which offers events and never waits, and one watch, which takes them.
///
/// The queue is contiguous: when it is full the feed is marked lagging and takes nothing more until the watch has asked
/// for a [`seam`](Self::seam), from which on what it missed comes from the store.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) id: WatchId,
    most_events: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<WatchEvent>,
    /// Bytes of the bodies in the queue.
    bytes: usize,
    /// Messages up to this id come from the store; all of them, without one.
    after: Option<MessageId>,
    lagging: bool,
    /// It lagged, and a seam ended that before the watch came to see it.
    missed: bool,
    end: Option<End>,
    waker: Option<Waker>,
    marks: Marks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Session(SessionEnd),
    StoreClosed,
}

/// What a watch finds in its feed.
#[derive(Debug)]
pub(crate) enum Taken {
    Event(WatchEvent),
    /// What follows has to come from the store.
    Lagging,
    Ended(SessionEnd),
}

/// The store was closed: nothing comes any more.
#[derive(Debug)]
pub(crate) struct StoreClosed;

/// The actor's side. What wakes the watch is for the caller to call, when the whole batch is offered.
impl Feed {
    /// Takes no messages until there is a [`seam`](Self::seam). Its watch had everything up to `shown`.
    pub(crate) fn new(id: WatchId, shown: MessageId, most_events: usize) -> Self {
        let state = State {
            queue: VecDeque::new(),
            bytes: 0,
            after: None,
            lagging: false,
            missed: false,
            end: None,
            waker: None,
            marks: Marks::new(shown),
        };
        Self { id, most_events, state: Mutex::new(state) }
    }

    /// Adds an event, if it is one that the watch does not get from the store.
    #[must_use]
    pub(crate) fn offer(&self, event: WatchEvent) -> Option<Waker> {
        let mut state = self.lock();
        if state.lagging || state.end.is_some() || !state.wants(&event) || state.coalesce(&event) {
            return None;
        }
        let bytes = body_bytes(&event);
        let full = state.queue.len() >= self.most_events || state.bytes + bytes > MOST_BYTES;
        if full && !state.queue.is_empty() {
            state.lagging = true;
        } else {
            state.bytes += bytes;
            state.queue.push_back(event);
        }
        state.waker.take()
    }

    /// Something may be missing from here on.
    #[must_use]
    pub(crate) fn lag(&self) -> Option<Waker> {
        let mut state = self.lock();
        state.lagging = true;
        state.waker.take()
    }

    /// From here on it takes the messages after this id, or none; what it has of them already is taken back.
    pub(crate) fn seam(&self, after: Option<MessageId>) {
        let mut state = self.lock();
        state.missed |= std::mem::take(&mut state.lagging);
        state.after = after;
        state.queue.retain(|event| !matches!(event, WatchEvent::Message(_)));
        state.bytes = state.queue.iter().map(body_bytes).sum();
    }

    /// The session is over.
    #[must_use]
    pub(crate) fn end(&self, why: SessionEnd) -> Option<Waker> {
        self.stop(End::Session(why))
    }

    /// The store is closed.
    #[must_use]
    pub(crate) fn close(&self) -> Option<Waker> {
        self.stop(End::StoreClosed)
    }

    /// When the watch's connection was given the message.
    pub(crate) fn pushed_at(&self, id: MessageId) -> Option<Timestamp> {
        self.lock().marks.at(id)
    }

    /// What was pushed, taken out.
    pub(crate) fn take_marks(&self) -> Marks {
        std::mem::take(&mut self.lock().marks)
    }

    fn stop(&self, end: End) -> Option<Waker> {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        state.waker.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watch's side.
impl Feed {
    /// What is at hand.
    pub(crate) fn take(&self) -> Option<Taken> {
        let mut state = self.lock();
        if let Some(event) = state.queue.pop_front() {
            state.bytes -= body_bytes(&event);
            if state.queue.is_empty() {
                // Most of the time nothing waits: a burst must not cost its memory for ever.
                state.queue.shrink_to(IDLE_EVENTS);
            }
            return Some(Taken::Event(event));
        }
        match state.end {
            Some(End::Session(why)) => Some(Taken::Ended(why)),
            Some(End::StoreClosed) => None,
            None => state.lagging.then_some(Taken::Lagging),
        }
    }

    /// Ready when something is at hand.
    pub(crate) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), StoreClosed>> {
        let mut state = self.lock();
        if !state.queue.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match state.end {
            Some(End::Session(_)) => return Poll::Ready(Ok(())),
            Some(End::StoreClosed) => return Poll::Ready(Err(StoreClosed)),
            None if state.lagging => return Poll::Ready(Ok(())),
            None => {}
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Whether something was missed that no page brings, since this was asked last.
    pub(crate) fn take_missed(&self) -> bool {
        std::mem::take(&mut self.lock().missed)
    }

    /// Why the session ended, if it did, whatever is in the queue.
    pub(crate) fn ended(&self) -> Option<SessionEnd> {
        let end = self.lock().end;
        match end {
            Some(End::Session(why)) => Some(why),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().queue.len()
    }

    pub(crate) fn pushed(&self, upto: MessageId, now: Timestamp) {
        self.lock().marks.push(upto, now);
    }
}

impl State {
    fn wants(&self, event: &WatchEvent) -> bool {
        match event {
            WatchEvent::Message(message) => self.after.is_some_and(|after| message.id > after),
            _ => true,
        }
    }

    /// Whether the event is settled by changing one that waits: of each user only the latest presence counts.
    fn coalesce(&mut self, event: &WatchEvent) -> bool {
        let WatchEvent::Presence { username: whose, active: is_active } = event else {
            return false;
        };
        let waiting = self.queue.iter_mut().find_map(|event| match event {
            WatchEvent::Presence { username, active } if username == whose => Some(active),
            _ => None,
        });
        waiting.map(|active| *active = *is_active).is_some()
    }
}

fn body_bytes(event: &WatchEvent) -> usize {
    match event {
        WatchEvent::Message(message) => message.body.len(),
        WatchEvent::Sent(sent) => sent.message.body.len(),
        _ => 0,
    }
}

/// Most bytes of the bodies of events that wait for one watch.
const MOST_BYTES: usize = 256 * 1024;
/// Room that the queue of an idle watch keeps.
const IDLE_EVENTS: usize = 4;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{AccountNumber, Message};

    fn message(id: u64, body: &str) -> WatchEvent {
        WatchEvent::Message(Arc::new(Message {
            id: MessageId::new(id),
            time: Timestamp::default(),
            sender: AccountNumber(1),
            from: "messi".into(),
            from_name: "Lionel Messi".into(),
            body: body.into(),
        }))
    }

    fn feed() -> Feed {
        let feed = Feed::new(WatchId(1), MessageId::ZERO, 16);
        feed.seam(Some(MessageId::ZERO));
        feed
    }

    fn ids(feed: &Feed) -> Vec<u64> {
        std::iter::from_fn(|| match feed.take()? {
            Taken::Event(WatchEvent::Message(message)) => Some(message.id.get()),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn a_full_feed_keeps_what_it_has_and_takes_nothing_more() {
        let feed = feed();
        for id in 1..=2_001 {
            let _ = feed.offer(message(id, "halo"));
        }
        assert_eq!(ids(&feed), (1..=16).collect::<Vec<_>>());
        assert!(matches!(feed.take(), Some(Taken::Lagging)));
        feed.seam(Some(MessageId::new(2_001)));
        let _ = feed.offer(message(2_001, "from the store already"));
        let _ = feed.offer(message(2_002, "halo"));
        assert_eq!(ids(&feed), [2_002]);
        assert!(feed.take().is_none());
    }

    #[test]
    fn bytes_are_bounded_but_one_message_always_fits() {
        let feed = feed();
        let body = "x".repeat(MOST_BYTES + 1);
        let _ = feed.offer(message(1, &body));
        let _ = feed.offer(message(2, "x"));
        assert_eq!(ids(&feed), [1]);
        assert!(matches!(feed.take(), Some(Taken::Lagging)));
    }

    #[test]
    fn the_end_comes_after_what_came_before_and_nothing_after_it() {
        let feed = feed();
        let _ = feed.offer(message(1, "halo"));
        let _ = feed.end(SessionEnd::Revoked);
        let _ = feed.end(SessionEnd::AccountRemoved);
        let _ = feed.offer(message(2, "too late"));
        assert_eq!(ids(&feed), [1]);
        assert!(matches!(feed.take(), Some(Taken::Ended(SessionEnd::Revoked))));
    }

    #[test]
    fn of_each_user_only_the_latest_presence_waits() {
        let feed = feed();
        for n in 0..3_000 {
            let (username, active) = (format!("user{}", n % 3).into(), n % 2 == 0);
            let _ = feed.offer(WatchEvent::Presence { username, active });
        }
        let told: Vec<_> = std::iter::from_fn(|| match feed.take()? {
            Taken::Event(WatchEvent::Presence { username, active }) => {
                Some((username.to_string(), active))
            }
            _ => None,
        })
        .collect();
        let expected = [("user0", false), ("user1", true), ("user2", false)];
        assert_eq!(told, expected.map(|(user, active)| (user.to_string(), active)));
    }

    #[test]
    fn an_idle_feed_is_small() {
        let feed = feed();
        for id in 1..=16 {
            let _ = feed.offer(message(id, ""));
        }
        assert_eq!(ids(&feed).len(), 16);
        let queue = feed.lock().queue.capacity() * size_of::<WatchEvent>();
        assert!(size_of::<Feed>() + queue <= 400, "{} + {queue}", size_of::<Feed>());
    }
}
