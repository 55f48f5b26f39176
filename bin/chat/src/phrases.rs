//! What this program says. The Indonesian sentences are those that users of the old clients know, letter by letter.

use chat_client::{SessionEntry, Token, Whoami};
use jiff::tz::TimeZone;

use crate::text::{local_time, neutralise, shown_token};

pub(crate) const ACTIVE_USERS: &str = "User yang sedang aktif adalah :";
pub(crate) const NOT_AUTHORIZED: &str = "Error, not authorized";
pub(crate) const LOG_IN_FIRST: &str = "WARNING! ERROR silahkan login terlebih dahulu";
pub(crate) const UNKNOWN_COMMAND: &str = "*Maaf, command tidak benar";
pub(crate) const TOO_FEW_WORDS: &str = "-Maaf, command tidak benar";
pub(crate) const LOGGED_OUT: &str = "logout telah berhasil, Terimakasih telah menggunakan Chat :)";

pub(crate) const NO_MESSAGES: &str = "no new messages";
pub(crate) const MORE_MESSAGES: &str = "more messages wait: inbox shows them";
pub(crate) const TRY_AGAIN: &str = "The next command tries to connect again.";

/// What the old clients show, and a space to part it from what is typed.
pub(crate) fn prompt(token: Option<Token>) -> String {
    let shown = token.map(shown_token).unwrap_or_default();
    format!("Command {shown}: ")
}

pub(crate) fn logged_in(username: &str, token: Token) -> String {
    let (username, token) = (neutralise(username), shown_token(token));
    format!("username {username} logged in, token {token}")
}

pub(crate) fn sent_to(username: &str) -> String {
    format!("message sent to {}", neutralise(username))
}

pub(crate) fn error(message: &str) -> String {
    format!("Error, {message}")
}

pub(crate) fn whoami(whoami: &Whoami<'_>, zone: &TimeZone) -> String {
    format!(
        "{} ({}), logged in {}, until {} unless used",
        neutralise(&whoami.user),
        neutralise(&whoami.name),
        local_time(whoami.created, zone),
        local_time(whoami.expires, zone),
    )
}

pub(crate) fn session(session: &SessionEntry<'_>, zone: &TimeZone) -> String {
    format!(
        "{} made {}, last used {}, until {}{}",
        neutralise(&session.session),
        local_time(session.created, zone),
        local_time(session.last_used, zone),
        local_time(session.expires, zone),
        if session.current { " (this one)" } else { "" },
    )
}

pub(crate) const HELP: &str = "\
auth USER [PASSWORD]     log in; without PASSWORD it is asked for and not shown
send USER MESSAGE        send a message
inbox                    show new messages; once shown they count as delivered
list, user_aktif         show who is here
logout                   log out
whoami                   show whose login this is
sessions                 show your logins, here and elsewhere
revoke SESSION           end one of them
register USER [PASSWORD [FULL NAME]]
                         make an account, where the server allows it
passwd [OLD NEW]         change your password; ends your other logins
help                     show this
quit                     log out and leave (also Ctrl-D)
Ctrl-C stops waiting for an answer. Passwords never reach the history.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts() {
        let token: Token = "01234567-89ab-cdef-0123-456789abcdef".parse().unwrap();
        assert_eq!(prompt(None), "Command : ");
        assert_eq!(prompt(Some(token)), "Command 01234567…: ");
    }
}
