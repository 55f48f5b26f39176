//! What others wrote, made safe and readable on a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

use chat_client::{HistoryMessage, IncomingMessage, Message, SentMessage, Timestamp, Token};
use jiff::tz::TimeZone;
use serde::Serialize;

/// What of a message is shown, wherever it comes from.
pub(crate) struct Said<'a> {
    time: Option<Timestamp>,
    from: &'a str,
    from_name: &'a str,
    body: &'a str,
}

impl<'a> From<&'a Message> for Said<'a> {
    fn from(message: &'a Message) -> Self {
        let Message { time, from, from_name, body, .. } = message;
        Self { time: *time, from, from_name, body }
    }
}

impl<'a> From<&'a IncomingMessage> for Said<'a> {
    fn from(message: &'a IncomingMessage) -> Self {
        let IncomingMessage { time, from, from_name, body, .. } = message;
        Self { time: Some(*time), from, from_name, body }
    }
}

impl<'a> From<&'a HistoryMessage<'_>> for Said<'a> {
    fn from(message: &'a HistoryMessage<'_>) -> Self {
        let HistoryMessage { time, from, from_name, body, .. } = message;
        Self { time: Some(*time), from, from_name, body }
    }
}

/// One message on one line: local time, username, full name, text.
///
/// The username comes first because it is the part nobody can choose freely: a full name may look like anything.
pub(crate) fn message_line<'a>(message: impl Into<Said<'a>>, zone: &TimeZone) -> String {
    let said = message.into();
    let mut line = stamp(said.time, zone);
    let _ = write!(line, "{} ({}): ", neutralise(said.from), neutralise(said.from_name));
    line.push_str(&neutralise(said.body));
    line
}

/// A message that the user sent from elsewhere, on one line.
pub(crate) fn sent_line(message: &SentMessage<'_>, zone: &TimeZone) -> String {
    let mut line = stamp(Some(message.time), zone);
    let _ = write!(line, "you to {}: {}", neutralise(&message.to), neutralise(&message.body));
    line
}

fn stamp(time: Option<Timestamp>, zone: &TimeZone) -> String {
    time.map(|time| format!("[{}] ", local_time(time, zone))).unwrap_or_default()
}

/// Year to minute, in the given zone.
pub(crate) fn local_time(time: Timestamp, zone: &TimeZone) -> String {
    match jiff::Timestamp::from_millisecond(time.as_millis()) {
        Ok(instant) => instant.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => time.to_string(),
    }
}

/// As much of a token as may be shown.
pub(crate) fn shown_token(token: Token) -> String {
    let mut shown: String = token.expose().chars().take(SHOWN_TOKEN_CHARS).collect();
    shown.push('…');
    shown
}

/// `text` with everything that could act on the terminal, change the direction of writing or hide, written as
/// `<U+001B>`. Tab stays, and the joiners that scripts and emoji need.
pub(crate) fn neutralise(text: &str) -> Cow<'_, str> {
    if !text.contains(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_dangerous(c) {
            let _ = write!(safe, "<U+{:04X}>", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// JSON in ASCII, so that nothing in it acts on a terminal and no locale can spoil it.
pub(crate) fn ascii_json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(value)?;
    let mut ascii = String::with_capacity(json.len());
    // Outside strings JSON is ASCII, so everything else may be escaped where it stands.
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    Ok(ascii)
}

fn is_dangerous(c: char) -> bool {
    match c {
        '\t' => false,
        // Marks, embeddings, overrides and isolates of direction.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        // Line and paragraph separators.
        '\u{2028}' | '\u{2029}' => true,
        // Invisible: soft hyphen, fillers, zero width, deprecated format characters, annotations, tags.
        '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' => {
            true
        }
        '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' => true,
        '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => c.is_control(),
    }
}

/// As the prompt of the contract has it: enough to tell logins apart, useless to a thief.
const SHOWN_TOKEN_CHARS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_text_is_left_alone() {
        for text in [
            "halo",
            "tab\there",
            "h\u{e9}llo \u{4f60}\u{597d}",
            "\u{1f469}\u{200d}\u{1f4bb}",
            "\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
            "\u{645}\u{6cc}\u{200c}\u{62e}",
        ] {
            assert!(matches!(neutralise(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn what_acts_on_a_terminal_becomes_visible() {
        assert_eq!(neutralise("\x1b[2Jhalo\x07"), "<U+001B>[2Jhalo<U+0007>");
        assert_eq!(neutralise("a\u{9b}31mb"), "a<U+009B>31mb");
        assert_eq!(neutralise("\u{202e}olah\u{202c}"), "<U+202E>olah<U+202C>");
        assert_eq!(neutralise("a\u{2067}b\u{200b}"), "a<U+2067>b<U+200B>");
        assert_eq!(neutralise("a\rb\nc\u{7f}"), "a<U+000D>b<U+000A>c<U+007F>");
        assert_eq!(neutralise("x\u{e0041}"), "x<U+E0041>");
    }

    #[test]
    fn no_control_character_survives() {
        let all: String = ('\0'..=char::MAX).filter(|c| c.is_control()).collect();
        assert_eq!(all.chars().count(), 65);
        let safe = neutralise(&all).into_owned();
        assert!(safe.chars().all(|c| !c.is_control() || c == '\t'));
    }

    #[test]
    fn times_are_local() {
        let zone = TimeZone::fixed(jiff::tz::offset(7));
        let time = Timestamp::from_millis(1_795_000_000_007);
        assert_eq!(local_time(time, &zone), "2026-11-18 18:06");
    }

    #[test]
    fn json_is_ascii_and_means_the_same() {
        let value = serde_json::json!({"k": "h\u{e9}\u{1f600}\u{202e}\u{7f}\x1b\"\\"});
        let text = ascii_json(&value).unwrap();
        assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn a_token_is_never_shown_whole() {
        let token: Token = "01234567-89ab-cdef-0123-456789abcdef".parse().unwrap();
        assert_eq!(shown_token(token), "01234567…");
    }
}
