//! `chat-load crowd`: many connections at once.
//!
//! * [`sessions`] are made beforehand; [`client`] is one connection, let in by its [`entry`];
//! * [`run`] has them come ([`arrival`]), be silent, talk ([`talk`]) and go; [`memory`] is read meanwhile;
//! * [`report`] tells of it, [`bounds`] says what was missed.

pub(crate) mod args;
mod arrival;
mod bounds;
mod client;
pub(crate) mod entry;
mod memory;
mod report;
mod run;
mod sessions;
mod talk;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use args::{CrowdArgs, OptionsError};
use sessions::SessionsError;

use self::entry::Entry;
use crate::interrupt::{self, Interrupt};
use crate::process::{Process, allow_open_files};

/// Runs, reports, and says by the exit code whether all went as it must.
pub(crate) fn crowd(args: &CrowdArgs) -> Result<ExitCode, Box<dyn Error>> {
    args.check()?;
    args.pid.map(Process::find).transpose()?;
    allow_open_files(args.clients)?;
    // One thread: the load is to be gentle on the machine it shares with the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(come_and_go(args, Interrupt::listen()?))
}

async fn come_and_go(
    args: &CrowdArgs,
    mut interrupt: Interrupt,
) -> Result<ExitCode, Box<dyn Error>> {
    let prepared = tokio::select! {
        prepared = prepare(args) => prepared?,
        () = interrupt.came() => {
            writeln!(std::io::stderr(), "chat-load: cut short before anything was measured")?;
            return Ok(ExitCode::from(interrupt::STATUS));
        }
    };
    let Some(entries) = prepared else { return Ok(ExitCode::SUCCESS) };
    let report = run::run(args, entries, &mut interrupt).await?;
    let text = if args.json { report.to_json()? } else { report.to_string() };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(match report.is_clean() {
        _ if report.cut_short => ExitCode::from(interrupt::STATUS),
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What each client says first; nothing when logging in is all there is to do.
async fn prepare(args: &CrowdArgs) -> Result<Option<Vec<Entry>>, SessionsError> {
    if args.log_in_only {
        sessions::sessions(args).await?;
        return Ok(None);
    }
    sessions::entries(args).await.map(Some)
}

/// Whether other options would help, rather than another server or machine.
pub(crate) fn is_about_options(error: &(dyn Error + 'static)) -> bool {
    error.is::<OptionsError>() || error.downcast_ref().is_some_and(SessionsError::is_about_options)
}
