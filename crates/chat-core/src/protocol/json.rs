//! Writing JSON the way the recorded servers did: keys in the order they are put, `, ` and `: ` between, pure ASCII.

use std::fmt::{Display, Write as _};

use bytes::{BufMut as _, BytesMut};

/// A JSON object under construction at the end of a buffer. [`end`](Self::end) closes it.
#[derive(Debug)]
#[must_use]
pub(super) struct Object<'a> {
    dst: &'a mut BytesMut,
    separator: &'static [u8],
}

impl<'a> Object<'a> {
    pub(super) fn new(dst: &'a mut BytesMut) -> Self {
        dst.put_u8(b'{');
        Self { dst, separator: b"\"" }
    }

    /// Writes the key; the value is to follow.
    pub(super) fn key(&mut self, key: &str) -> &mut BytesMut {
        self.dst.put_slice(self.separator);
        self.separator = b", \"";
        put_escaped(self.dst, key);
        self.dst.put_slice(b"\": ");
        self.dst
    }

    pub(super) fn string(&mut self, key: &str, text: &str) {
        put_string(self.key(key), text);
    }

    /// A string made of what `value` displays, which needs no escapes.
    pub(super) fn plain(&mut self, key: &str, value: impl Display) {
        put_display(self.key(key), format_args!("\"{value}\""));
    }

    pub(super) fn number(&mut self, key: &str, number: u64) {
        put_display(self.key(key), number);
    }

    pub(super) fn bool(&mut self, key: &str, value: bool) {
        put_display(self.key(key), value);
    }

    pub(super) fn array<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut put: impl FnMut(&mut BytesMut, T),
    ) {
        let dst = self.key(key);
        dst.put_u8(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                dst.put_slice(b", ");
            }
            put(dst, item);
        }
        dst.put_u8(b']');
    }

    pub(super) fn end(self) {
        self.dst.put_u8(b'}');
    }
}

pub(super) fn put_string(dst: &mut BytesMut, text: &str) {
    dst.put_u8(b'"');
    put_escaped(dst, text);
    dst.put_u8(b'"');
}

/// Appends the text as it stands inside a JSON string, escaped exactly like Python's `json.dumps`.
pub(super) fn put_escaped(dst: &mut BytesMut, text: &str) {
    let mut rest = text;
    loop {
        let run = rest.bytes().position(|byte| escaped_byte_len(byte) != 1);
        let (plain, special) = run.and_then(|run| rest.split_at_checked(run)).unwrap_or((rest, ""));
        dst.put_slice(plain.as_bytes());
        let mut chars = special.chars();
        let Some(c) = chars.next() else { return };
        put_escape(dst, c);
        rest = chars.as_str();
    }
}

/// How many bytes [`put_escaped`] appends.
pub(super) fn escaped_len(text: &str) -> usize {
    text.bytes().map(escaped_byte_len).sum()
}

fn put_escape(dst: &mut BytesMut, c: char) {
    let short = match c {
        '"' => b"\\\"",
        '\\' => b"\\\\",
        '\n' => b"\\n",
        '\r' => b"\\r",
        '\t' => b"\\t",
        '\u{8}' => b"\\b",
        '\u{c}' => b"\\f",
        _ => return put_utf16_escapes(dst, c),
    };
    dst.put_slice(short);
}

fn put_utf16_escapes(dst: &mut BytesMut, c: char) {
    let hex = |digit: u8| match digit {
        0..=9 => b'0' + digit,
        _ => b'a' + (digit - 10),
    };
    for unit in c.encode_utf16(&mut [0; 2]) {
        let [high, low] = unit.to_be_bytes();
        let digits = [high >> 4, high & 15, low >> 4, low & 15].map(hex);
        dst.put_slice(b"\\u");
        dst.put_slice(&digits);
    }
}

/// What a byte of UTF-8 adds to the escaped text. A character's escape is counted at its first byte.
fn escaped_byte_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        b' '..=b'~' => 1,
        0x80..=0xbf => 0,
        0xf0..=0xff => 12,
        _ => 6,
    }
}

fn put_display(dst: &mut BytesMut, value: impl Display) {
    // Only a buffer of the whole address space refuses.
    let _ = write!(dst, "{value}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &str) -> String {
        let mut dst = BytesMut::new();
        put_string(&mut dst, text);
        String::from_utf8(dst.to_vec()).unwrap()
    }

    #[test]
    fn escapes_are_those_of_the_recorded_servers() {
        assert_eq!(
            encoded("h\u{e9}llo \"kutip\" \\ garis \u{4f60} \u{1f600} \r\n"),
            r#""h\u00e9llo \"kutip\" \\ garis \u4f60 \ud83d\ude00 \r\n""#
        );
        assert_eq!(
            encoded("\u{7f}\0\u{1f}\u{8}\u{c}\t/\u{2028}\u{85}\u{ffff}~"),
            r#""\u007f\u0000\u001f\b\f\t/\u2028\u0085\uffff~""#
        );
    }

    #[test]
    fn an_object_has_the_recorded_separators() {
        let mut dst = BytesMut::new();
        let mut object = Object::new(&mut dst);
        object.string("a", "x");
        object.array("b", [1, 2], put_display);
        object.bool("c", true);
        object.number("d", u64::MAX);
        object.plain("e", 5);
        object.end();
        assert_eq!(
            dst,
            r#"{"a": "x", "b": [1, 2], "c": true, "d": 18446744073709551615, "e": "5"}"#
        );
    }

    proptest! {
        #[test]
        fn strings_are_ascii_and_mean_the_same(text in any::<String>()) {
            let json = encoded(&text);
            prop_assert!(json.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(json.len(), escaped_len(&text) + 2);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
