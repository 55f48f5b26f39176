//! [`Peer`]: what the service remembers of one connection.

use chat_core::Token;
use chat_core::store::{Outgoing, SessionKey};

use crate::delivery::Delivery;
use crate::name::Name;
use crate::watcher::Watcher;

/// The state of the conversation with one peer.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    pub(crate) name: Name,
    /// It said `hello`.
    pub(crate) greeted: bool,
    /// It logged in or used a valid token, at some time.
    pub(crate) logged_in: bool,
    /// The session it used last, which counts as in use here until another does; it may have ended since.
    pub(crate) attached: Option<KnownSession>,
    /// What it was shown.
    pub(crate) delivery: Delivery,
    /// Its watch. In a box, as most connections have none.
    pub(crate) watcher: Option<Box<Watcher>>,
    /// Messages to be stored together, of requests not answered yet.
    pub(crate) outgoing: Vec<Outgoing>,
    /// How many messages were stored together last, up to 255.
    pub(crate) last_outgoing: u8,
}

/// A session and the token it was asked for by, so that its hash is not computed for each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownSession {
    token: Token,
    pub(crate) key: SessionKey,
}

impl Peer {
    pub(crate) fn new(name: Name) -> Self {
        Self { name, ..Self::default() }
    }

    /// The session a word stands for; `None` if it is no token. Whether the session exists only the store can tell.
    pub(crate) fn session(&self, word: &str) -> Option<KnownSession> {
        let token = word.parse().ok()?;
        let attached = self.attached.filter(|attached| attached.token == token);
        Some(attached.unwrap_or_else(|| KnownSession::of(token)))
    }
}

impl KnownSession {
    pub(crate) fn of(token: Token) -> Self {
        Self { token, key: SessionKey::of(&token) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_for_the_same_session_in_either_case() {
        let (mut peer, token) = (Peer::default(), Token::random());
        let session = KnownSession::of(token);
        for attached in [None, Some(session)] {
            peer.attached = attached;
            assert_eq!(peer.session(&token.expose()), Some(session));
            assert_eq!(peer.session(&token.expose().to_uppercase()), Some(session));
            assert_ne!(peer.session(&Token::random().expose()), Some(session));
            assert_eq!(peer.session("surabaya"), None);
        }
        assert!(!format!("{peer:?}").contains(&token.expose()));
    }
}
