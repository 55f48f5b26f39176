//! [`ErrorCode`]: the one table of what can go wrong, with its word and its standard text.

use std::fmt;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident $word:literal $text:literal)*) => {
        /// The stable word for what went wrong. Codes are never reused.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
            /// A code this version does not know, kept as it came.
            Other(Box<str>),
        }

        impl ErrorCode {
            /// Every code this version knows.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }

            /// The standard sentence for people: the recorded one where the existing servers had one.
            #[must_use]
            pub fn text(&self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(_) => "error",
                }
            }

            /// The whole reply with the standard text.
            pub(super) fn rendered(&self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some(concat!(
                        r#"{"status": "ERROR", "message": ""#, $text, r#"", "code": ""#, $word, "\"}\r\n\r\n",
                    )),)*
                    Self::Other(_) => None,
                }
            }
        }

        impl From<&str> for ErrorCode {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    _ => Self::Other(word.into()),
                }
            }
        }
    };
}

error_codes! {
    /// The first word is no command.
    BadCommand "bad_command" "**Protocol Tidak Benar"
    /// Too few words, too many for a command of ours, or a word that is not what it must be.
    BadArguments "bad_arguments" "--Protocol Tidak Benar"
    /// The line is longer than the limit. Ends the connection.
    FrameTooLong "frame_too_long" "the line is too long"
    /// The line is not UTF-8.
    BadUtf8 "bad_utf8" "the line is not UTF-8"
    /// At login: no account of that name.
    NoSuchUser "no_such_user" "User Tidak Tersedia, Silahkan Coba Lagi"
    /// The password does not match.
    BadPassword "bad_password" "Password yang Anda Masukkan Salah, Silahkan Coba Lagi"
    /// No account of that name to send to.
    NoSuchRecipient "no_such_recipient" "User Tidak Ditemukan"
    /// The token is unknown, expired or logged out.
    NoSession "no_session" "Session Tidak Ditemukan"
    /// None of the user's sessions has that name.
    NoSuchSession "no_such_session" "you have no session of that name"
    /// No message of that id.
    NoSuchMessage "no_such_message" "there is no such message"
    /// The server, or the recipient, does not allow it.
    NotAllowed "not_allowed" "this is not allowed here"
    /// An account of that name exists, or the name is reserved.
    UserExists "user_exists" "the username is taken"
    /// The username or full name breaks a rule.
    BadUsername "bad_username" "the username or full name is not allowed"
    /// The new password breaks a rule.
    WeakPassword "weak_password" "a password has 8 to 1024 bytes, no space or control character, and is not the username"
    /// The message is longer than the limit.
    MessageTooLong "message_too_long" "the message is too long"
    /// The recipient's mailbox, or the sender's share of it, is full.
    InboxFull "inbox_full" "the recipient's mailbox is full, try again later"
    /// The key was used for another message.
    KeyConflict "key_conflict" "this key was used for another message"
    /// The incarnation named is not the mailbox's current one.
    StaleIncarnation "stale_incarnation" "the mailbox has another incarnation now, peek again"
    /// Too many requests; `retry_after_ms` says when to go on.
    RateLimited "rate_limited" "too many requests, slow down"
    /// The server has too much to do.
    Busy "busy" "the server is busy, try again soon"
    /// The store cannot be reached or written. Whether a change took place is not known.
    Unavailable "unavailable" "the store is unavailable, and whether a change took place is not known"
    /// A fault in the server. Whether a change took place is not known.
    Internal "internal" "internal error, and whether a change took place is not known"
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from(code.as_str()), *code);
        }
        assert_eq!(ErrorCode::from("later"), ErrorCode::Other("later".into()));
    }
}
