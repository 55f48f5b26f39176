//! [`Command`]: what a client asks for.

use std::fmt;

use bytes::BytesMut;

use super::line::{LineWriter, Unencodable, Words};
use super::{ErrorCode, Frame};

/// One request. Its words are borrowed from the frame. Numbers and names stay words, unchecked, because the server must
/// check the token first.
///
/// Most commands hold a token, a password or a message, so `Debug` shows only the command's word.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'a> {
    /// `auth USER PASSWORD`
    Auth {
        /// USER
        username: &'a str,
        /// PASSWORD
        password: &'a str,
    },
    /// `send TOKEN USER MESSAGE…`
    Send {
        /// TOKEN
        token: &'a str,
        /// USER, the recipient
        to: &'a str,
        /// MESSAGE, verbatim, at least one byte
        body: &'a str,
    },
    /// `inbox TOKEN`
    Inbox {
        /// TOKEN
        token: &'a str,
    },
    /// `list TOKEN [AFTER|- [LIMIT]]`
    List {
        /// TOKEN
        token: &'a str,
        /// AFTER, the username the page of the directory begins behind
        after: Option<&'a str>,
        /// LIMIT, how many accounts the page has at most
        limit: Option<&'a str>,
    },
    /// `user_aktif TOKEN`
    ActiveUsers {
        /// TOKEN
        token: &'a str,
    },
    /// `logout TOKEN`
    Logout {
        /// TOKEN
        token: &'a str,
    },
    /// `hello [OPTION…]`
    Hello(HelloOptions),
    /// `ping [TEXT…]`
    Ping {
        /// TEXT, empty if left out
        text: &'a str,
    },
    /// `register USER PASSWORD [FULL NAME…]`
    Register {
        /// USER
        username: &'a str,
        /// PASSWORD
        password: &'a str,
        /// FULL NAME
        name: Option<&'a str>,
    },
    /// `passwd TOKEN OLD NEW`
    ChangePassword {
        /// TOKEN
        token: &'a str,
        /// OLD
        old: &'a str,
        /// NEW
        new: &'a str,
    },
    /// `whoami TOKEN`
    Whoami {
        /// TOKEN
        token: &'a str,
    },
    /// `sessions TOKEN`
    Sessions {
        /// TOKEN
        token: &'a str,
    },
    /// `revoke TOKEN SESSION`
    Revoke {
        /// TOKEN
        token: &'a str,
        /// SESSION, as `sessions` names it
        session: &'a str,
    },
    /// `peek TOKEN [AFTER|- [LIMIT]]`
    Peek {
        /// TOKEN
        token: &'a str,
        /// AFTER, the id the page begins behind
        after: Option<&'a str>,
        /// LIMIT, how many messages the page has at most
        limit: Option<&'a str>,
    },
    /// `ack TOKEN ID [INCARNATION]`
    Ack {
        /// TOKEN
        token: &'a str,
        /// ID, the last message that is delivered
        id: &'a str,
        /// INCARNATION of the mailbox that ID belongs to
        incarnation: Option<&'a str>,
    },
    /// `post TOKEN KEY USER MESSAGE…`
    Post {
        /// TOKEN
        token: &'a str,
        /// KEY, the client's own name for the message
        key: &'a str,
        /// USER, the recipient
        to: &'a str,
        /// MESSAGE, verbatim, at least one byte
        body: &'a str,
    },
    /// `status TOKEN ID`
    Status {
        /// TOKEN
        token: &'a str,
        /// ID, as `post` gave it
        id: &'a str,
    },
    /// `history TOKEN USER [CURSOR|- [LIMIT]]`
    History {
        /// TOKEN
        token: &'a str,
        /// USER, the other side of the conversation
        with: &'a str,
        /// CURSOR, the `next` of the page before
        cursor: Option<&'a str>,
        /// LIMIT, how many messages the page has at most
        limit: Option<&'a str>,
    },
    /// `watch TOKEN [AFTER INCARNATION]`
    Watch {
        /// TOKEN
        token: &'a str,
        /// AFTER and INCARNATION: the last message the client has, and of which life of the mailbox
        after: Option<(&'a str, &'a str)>,
    },
    /// `unwatch TOKEN`
    Unwatch {
        /// TOKEN
        token: &'a str,
    },
    /// `block TOKEN USER`
    Block {
        /// TOKEN
        token: &'a str,
        /// USER, who may send no more
        username: &'a str,
    },
    /// `unblock TOKEN USER`
    Unblock {
        /// TOKEN
        token: &'a str,
        /// USER, who may send again
        username: &'a str,
    },
    /// `privacy TOKEN receipts|presence on|off|default`
    Privacy {
        /// TOKEN
        token: &'a str,
        /// `receipts` or `presence`
        subject: &'a str,
        /// `on`, `off` or `default`
        choice: &'a str,
    },
}

