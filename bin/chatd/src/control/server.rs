//! [`ControlSocket`]: the daemon's end.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chat_core::store::Store;
use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::audit::Audit;
use super::line;
use super::place::Place;
use super::session::Session;
use super::wire::{CONTROL_VERSION, Greeting, Request};
use crate::exit::{Exit, Failure};

/// A bound control socket. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    place: Place,
}

impl ControlSocket {
    /// Binds the socket with mode 0600, in place of one that nobody serves any more.
    pub(crate) fn bind(place: Place) -> Result<Self, Failure> {
        match bind(&place) {
            Ok(listener) => Ok(Self { listener, place }),
            Err(error) => Err(Failure::new(
                Exit::CannotCreate,
                format!("cannot make the control socket {}: {error}", place.socket.display()),
            )),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.place.socket
    }

    /// Serves until it is told to stop; then waits for the requests under way. Imports that were not committed are
    /// aborted when their connection ends.
    pub(crate) async fn serve(self, store: Store, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while let Some(stream) = stop.run_until_cancelled(self.accept()).await {
            let (session, stop) = (Session::new(store.clone()), stop.clone());
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                break;
            };
            connections.spawn(async move {
                serve_connection(stream, session, stop).await;
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
    }

    async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if is_allowed(&stream) => return stream,
                Ok(_) => tracing::warn!("another user tried the control socket"),
                Err(error) => {
                    tracing::warn!(%error, "the control socket takes no connection for a moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // What cannot be removed is replaced at the next start.
        let _ = fs::remove_file(&self.place.socket);
        if self.place.pointer != self.place.socket {
            let _ = fs::remove_file(&self.place.pointer);
        }
        if let Some(directory) = &self.place.own_directory {
            let _ = fs::remove_dir(directory);
        }
    }
}

fn bind(place: &Place) -> io::Result<UnixListener> {
    place.make_directory()?;
    remove_stale(&place.socket)?;
    let listener = UnixListener::bind(&place.socket)?;
    fs::set_permissions(&place.socket, Permissions::from_mode(0o600))?;
    if place.pointer != place.socket {
        remove_stale(&place.pointer)?;
        std::os::unix::fs::symlink(&place.socket, &place.pointer)?;
    }
    Ok(listener)
}

/// Removes what an earlier daemon left, but nothing else, and not the socket of one that still serves.
fn remove_stale(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if kind.is_socket() && std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon serves it"));
    }
    if kind.is_socket() || kind.is_symlink() {
        return fs::remove_file(path);
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "there is a file of this name that is not a socket: move it away, or choose another place with --control PATH",
    ))
}

/// The daemon's own user, and root, who may do anything anyway.
fn is_allowed(stream: &UnixStream) -> bool {
    let me = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == me || peer.uid() == 0)
}

async fn serve_connection(stream: UnixStream, mut session: Session, stop: CancellationToken) {
    if let Err(error) = converse(stream, &mut session, stop).await {
        tracing::debug!(%error, "a control connection ended early");
    }
    session.end().await;
}

/// Requests one by one; a stop is heeded between two of them.
async fn converse(
    mut stream: UnixStream,
    session: &mut Session,
    stop: CancellationToken,
) -> io::Result<()> {
    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    let chatd = env!("CARGO_PKG_VERSION").to_owned();
    line::write(&mut writer, &Greeting { chatd, control: CONTROL_VERSION }).await?;
    while let Some(request) = stop.run_until_cancelled(line::read::<Request>(&mut reader)).await {
        let Some(request) = request? else { break };
        let audit = Audit::of(&request);
        let answer = session.execute(request).await;
        if let (Some(audit), Ok(answer)) = (audit, &answer) {
            audit.log(answer, uid);
        }
        line::write(&mut writer, &answer).await?;
    }
    Ok(())
}

/// Commands that run at once; more of them wait.
const MAX_CONNECTIONS: usize = 32;
/// Long enough for a file to be closed somewhere, when there are too many.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
