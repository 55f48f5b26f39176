//! The report as one HTML file that needs nothing else: no script, no network, light and dark.

use std::fmt::Write;

use crate::outcome::{Kind, Outcome};
use crate::reports::chart::Chart;
use crate::reports::figures::Figures;
use crate::reports::markup::escape;
use crate::reports::plots;
use crate::reports::table::{failures, headline, kind_rows, load, notes};
use crate::reports::units::{bytes, micros, rate};

/// The whole page.
pub(crate) fn page(outcome: &Outcome, figures: &Figures) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>chat-load: {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{}</h1>\n<p>{}</p>\n",
        escape(&figures.server),
        escape(&headline(figures)),
        escape(&load(figures))
    );
    put_verdict(&mut page, figures);
    put_cards(&mut page, figures);
    put_kinds(&mut page, figures);
    put_plots(&mut page, outcome);
    put_costs(&mut page, figures);
    let version = env!("CARGO_PKG_VERSION");
    page + &format!("<footer>chat-load {version}</footer>\n</main>\n</body>\n</html>\n")
}

fn put_verdict(page: &mut String, figures: &Figures) {
    let failures = failures(figures);
    if failures.is_empty() {
        page.push_str("<p class=\"good\">Every operation was acknowledged.</p>\n");
        return;
    }
    page.push_str("<section class=\"bad\"><h2>What went wrong</h2>\n<dl>\n");
    put_terms(page, &failures);
    page.push_str("</dl></section>\n");
}

fn put_cards(page: &mut String, figures: &Figures) {
    let mut cards = Vec::new();
    if figures.sends > 0 {
        cards.push(("messages acknowledged", rate(figures.sends_per_second)));
    }
    if let Some(latency) = figures.latency_us {
        cards.push(("half of them within", micros(latency.p50)));
        cards.push(("99 of 100 within", micros(latency.p99)));
        cards.push(("the slowest", micros(latency.max)));
    }
    if let Some(us) = figures.server_cpu_us_per_operation {
        cards.push(("server CPU an operation", micros(us)));
    }
    if let Some(written) = figures.server_written_bytes_per_send {
        cards.push(("written a message", bytes(written)));
    }
    if let Some(memory) = figures.server_memory {
        cards.push(("server memory at most", bytes(crate::reports::units::float(memory.peak))));
    }
    page.push_str("<ul class=\"cards\">\n");
    for (name, value) in cards {
        put(page, format_args!("<li><b>{}</b> {name}</li>\n", escape(&value)));
    }
    page.push_str("</ul>\n");
}

fn put_kinds(page: &mut String, figures: &Figures) {
    let rows = kind_rows(figures);
    page.push_str("<h2>Operations</h2>\n<div class=\"wide\"><table>\n");
    for (nth, row) in rows.iter().enumerate() {
        let cell = if nth == 0 { "th" } else { "td" };
        page.push_str("<tr>");
        for text in row {
            put(page, format_args!("<{cell}>{}</{cell}>", escape(text)));
        }
        page.push_str("</tr>\n");
    }
    let since = match figures.rate {
        Some(_) => "from when the operation was due, waiting for a busy client included,",
        None => "from when the operation was begun",
    };
    put(
        page,
        format_args!(
            "</table></div>\n<p class=\"note\">Latencies run {since} to its reply. p99 is the time that 99 of 100 \
         operations took at most.</p>\n"
        ),
    );
}

fn put_plots(page: &mut String, outcome: &Outcome) {
    let mut put_plot = |chart: Chart, note: &str| {
        if let Some(svg) = chart.to_svg() {
            let title = escape(chart.title);
            put(
                page,
                format_args!(
                    "<figure><h2>{title}</h2>\n{svg}<figcaption>{}</figcaption></figure>\n",
                    escape(note)
                ),
            );
        }
    };
    put_plot(plots::rate(outcome), plots::RATE_NOTE);
    for kind in Kind::ALL {
        put_plot(plots::latency_over_time(outcome, kind), plots::LATENCY_NOTE);
    }
    put_plot(plots::percentiles(outcome), plots::PERCENTILES_NOTE);
    put_plot(plots::server_cpu(outcome), plots::CPU_NOTE);
    put_plot(plots::server_memory(outcome), plots::MEMORY_NOTE);
    put_plot(plots::server_written(outcome), plots::WRITTEN_NOTE);
}

fn put_costs(page: &mut String, figures: &Figures) {
    page.push_str("<h2>What it cost</h2>\n<dl>\n");
    put_terms(page, &notes(figures));
    page.push_str("</dl>\n");
}

fn put_terms(page: &mut String, terms: &[(&str, String)]) {
    for (term, text) in terms {
        put(page, format_args!("<dt>{}</dt><dd>{}</dd>\n", escape(term), escape(text)));
    }
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = page.write_fmt(text);
}

const STYLE: &str = include_str!("report.css");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::example::outcome;

    fn made(change: impl FnOnce(&mut Outcome)) -> String {
        let mut outcome = outcome(20);
        change(&mut outcome);
        page(&outcome, &Figures::new(&outcome))
    }

    #[test]
    fn the_figures_and_plots_are_there() {
        let page = made(|_| ());
        for part in [
            "<b>500/s</b> messages acknowledged",
            "<td>send</td><td>1,000</td>",
            "<b>400 µs</b> server CPU an operation",
            "<b>8.19 kB</b> written a message",
            "Every operation was acknowledged",
            "<h2>Operations a second</h2>",
            "<h2>Latency of send</h2>",
            "<h2>Latency by percentile</h2>",
            "<h2>Server CPU</h2>",
            "<h2>Server memory</h2>",
            "<h2>Server writes</h2>",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(!page.contains("Latency of inbox"));
    }

    #[test]
    fn the_page_is_well_formed_and_needs_nothing_else() {
        let page = made(|outcome| outcome.unanswered = 1);
        assert_eq!(unclosed(&page), Vec::<String>::new());
        for foreign in ["http", "url(", "<script", "<link", "src="] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn what_others_wrote_is_escaped() {
        let evil = "<script>alert('x')</script>";
        let page = made(|outcome| {
            outcome.plan.server = evil.to_owned();
            outcome.plan.mix = evil.to_owned();
            outcome.kinds.get_mut(Kind::Send).errors.insert(evil.to_owned(), 2);
            outcome.connections.lost.insert(evil.to_owned(), 1);
        });
        assert!(!page.contains("<script"), "{page}");
        assert!(page.matches("&lt;script&gt;").count() >= 5);
        assert_eq!(unclosed(&page), Vec::<String>::new());
    }

    #[test]
    fn a_run_without_anything_still_has_a_page() {
        let page = made(|outcome| {
            outcome.kinds.get_mut(Kind::Send).latency_ns.reset();
            outcome.intervals.clear();
            outcome.server.clear();
        });
        assert_eq!(unclosed(&page), Vec::<String>::new());
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }

    /// Elements still open at the end, or the first that was closed out of turn.
    fn unclosed(page: &str) -> Vec<String> {
        let mut open = Vec::new();
        let body = page.strip_prefix("<!DOCTYPE html>").unwrap();
        for tag in body.split('<').skip(1) {
            let (tag, text) = tag.split_once('>').unwrap();
            assert!(!text.contains('>'), "{text}");
            if tag.ends_with('/') {
                continue;
            }
            match tag.strip_prefix('/') {
                Some(name) if open.last().is_some_and(|last| last == name) => _ = open.pop(),
                Some(name) => return vec![name.to_owned()],
                None => open.push(tag.split(' ').next().unwrap().to_owned()),
            }
        }
        open
    }
}
