//! [`Report`]: what came of a run, for people and for programs; and how it goes meanwhile.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::court::{Court, Outcome};
use super::judge::Counts;
use super::story::Line;
use super::verdict::Kind;

/// What came of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
    #[serde(flatten)]
    settings: Settings,
    seconds: f64,
    /// Messages that were sent.
    messages: u32,
    /// Of those, the ones that were never answered, and how many of these are there.
    unanswered: u64,
    unanswered_there: u64,
    #[serde(flatten)]
    counts: Counts,
}

/// How the run was made.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Settings {
    pub(crate) mode: &'static str,
    pub(crate) seed: u64,
    pub(crate) clients: u32,
    pub(crate) accounts: usize,
}

/// The first broken promise.
#[derive(Debug, Serialize)]
struct Fault {
    kind: Kind,
    mailbox: String,
    what: String,
    history: Vec<Line>,
}

impl Report {
    pub(crate) fn new(settings: Settings, elapsed: Duration, outcome: Outcome) -> Self {
        let Outcome { counts, messages, unanswered: (unanswered, unanswered_there), violation } =
            outcome;
        let fault = violation.map(|(violation, mailbox, history)| Fault {
            kind: violation.kind(),
            mailbox,
            what: violation.why.to_string(),
            history,
        });
        Self {
            verdict: if fault.is_none() { "holds" } else { "violated" },
            fault,
            settings,
            seconds: elapsed.as_secs_f64(),
            messages,
            unanswered,
            unanswered_there,
            counts,
        }
    }

    /// Whether every promise was kept.
    pub(crate) fn holds(&self) -> bool {
        self.fault.is_none()
    }

    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Settings { mode, seed, clients, accounts }, counts) = (&self.settings, &self.counts);
        writeln!(
            f,
            "{clients} clients, {accounts} accounts, {mode}, {:.1} s, seed {seed}",
            self.seconds
        )?;
        write!(f, "  sent         {} messages in {} attempts", self.messages, counts.attempts)?;
        if counts.refused + counts.unsure > 0 {
            write!(f, ", {} refused for the time being", counts.refused + counts.unsure)?;
        }
        write!(f, "\n  answered     {}", counts.answered)?;
        if counts.stored_before > 0 {
            write!(f, ", of which {} had been stored by an earlier attempt", counts.stored_before)?;
        }
        if self.unanswered > 0 {
            write!(
                f,
                "\n  unanswered   {}, of which {} are there",
                self.unanswered, self.unanswered_there
            )?;
        }
        writeln!(
            f,
            "\n  read         {} by inbox, {} by peek, {} by watch; {} of these redelivered",
            counts.read_by_inbox, counts.read_by_peek, counts.read_by_watch, counts.redelivered
        )?;
        write!(f, "  confirmed    {} times", counts.confirmations)?;
        for (count, what) in
            [(counts.gaps, "gaps announced"), (counts.lagged, "watches fell behind")]
        {
            if count > 0 {
                write!(f, "; {count} {what}")?;
            }
        }
        writeln!(
            f,
            "\n  connections  {}: {} lost, {} reset, {} closed",
            counts.connections, counts.lost_connections, counts.reset, counts.closed
        )?;
        if counts.kills > 0 {
            writeln!(f, "  killed       {} times", counts.kills)?;
        }
        match &self.fault {
            None => write!(f, "holds: nothing lost, duplicated, reordered or invented, no hole"),
            Some(fault) => write!(f, "{fault}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "violated: {} in the mailbox of {}: {}", self.kind, self.mailbox, self.what)?;
        for Line { at_ms, what } in &self.history {
            write!(
                f,
                "\n  {:>9.3} s  {what}",
                Duration::from_millis((*at_ms).into()).as_secs_f64()
            )?;
        }
        Ok(())
    }
}

/// Says on stderr how it goes, for ever: on a terminal on one line, else now and then on a new one.
pub(crate) async fn progress(court: &Court) {
    let (started, terminal) = (Instant::now(), std::io::stderr().is_terminal());
    let (pause, start, end) =
        if terminal { (TERMINAL_PAUSE, "\r\x1b[K", "") } else { (LOG_PAUSE, "", "\n") };
    let _clear = terminal.then(|| ClearLine);
    loop {
        sleep(pause).await;
        let counts = court.counts();
        // Nothing is left to tell it to if stderr is gone.
        let _ = write!(
            std::io::stderr(),
            "{start}{:.0} s: {} answered, {} read, {} redelivered, {} kills, {} connections{end}",
            started.elapsed().as_secs_f64(),
            counts.answered,
            counts.read(),
            counts.redelivered,
            counts.kills,
            counts.connections
        );
    }
}

/// Leaves an empty line behind.
struct ClearLine;

impl Drop for ClearLine {
    fn drop(&mut self) {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

const TERMINAL_PAUSE: Duration = Duration::from_millis(200);
const LOG_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::documented::assert_documented;

    #[test]
    fn every_key_is_documented() {
        let line = Line { at_ms: 1, what: "sent".to_owned() };
        let fault = Fault {
            kind: Kind::Lost,
            mailbox: "messi".to_owned(),
            what: "it is not there".to_owned(),
            history: vec![line],
        };
        let settings = Settings { mode: "post", seed: 1, clients: 1, accounts: 1 };
        let report = Report {
            verdict: "violated",
            fault: Some(fault),
            settings,
            seconds: 1.0,
            messages: 1,
            unanswered: 0,
            unanswered_there: 0,
            counts: Counts::default(),
        };
        assert_documented("Faults", &serde_json::to_value(report).unwrap(), &[]);
    }
}
