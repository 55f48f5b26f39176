//! The command line.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

/// Chats from the terminal or from scripts.
///
/// Without a command it is interactive: type `help` there. Lines may also come from a pipe.
#[derive(Debug, Parser)]
#[command(name = "chat", version, about, long_about, after_long_help = EXIT_CODES)]
pub(crate) struct Args {
    /// The server; without a port, 8889.
    #[arg(
        short,
        long,
        global = true,
        env = "CHAT_SERVER",
        hide_env_values = true,
        default_value = "127.0.0.1:8889",
        value_name = "HOST:PORT"
    )]
    pub(crate) server: String,

    #[command(subcommand)]
    pub(crate) command: Option<Cmd>,
}

/// What to do once and then exit.
#[derive(Debug, Subcommand)]
pub(crate) enum Cmd {
    /// Log in and keep the login for the commands below.
    ///
    /// Asks for the password without showing it, or reads it from standard input; it is never an argument, because
    /// other users of the machine can read those. Where there is no terminal, as in scripts:
    /// `chat login USER --password-stdin < FILE`. The login is kept per server in a file only you can read.
    #[command(after_long_help = "JSON: {\"user\": NAME, \"server\": HOST:PORT}")]
    Login {
        /// Your username.
        #[arg(value_name = "USER")]
        username: String,
        /// Read the password from the first line of standard input.
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Send a message.
    ///
    /// TEXT is put together with single spaces. Without TEXT, or with `-`, every line of standard input is sent as a
    /// message of its own (empty lines are left out); the first that fails ends it.
    ///
    /// Options come before USER. A TEXT that is or has a word like one of them goes after `--`, and so does one that a
    /// script did not choose: `chat send USER -- "$text"`.
    #[command(
        override_usage = "chat send [OPTIONS] USER [--] [TEXT]...",
        after_long_help = "JSON: {\"to\": USER, \"sent\": COUNT, \"id\": ID}; ID is what `chat status` knows the last \
        message by, null where the server gives none",
        allow_hyphen_values = true
    )]
    Send {
        /// Who gets it.
        #[arg(value_name = "USER")]
        to: String,
        /// What it says.
        #[arg(value_name = "TEXT", trailing_var_arg = true)]
        text: Vec<String>,
        #[command(flatten)]
        format: Format,
    },
    /// Show new messages, oldest first.
    ///
    /// They count as delivered once they are written out: if that fails, they are there again next time.
    #[command(
        after_long_help = "JSON: a line for each message, {\"id\": ID, \"time\": TIME, \"from\": USER, \
        \"from_name\": NAME, \"body\": TEXT}; old servers give no id and no time (null)"
    )]
    Inbox {
        #[command(flatten)]
        format: Format,
    },
    /// Write what happens as it happens, a JSON object a line: for scripts and bots.
    ///
    /// First everything undelivered, or everything behind the message that --after and --incarnation name, then what
    /// is new, until the login ends or the program is stopped. When the connection is lost it is made again, and the
    /// messages go on where they were: none twice, none left out without a line that says so ("gap"). That the
    /// connection is lost, and is there again, is told on standard error.
    ///
    /// Messages stay undelivered unless --ack is given: they come again next time, also to other devices.
    #[command(after_long_help = WATCH_JSON)]
    Watch {
        /// Acknowledge each message once its line is written out.
        #[arg(long)]
        ack: bool,
        /// Begin behind the message of this id.
        #[arg(long, value_name = "ID", requires = "incarnation")]
        after: Option<u64>,
        /// The incarnation of the mailbox that ID belongs to, as the message's line says.
        #[arg(long, value_name = "WORD", requires = "after")]
        incarnation: Option<String>,
        #[command(flatten)]
        format: Format,
    },
    /// Show the last messages with somebody, oldest first.
    #[command(
        after_long_help = "JSON: a line for each message, {\"direction\": \"in\" or \"out\", \"id\": ID, \"time\": TIME, \
        \"from\": USER, \"from_name\": NAME, \"to\": USER, \"body\": TEXT}"
    )]
    History {
        /// Who the conversation is with.
        #[arg(value_name = "USER")]
        with: String,
        /// How many messages, 1 to 100000.
        #[arg(value_name = "N", default_value = "20")]
        count: String,
        #[command(flatten)]
        format: Format,
    },
    /// Show what became of a message you sent.
    ///
    /// ID is what `chat send --json` writes, or `chat history --json` for those of direction out.
    #[command(
        after_long_help = "JSON: {\"id\": ID, \"state\": \"stored\", \"pushed\" or \"delivered\", \"stored\": TIME, \
        \"pushed\": TIME, \"delivered\": TIME}; times that are not known are null"
    )]
    Status {
        /// The message.
        id: String,
        #[command(flatten)]
        format: Format,
    },
    /// Refuse what somebody sends you.
    #[command(after_long_help = "JSON: {\"user\": USER, \"blocked\": true}")]
    Block {
        /// Who.
        #[arg(value_name = "USER")]
        username: String,
        #[command(flatten)]
        format: Format,
    },
    /// Take again what somebody sends you.
    #[command(after_long_help = "JSON: {\"user\": USER, \"blocked\": false}")]
    Unblock {
        /// Who.
        #[arg(value_name = "USER")]
        username: String,
        #[command(flatten)]
        format: Format,
    },
    /// Choose who learns that you got their message (receipts), or that you are here (presence).
    #[command(after_long_help = "JSON: {\"subject\": WORD, \"choice\": WORD}")]
    Privacy {
        /// What others may learn.
        #[arg(value_parser = ["receipts", "presence"])]
        subject: String,
        /// Everybody, nobody, or those you have written to.
        #[arg(value_parser = ["on", "off", "default"])]
        choice: String,
        #[command(flatten)]
        format: Format,
    },
    /// Show who is here, one username a line.
    #[command(after_long_help = "JSON: {\"active\": [USER, …], \"more\": true if there are more}")]
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Show whose login is kept.
    #[command(
        after_long_help = "JSON: {\"user\": USER, \"name\": NAME, \"incarnation\": WORD, \"created\": TIME, \
        \"expires\": TIME}"
    )]
    Whoami {
        #[command(flatten)]
        format: Format,
    },
    /// End the login and forget it.
    #[command(after_long_help = "JSON: {\"logged_out\": true}")]
    Logout {
        #[command(flatten)]
        format: Format,
    },
    /// Write a completion script for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// How to write results.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Format {
    /// Write JSON, in ASCII, one object a line. Its keys stay as they are; new ones may be added. Errors go to
    /// standard error as {"error": {"code": CODE or null, "message": TEXT, "exit": NUMBER}}.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Args {
    /// The process's arguments. Wrong ones end it with an explanation, exit code 2; `--help` and `--version` with 0.
    pub(crate) fn from_command_line() -> Self {
        Self::read(std::env::args_os().collect()).unwrap_or_else(|error| error.exit())
    }

    fn read(words: Vec<OsString>) -> Result<Self, clap::Error> {
        let args = Self::try_parse_from(&words)?;
        if let Some(Cmd::Send { text, .. }) = &args.command {
            check_text(text, &words)?;
        }
        Ok(args)
    }
}

