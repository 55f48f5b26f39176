//! Who may write to the user, and who learns what of them: `block`, `unblock`, `privacy`.

use chat_core::protocol::Reply;
use chat_core::store::{PrivacyChoice, PrivacySubject, StoreError};

use super::Exchange;

impl Exchange<'_> {
    /// `block`, and `unblock` with `on` false.
    pub(super) async fn block(
        &mut self,
        token: &str,
        username: &str,
        on: bool,
    ) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        self.store.block(session, username, on).await?;
        self.reply(&Reply::Blocked)
    }

    pub(super) async fn privacy(
        &mut self,
        token: &str,
        subject: &str,
        choice: &str,
    ) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        let subject = match subject {
            "receipts" => PrivacySubject::Receipts,
            "presence" => PrivacySubject::Presence,
            _ => {
                let reason = "what to tell is receipts or presence";
                return Err(self.bad_arguments(session, reason).await);
            }
        };
        let choice = match choice {
            "on" => PrivacyChoice::On,
            "off" => PrivacyChoice::Off,
            "default" => PrivacyChoice::Default,
            _ => {
                let reason = "the choice is on, off or default";
                return Err(self.bad_arguments(session, reason).await);
            }
        };
        self.store.set_privacy(session, subject, choice).await?;
        self.reply(&Reply::PrivacySet)
    }
}
