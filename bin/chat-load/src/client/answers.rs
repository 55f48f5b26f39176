//! What an answer means.

use tokio::time::Instant;

use super::{Client, Pending, What};
use crate::args::Protocol;
use crate::dialect::put_words;
use crate::irc;
use crate::outcome::Kind;
use crate::replies::{Fields, Reply, is_ok};
use crate::tally::Tally;

impl Client {
    pub(super) fn done(&self, kind: Kind, asked: Pending, now: Instant, tally: &mut Tally) {
        tally.done(kind, asked.at, now, &self.window);
        if matches!(kind, Kind::Send | Kind::Post) {
            self.plan.sent(asked.to);
            tally.expected_pushes += u64::from(asked.to < self.plan.watchers);
        }
    }

    /// A reply that takes a second look.
    pub(super) fn answered(
        &mut self,
        kind: Kind,
        asked: Pending,
        reply: &Reply,
        now: Instant,
        tally: &mut Tally,
    ) {
        let checked = match (kind, reply) {
            (Kind::Send | Kind::Post, Reply::Other(reply)) => self.confirmed(reply),
            (Kind::Inbox, Reply::Other(reply)) => self.page(reply),
            (Kind::Login, Reply::Other(reply)) => self.logged_in(reply, now),
            // The confirmation of a send, for anything else.
            (_, _) => Err("not_a_reply".to_owned()),
        };
        match checked {
            Ok(()) => self.done(kind, asked, now, tally),
            Err(cause) => {
                match (kind, cause.as_str()) {
                    (Kind::Send | Kind::Post, "inbox_full") => self.plan.set_full(asked.to, true),
                    (Kind::Inbox, _) => self.plan.set_full(self.user, false),
                    _ => {}
                }
                tally.refused(kind, cause, asked.at, now, &self.window);
            }
        }
    }

    fn confirmed(&self, reply: &[u8]) -> Result<(), String> {
        match self.plan.protocol {
            Protocol::Chat | Protocol::Old if is_ok(reply) => Ok(()),
            Protocol::Chat | Protocol::Old => {
                Err(Fields::parse(reply).err().unwrap_or_else(|| "not_a_reply".to_owned()))
            }
            Protocol::Redis => Err(String::from_utf8_lossy(reply).into_owned()),
            Protocol::Irc => Err(irc::cause(reply)),
        }
    }

    fn page(&self, reply: &[u8]) -> Result<(), String> {
        let fields = Fields::parse(reply)?;
        self.plan.set_full(self.user, fields.more);
        Ok(())
    }

    /// The session goes as it came: a user has room for a hundred, and the client goes on with its first.
    fn logged_in(&mut self, reply: &[u8], now: Instant) -> Result<(), String> {
        let token = Fields::parse(reply)?.tokenid.ok_or("not_a_reply")?;
        put_words(&["logout", &token], &mut self.outgoing);
        self.pending.push_back(Pending { what: What::Logout, to: 0, at: now });
        Ok(())
    }
}
