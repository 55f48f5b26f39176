//! What comes out of a run: a table, JSON, a log of histograms and a page with plots.

mod advice;
mod chart;
#[cfg(test)]
pub(crate) mod documented;
#[cfg(test)]
mod example;
mod figures;
mod hdr_log;
mod html;
mod markup;
mod plots;
mod table;
pub(crate) mod units;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::args::file;
use crate::files;
use crate::outcome::Outcome;

pub(crate) use figures::Figures;

/// Where to write more than the table, and in which form to print it.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Report")]
pub(crate) struct ReportArgs {
    /// Print one JSON object in place of the table (docs/chat-load.md says what is in it)
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the latencies of every second as an HdrHistogram interval log
    #[arg(long, value_name = "FILE", value_parser = file)]
    pub(crate) hdr_log: Option<PathBuf>,
    /// Write a report with plots as one HTML file that needs nothing else
    #[arg(long, value_name = "FILE", value_parser = file)]
    pub(crate) html: Option<PathBuf>,
}

/// A report that could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    #[error("cannot write {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("cannot print the report: {0}")]
    Print(#[from] io::Error),
    #[error("cannot print the report: {0}")]
    Json(#[from] serde_json::Error),
}

impl ReportArgs {
    /// Makes sure before a long run that its reports can be written after it. What the files hold stays until then.
    pub(crate) fn check(&self) -> Result<(), ReportError> {
        let check = |path: &PathBuf| {
            files::check(path).map_err(|source| ReportError::File { path: path.clone(), source })
        };
        [&self.hdr_log, &self.html].into_iter().flatten().try_for_each(check)
    }

    /// Prints the table or the JSON, and writes the files. What was printed is there even if a file fails.
    pub(crate) fn report(&self, outcome: &Outcome, figures: &Figures) -> Result<(), ReportError> {
        let text = match self.json {
            true => serde_json::to_string(figures)?,
            false => table::table(figures),
        };
        writeln!(io::stdout(), "{text}")?;
        if let Some(path) = &self.hdr_log {
            to_file(path, |mut file| hdr_log::write(outcome, &mut file))?;
        }
        if let Some(path) = &self.html {
            to_file(path, |file| file.write_all(html::page(outcome, figures).as_bytes()))?;
        }
        Ok(())
    }
}

fn to_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), ReportError> {
    let written = files::replace(path, files::PUBLIC, write);
    written.map_err(|source| ReportError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_is_named_before_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let html = Some(directory.path().join("missing").join("report.html"));
        let error = ReportArgs { html, ..ReportArgs::default() }.check().unwrap_err();
        assert!(error.to_string().contains("missing/report.html"), "{error}");
    }

    #[test]
    fn files_are_written_beside_the_table() {
        let directory = tempfile::tempdir().unwrap();
        let (hdr_log, html) = (directory.path().join("log"), directory.path().join("html"));
        let args =
            ReportArgs { json: true, hdr_log: Some(hdr_log.clone()), html: Some(html.clone()) };
        let outcome = example::outcome(3);
        args.check().unwrap();
        args.report(&outcome, &Figures::new(&outcome)).unwrap();
        assert!(std::fs::read_to_string(hdr_log).unwrap().contains("Tag=send,"));
        assert!(std::fs::read_to_string(html).unwrap().ends_with("</html>\n"));
    }
}
