//! [`Client`]: a command's end of the control socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::line;
use super::wire::{Answer, CONTROL_VERSION, Greeting, Refusal, Request};
use crate::exit::{Exit, Failure};

/// A connection to a running daemon.
#[derive(Debug)]
pub(super) struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects; `None` if nobody listens there. The other end must run as this user, or as one of those trusted.
    pub(super) async fn connect(
        path: &Path,
        trusted: Option<u32>,
    ) -> Result<Option<Self>, Failure> {
        let stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error) if is_nobody(&error) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let path = path.display();
                return Err(Failure::new(
                    Exit::NotPermitted,
                    format!(
                        "may not use the control socket {path}: run this as the daemon's user, or as root"
                    ),
                ));
            }
            Err(error) => return Err(failed(path, &error)),
        };
        let peer = stream.peer_cred().map_err(|error| failed(path, &error))?.uid();
        if peer != rustix::process::geteuid().as_raw() && trusted.is_some_and(|uid| uid != peer) {
            let path = path.display();
            return Err(Failure::new(
                Exit::NotPermitted,
                format!(
                    "{path} is served by another user (number {peer}) than the data directory's owner"
                ),
            ));
        }
        let mut client = Self { stream: BufReader::new(stream) };
        client.greet(path).await.map(|()| Some(client))
    }

    pub(super) async fn call(&mut self, request: &Request) -> Result<Answer, Failure> {
        let patience = patience(request);
        match timeout(patience, self.exchange(request)).await {
            Ok(Ok(Some(answer))) => answer.map_err(Into::into),
            Ok(Ok(None)) => Err(broken("it closed the connection")),
            Ok(Err(error)) => Err(broken(&error.to_string())),
            Err(_) => Err(broken(&format!("the running daemon gave no answer in {patience:?}"))),
        }
    }

    async fn greet(&mut self, path: &Path) -> Result<(), Failure> {
        let greeting = timeout(GREETING_PATIENCE, line::read::<Greeting>(&mut self.stream))
            .await
            .map_err(|_| silent(path))?
            .map_err(|error| failed(path, &error))?;
        let Some(greeting) = greeting else {
            return Err(Failure::new(
                Exit::TryAgain,
                "the daemon is stopping: try again in a moment",
            ));
        };
        if greeting.control == CONTROL_VERSION {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Unavailable,
            format!(
                "the running daemon is chatd {}, this is {}, and they do not understand each other: restart the daemon",
                greeting.chatd,
                env!("CARGO_PKG_VERSION")
            ),
        ))
    }

    async fn exchange(&mut self, request: &Request) -> io::Result<Option<Result<Answer, Refusal>>> {
        line::write(&mut self.stream, request).await?;
        line::read(&mut self.stream).await
    }
}

/// How long an answer may take. An import writes as much at once as it likes.
fn patience(request: &Request) -> Duration {
    match request {
        Request::BeginImport | Request::StageImport { .. } | Request::CommitImport => {
            IMPORT_PATIENCE
        }
        _ => ANSWER_PATIENCE,
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::new(Exit::Unavailable, format!("cannot talk to the daemon through {path}: {error}"))
}

fn silent(path: &Path) -> Failure {
    let path = path.display();
    Failure::new(
        Exit::Unavailable,
        format!(
            "the running daemon does not answer at {path} (waited {GREETING_PATIENCE:?}): see its log, or restart it; \
             nothing was changed"
        ),
    )
}

fn broken(reason: &str) -> Failure {
    Failure::new(
        Exit::Unavailable,
        format!("lost the daemon ({reason}); whether the change took place is not known"),
    )
}

/// The daemon greets at once, unless it hangs or other commands keep it busy.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);
/// The wait for a place in the queue, a password's hash and a commit on a slow disk, many times over.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// A million accounts become visible in one commit, which takes as long as the disk does.
const IMPORT_PATIENCE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_hangs_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.sock");
        // The system takes the connection, and nobody answers.
        let _listener = UnixListener::bind(&path).unwrap();
        let failure = Client::connect(&path, None).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.to_string().contains("does not answer"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_not_waited_for() {
        let (stream, _daemon) = UnixStream::pair().unwrap();
        let mut client = Client { stream: BufReader::new(stream) };
        let failure = client.call(&Request::CommitImport).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.to_string().contains("whether the change took place"), "{failure}");
    }
}