/// What a client asks for in `hello`. Options this version does not know are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HelloOptions {
    /// Whether only `ack` confirms delivery on this connection. Default no: the next request confirms a page of `inbox`.
    pub explicit_ack: bool,
}

/// A well-framed line that is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The first word is no command.
    #[error("unknown command")]
    BadCommand,
    /// Too few words, or too many for one of our own commands.
    #[error("too few or too many words")]
    BadArguments,
    /// Not UTF-8.
    #[error("not UTF-8")]
    BadUtf8,
}

impl ParseError {
    /// The code of the error reply that answers such a line.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::BadCommand => ErrorCode::BadCommand,
            Self::BadArguments => ErrorCode::BadArguments,
            Self::BadUtf8 => ErrorCode::BadUtf8,
        }
    }
}

impl<'a> Command<'a> {
    /// Parses one request frame.
    ///
    /// # Errors
    /// The first that applies of [`ParseError::BadUtf8`], [`ParseError::BadCommand`] and [`ParseError::BadArguments`]. What
    /// the words say is not checked here.
    pub fn parse(frame: &'a Frame) -> Result<Self, ParseError> {
        let line = str::from_utf8(frame.as_bytes()).map_err(|_| ParseError::BadUtf8)?;
        let mut words = Words::new(line);
        let name = words.next().unwrap_or_default();
        match Self::parse_recorded(name, &mut words) {
            Err(ParseError::BadCommand) => {}
            outcome => return outcome,
        }
        let command = Self::parse_added(name, &mut words)?;
        words.finish()?;
        Ok(command)
    }

