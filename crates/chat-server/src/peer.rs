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
    pub(crate) attached: Option<SessionKey>,
    /// What it was shown.
    pub(crate) delivery: Delivery,
    /// Its watch. In a box, as most connections have none.
    pub(crate) watcher: Option<Box<Watcher>>,
    /// Messages to be stored together, of requests not answered yet.
    pub(crate) outgoing: Vec<Outgoing>,
    /// How many messages were stored together last.
    pub(crate) last_outgoing: usize,
    known: Option<KnownToken>,
}

/// The last token seen, so that its hash is not computed for each request.
#[derive(Clone, Copy)]
struct KnownToken {
    token: Token,
    key: SessionKey,
}

impl Peer {
    pub(crate) fn new(name: Name) -> Self {
        Self { name, ..Self::default() }
    }

    /// The session a word stands for; `None` if it is no token. Whether the session exists only the store can tell.
    pub(crate) fn session_key(&mut self, word: &str) -> Option<SessionKey> {
        let token = word.parse().ok()?;
        match self.known {
            Some(known) if known.token == token => Some(known.key),
            _ => {
                let key = SessionKey::of(&token);
                self.known = Some(KnownToken { token, key });
                Some(key)
            }
        }
    }
}

impl std::fmt::Debug for KnownToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.key.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_for_the_same_session_in_either_case() {
        let (mut peer, token) = (Peer::default(), Token::random());
        let key = SessionKey::of(&token);
        assert_eq!(peer.session_key(&token.expose()), Some(key));
        assert_eq!(peer.session_key(&token.expose().to_uppercase()), Some(key));
        assert_ne!(peer.session_key(&Token::random().expose()), Some(key));
        assert_eq!(peer.session_key("surabaya"), None);
        assert!(!format!("{peer:?}").contains(&token.expose()));
    }
}
