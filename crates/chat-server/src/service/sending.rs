//! `send` and `post`: gathered while they follow one another, and stored together.

use std::iter::repeat;

use chat_core::protocol::{Command, Reply};
use chat_core::store::{Durability, Outgoing, PostKey, SessionKey, Store, StoreError};

use super::{Exchange, Output, Service, error_reply};
use crate::peer::Peer;

impl Service {
    /// Stores what was gathered, and answers it.
    pub(crate) async fn finish(&self, peer: &mut Peer, output: &mut Output) {
        if peer.outgoing.is_empty() {
            return;
        }
        let outgoing = std::mem::take(&mut peer.outgoing);
        peer.last_outgoing = u8::try_from(outgoing.len()).unwrap_or(u8::MAX);
        let posted = posted(&outgoing);
        let outcomes = self.store.send(outgoing).await;
        output.reserve(outcomes.len(), !posted.is_empty());
        let (durability, mut before) = (durability(&self.store), None);
        for (outcome, posted) in outcomes.into_iter().zip(posted.into_iter().chain(repeat(false))) {
            match outcome {
                Ok(receipt) if posted => output.posted(receipt, durability, &mut before),
                Ok(_) => output.reply(&Reply::Sent),
                Err(error) => output.reply(&Reply::Error(error_reply(&error))),
            }
        }
    }
}

impl Exchange<'_> {
    /// A `send` whose session was not in use on this connection yet.
    pub(super) async fn send(
        &mut self,
        token: &str,
        to: &str,
        body: &str,
    ) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        gather(self.peer, session, None, to, body);
        Ok(())
    }

    /// A `post` whose session was not in use on this connection yet, or whose KEY is none.
    pub(super) async fn post(
        &mut self,
        token: &str,
        key: &str,
        to: &str,
        body: &str,
    ) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        let Some(key) = PostKey::new(key) else {
            let reason = "KEY is 1 to 128 printable ASCII characters";
            return Err(self.bad_arguments(session, reason).await);
        };
        gather(self.peer, session, Some(key), to, body);
        Ok(())
    }
}

/// Gathers a message of the session in use here; no if the command is none, or nothing to be gathered unseen.
pub(super) fn gather_if_known(peer: &mut Peer, command: &Command<'_>) -> bool {
    let (token, key, to, body) = match *command {
        Command::Send { token, to, body } => (token, None, to, body),
        Command::Post { token, key, to, body } => (token, Some(PostKey::new(key)), to, body),
        _ => return false,
    };
    let Some(session) = peer.session(token) else { return false };
    if peer.attached != Some(session) || key == Some(None) {
        return false;
    }
    gather(peer, session.key, key.flatten(), to, body);
    true
}

fn gather(peer: &mut Peer, session: SessionKey, key: Option<PostKey>, to: &str, body: &str) {
    if peer.outgoing.is_empty() {
        // As many as last time, within reason: who pipelines sixteen does so again.
        peer.outgoing.reserve_exact(peer.last_outgoing.clamp(1, MOST_EXPECTED).into());
    }
    let mut outgoing = Outgoing::new(session, to, body);
    outgoing.key = key;
    outgoing.origin = peer.watcher.as_ref().map(|watcher| watcher.id());
    peer.outgoing.push(outgoing);
}

/// Which of them were posted; nothing if none was, which costs nothing.
fn posted(outgoing: &[Outgoing]) -> Vec<bool> {
    let posted = |message: &Outgoing| message.key.is_some();
    if outgoing.iter().any(posted) { outgoing.iter().map(posted).collect() } else { Vec::new() }
}

/// What an acknowledged message survives, as `docs/protocol.md` calls it.
fn durability(store: &Store) -> &'static str {
    match store.durability() {
        Some(Durability::PowerLoss) => "power_loss",
        Some(Durability::ProcessCrash) => "process_crash",
        None => "memory",
    }
}

/// Room for so many messages at most is made before they are seen: 6 KiB.
const MOST_EXPECTED: u8 = 64;
