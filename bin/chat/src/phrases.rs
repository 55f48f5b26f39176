//! What this program says. The Indonesian sentences are those that users of the old clients know, letter by letter.

use chat_client::{
    CloseReason, Delivery, DeliveryState, Gap, GapReason, MessageStatus, SessionEntry, Token,
    Whoami,
};
use jiff::tz::TimeZone;

use crate::failure::with_sources;
use crate::text::{local_time, neutralise, shown_token};

pub(crate) const ACTIVE_USERS: &str = "User yang sedang aktif adalah :";
pub(crate) const NOT_AUTHORIZED: &str = "Error, not authorized";
pub(crate) const LOG_IN_FIRST: &str = "WARNING! ERROR silahkan login terlebih dahulu";
pub(crate) const UNKNOWN_COMMAND: &str = "*Maaf, command tidak benar";
pub(crate) const TOO_FEW_WORDS: &str = "-Maaf, command tidak benar";
pub(crate) const LOGGED_OUT: &str = "logout telah berhasil, Terimakasih telah menggunakan Chat :)";

pub(crate) const NO_MESSAGES: &str = "no new messages";
pub(crate) const MORE_MESSAGES: &str = "more messages wait: inbox shows them";
pub(crate) const CONNECTED_AGAIN: &str = "(connected again)";
pub(crate) const PRIVACY_SET: &str = "your choice is kept";
pub(crate) const SHUTDOWN: &str = "(the server is shutting down)";
pub(crate) const NOTHING_SENT: &str = "nothing was sent yet that has an id";
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

/// What waits for somebody who has just logged in: how much in all and from whom. `None` if nothing does.
pub(crate) fn unread(delivery: &Delivery) -> Option<String> {
    let mut senders: Vec<(&str, usize)> = Vec::new();
    for message in delivery.messages() {
        match senders.iter_mut().find(|(from, _)| *from == message.from) {
            Some((_, count)) => *count += 1,
            None => senders.push((&message.from, 1)),
        }
    }
    let each: Vec<_> =
        senders.iter().map(|(from, count)| format!("{} {count}", neutralise(from))).collect();
    let more = if delivery.more() { "+" } else { "" };
    let count = delivery.messages().len();
    let plural = if count == 1 { "" } else { "s" };
    (count > 0).then(|| format!("{count}{more} unread message{plural}: {}", each.join(", ")))
}

pub(crate) fn message_status(status: &MessageStatus, zone: &TimeZone) -> String {
    let at = |time| local_time(time, zone);
    let state = match status.state {
        DeliveryState::Stored => "stored",
        DeliveryState::Pushed => "pushed to a device",
        DeliveryState::Delivered => "delivered",
    };
    let when = status.delivered.or(status.pushed).unwrap_or(status.stored);
    if when == status.stored {
        format!("{state} {}", at(when))
    } else {
        format!("{state} {}, sent {}", at(when), at(status.stored))
    }
}

pub(crate) fn blocked(username: &str) -> String {
    format!("{} can no longer send you messages", neutralise(username))
}

pub(crate) fn unblocked(username: &str) -> String {
    format!("{} can send you messages again", neutralise(username))
}

pub(crate) fn connection_lost(reason: &CloseReason) -> String {
    format!("(connection lost: {}; reconnecting…)", neutralise(&with_sources(reason)))
}

pub(crate) fn presence(user: &str, active: bool) -> String {
    format!("({} {})", neutralise(user), if active { "is here" } else { "has left" })
}

pub(crate) fn gap(gap: &Gap) -> String {
    let missing = match (gap.from, gap.to) {
        (from, Some(to)) if from == to => format!("message {from}"),
        (from, Some(to)) => format!("messages {from} to {to}"),
        (from, None) => format!("messages from {from} on"),
    };
    match &gap.reason {
        GapReason::Announced(reason) => {
            format!("({missing}: no longer kept, {})", neutralise(reason))
        }
        GapReason::Restored { .. } => {
            format!("({missing}: lost on the server, which was restored from an older copy)")
        }
        _ => format!("({missing}: missing, and the server does not say why)"),
    }
}

pub(crate) fn login_ended(reason: &str) -> String {
    format!("(your login has ended: {})", neutralise(reason))
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
history USER [N]         show the last N messages with USER, 20 unless said
status [ID]              show what became of the message sent last, or of that one
block USER, unblock USER refuse what USER sends, and take it again
privacy receipts|presence on|off|default
                         choose who learns that you got a message, or are here
logout                   log out
whoami                   show whose login this is
sessions                 show your logins, here and elsewhere
revoke SESSION           end one of them
register USER [PASSWORD [FULL NAME]]
                         make an account, where the server allows it
passwd [OLD NEW]         change your password; ends your other logins
help                     show this
quit                     log out and leave (also Ctrl-D)
New messages appear by themselves where the server can do that.
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
