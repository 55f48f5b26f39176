//! The report for the terminal, and the sentences that the page shares with it.

use crate::reports::advice;
use crate::reports::figures::{Figures, KindFigures, Latency};
use crate::reports::units::{bytes, count, digits, float, micros, rate};

/// The whole report, without a line end behind the last line.
pub(crate) fn table(figures: &Figures) -> String {
    let mut lines = vec![headline(figures), load(figures), String::new()];
    lines.extend(aligned(&kind_rows(figures)));
    lines.push(String::new());
    let notes: Vec<_> = notes(figures).into_iter().chain(failures(figures)).collect();
    let widest = notes.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
    lines.extend(notes.iter().map(|(label, text)| format!("  {label:<widest$}  {text}")));
    lines.join("\n")
}

/// What was measured, where and for how long.
pub(crate) fn headline(figures: &Figures) -> String {
    let (up_to, pace) = match figures.rate {
        Some(per_second) => ("up to ", format!("open loop at {}", rate(per_second))),
        None => ("", "closed loop".to_owned()),
    };
    let watchers = match figures.watchers {
        0 => String::new(),
        watchers => format!(" and {}", of(watchers, "watcher")),
    };
    format!(
        "{} ({}): {}{watchers}, {up_to}{} in flight each, {pace}, {:.1} s",
        figures.server,
        figures.protocol,
        of(figures.clients, "client"),
        figures.in_flight,
        figures.seconds
    )
}

/// What the load was made of.
pub(crate) fn load(figures: &Figures) -> String {
    let mut text = format!(
        "{}; {}-byte messages to {}, {}; seed {}",
        figures.mix,
        figures.size,
        of(figures.accounts, "account"),
        figures.recipients,
        figures.seed
    );
    if !figures.think.is_empty() {
        text += &format!("; thinking {} s", figures.think);
    }
    if figures.ramp_seconds > 0.0 {
        text += &format!("; clients join over {} s", digits(figures.ramp_seconds));
    }
    if figures.churn > 0.0 {
        text += &format!("; {} connections made anew", rate(figures.churn));
    }
    text
}

/// A heading and a row for each kind of operation.
pub(crate) fn kind_rows(figures: &Figures) -> Vec<Vec<String>> {
    let heading =
        ["", "done", "rate", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max", "refused"];
    let heading = heading.map(str::to_owned).to_vec();
    let rows = figures.kinds.iter().map(|(name, kind)| kind_row(name, kind));
    std::iter::once(heading).chain(rows).collect()
}

fn kind_row(name: &str, kind: &KindFigures) -> Vec<String> {
    let mut row = vec![name.to_owned(), count(kind.acknowledged), rate(kind.per_second)];
    row.extend(match kind.latency_us {
        Some(Latency { mean, p50, p90, p99, p999, p9999, max }) => {
            [mean, p50, p90, p99, p999, p9999, max].map(micros)
        }
        None => [const { String::new() }; 7].map(|_| "-".to_owned()),
    });
    row.push(if kind.refused() > 0 { count(kind.refused()) } else { "-".to_owned() });
    row
}

/// The first column to the left, all others to the right.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<_> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("  {cell:<width$}") } else { format!("  {cell:>width$}") }
        });
        cells.collect::<String>()
    };
    rows.iter().map(line).collect()
}

/// What it cost, each with a label.
pub(crate) fn notes(figures: &Figures) -> Vec<(&'static str, String)> {
    let mut notes = Vec::new();
    if let Some(cores) = figures.server_cores {
        notes.push(("server", server(figures, cores)));
    }
    notes.extend(memory(figures));
    notes.push(("this program", own(figures)));
    if let Some(idle) = figures.machine_idle_cores {
        notes.push(("this machine", format!("{idle:.2} cores idle")));
    }
    if let Some(Latency { p50, max, .. }) = figures.setup.login_latency_us {
        notes.push((
            "setup",
            format!(
                "{} in {:.2} s (p50 {}, max {})",
                of(figures.setup.logins, figures.setup.what),
                figures.setup.seconds,
                micros(p50),
                micros(max)
            ),
        ));
    }
    if figures.old_pushes > 0 {
        notes.push((
            "watchers",
            format!(
                "pushed {} from before this run first; only what was sent in it counts as a push",
                of(figures.old_pushes, "message")
            ),
        ));
    }
    if figures.connections_churned > 0 {
        let churned = count(figures.connections_churned);
        notes.push((
            "connections",
            format!(
                "{} made, {churned} of them after one was closed on purpose",
                count(figures.connections_made)
            ),
        ));
    }
    notes
}

