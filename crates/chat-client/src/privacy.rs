//! [`Client`]'s calls about what other users may do and learn.

use chat_core::protocol::{Command, Reply};

use crate::client::unexpected;
use crate::{Client, ClientError};

/// What others may learn about this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivacySubject {
    /// Whether their messages were delivered.
    Receipts,
    /// Whether this user is active.
    Presence,
}

/// Who learns it. Users who are blocked never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// Everybody.
    On,
    /// Nobody.
    Off,
    /// Those whom this user has written to.
    Default,
}

impl Client {
    /// Blocks a user: their messages to this one are refused (`not_allowed`) from now on. Blocking them again changes
    /// nothing.
    ///
    /// # Errors
    /// Codes `no_such_user`, `bad_arguments` (oneself, or 1,000 users are blocked already); [`Unsupported`](ClientError::Unsupported) by a server without
    /// `block`; and those of any request.
    ///
    /// # Cancel safety
    /// Whether the user is blocked is then not known; calling it again is safe.
    pub async fn block(&self, username: &str) -> Result<(), ClientError> {
        let token = &self.word()?;
        match self.call_listed(Command::Block { token, username }).await? {
            Reply::Blocked => Ok(()),
            _ => Err(unexpected("block")),
        }
    }

    /// Ends a [`block`](Self::block).
    ///
    /// # Errors
    /// As [`block`](Self::block).
    ///
    /// # Cancel safety
    /// Whether the user is blocked is then not known; calling it again is safe.
    pub async fn unblock(&self, username: &str) -> Result<(), ClientError> {
        let token = &self.word()?;
        match self.call_listed(Command::Unblock { token, username }).await? {
            Reply::Blocked => Ok(()),
            _ => Err(unexpected("unblock")),
        }
    }

    /// Chooses who learns something about this user.
    ///
    /// # Errors
    /// [`Unsupported`](ClientError::Unsupported) by a server without `privacy`; and those of any request.
    ///
    /// # Cancel safety
    /// Whether the choice is made is then not known; calling it again is safe.
    pub async fn privacy(
        &self,
        subject: PrivacySubject,
        choice: Privacy,
    ) -> Result<(), ClientError> {
        let command = Command::Privacy {
            token: &self.word()?,
            subject: match subject {
                PrivacySubject::Receipts => "receipts",
                PrivacySubject::Presence => "presence",
            },
            choice: match choice {
                Privacy::On => "on",
                Privacy::Off => "off",
                Privacy::Default => "default",
            },
        };
        match self.call_listed(command).await? {
            Reply::PrivacySet => Ok(()),
            _ => Err(unexpected("privacy")),
        }
    }
}
