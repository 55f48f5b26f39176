//! Opens the store in its directory.

use chat_core::store::{OpenError, Store};

use crate::config::Config;
use crate::datadir::DataDir;
use crate::demo;
use crate::exit::{Exit, Failure};

/// Makes the directory if need be, opens the store, and fills a demo's.
pub(crate) async fn open_store(config: &Config, directory: &DataDir) -> Result<Store, Failure> {
    directory.prepare()?;
    let sqlite = config.sqlite_options(directory.path());
    let store = Store::open(sqlite, config.store_options())
        .await
        .map_err(|error| cannot_open(&error, directory))?;
    if directory.is_demo() {
        demo::populate(&store, config.password_params()).await?;
    }
    Ok(store)
}

fn cannot_open(error: &OpenError, directory: &DataDir) -> Failure {
    let exit = match error {
        OpenError::Locked { .. } => Exit::TryAgain,
        OpenError::NoSpace { .. } | OpenError::Engine { .. } => Exit::Io,
        _ => Exit::CannotCreate,
    };
    match directory.free_bytes().filter(|free| *free < LITTLE_BYTES) {
        Some(free) if matches!(error, OpenError::Engine { .. }) => {
            Failure::new(exit, format!("{error}; its disk has {free} bytes left"))
        }
        _ => Failure::new(exit, error.to_string()),
    }
}

/// With less than a new store takes, SQLite may fail with words that do not tell why.
const LITTLE_BYTES: u64 = 1024 * 1024;