fn memory(figures: &Figures) -> Vec<(&'static str, String)> {
    let Some(memory) = figures.server_memory else { return Vec::new() };
    let [start, peak, end] = [memory.start, memory.peak, memory.end].map(|size| bytes(float(size)));
    let measure = memory.measure.to_uppercase();
    let mut text =
        format!("memory ({measure}) {start} at the start, {peak} at most, {end} at the end");
    if let Some(files) = figures.server_open_files {
        text += &format!("; {} open files at most", count(files));
    }
    let denied = (memory.measure == "rss").then(|| advice::DENIED.to_owned());
    std::iter::once(text).chain(denied).map(|text| ("", text)).collect()
}

fn server(figures: &Figures, cores: f64) -> String {
    let mut text = match figures.server_cpu_us_per_operation {
        Some(us) => format!("{} of CPU an operation ({cores:.2} cores)", micros(us)),
        None => format!("{cores:.2} cores"),
    };
    if let Some(written) = figures.server_written_bytes_per_send {
        text += &format!(", {} written a message", bytes(written));
    }
    text
}

fn own(figures: &Figures) -> String {
    let mut text = format!("{:.2} cores of {}", figures.own_cores, of(figures.threads, "thread"));
    if figures.sends > 0 {
        text += &format!(", {} µs of CPU a message", digits(figures.own_cpu_us_per_send));
    }
    text
}

/// What went wrong, with what to do about it.
pub(crate) fn failures(figures: &Figures) -> Vec<(&'static str, String)> {
    let mut failures = Vec::new();
    let mut tell = |label, text: String, advice: Option<&str>| {
        let advice = advice.map(|advice| format!(": {advice}")).unwrap_or_default();
        failures.push((label, text + &advice));
    };
    if figures.cut_short {
        tell("cut short", format!("after {:.2} s", figures.seconds), Some(advice::CUT_SHORT));
    }
    for (name, kind) in &figures.kinds {
        for (cause, times) in &kind.errors {
            tell("refused", format!("{} x {name}: {cause}", count(*times)), advice::on(cause));
        }
    }
    for (cause, times) in &figures.lost_connections {
        tell("lost", format!("{}: {cause}", of(*times, "connection")), advice::on(cause));
    }
    if figures.unanswered > 0 {
        tell("unanswered", of(figures.unanswered, "request"), Some(advice::UNANSWERED));
    }
    if figures.missing_pushes > 0 {
        tell("not pushed", of(figures.missing_pushes, "message"), Some(advice::MISSING_PUSHES));
    }
    for (name, kind) in figures.kinds.iter().filter(|(_, kind)| kind.has_no_latency()) {
        let text = format!("{} x {name}", count(kind.acknowledged));
        tell("no latency", text, Some(advice::NO_LATENCY));
    }
    if figures.not_started > 0 {
        let advice = match figures.lost_connections.is_empty() {
            true => advice::NOT_STARTED,
            false => advice::NOT_STARTED_LOST,
        };
        tell("not begun", of(figures.not_started, "operation"), Some(advice));
    }
    if let Some((late, due)) = figures.late() {
        let text = format!("{} of {} due were answered later", count(late), of(due, "operation"));
        tell("fell behind", text, Some(advice::LATE));
    }
    if figures.falls_short_of_churn() {
        let (churned, due) = (figures.connections_churned, figures.connections_churn_due);
        let text = format!("{} of {} due", count(churned), of(due, "new connection"));
        tell("churn", text, Some(advice::CHURN));
    }
    if let Some(trouble) = &figures.server_trouble {
        tell("server", trouble.clone(), None);
    }
    if figures.is_another_process() {
        tell("note", "the process of --pid used no CPU".to_owned(), Some(advice::OTHER_PROCESS));
    }
    if figures.own_cores > 0.95 * threads(figures) {
        tell("note", format!("{:.2} cores", figures.own_cores), Some(advice::OWN_CPU));
    }
    if failures.is_empty() && figures.is_empty() {
        failures.push(("nothing done", advice::EMPTY.to_owned()));
    }
    failures
}

fn threads(figures: &Figures) -> f64 {
    float(u64::try_from(figures.threads).unwrap_or(u64::MAX))
}

