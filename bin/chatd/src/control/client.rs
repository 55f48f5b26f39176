//! [`Client`]: a command's end of the control socket.

use std::io;
use std::path::Path;

use tokio::io::BufReader;
use tokio::net::UnixStream;

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
        match self.exchange(request).await {
            Ok(Some(answer)) => answer.map_err(Into::into),
            Ok(None) => Err(broken("it closed the connection")),
            Err(error) => Err(broken(&error.to_string())),
        }
    }

    async fn greet(&mut self, path: &Path) -> Result<(), Failure> {
        let greeting: Option<Greeting> =
            line::read(&mut self.stream).await.map_err(|error| failed(path, &error))?;
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

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::new(Exit::Unavailable, format!("cannot talk to the daemon through {path}: {error}"))
}

fn broken(reason: &str) -> Failure {
    Failure::new(
        Exit::Unavailable,
        format!("lost the daemon ({reason}); whether the change took place is not known"),
    )
}
