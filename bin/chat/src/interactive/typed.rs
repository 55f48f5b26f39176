//! Lines as people type them, in the old clients' words.

/// A line that makes sense. What is `None` was left out and is to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Typed {
    Nothing,
    Auth { username: String, password: Option<String> },
    Send { to: String, body: String },
    Inbox,
    ActiveUsers,
    Logout,
    Whoami,
    Sessions,
    Revoke { session: String },
    Register { username: String, password: Option<String>, name: Option<String> },
    ChangePassword(Option<Passwords>),
    History { with: String, count: Option<String> },
    Status { id: Option<String> },
    Block { username: String },
    Unblock { username: String },
    Privacy { subject: String, choice: String },
    Help,
    Quit,
}

/// The old and the new password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passwords {
    pub(super) old: String,
    pub(super) new: String,
}

/// A line that does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistyped {
    UnknownCommand,
    TooFewWords,
}

/// Understands a line. Spaces around words do not matter, but for those inside a message and at its end.
pub(super) fn parse(line: &str) -> Result<Typed, Mistyped> {
    let (command, rest) = first_word(line);
    let mut words = rest.split_ascii_whitespace().map(str::to_owned);
    let mut required = || words.next().ok_or(Mistyped::TooFewWords);
    Ok(match command {
        "" => Typed::Nothing,
        "auth" => Typed::Auth { username: required()?, password: words.next() },
        "send" => parse_send(rest)?,
        "inbox" => Typed::Inbox,
        "list" | "user_aktif" => Typed::ActiveUsers,
        "logout" => Typed::Logout,
        "whoami" => Typed::Whoami,
        "sessions" => Typed::Sessions,
        "revoke" => Typed::Revoke { session: required()? },
        "register" => Typed::Register {
            username: required()?,
            password: words.next(),
            name: Some(words.collect::<Vec<_>>().join(" ")).filter(|name| !name.is_empty()),
        },
        "passwd" => parse_passwd(words.next(), words.next())?,
        "history" => Typed::History { with: required()?, count: words.next() },
        "status" => Typed::Status { id: words.next() },
        "block" => Typed::Block { username: required()? },
        "unblock" => Typed::Unblock { username: required()? },
        "privacy" => Typed::Privacy { subject: required()?, choice: required()? },
        "help" => Typed::Help,
        "quit" | "exit" => Typed::Quit,
        _ => return Err(Mistyped::UnknownCommand),
    })
}

/// Whether a line may be written to the history file: only what is surely no password. So also no unknown
/// command, which may be a misspelt `auth`.
pub(super) fn belongs_in_history(line: &str) -> bool {
    let (command, _) = first_word(line);
    COMMANDS.contains(&command) && !WITH_PASSWORDS.contains(&command)
}

/// The commands, as completion offers them.
pub(super) const COMMANDS: &[&str] = &[
    "auth",
    "block",
    "help",
    "history",
    "inbox",
    "list",
    "logout",
    "passwd",
    "privacy",
    "quit",
    "register",
    "revoke",
    "send",
    "sessions",
    "status",
    "unblock",
    "user_aktif",
    "whoami",
];

/// The first word, and what follows the space behind it.
fn first_word(line: &str) -> (&str, &str) {
    let line = line.trim_start();
    line.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((line, ""))
}

/// The message is everything after the one space that follows the recipient.
fn parse_send(rest: &str) -> Result<Typed, Mistyped> {
    let (to, body) = first_word(rest);
    if to.is_empty() || body.is_empty() {
        return Err(Mistyped::TooFewWords);
    }
    Ok(Typed::Send { to: to.to_owned(), body: body.to_owned() })
}

fn parse_passwd(old: Option<String>, new: Option<String>) -> Result<Typed, Mistyped> {
    match (old, new) {
        (None, _) => Ok(Typed::ChangePassword(None)),
        (Some(_), None) => Err(Mistyped::TooFewWords),
        (Some(old), Some(new)) => Ok(Typed::ChangePassword(Some(Passwords { old, new }))),
    }
}

const WITH_PASSWORDS: &[&str] = &["auth", "passwd", "register"];

#[cfg(test)]
mod tests {
    use super::*;

    fn send(to: &str, body: &str) -> Result<Typed, Mistyped> {
        Ok(Typed::Send { to: to.to_owned(), body: body.to_owned() })
    }

    #[test]
    fn the_old_clients_lines() {
        assert_eq!(
            parse("auth messi surabaya"),
            Ok(Typed::Auth { username: "messi".to_owned(), password: Some("surabaya".to_owned()) })
        );
        assert_eq!(parse("send lineker apa kabar"), send("lineker", "apa kabar"));
        assert_eq!(parse("inbox"), Ok(Typed::Inbox));
        assert_eq!(parse("list"), Ok(Typed::ActiveUsers));
        assert_eq!(parse("user_aktif "), Ok(Typed::ActiveUsers));
        assert_eq!(parse(" logout"), Ok(Typed::Logout));
    }

    #[test]
    fn a_message_is_verbatim_after_one_space() {
        assert_eq!(parse("  send   messi  dua  spasi "), send("messi", " dua  spasi "));
        assert_eq!(parse("send messi \t"), send("messi", "\t"));
    }

    #[test]
    fn too_few_words_and_unknown_commands() {
        for line in ["auth", "send", "send messi", "send messi ", "revoke", "passwd x", "register"]
        {
            assert_eq!(parse(line), Err(Mistyped::TooFewWords), "{line}");
        }
        for line in ["terbang", "AUTH messi surabaya", "auth,messi"] {
            assert_eq!(parse(line), Err(Mistyped::UnknownCommand), "{line}");
        }
        assert_eq!(parse(" \t "), Ok(Typed::Nothing));
    }

    #[test]
    fn what_is_left_out_is_asked_for() {
        assert_eq!(
            parse("auth messi"),
            Ok(Typed::Auth { username: "messi".to_owned(), password: None })
        );
        assert_eq!(parse("passwd"), Ok(Typed::ChangePassword(None)));
        assert_eq!(
            parse("register arini rahasia12 Arini  Putri"),
            Ok(Typed::Register {
                username: "arini".to_owned(),
                password: Some("rahasia12".to_owned()),
                name: Some("Arini Putri".to_owned())
            })
        );
    }

    #[test]
    fn what_was_added() {
        assert_eq!(
            parse("history arini 5"),
            Ok(Typed::History { with: "arini".to_owned(), count: Some("5".to_owned()) })
        );
        assert_eq!(parse("status"), Ok(Typed::Status { id: None }));
        for line in ["history", "block", "unblock ", "privacy presence"] {
            assert_eq!(parse(line), Err(Mistyped::TooFewWords), "{line}");
        }
    }

    #[test]
    fn passwords_never_reach_the_history() {
        for line in [
            "auth messi surabaya",
            "  auth messi surabaya",
            "\tauth messi surabaya",
            "register a b",
            " passwd old new",
            "AUTH messi surabaya",
            "atuh messi surabaya",
            "authmessi surabaya",
            "",
        ] {
            assert!(!belongs_in_history(line), "{line}");
        }
        for line in ["send messi auth", " list", "inbox"] {
            assert!(belongs_in_history(line), "{line}");
        }
    }

    #[test]
    fn every_offered_command_is_known() {
        for command in COMMANDS {
            assert_ne!(parse(command), Err(Mistyped::UnknownCommand), "{command}");
        }
    }
}