    /// The command's first word, such as `send`: what [`Reply::decode`](super::Reply::decode) takes.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Auth { .. } => "auth",
            Self::Send { .. } => "send",
            Self::Inbox { .. } => "inbox",
            Self::List { .. } => "list",
            Self::ActiveUsers { .. } => "user_aktif",
            Self::Logout { .. } => "logout",
            Self::Hello(_) => "hello",
            Self::Ping { .. } => "ping",
            Self::Register { .. } => "register",
            Self::ChangePassword { .. } => "passwd",
            Self::Whoami { .. } => "whoami",
            Self::Sessions { .. } => "sessions",
            Self::Revoke { .. } => "revoke",
            Self::Peek { .. } => "peek",
            Self::Ack { .. } => "ack",
            Self::Post { .. } => "post",
            Self::Status { .. } => "status",
            Self::History { .. } => "history",
            Self::Watch { .. } => "watch",
            Self::Unwatch { .. } => "unwatch",
            Self::Block { .. } => "block",
            Self::Unblock { .. } => "unblock",
            Self::Privacy { .. } => "privacy",
        }
    }

    /// The six commands of the existing clients: words beyond these are ignored.
    #[rustfmt::skip]
    fn parse_recorded(name: &str, words: &mut Words<'a>) -> Result<Self, ParseError> {
        Ok(match name {
            "auth" => Self::Auth { username: words.required()?, password: words.required()? },
            "send" => Self::Send { token: words.required()?, to: words.required()?, body: words.body()? },
            "inbox" => Self::Inbox { token: words.required()? },
            "list" => Self::List { token: words.required()?, after: words.optional(), limit: words.optional() },
            "user_aktif" => Self::ActiveUsers { token: words.required()? },
            "logout" => Self::Logout { token: words.required()? },
            _ => return Err(ParseError::BadCommand),
        })
    }

    /// Our own commands: words beyond these are an error.
    #[rustfmt::skip]
    fn parse_added(name: &str, words: &mut Words<'a>) -> Result<Self, ParseError> {
        Ok(match name {
            "hello" => Self::Hello(HelloOptions::parse(words)),
            "ping" => Self::Ping { text: words.text() },
            "register" => Self::Register {
                username: words.required()?, password: words.required()?, name: words.optional_text(),
            },
            "passwd" => Self::ChangePassword {
                token: words.required()?, old: words.required()?, new: words.required()?,
            },
            "whoami" => Self::Whoami { token: words.required()? },
            "sessions" => Self::Sessions { token: words.required()? },
            "revoke" => Self::Revoke { token: words.required()?, session: words.required()? },
            "peek" => Self::Peek { token: words.required()?, after: words.optional(), limit: words.optional() },
            "ack" => Self::Ack {
                token: words.required()?, id: words.required()?, incarnation: words.optional(),
            },
            "post" => Self::Post {
                token: words.required()?, key: words.required()?, to: words.required()?, body: words.body()?,
            },
            "status" => Self::Status { token: words.required()?, id: words.required()? },
            "history" => Self::History {
                token: words.required()?, with: words.required()?, cursor: words.optional(), limit: words.optional(),
            },
            "watch" => Self::Watch { token: words.required()?, after: words.optional_pair()? },
            "unwatch" => Self::Unwatch { token: words.required()? },
            "block" => Self::Block { token: words.required()?, username: words.required()? },
            "unblock" => Self::Unblock { token: words.required()?, username: words.required()? },
            "privacy" => Self::Privacy {
                token: words.required()?, subject: words.required()?, choice: words.required()?,
            },
            _ => return Err(ParseError::BadCommand),
        })
    }

    /// Appends the line that parses back to this command. What it appended before an error is left to the caller.
    #[rustfmt::skip]
    pub(super) fn encode(&self, dst: &mut BytesMut) -> Result<(), Unencodable> {
        let mut line = LineWriter::new(dst, self.name());
        match *self {
            Self::Auth { username, password } => line.word("USER", username)?.word("PASSWORD", password)?,
            Self::Send { token, to, body } => line.word("TOKEN", token)?.word("USER", to)?.body("MESSAGE", body)?,
            Self::List { token, after, limit } | Self::Peek { token, after, limit } => {
                line.word("TOKEN", token)?.optional("AFTER", after, limit)?.last("LIMIT", limit)?
            }
            Self::Inbox { token } | Self::ActiveUsers { token } | Self::Logout { token }
            | Self::Whoami { token } | Self::Sessions { token } | Self::Unwatch { token } => line.word("TOKEN", token)?,

            Self::Hello(options) => options.encode(&mut line)?,
            Self::Ping { text } => line.text("TEXT", text)?,
            Self::Register { username, password, name } => {
                line.word("USER", username)?.word("PASSWORD", password)?.optional_text("FULL NAME", name)?
            }
            Self::ChangePassword { token, old, new } => {
                line.word("TOKEN", token)?.word("OLD", old)?.word("NEW", new)?
            }
            Self::Revoke { token, session } => line.word("TOKEN", token)?.word("SESSION", session)?,
            Self::Ack { token, id, incarnation } => {
                line.word("TOKEN", token)?.word("ID", id)?.last("INCARNATION", incarnation)?
            }
            Self::Post { token, key, to, body } => {
                line.word("TOKEN", token)?.word("KEY", key)?.word("USER", to)?.body("MESSAGE", body)?
            }
            Self::Status { token, id } => line.word("TOKEN", token)?.word("ID", id)?,
            Self::History { token, with, cursor, limit } => {
                line.word("TOKEN", token)?.word("USER", with)?.optional("CURSOR", cursor, limit)?.last("LIMIT", limit)?
            }
            Self::Watch { token, after: None } => line.word("TOKEN", token)?,
            Self::Watch { token, after: Some((after, incarnation)) } => {
                line.word("TOKEN", token)?.last("AFTER", Some(after))?.last("INCARNATION", Some(incarnation))?
            }
            Self::Block { token, username } | Self::Unblock { token, username } => {
                line.word("TOKEN", token)?.word("USER", username)?
            }
            Self::Privacy { token, subject, choice } => {
                line.word("TOKEN", token)?.word("SUBJECT", subject)?.word("CHOICE", choice)?
            }
        }
        .finish();
        Ok(())
    }
}

impl HelloOptions {
    fn parse(words: &mut Words<'_>) -> Self {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            options.explicit_ack |= word == EXPLICIT_ACK;
        }
        options
    }

    fn encode<'l, 'd>(
        self,
        line: &'l mut LineWriter<'d>,
    ) -> Result<&'l mut LineWriter<'d>, Unencodable> {
        if self.explicit_ack {
            line.word("OPTION", EXPLICIT_ACK)?;
        }
        Ok(line)
    }
}

impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The option of `hello` after which only `ack` confirms delivery.
const EXPLICIT_ACK: &str = "explicit_ack";

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn assert_parses(line: &'static str, expected: Result<Command<'_>, ParseError>) {
        let frame = Frame(Bytes::from_static(line.as_bytes()));
        assert_eq!(Command::parse(&frame), expected, "{line:?}");
    }

    #[test]
    fn words_are_parted_by_single_spaces() {
        let auth = |username, password| Ok(Command::Auth { username, password });
        assert_parses("auth messi surabaya", auth("messi", "surabaya"));
        assert_parses("auth messi surabaya ", auth("messi", "surabaya"));
        assert_parses("auth messi surabaya more words", auth("messi", "surabaya"));
        assert_parses("auth messi  ", auth("messi", ""));
        assert_parses("auth  surabaya", auth("", "surabaya"));
        assert_parses("auth messi ", Err(ParseError::BadArguments));
        assert_parses("auth", Err(ParseError::BadArguments));
        assert_parses("inbox ", Err(ParseError::BadArguments));
        assert_parses("inbox  ", Ok(Command::Inbox { token: "" }));
    }

    #[test]
    fn the_first_word_decides() {
        for line in ["AUTH a b", " auth a b", "terbang x", " ", "auth\ta b", "\r"] {
            assert_parses(line, Err(ParseError::BadCommand));
        }
        let frame = Frame(Bytes::from_static(b"terbang \xff"));
        assert_eq!(Command::parse(&frame), Err(ParseError::BadUtf8));
    }

    #[test]
    fn a_message_is_verbatim() {
        let send = |body| Ok(Command::Send { token: "t", to: "messi", body });
        assert_parses("send t messi halo", send("halo"));
        assert_parses("send t messi  Selamat  Pagi ", send(" Selamat  Pagi "));
        assert_parses("send t messi  ", send(" "));
        assert_parses("send t messi -", send("-"));
        for line in ["send t messi ", "send t messi", "send t ", "send t  "] {
            assert_parses(line, Err(ParseError::BadArguments));
        }
    }

    #[test]
    fn a_hyphen_leaves_an_optional_word_out() {
        let list = |after, limit| Ok(Command::List { token: "t", after, limit });
        assert_parses("list t", list(None, None));
        assert_parses("list t - 5", list(None, Some("5")));
        assert_parses("list t a -", list(Some("a"), None));
        assert_parses("list t a 5 extra", list(Some("a"), Some("5")));
        assert_parses("ack t 5 -", Ok(Command::Ack { token: "t", id: "5", incarnation: None }));
        assert_parses("inbox -", Ok(Command::Inbox { token: "-" }));
    }

    #[test]
    fn our_own_commands_take_no_extra_words() {
        for line in ["whoami t x", "whoami t  ", "peek t - 5 x", "ack t 1 i x", "passwd t a b c"] {
            assert_parses(line, Err(ParseError::BadArguments));
        }
        assert_parses("whoami t ", Ok(Command::Whoami { token: "t" }));
        let explicit_ack = HelloOptions { explicit_ack: true };
        assert_parses("hello", Ok(Command::Hello(HelloOptions::default())));
        assert_parses("hello later explicit_ack ", Ok(Command::Hello(explicit_ack)));
    }

    #[test]
    fn after_and_incarnation_come_together() {
        let watch = |after| Ok(Command::Watch { token: "t", after });
        assert_parses("watch t", watch(None));
        assert_parses("watch t - ", watch(None));
        assert_parses("watch t - -", watch(None));
        assert_parses("watch t 5 i ", watch(Some(("5", "i"))));
        for line in ["watch", "watch t 5", "watch t 5 - ", "watch t - i", "watch t 5 i x"] {
            assert_parses(line, Err(ParseError::BadArguments));
        }
    }

    #[test]
    fn a_post_is_a_send_with_a_key() {
        let post = |key, body| Ok(Command::Post { token: "t", key, to: "messi", body });
        assert_parses("post t k messi  halo ", post("k", " halo "));
        assert_parses("post t - messi halo", post("-", "halo"));
        assert_parses("post t  messi halo", post("", "halo"));
        for line in ["post t k messi ", "post t k messi", "post t k"] {
            assert_parses(line, Err(ParseError::BadArguments));
        }
    }

    #[test]
    fn texts_take_the_rest_of_the_line() {
        assert_parses("ping", Ok(Command::Ping { text: "" }));
        assert_parses("ping  a  b ", Ok(Command::Ping { text: " a  b" }));
        assert_parses("ping -", Ok(Command::Ping { text: "-" }));
        let register = |name| Ok(Command::Register { username: "u", password: "p", name });
        assert_parses("register u p", register(None));
        assert_parses("register u p ", register(None));
        assert_parses("register u p - ", register(None));
        assert_parses("register u p Lionel Messi ", register(Some("Lionel Messi")));
    }

    #[test]
    fn debug_keeps_secrets() {
        let command = Command::Auth { username: "messi", password: "surabaya" };
        assert_eq!(format!("{command:?}"), "auth");
    }
}
