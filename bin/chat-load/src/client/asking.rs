//! What a client asks for, and of whom.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Client, Pending, What};
use crate::dialect::put_words;
use crate::outcome::Kind;

impl Client {
    /// Puts as many requests into the buffer as may be in flight and are due.
    pub(super) async fn ask(&mut self, now: Instant) {
        if self.bell.is_leaving() || self.pacing.is_over(now, self.window.until) {
            return;
        }
        if self.plan.is_full(self.user) {
            // A page counts as delivered by the next request, and only if that was not sent ahead of it.
            if self.pending.is_empty() {
                self.dialect.put_with_token("inbox", &mut self.outgoing);
                self.expect(What::Drain, Kind::Inbox, 0, now);
            }
            return;
        }
        while self.pending.len() < self.plan.in_flight && self.left != Some(0) {
            let Some(at) = self.pacing.ready(now).filter(|at| !self.window.is_over(*at)) else {
                return;
            };
            let kind = self.plan.mix.pick(&mut self.random);
            let to = match self.recipient(kind) {
                Ok(to) => to,
                // Nobody has room: one more attempt, after a pause for those who read.
                Err(full) if self.pending.is_empty() => {
                    sleep(FULL_PAUSE).await;
                    full
                }
                Err(_) => return,
            };
            self.pacing.begin();
            self.left = self.left.map(|left| left.saturating_sub(1));
            self.begin(kind, to, at);
        }
    }

    /// Any recipient, where one is wanted. One whose mailbox is being read is passed over for the next; when that goes
    /// for all of them, the first choice is the error.
    fn recipient(&mut self, kind: Kind) -> Result<usize, usize> {
        if !matches!(kind, Kind::Send | Kind::Post) {
            return Ok(0);
        }
        let first = self.plan.recipients.pick(self.user, &mut self.random);
        if !self.plan.is_full(first) {
            return Ok(first);
        }
        let users = self.plan.recipients.users();
        (1..users)
            .map(|step| (first + step) % users)
            .find(|&other| other != self.user && !self.plan.is_full(other))
            .ok_or(first)
    }

    fn begin(&mut self, kind: Kind, to: usize, at: Instant) {
        let (plan, out) = (&*self.plan, &mut self.outgoing);
        match kind {
            Kind::Send | Kind::Post => {
                let body = plan.bodies.body(plan.size.pick(&mut self.random), at);
                if kind == Kind::Send {
                    self.dialect.put_send(&plan.accounts, to, body, out);
                } else {
                    self.dialect.put_post(&plan.accounts, to, body, out);
                }
            }
            Kind::Inbox => self.dialect.put_with_token("inbox", out),
            Kind::Login => {
                if let Some(account) = plan.accounts.get(self.user) {
                    put_words(&["auth", &account.username, &account.password], out);
                }
            }
            // These are not asked for in turn.
            Kind::Reconnect | Kind::Push => return,
        }
        self.expect(What::Operation(kind), kind, to, at);
    }

    fn expect(&mut self, what: What, kind: Kind, to: usize, at: Instant) {
        if self.window.holds(at) {
            self.begun.push(kind);
        }
        self.pending.push_back(Pending { what, to, at });
    }
}

/// A few round trips on loopback.
const FULL_PAUSE: Duration = Duration::from_millis(1);