/// So many of a thing, in the singular for one.
fn of(number: impl TryInto<u64>, thing: &str) -> String {
    match number.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {thing}"),
        many => format!("{} {thing}s", count(many)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Kind;
    use crate::reports::example::figures;

    #[test]
    fn a_table_says_what_was_measured_and_what_it_cost() {
        let text = table(&figures(|outcome| outcome.plan.rate = Some(500.0)));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "127.0.0.1:8889 (chat): 3 clients, up to 2 in flight each, open loop at 500/s, 2.0 s"
        );
        assert_eq!(lines[1], "send=100; 100-byte messages to 10,000 accounts, uniform; seed 1");
        for part in [
            "400 µs of CPU an operation (0.20 cores), 8.19 kB written a message",
            "memory (PSS) 10.0 B at the start, 30.0 B at most, 20.0 B at the end; 105 open files at most",
            "0.05 cores of 1 thread, 100 µs of CPU a message",
            "1 login in 0.04 s (p50 3.00 ms, max 3.00 ms)",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn columns_are_aligned() {
        let text = table(&figures(|outcome| {
            outcome.kinds.get_mut(Kind::Reconnect).latency_ns.record(1).unwrap();
        }));
        let rows: Vec<_> = text.lines().skip(3).take(3).collect();
        assert!(rows[0].contains("p99.9"), "{text}");
        assert!(rows[1].starts_with("  reconnect "), "{text}");
        assert!(rows.iter().all(|row| row.chars().count() == rows[0].chars().count()), "{text}");
    }

    #[test]
    fn failures_are_named_with_what_to_do() {
        let text = table(&figures(|outcome| {
            let refused = &mut outcome.kinds.get_mut(Kind::Send).errors;
            refused.insert("inbox_full".to_owned(), 1234);
            refused.insert("strange".to_owned(), 1);
            outcome.connections.lost.insert("connection reset by peer".to_owned(), 1);
            outcome.unanswered = 4;
            outcome.not_started = 2;
            outcome.is_cut_short = true;
            outcome.server_trouble = Some("the server's process 7 ended".to_owned());
            (outcome.connections.churned, outcome.connections.churn_due) = (17, 20);
        }));
        for part in [
            "cut short     after 2.00 s: ",
            "refused       1,234 x send: inbox_full: use more accounts, or --drain",
            "refused       1 x send: strange\n",
            "lost          1 connection: connection reset by peer: the server closed them",
            "unanswered    4 requests: no latency above has them in it",
            "not begun     2 operations: clients were lost",
            "churn         17 of 20 new connections due: ",
            "server        the server's process 7 ended",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn churn_that_was_due_at_the_end_is_no_shortfall() {
        for (churned, due) in [(0, 0), (1, 2), (18, 20), (90, 100), (20, 20)] {
            let text = table(&figures(|outcome| {
                (outcome.connections.churned, outcome.connections.churn_due) = (churned, due);
            }));
            assert!(!text.contains("churn "), "{text}");
        }
    }

    #[test]
    fn what_waited_for_the_watchers_is_told_apart() {
        let text = table(&figures(|outcome| outcome.old_pushes = 1234));
        assert!(text.contains("pushed 1,234 messages from before this run first"), "{text}");
    }

    #[test]
    fn a_process_that_is_not_the_server_is_told() {
        let text = table(&figures(|outcome| {
            outcome.server.iter_mut().for_each(|sample| sample.cpu = std::time::Duration::ZERO);
            outcome.kinds.get_mut(Kind::Send).acknowledged = 1_000_000;
        }));
        assert!(text.contains("the process of --pid used no CPU: it is not the server"), "{text}");
    }

    #[test]
    fn sessions_made_beforehand_are_no_logins() {
        let text = table(&figures(|outcome| outcome.setup.what = "session"));
        assert!(text.contains("1 session in 0.04 s") && !text.contains("login"), "{text}");
    }

    #[test]
    fn what_was_not_begun_is_the_fault_of_busy_clients_when_none_was_lost() {
        let text = table(&figures(|outcome| outcome.not_started = 2));
        assert!(text.contains("not begun     2 operations: all clients were busy"), "{text}");
    }

    #[test]
    fn done_without_a_latency_is_explained() {
        let text = table(&figures(|outcome| outcome.kinds.get_mut(Kind::Send).latency_ns.reset()));
        assert!(text.contains("no latency    1,000 x send: all of it was due before"), "{text}");
        assert!(!text.contains("NaN"), "{text}");
    }

    #[test]
    fn a_server_that_falls_behind_is_told_in_an_open_loop() {
        let late = |rate, offered| {
            table(&figures(|outcome| {
                outcome.plan.rate = rate;
                outcome.kinds.get_mut(Kind::Send).offered = offered;
            }))
        };
        let text = late(Some(500.0), 1100);
        assert!(
            text.contains("fell behind   100 of 1,100 operations due were answered later"),
            "{text}"
        );
        // Some are always in flight, and a closed loop has no rate to fall behind.
        assert!(!late(Some(500.0), 1050).contains("fell behind"));
        assert!(!late(None, 2000).contains("fell behind"));
    }

    #[test]
    fn a_run_without_anything_done_says_so() {
        let text = table(&figures(|outcome| {
            *outcome.kinds.get_mut(Kind::Send) = crate::outcome::Operations::new().unwrap();
        }));
        assert!(text.contains("nothing done  no operation was due and answered"), "{text}");
    }

    #[test]
    fn a_load_program_at_its_limit_is_told() {
        let text = table(&figures(|outcome| outcome.own_cpu = outcome.elapsed));
        assert!(text.contains("give more --threads"), "{text}");
        assert!(!table(&figures(|_| ())).contains("--threads"));
    }
}
