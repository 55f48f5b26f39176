//! What to do about what went wrong.

/// Advice on a cause for which a server refuses an operation, or a connection is lost.
pub(crate) fn on(cause: &str) -> Option<&'static str> {
    let cause = cause.to_ascii_lowercase();
    let is_about = |words: &[&str]| words.iter().any(|word| cause.contains(word));
    ADVICE.iter().find(|(words, _)| is_about(words)).map(|(_, advice)| *advice)
}

pub(crate) const CUT_SHORT: &str =
    "the figures are of that time, without what was in flight at its end";
pub(crate) const NOT_STARTED: &str =
    "all clients were busy: lower --rate, or give more --clients or a higher --in-flight";
pub(crate) const NOT_STARTED_LOST: &str =
    "clients were lost, and who is lost stays away: see why above";
pub(crate) const NO_LATENCY: &str =
    "all of it was due before the measured time: the server is far behind, so lower --rate";
pub(crate) const LATE: &str = "the rate above is what the server does, less than --rate asks for: look at the latencies, or lower --rate";
pub(crate) const EMPTY: &str = "no operation was due and answered in the measured time: give a longer --duration, a higher --rate or less --think";
pub(crate) const UNANSWERED: &str = "no latency above has them in it, and they may be stored or not: look into the server's log, or give the last replies a longer --timeout";
pub(crate) const MISSING_PUSHES: &str =
    "acknowledged and never pushed to a watcher: `chat-load verify` tells whether they are lost";
pub(crate) const CHURN: &str = "a connection is closed when its requests are answered, and one at a time of a client: give more --clients, or lower --churn";
pub(crate) const OWN_CPU: &str = "the load program itself was at its limit, so this is no figure of the server: give more --threads";
pub(crate) const OTHER_PROCESS: &str =
    "it is not the server; for `chatd` give --pid $(pidof -s chatd)";
pub(crate) const DENIED: &str =
    "bytes written, PSS and open files are shown only to the server's own user and to root";

const ACCOUNTS: &str = "the accounts must exist there: make them as `chatd user import --help` tells, or name others with --users or --user-prefix";
/// Parts of causes, in lower case.
const ADVICE: &[(&[&str], &str)] = &[
    (&["inbox_full"], "use more accounts, or --drain"),
    (&["no_such_recipient", "user tidak ditemukan"], ACCOUNTS),
    (&["no_such_user", "user tidak tersedia"], ACCOUNTS),
    (&["bad_password"], "give the right ones with --users or --password-file"),
    (
        &["no_session"],
        "sessions ended while they were in use: look at the server's limits on sessions",
    ),
    (&["message_too_long", "frame_too_long"], "lower --size, or raise the server's limit"),
    (
        &["rate_limited"],
        "use more accounts (each has 1,000,000 keys of post in 24 hours), or raise the server's limits on logins",
    ),
    (&["busy"], "the server asks for less: lower --rate or --clients, or raise its limits"),
    (&["unavailable", "internal"], "look into the server's log: its store does not work"),
    (
        &["reset", "broken pipe", "end of file", "aborted"],
        "the server closed them: look into its log and limits",
    ),
    (&["refused"], "nothing listens there any more: did the server end?"),
    (&["too many open files"], "raise the limit of open files: ulimit -n"),
    (&["timed out"], "the server stopped answering: look into its log, or give a longer --timeout"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_known_by_code_and_by_sentence() {
        assert_eq!(on("inbox_full"), Some("use more accounts, or --drain"));
        assert!(on("Connection reset by peer (os error 104)").is_some());
        assert_eq!(on("User Tidak Ditemukan"), on("no_such_recipient"));
        assert_eq!(on("something else"), None);
    }
}
