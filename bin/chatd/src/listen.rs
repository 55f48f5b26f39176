//! Binds the addresses to listen on.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::config::ListenAddr;
use crate::demo;
use crate::exit::{Exit, Failure};

/// A listener for every address, in order. A name may stand for several.
pub(crate) async fn bind(
    addresses: &[ListenAddr],
    is_demo: bool,
) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for address in addresses {
        let resolved = resolve(address).await?;
        if is_demo {
            resolved.iter().try_for_each(|address| demo::check_address(*address))?;
        }
        listeners.extend(bind_all(&resolved)?);
    }
    Ok(listeners)
}

/// The address that a listener really has.
pub(crate) fn address_of(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener
        .local_addr()
        .map_err(|error| Failure::new(Exit::System, format!("a listener has no address: {error}")))
}

async fn resolve(address: &ListenAddr) -> Result<Vec<SocketAddr>, Failure> {
    let nothing = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Unavailable, format!("cannot listen on {address}: {error}"))
    };
    let mut resolved: Vec<_> =
        lookup_host(address.as_str()).await.map_err(|error| nothing(&error))?.collect();
    resolved.dedup();
    if resolved.is_empty() { Err(nothing(&"the name has no address")) } else { Ok(resolved) }
}

/// All of them; one this machine does not have (a name may stand for IPv6 too) matters only if none is left.
fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    let (mut listeners, mut missing) = (Vec::new(), None);
    for address in addresses {
        match listen(*address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                missing = Some(unbound(*address, &error));
            }
            Err(error) => return Err(unbound(*address, &error)),
        }
    }
    match missing {
        Some(failure) if listeners.is_empty() => Err(failure),
        _ => Ok(listeners),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As Unix daemons do: connections of the last run that linger in the system do not hinder the next.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn unbound(address: SocketAddr, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there: stop it, or give another --listen HOST:PORT"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege: give another --listen HOST:PORT"
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        _ => "give another --listen HOST:PORT",
    };
    Failure::new(Exit::Unavailable, format!("cannot listen on {address}: {error}; {advice}"))
}

/// Connections that may wait to be accepted, as far as the system allows (net.core.somaxconn on Linux, 4,096 by default).
/// When everybody comes back at once after a restart, one that finds no room tries again only a second later.
const BACKLOG: u32 = 65_535;