impl Cmd {
    /// Whether results and errors are wanted as JSON.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Login { format, .. }
            | Self::Send { format, .. }
            | Self::Inbox { format }
            | Self::Watch { format, .. }
            | Self::History { format, .. }
            | Self::Status { format, .. }
            | Self::Block { format, .. }
            | Self::Unblock { format, .. }
            | Self::Privacy { format, .. }
            | Self::List { format }
            | Self::Whoami { format }
            | Self::Logout { format } => format.json,
            Self::Completions { .. } => false,
        }
    }
}

/// Refuses a TEXT with what was surely meant as an option, unless `--` before it says otherwise.
fn check_text(text: &[String], words: &[OsString]) -> Result<(), clap::Error> {
    // The text is what the arguments end with.
    let before = words.len().saturating_sub(text.len());
    if words.iter().take(before).any(|word| word == "--") {
        return Ok(());
    }
    let Some(option) = text.iter().find(|word| looks_like_option(word)) else {
        return Ok(());
    };
    let wrong = format!(
        "`{option}` stands in the text of the message\n\n  \
        as an option:    chat send {option} ... USER TEXT\n  \
        as a word of it: chat send USER -- TEXT"
    );
    let mut chat = Args::command();
    chat.build();
    let send = chat
        .find_subcommand_mut("send")
        .map(|send| send.error(ErrorKind::ArgumentConflict, &wrong));
    Err(send.unwrap_or_else(|| chat.error(ErrorKind::ArgumentConflict, wrong)))
}

