//! Which function carries out which operation.

use super::Engine;
use super::log::Log;
use crate::Timestamp;
use crate::store::request::{Answer, Operation, Outcome};

impl<L: Log> Engine<L> {
    /// Carries out one operation; what it gives once that is committed.
    pub(super) fn apply(&mut self, operation: Operation, now: Timestamp) -> Outcome {
        use Operation::*;

        let done = |()| Answer::Done;
        match operation {
            Credentials { username } => self.credentials(&username),
            OwnCredentials { session } => self.own_credentials(session, now),
            OpenSession { account, verified, session, rehash } => {
                self.open_session(account, &verified, session, rehash, now).map(done)
            }
            Attach { session, instead_of } => self.attach(session, instead_of, now).map(done),
            Detach { session } => {
                self.detach(session);
                Ok(Answer::Done)
            }
            Logout { session } => self.logout(session, now).map(done),
            Whoami { session } => self.whoami(session, now),
            Sessions { session } => self.sessions(session, now),
            Revoke { session, name } => self.revoke(session, &name, now).map(done),
            ChangePassword { session, verified, new } => {
                self.change_password(session, &verified, new, now)
            }
            Send(messages) => self.send(messages, now),
            Inbox { session, in_flight, messages } => {
                self.inbox(session, &in_flight, messages, now)
            }
            Peek { session, after, messages } => self.peek(session, after, messages, now),
            History { session, with, cursor, messages } => {
                self.history(session, &with, cursor, messages, now)
            }
            Ack { session, upto, basis } => self.ack(session, upto, &basis, now).map(done),
            Confirm(shown) => self.confirm(&shown, now).map(done),
            Status { session, id } => self.status(session, id, now),
            Block { session, username, on } => self.block(session, &username, on, now).map(done),
            SetPrivacy { session, subject, choice } => {
                self.set_privacy(session, subject, choice, now).map(done)
            }
            List { session, directory } => self.list(session, directory, now),
            Watch { session, from } => self.watch(session, from, now),
            CatchUp { account, watch, incarnation, after } => {
                self.catch_up((account, watch), &incarnation, after, now)
            }
            Create(account) => self.create_account(account, now),
            SetPassword { username, hash } => self.set_password(&username, hash, now),
            Rename { username, new_username, new_name } => {
                self.rename(&username, new_username, new_name, now).map(done)
            }
            Remove { username } => self.remove(&username, now),
            Release { username } => self.release(&username, now).map(done),
            Account { username } => self.account_summary(&username, now),
            Accounts { after, limit } => self.account_summaries(&after, limit, now),
            BeginImport => self.begin_import(),
            StageImport(import, accounts) => self.stage_import(import, accounts, now),
            CommitImport(import) => self.commit_import(import),
            AbortImport(import) => self.abort_import(import).map(done),
        }
    }
}
