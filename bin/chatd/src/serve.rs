//! Serves until a signal, then stops in order: no more connections, requests already read answered, the store synced.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chat_core::store::{Store, StoreError};
use chat_server::Server;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control::{ControlSocket, Place};
use crate::datadir::DataDir;
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::open::open_store;
use crate::signals::Signals;
use crate::terminal::say;
use crate::{demo, files, listen};

/// Serves until SIGINT or SIGTERM.
pub(crate) async fn run(
    mut config: Config,
    directory: &DataDir,
    control: Option<&Path>,
    environment: &Environment,
) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let place = Place::choose(directory.path(), control, environment)?;
    config.connections.max = files::make_room(config.connections.max);
    // First what fails quickly and leaves nothing behind; clients that come while the store opens wait.
    let listeners = listen::bind(&config.listen, directory.is_demo()).await?;
    let addresses = listeners.iter().map(listen::address_of).collect::<Result<Vec<_>, _>>()?;
    let store = tokio::select! {
        store = open_store(&config, directory) => store?,
        _ = signals.next() => {
            tracing::info!("ended before the store was open");
            return Ok(());
        }
    };
    directory.check_mode();
    directory.check_room(&config);
    let outcome = match Daemon::start(&config, listeners, &store, place) {
        Ok(daemon) => {
            announce(directory, &addresses, &store, environment).await;
            daemon.run(&mut signals, config.shutdown.deadline.duration()).await
        }
        Err(failure) => Err(failure),
    };
    let closed = signals.last_work(close(&store)).await;
    outcome.and(closed)
}

/// The tasks that serve, and what stops them.
struct Daemon {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Daemon {
    fn start(
        config: &Config,
        listeners: Vec<TcpListener>,
        store: &Store,
        place: Place,
    ) -> Result<Self, Failure> {
        let server = Server::new(store.clone(), config.server_config())
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        let control = ControlSocket::bind(place)?;
        tracing::info!(path = %control.path().display(), "control socket");
        let (server, mut tasks, stop) =
            (Arc::new(server), JoinSet::new(), CancellationToken::new());
        for listener in listeners {
            let (server, stop) = (Arc::clone(&server), stop.clone());
            tasks.spawn(async move {
                server.serve(listener, stop).await;
            });
        }
        tasks.spawn(control.serve(store.clone(), stop.clone()));
        Ok(Self { tasks, stop })
    }

    /// Waits for a signal, then for all tasks to end. A task that ends without a signal is a fault.
    async fn run(mut self, signals: &mut Signals, deadline: Duration) -> Result<(), Failure> {
        notify(NotifyState::Ready);
        let outcome = tokio::select! {
            kind = signals.next() => {
                tracing::info!(signal = kind.as_raw_value(), "stopping");
                Ok(())
            }
            _ = self.tasks.join_next() => {
                Err(Failure::new(Exit::Software, "a part of the daemon failed, see the log"))
            }
        };
        notify(NotifyState::Stopping);
        signals.last_work(self.finish(deadline)).await;
        outcome
    }

    /// Stops all tasks and waits for them. The server keeps to the deadline by itself; a store that hangs is not waited
    /// for much longer.
    async fn finish(mut self, deadline: Duration) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(deadline.saturating_add(STORE_PATIENCE), ended).await.is_err() {
            tracing::error!("some connections did not end; going on without them");
        }
    }
}

/// Says on stdout what is served and where. The lines `listening on ADDRESS` are there for scripts, too.
async fn announce(
    directory: &DataDir,
    addresses: &[SocketAddr],
    store: &Store,
    environment: &Environment,
) {
    say(format_args!("chatd {} serves {}", env!("CARGO_PKG_VERSION"), directory.path().display()));
    for address in addresses {
        say(format_args!("listening on {address}"));
        tracing::debug!(%address, "listening");
    }
    match addresses.first() {
        Some(address) if directory.is_demo() => {
            tracing::warn!("this is a demo: everybody knows its passwords");
            say(demo::banner(*address));
        }
        _ if has_no_accounts(store).await => {
            let usual = environment.default_data_directory();
            let data = if usual.as_deref() == Some(directory.path()) {
                String::new()
            } else {
                format!(" --data {}", directory.path().display())
            };
            say(format_args!(
                "no accounts yet: `chatd{data} user add USER` makes the first, now or later"
            ));
        }
        _ => {}
    }
}

async fn has_no_accounts(store: &Store) -> bool {
    store.accounts(None, 1).await.is_ok_and(|accounts| accounts.is_empty())
}

/// Serves what waits, syncs, and closes the files.
async fn close(store: &Store) -> Result<(), Failure> {
    match timeout(STORE_PATIENCE, store.close()).await {
        Ok(Ok(())) => {
            tracing::info!("the store is synced and closed");
            Ok(())
        }
        Ok(Err(error @ StoreError::Lost)) => Err(Failure::new(
            Exit::Io,
            format!("{error} (the log names one): put back a backup of the whole data directory"),
        )),
        Ok(Err(error)) => Err(Failure::new(
            Exit::Io,
            format!("{error}; it did not close cleanly, and what was acknowledged is safe"),
        )),
        Err(_) => Err(Failure::new(
            Exit::Io,
            format!(
                "the store did not close within {STORE_PATIENCE:?}; what was acknowledged is safe"
            ),
        )),
    }
}

/// Tells systemd, if it asked to be told.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot tell systemd");
    }
}

/// How long the store may take for its last commit and sync: many times what a slow disk needs.
const STORE_PATIENCE: Duration = Duration::from_secs(10);
