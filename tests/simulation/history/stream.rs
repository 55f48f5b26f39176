//! What a watch gives: each message behind the one before it.

use super::{History, Question, Seen, Tag, Verdict, fault};

/// A user's messages as they are pushed.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    user: usize,
    pub(crate) incarnation: String,
    /// The last id that was shown, or announced as gone.
    pub(crate) last: u64,
}

impl History {
    /// A watch began with what is undelivered.
    pub(crate) fn watches(
        &mut self,
        user: usize,
        incarnation: &str,
        question: Question,
        after: u64,
    ) -> Result<Stream, Verdict> {
        self.meet(user, incarnation)?;
        self.all_delivered(user, after)?;
        if after < question.acked() {
            return fault(
                format!("u{user} is shown again what was acked, after {after}: {question:?}"),
                None,
            );
        }
        self.has_base(user, incarnation, after);
        Ok(Stream { user, incarnation: incarnation.into(), last: after })
    }

    /// A watch goes on from what the client has.
    pub(crate) fn resumes(
        &mut self,
        before: &Stream,
        incarnation: &str,
        after: u64,
    ) -> Result<Stream, Verdict> {
        let user = before.user;
        self.meet(user, incarnation)?;
        let is_same = before.incarnation == incarnation;
        if after > before.last || (is_same && after != before.last) {
            return fault(
                format!("u{user} had everything up to {}, goes on after {after}", before.last),
                None,
            );
        }
        if !is_same {
            self.has_base(user, incarnation, after);
        }
        Ok(Stream { user, incarnation: incarnation.into(), last: after })
    }

    /// A message was pushed.
    pub(crate) fn push(&mut self, stream: &mut Stream, seen: &Seen) -> Result<Tag, Verdict> {
        let tag = self.show(stream.user, &stream.incarnation, seen)?;
        let last = std::mem::replace(&mut stream.last, seen.id);
        match seen.id == last + 1 {
            true => Ok(tag),
            false => fault(
                format!("hole or repeat: id {} of u{} after {last}", seen.id, stream.user),
                Some(tag),
            ),
        }
    }

    /// Messages were announced as not kept any more.
    pub(crate) fn skip(&mut self, stream: &mut Stream, from: u64, to: u64) -> Result<(), Verdict> {
        let last = std::mem::replace(&mut stream.last, to);
        if from != last + 1 || to < from {
            let user = stream.user;
            return fault(format!("u{user} is told of a gap {from} to {to} after {last}"), None);
        }
        self.all_delivered(stream.user, to)
    }

    /// Everything that is stored has been pushed by now.
    pub(crate) fn caught_up(&mut self, stream: &Stream) -> Result<(), Verdict> {
        let now = self.moment();
        self.none_unseen(stream.user, now)?;
        let newest = self.newest(stream.user, &stream.incarnation);
        match stream.last < newest {
            true => fault(
                format!("lost: u{} watches and has {} of {newest}", stream.user, stream.last),
                None,
            ),
            false => Ok(()),
        }
    }
}