fn looks_like_option(word: &str) -> bool {
    matches!(word, "--json" | "--server" | "-s" | "--help" | "-h") || word.starts_with("--server=")
}

const WATCH_JSON: &str = "\
JSON, with or without --json; other kinds may be added:
  {\"event\": \"message\", \"id\": ID, \"incarnation\": WORD, \"time\": TIME, \"from\": USER, \"from_name\": NAME,
   \"to\": USER, \"body\": TEXT}
  {\"event\": \"sent\", \"id\": ID, \"time\": TIME, \"from\": USER, \"from_name\": NAME, \"to\": USER,
   \"body\": TEXT}
      what you sent from another connection
  {\"event\": \"presence\", \"user\": USER, \"active\": BOOLEAN}
  {\"event\": \"gap\", \"from\": ID, \"to\": ID or null, \"reason\": WORD, \"incarnation\": WORD}
      messages that will not come: `retention`, `restored` (the server has an
      older copy; a new incarnation begins), `unannounced`
  {\"event\": \"lagging\"}, {\"event\": \"live\"}, {\"event\": \"shutdown\"}
  {\"event\": \"session_ended\", \"reason\": WORD}
      the last line; exit code 4";

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked
  1  the server said no
  2  wrong usage, or a message that cannot be sent
  3  no connection, or no usable answer; nothing was done
  4  not logged in, or the login has ended
  5  the answer was lost: it may have been done (a message may have been sent) or not
  6  a local file, the terminal or standard output failed
An interactive session that reads a pipe gives the code of the first command that failed.

Files, in the state directory ($XDG_STATE_HOME/chat, usually ~/.local/state/chat):
  logins/   a login for each server, readable by you alone
  history   lines typed in interactive sessions, never those with passwords";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_password_is_never_an_argument() {
        assert!(Args::try_parse_from(["chat", "login", "messi", "surabaya"]).is_err());
        assert!(Args::try_parse_from(["chat", "login", "messi", "--password", "x"]).is_err());
    }

    #[test]
    fn a_text_may_begin_with_a_hyphen() {
        let args = Args::try_parse_from(["chat", "send", "messi", "-", "x"]).unwrap();
        assert!(matches!(args.command, Some(Cmd::Send { text, .. }) if text == ["-", "x"]));
    }

    fn text_of(words: &str) -> Result<Vec<String>, clap::Error> {
        match Args::read(words.split(' ').map(OsString::from).collect())?.command {
            Some(Cmd::Send { text, .. }) => Ok(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_option_in_a_text_is_refused() {
        for option in ["--json", "--server there", "--server=there", "-s there", "--help", "-h"] {
            for words in [format!("halo {option}"), format!("- {option}"), format!("a {option} b")]
            {
                let error = text_of(&format!("chat send messi {words}")).unwrap_err();
                assert_eq!(error.exit_code(), 2, "{words}");
                assert!(error.to_string().contains("chat send USER -- TEXT"), "{error}");
            }
        }
    }

    #[test]
    fn after_two_hyphens_everything_is_text() {
        let text = ["halo", "--json", "-s", "x"];
        assert_eq!(text_of("chat send messi -- halo --json -s x").unwrap(), text);
        assert_eq!(text_of("chat send -- messi halo --json -s x").unwrap(), text);
        assert_eq!(text_of("chat send messi -- --json").unwrap(), ["--json"]);
        assert!(text_of("chat send messi halo -- --json").is_err());
    }

    #[test]
    fn other_hyphens_are_text() {
        assert_eq!(text_of("chat send messi halo -x --jsonx").unwrap(), ["halo", "-x", "--jsonx"]);
        assert_eq!(text_of("chat send --json -s there messi halo").unwrap(), ["halo"]);
    }
}
