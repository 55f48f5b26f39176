//! Every key of the config file, what it means, and the file written out with that as comments.

use std::fmt::Write as _;

use super::Config;

/// One key: the section it stands in (empty for the top), its name, and its meaning with the unit.
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
}

#[cfg(test)]
impl Key {
    fn dotted(&self) -> String {
        match self.section {
            "" => self.name.to_owned(),
            section => format!("{section}.{}", self.name),
        }
    }
}

/// The config as commented TOML that can be fed back.
pub(crate) fn render(config: &Config) -> String {
    let (values, defaults) = (table(config), table(&Config::default()));
    let mut text = String::new();
    let mut section = "";
    for key in KEYS {
        if key.section != section {
            section = key.section;
            let _ = writeln!(text, "\n[{section}]");
        }
        let default = lookup(&defaults, key)
            .map_or_else(|| "the conventional place".to_owned(), ToString::to_string);
        let _ = writeln!(text, "# {} Default: {default}", key.meaning);
        let _ = match lookup(&values, key) {
            Some(value) => writeln!(text, "{} = {value}", key.name),
            None => writeln!(text, "# {} =", key.name),
        };
    }
    text
}

fn table(config: &Config) -> toml::Table {
    // Nothing in a config can fail to be written but a path that is not UTF-8, which then shows as unset.
    toml::Table::try_from(config)
        .or_else(|_| toml::Table::try_from(Config { data: None, ..config.clone() }))
        .unwrap_or_default()
}

fn lookup<'a>(table: &'a toml::Table, key: &Key) -> Option<&'a toml::Value> {
    match key.section {
        "" => table.get(key.name),
        section => table.get(section)?.get(key.name),
    }
}

const fn key(section: &'static str, name: &'static str, meaning: &'static str) -> Key {
    Key { section, name, meaning }
}

pub(super) const KEYS: &[Key] = &[
    key("", "listen", "Where to listen, each HOST:PORT; port 0 takes a free one."),
    key("", "data", "The data directory; made with mode 0700."),
    key(
        "log",
        "level",
        "What is logged: off, error, warn, info, debug, trace, or directives as in \"info,chat_server=debug\".",
    ),
    key("log", "format", "How log lines look on stderr: \"text\" or \"json\"."),
    key(
        "connections",
        "max",
        "Most connections at once; when reached, the longest silent ones that never logged in make room.",
    ),
    key("connections", "max_frame", "Longest request line, in bytes or with a unit (KiB, MiB)."),
    key(
        "connections",
        "buffers",
        "Most memory for lines not finished and replies not read, of all connections together; beyond it the longest held are closed, first those that never logged in.",
    ),
    key("connections", "line_timeout", "How long a client may take to finish a line it began."),
    key(
        "connections",
        "write_timeout",
        "How long a client may go without reading any of what waits for it.",
    ),
    key(
        "connections",
        "linger",
        "How long a connection that is over is kept for the client to read the last answer.",
    ),
    key(
        "connections",
        "keepalive",
        "After how long without traffic TCP asks whether the client is still there.",
    ),
    key("accounts", "registration", "Whether anybody may make an account with `register`."),
    key(
        "accounts",
        "hide_unknown_users",
        "Whether a login by an unknown user is answered like a wrong password.",
    ),
    key("passwords", "memory", "Memory of a new Argon2id hash, in bytes or with a unit."),
    key("passwords", "passes", "Passes of a new Argon2id hash over its memory."),
    key("passwords", "lanes", "Lanes of a new Argon2id hash."),
    key("sessions", "idle", "How long a session lives without use."),
    key(
        "sessions",
        "max_per_account",
        "Most sessions of an account; one more ends the longest unused.",
    ),
    key("messages", "max_size", "Longest message, in bytes or with a unit."),
    key(
        "messages",
        "mailbox_count",
        "Most undelivered messages in a mailbox; beyond it senders are told `inbox_full`.",
    ),
    key("messages", "mailbox_size", "Most bytes of undelivered messages in a mailbox."),
    key(
        "retention",
        "age",
        "How long messages are kept, from when they were stored; those not delivered yet are kept until they are.",
    ),
    key("retention", "count", "How many messages of a mailbox are kept once delivered."),
    key(
        "store",
        "durability",
        "What an acknowledged message survives: \"power-loss\", or only \"process-crash\" (then a crash of the machine can lose the last seconds).",
    ),
    key(
        "store",
        "wal",
        "How large the database's write-ahead log may grow, in bytes or with a unit.",
    ),
    key(
        "store",
        "segment",
        "How large a file of the journal may grow before the next one is begun, in bytes or with a unit.",
    ),
    key("store", "queue", "How many requests may wait for the store; when full, connections wait."),
    key("store", "batch", "How many requests go into one commit at most."),
    key(
        "store",
        "stretch",
        "How many messages the index in memory may cover before it is written out.",
    ),
    key("store", "recent", "Memory for the newest message bodies, in bytes or with a unit."),
    key("store", "cached_mailboxes", "How many accounts' names and settings stay in memory."),
    key("shutdown", "deadline", "How long connections get to finish at shutdown."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_meaning() {
        let mut known = 0;
        for (name, value) in table(&Config::default()) {
            match value {
                toml::Value::Table(keys) => {
                    for (key, _) in keys {
                        known += 1;
                        assert!(
                            KEYS.iter().any(|k| k.section == name && k.name == key),
                            "{name}.{key}"
                        );
                    }
                }
                _ => {
                    known += 1;
                    assert!(KEYS.iter().any(|k| k.section.is_empty() && k.name == name), "{name}");
                }
            }
        }
        // All of them, and `data`, which has no fixed default.
        assert_eq!(KEYS.len(), known + 1);
    }

    #[test]
    fn the_manual_has_every_key_with_its_default() {
        let manual = include_str!("../../../../docs/operations.md");
        let defaults = table(&Config::default());
        for key in KEYS {
            let default = lookup(&defaults, key)
                .map_or_else(|| "the conventional place".to_owned(), ToString::to_string);
            let row = format!("| `{}` | `{default}` | {} |", key.dotted(), key.meaning);
            assert!(manual.contains(&row), "docs/operations.md lacks: {row}");
        }
    }
}
