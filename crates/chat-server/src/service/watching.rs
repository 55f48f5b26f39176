//! `watch` and `unwatch`.

use chat_core::MessageId;
use chat_core::protocol::{Reply, Watching};
use chat_core::store::{StoreError, Watch, WatchFrom};

use super::{Exchange, number};
use crate::watcher::Watcher;

impl Exchange<'_> {
    /// The events follow the reply. A watch that was there is replaced, unless this one fails.
    pub(super) async fn watch(
        &mut self,
        token: &str,
        after: Option<(&str, &str)>,
    ) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        let from = match after {
            None => WatchFrom::Undelivered,
            Some((id, incarnation)) => {
                let Some(id) = number(id).map(MessageId::new) else {
                    return Err(self.bad_arguments(session, "AFTER is the id of a message").await);
                };
                WatchFrom::After { id, incarnation: incarnation.into() }
            }
        };
        let watch = self.store.watch(session, from).await?;
        self.reply(&Reply::Watching(watching(&watch)))?;
        self.peer.watcher = Some(Box::new(Watcher::new(watch)));
        Ok(())
    }

    pub(super) async fn unwatch(&mut self, token: &str) -> Result<(), StoreError> {
        let session = self.session(token).await?;
        self.store.whoami(session).await?;
        self.peer.watcher = None;
        self.reply(&Reply::Unwatched)
    }
}

fn watching(watch: &Watch) -> Watching<'_> {
    let resumed = watch.resumed();
    Watching {
        incarnation: watch.incarnation().as_str().into(),
        resume: resumed.resume,
        after: resumed.after,
        from: resumed.gap.map(|(from, _)| from),
        to: resumed.gap.and_then(|(from, to)| (from <= to).then_some(to)),
    }
}
