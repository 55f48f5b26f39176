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

use std::io::Write as _;
use std::process::ExitCode;

use args::CrowdArgs;

/// Runs, reports, and says by the exit code whether all went as it must.
pub(crate) fn crowd(args: &CrowdArgs) -> Result<ExitCode, Box<dyn std::error::Error>> {
    args.check()?;
    crate::process::allow_open_files(args.clients)?;
    // One thread: the load is to be gentle on the machine it shares with the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if args.log_in_only {
        runtime.block_on(sessions::sessions(args))?;
        return Ok(ExitCode::SUCCESS);
    }
    let entries = runtime.block_on(sessions::entries(args))?;
    let report = runtime.block_on(run::run(args, entries))?;
    let text = if args.json { report.to_json()? } else { report.to_string() };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
