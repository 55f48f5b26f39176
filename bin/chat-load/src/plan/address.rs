//! Where the server is.

use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};

use super::PlanError;

/// `HOST:PORT` of a server that may be named without a port, if there is a usual one.
pub(crate) fn with_port(server: &str, usual: Option<u16>) -> String {
    let Some(port) = usual else { return server.to_owned() };
    if server.parse::<Ipv6Addr>().is_ok() {
        format!("[{server}]:{port}")
    } else if server.ends_with(']') || !server.contains(':') {
        format!("{server}:{port}")
    } else {
        server.to_owned()
    }
}

/// The first address of `HOST:PORT`.
pub(crate) fn resolve(server: &str) -> Result<SocketAddr, PlanError> {
    let failed = |reason: String| PlanError::Address { server: server.to_owned(), reason };
    let mut found = server.to_socket_addrs().map_err(|error| failed(error.to_string()))?;
    found.next().ok_or_else(|| failed("no address".to_owned()))
}

/// The usual port of servers for this protocol and the older one; clients take it, too.
pub(crate) const CHAT_PORT: u16 = 8889;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_port_is_the_usual_one_if_there_is_one() {
        for (given, meant) in [
            ("localhost", "localhost:8889"),
            ("localhost:1", "localhost:1"),
            ("10.0.0.1", "10.0.0.1:8889"),
            ("::1", "[::1]:8889"),
            ("[::1]", "[::1]:8889"),
            ("[::1]:2", "[::1]:2"),
        ] {
            assert_eq!(with_port(given, Some(CHAT_PORT)), meant);
            assert_eq!(with_port(given, None), given);
        }
    }
}
