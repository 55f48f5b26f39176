//! The demo: four accounts whose passwords everybody knows, for trying things out on one machine.

use std::net::SocketAddr;

use chat_core::account::{Hasher, PasswordParams};
use chat_core::store::{HashedAccount, Store};

use crate::exit::{Exit, Failure};

/// Makes the demo's accounts if the store has none yet: all of them or none.
pub(crate) async fn populate(store: &Store, params: PasswordParams) -> Result<(), Failure> {
    if !store.accounts(None, 1).await.map_err(refused)?.is_empty() {
        return Ok(());
    }
    let accounts = accounts(params)?;
    let import = store.begin_import().await.map_err(refused)?;
    store.stage_import(import, accounts).await.map_err(refused)?;
    store.commit_import(import).await.map_err(refused)?;
    Ok(())
}

/// Refuses to be reached from beyond this machine.
pub(crate) fn check_address(address: SocketAddr) -> Result<(), Failure> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Usage,
        format!(
            "--demo does not listen on {address}: everybody knows its passwords; use 127.0.0.1, or make accounts"
        ),
    ))
}

/// What to tell the person who started it.
pub(crate) fn banner(address: SocketAddr) -> String {
    let (host, port) = (address.ip(), address.port());
    format!(
        "
*** DEMO: everybody knows these passwords. Only programs on this machine can connect. ***
    messi, henderson, lineker: {COMMON_PASSWORD}      arini: hehe

To chat, in another terminal:
    nc {host} {port}
    auth messi {COMMON_PASSWORD}
and then, with the tokenid it answers:
    send TOKEN lineker apa kabar
"
    )
}

/// Hashed here, because one password is shorter than the store lets new ones be.
fn accounts(params: PasswordParams) -> Result<Vec<HashedAccount>, Failure> {
    ACCOUNTS
        .iter()
        .map(|(username, name, password)| {
            Ok(HashedAccount {
                username: username.parse().map_err(fault)?,
                name: name.parse().map_err(fault)?,
                hash: Hasher::hash_blocking(params, password).map_err(fault)?,
            })
        })
        .collect()
}

fn fault(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Software, format!("cannot make the demo accounts: {error}"))
}

fn refused(error: chat_core::store::StoreError) -> Failure {
    Failure::new(Exit::Io, format!("cannot make the demo accounts: {error}"))
}

const COMMON_PASSWORD: &str = "surabaya";
/// Username, full name, password: as the existing servers ship them.
const ACCOUNTS: [(&str, &str, &str); 4] = [
    ("messi", "Lionel Messi", COMMON_PASSWORD),
    ("henderson", "Jordan Henderson", COMMON_PASSWORD),
    ("lineker", "Gary Lineker", COMMON_PASSWORD),
    ("arini", "Arini", "hehe"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_on_this_machine() {
        for (address, allowed) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.168.0.1:1", false),
        ] {
            assert_eq!(check_address(address.parse().unwrap()).is_ok(), allowed, "{address}");
        }
    }
}
