//! [`Operator`]: gets requests carried out, by the running daemon or, if there is none, here.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use chat_core::store::Store;

use super::client::Client;
use super::session::Session;
use super::wire::{Answer, Request};
use crate::config::Config;
use crate::datadir::DataDir;
use crate::exit::{Exit, Failure};
use crate::open::open_store;

/// Whoever carries requests out.
#[derive(Debug)]
pub(crate) struct Operator(Way);

/// What to do where there is no store yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// Make it.
    Makes,
    /// Say so, and make nothing.
    Refuses,
}

#[derive(Debug)]
enum Way {
    /// The running daemon.
    Daemon(Client),
    /// This process, which has opened the store.
    Here { session: Session, store: Store },
}

impl Operator {
    /// Finds the daemon, or opens the store.
    pub(crate) async fn reach(
        config: &Config,
        directory: &DataDir,
        control: Option<&Path>,
        first: First,
    ) -> Result<Self, Failure> {
        if let Some(client) = connect(directory, control).await? {
            return Ok(Self(Way::Daemon(client)));
        }
        if let Some(path) = control {
            let path = path.display();
            return Err(Failure::new(Exit::Unavailable, format!("no daemon answers at {path}")));
        }
        if first == First::Refuses {
            directory.check_used()?;
        }
        match open_here(config, directory).await {
            // A daemon that is just starting has the lock before it has the socket.
            Err(failure) if failure.exit == Exit::TryAgain => {
                let client = connect(directory, None).await?;
                client
                    .map(|client| Self(Way::Daemon(client)))
                    .ok_or_else(|| unreachable_daemon(&failure, directory))
            }
            other => other,
        }
    }

    pub(crate) async fn call(&mut self, request: Request) -> Result<Answer, Failure> {
        match &mut self.0 {
            Way::Daemon(client) => client.call(&request).await,
            Way::Here { session, .. } => session.execute(request).await.map_err(Into::into),
        }
    }

    /// Ends the work: what was not committed is given up, and a store opened here is synced and closed.
    pub(crate) async fn finish(self) {
        if let Way::Here { mut session, store } = self.0 {
            session.end().await;
            // The store has logged what is wrong, and the work is done and safe.
            let _ = store.close().await;
        }
    }
}

async fn connect(directory: &DataDir, control: Option<&Path>) -> Result<Option<Client>, Failure> {
    let socket = super::find(directory.path(), control);
    // A path the operator named is trusted; one that was found must belong to the data directory's owner.
    let owner = match control {
        Some(_) => None,
        None => std::fs::metadata(directory.path()).ok().map(|metadata| metadata.uid()),
    };
    Client::connect(&socket, owner).await
}

async fn open_here(config: &Config, directory: &DataDir) -> Result<Operator, Failure> {
    directory.check_owner()?;
    let store = open_store(config, directory).await?;
    let session = Session::new(store.clone());
    Ok(Operator(Way::Here { session, store }))
}

fn unreachable_daemon(failure: &Failure, directory: &DataDir) -> Failure {
    let socket = super::find(directory.path(), None);
    Failure::new(
        failure.exit,
        format!("{failure}, and no daemon answers at {}: try again in a moment", socket.display()),
    )
}
