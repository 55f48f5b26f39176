//! `chat-load verify`: does a server keep its promises while things go wrong?
//!
//! * [`fact`] what clients did and saw; [`judge`] goes over the facts and finds the first broken promise ([`verdict`]);
//!   [`journal`] keeps them, for the history of the message concerned; [`court`] is where all of these meet;
//! * [`sender`] and [`reader`] are a client; [`session`] is a reading connection, [`wire`] any connection with the faults
//!   that befall it, [`letter`] what stands in a message; [`world`] is what the clients share;
//! * [`server`] starts and kills the server; [`schedule`] says when; [`mailboxes`] empties them before and after;
//! * [`run`] is a run from start to end; [`report`] tells of it, [`story`] of the message concerned.

pub(crate) mod args;
mod court;
mod fact;
mod journal;
mod judge;
mod letter;
mod mailboxes;
mod plan;
mod reader;
mod report;
mod run;
mod schedule;
mod sender;
mod server;
mod session;
mod story;
mod verdict;
mod wire;
mod world;

use std::io::Write as _;
use std::process::ExitCode;

use args::VerifyArgs;
use plan::Plan;

/// Runs, reports, and says by the exit code what came of it.
pub(crate) fn verify(args: &VerifyArgs) -> ExitCode {
    match checked(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(VIOLATED),
        Err(error) => {
            // Nothing is left to tell it to if stderr is gone.
            let _ = writeln!(std::io::stderr(), "chat-load: {error}");
            ExitCode::from(NOT_JUDGED)
        }
    }
}

fn checked(args: &VerifyArgs) -> Result<bool, Box<dyn std::error::Error>> {
    let plan = Plan::new(args)?;
    writeln!(std::io::stderr(), "seed {}", plan.rules.seed)?;
    // One thread: the load is to be gentle on the machine it shares with the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run::run(plan))?;
    let text = if args.json { report.to_json()? } else { report.to_string() };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(report.holds())
}

const VIOLATED: u8 = 1;
const NOT_JUDGED: u8 = 2;
