//! The file of an import: CSV with a header, or JSON lines.

use std::collections::HashMap;

use chat_core::account::{PasswordHash, check_new_password};
use chat_core::{FullName, Username};
use serde_json::Value;

/// An account to make, checked.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where it stands, from 1.
    pub(super) line: u64,
    pub(super) username: Username,
    pub(super) name: FullName,
    pub(super) credential: Credential,
}

/// What proves who somebody is.
pub(super) enum Credential {
    /// To be hashed.
    Password(Box<str>),
    /// Hashed already.
    Hash(PasswordHash),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential")
    }
}

/// A line that cannot be used. The reason never shows a password.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) line: u64,
    pub(super) reason: String,
}

/// Every account of the file; or every line that is wrong.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Entry>, Vec<BadLine>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        let reason = format!("the file is empty: {HEADER_RULE}");
        return Err(vec![BadLine { line: 1, reason }]);
    }
    let is_json = bytes.trim_ascii_start().first() == Some(&b'{');
    let mut reading = Reading::default();
    if is_json {
        reading.json_lines(bytes);
    } else {
        reading.csv(bytes);
    }
    if reading.bad.is_empty() { Ok(reading.entries) } else { Err(reading.bad) }
}

/// The fields of one line, as they stand there.
#[derive(Default)]
struct Row<'a> {
    username: Option<&'a str>,
    name: Option<&'a str>,
    password: Option<&'a str>,
    phc: Option<&'a str>,
}

#[derive(Default)]
struct Reading {
    entries: Vec<Entry>,
    bad: Vec<BadLine>,
    /// The line each username was first seen on.
    seen: HashMap<Box<str>, u64>,
}

impl Reading {
    fn csv(&mut self, bytes: &[u8]) {
        // Rows of a wrong length are told apart here, with a hint.
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
        let columns =
            match reader.byte_headers().map_err(|error| error.to_string()).and_then(columns) {
                Ok(columns) => columns,
                Err(reason) => return self.bad.push(BadLine { line: 1, reason }),
            };
        for record in reader.byte_records() {
            match record {
                Ok(record) => {
                    let line = record.position().map_or(0, csv::Position::line);
                    let outcome = csv_row(&columns, &record).and_then(|row| self.entry(line, &row));
                    self.add(line, outcome);
                }
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    return self.add(line, Err(error.to_string()));
                }
            }
        }
    }

    fn json_lines(&mut self, bytes: &[u8]) {
        for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if text.trim_ascii().is_empty() {
                continue;
            }
            // The parser's own words about a value could quote a password.
            let object =
                serde_json::from_slice::<serde_json::Map<String, Value>>(text).map_err(|error| {
                    format!("not a JSON object on one line (column {})", error.column())
                });
            let outcome =
                object.and_then(|object| json_row(&object).and_then(|row| self.entry(line, &row)));
            self.add(line, outcome);
        }
    }

    fn add(&mut self, line: u64, outcome: Result<Entry, String>) {
        match outcome {
            Ok(entry) => self.entries.push(entry),
            Err(reason) => self.bad.push(BadLine { line, reason }),
        }
    }

    fn entry(&mut self, line: u64, row: &Row<'_>) -> Result<Entry, String> {
        let username = row.username.ok_or("the username is missing")?;
        let username: Username = username.parse().map_err(text)?;
        if let Some(first) = self.seen.insert(username.key(), line) {
            self.seen.insert(username.key(), first);
            return Err(format!("the username {username} is on line {first} already"));
        }
        let name = match row.name {
            Some(name) => name.parse().map_err(text)?,
            None => FullName::from(&username),
        };
        let credential = credential(row, &username)?;
        Ok(Entry { line, username, name, credential })
    }
}

fn credential(row: &Row<'_>, username: &Username) -> Result<Credential, String> {
    match (row.password, row.phc) {
        (Some(password), None) => {
            check_new_password(password, username).map_err(text)?;
            Ok(Credential::Password(password.into()))
        }
        (None, Some(phc)) => phc.parse().map(Credential::Hash).map_err(text),
        (None, None) => Err("neither password nor phc is there".to_owned()),
        (Some(_), Some(_)) => Err("both password and phc are there: give one of them".to_owned()),
    }
}

/// Which field each column is.
fn columns(header: &csv::ByteRecord) -> Result<Vec<Field>, String> {
    let wrong = || format!("the header is wrong: {HEADER_RULE}");
    let columns = header
        .iter()
        .map(|name| Field::of(name.trim_ascii()).ok_or_else(wrong))
        .collect::<Result<Vec<_>, _>>()?;
    let times = |field| columns.iter().filter(|column| **column == field).count();
    let is_sound = times(Field::Username) == 1
        && times(Field::Name) <= 1
        && times(Field::Password) <= 1
        && times(Field::Phc) <= 1
        && times(Field::Password) + times(Field::Phc) >= 1;
    if is_sound { Ok(columns) } else { Err(wrong()) }
}

fn csv_row<'a>(columns: &[Field], record: &'a csv::ByteRecord) -> Result<Row<'a>, String> {
    if record.len() != columns.len() {
        return Err(format!(
            "{} fields where the header has {} (a field with commas in it, as a phc has, goes in double quotes)",
            record.len(),
            columns.len()
        ));
    }
    let mut row = Row::default();
    for (column, value) in columns.iter().zip(record) {
        let value = std::str::from_utf8(value).map_err(|_| "not UTF-8".to_owned())?;
        row.set(*column, value);
    }
    Ok(row)
}

fn json_row(object: &serde_json::Map<String, Value>) -> Result<Row<'_>, String> {
    let mut row = Row::default();
    for (key, value) in object {
        let field = Field::of(key.as_bytes()).ok_or_else(|| {
            format!("unknown key {key:?}: the keys are username, name, password, phc")
        })?;
        match value {
            Value::String(value) => row.set(field, value),
            Value::Null => {}
            _ => return Err(format!("{key} is not a string")),
        }
    }
    Ok(row)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Username,
    Name,
    Password,
    Phc,
}

impl Field {
    fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"username" => Some(Self::Username),
            b"name" => Some(Self::Name),
            b"password" => Some(Self::Password),
            b"phc" => Some(Self::Phc),
            _ => None,
        }
    }
}

impl<'a> Row<'a> {
    /// An empty field is one that is not there.
    fn set(&mut self, field: Field, value: &'a str) {
        let value = Some(value).filter(|value| !value.is_empty());
        match field {
            Field::Username => self.username = value,
            Field::Name => self.name = value,
            Field::Password => self.password = value,
            Field::Phc => self.phc = value,
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

const HEADER_RULE: &str = "the first line is username,name,password (phc in place of password for ready hashes; name may be left out)";

#[cfg(test)]
mod tests {
    use super::*;

    const PHC: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
                       Ja5BvDmDiy0uyhpwZBhCsFQVmOBm0bGzCWLDXCsb4gA";

    fn good(text: &str) -> Vec<Entry> {
        parse(text.as_bytes()).unwrap()
    }

    fn bad(text: impl AsRef<[u8]>) -> Vec<(u64, String)> {
        let bad = parse(text.as_ref()).unwrap_err();
        bad.into_iter().map(|bad| (bad.line, bad.reason)).collect()
    }

    fn assert_bad(text: impl AsRef<[u8]>, line: u64, part: &str) {
        let bad = bad(text);
        assert_eq!(bad.len(), 1, "{bad:?}");
        assert_eq!(bad[0].0, line, "{bad:?}");
        assert!(bad[0].1.contains(part), "{bad:?} has no {part:?}");
    }

    #[test]
    fn csv_in_its_forms() {
        let entries =
            good("username,name,password\nmessi,Lionel Messi,surabaya\nlineker,,surabaya\n");
        assert_eq!(entries[0].name.as_str(), "Lionel Messi");
        assert_eq!(entries[1].name.as_str(), "lineker");
        assert_eq!((entries[0].line, entries[1].line), (2, 3));
        let entries = good("\u{feff}password,username\r\n\"sura\"\"b,ya\",messi\r\n\r\nsurabaya,b");
        let Credential::Password(password) = &entries[0].credential else { panic!() };
        assert_eq!(&**password, "sura\"b,ya");
        assert_eq!(entries.len(), 2);
        let entries = good(&format!("username,password,phc\na,,\"{PHC}\"\nb,surabaya,\n"));
        assert!(matches!(entries[0].credential, Credential::Hash(_)));
        assert!(matches!(entries[1].credential, Credential::Password(_)));
    }

    #[test]
    fn json_lines_in_their_forms() {
        let entries = good(&format!(
            "{{\"username\":\"messi\",\"name\":\"Lionel Messi\",\"password\":\"surabaya\"}}\n\n \
             {{\"phc\":\"{PHC}\",\"username\":\"b\",\"name\":null}}"
        ));
        assert_eq!(entries[0].name.as_str(), "Lionel Messi");
        assert_eq!((entries[1].line, entries[1].name.as_str()), (3, "b"));
        assert!(matches!(entries[1].credential, Credential::Hash(_)));
    }

    #[test]
    fn a_file_without_accounts() {
        assert!(good("username,password\n").is_empty());
        for empty in ["", "\n", "\u{feff} \r\n"] {
            assert_bad(empty, 1, "the file is empty");
        }
    }

    #[test]
    fn headers_that_do_not_do() {
        for header in ["user,password", "username", "username,username,password", "username,name"] {
            assert_bad(format!("{header}\n"), 1, "the first line is username,name,password");
        }
    }

    #[test]
    fn lines_that_do_not_do() {
        let csv = |row: &str| format!("username,name,password,phc\n{row}\n");
        assert_bad(csv("a b,,surabaya,"), 2, "letters, digits");
        assert_bad(csv(",,surabaya,"), 2, "username is missing");
        assert_bad(csv("a,,,"), 2, "neither password nor phc");
        assert_bad(csv("a,,short,"), 2, "8");
        assert_bad(csv("a,,surabaya,x"), 2, "both password and phc");
        assert_bad(csv("a,,,x"), 2, "Argon2id");
        assert_bad(csv("a,,surabaya"), 2, "3 fields where the header has 4");
        assert_bad(csv(&format!("a,,,{PHC}")), 2, "double quotes");
        assert_bad(csv("a,x\ty,surabaya,"), 2, "control characters");
        assert_bad("{\"username\":\"a\"}\n", 1, "neither password nor phc");
        assert_bad("{\"username\":\"a\",\"pasword\":\"surabaya\"}\n", 1, "unknown key \"pasword\"");
        assert_bad(
            "{\"username\":\"a\",\"password\":\"surabaya\"}\n{\"user",
            2,
            "not a JSON object",
        );
    }

    #[test]
    fn every_bad_line_is_named_once() {
        let lines: Vec<_> = bad("username,password\n-,surabaya\ngood,surabaya\nx,y\ny\n")
            .into_iter()
            .map(|(line, _)| line)
            .collect();
        assert_eq!(lines, [2, 4, 5]);
    }

    #[test]
    fn a_username_twice_is_refused_whatever_its_case() {
        assert_bad("username,password\nmessi,surabaya\nMESSI,surabaya\n", 3, "line 2 already");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_bad(b"username,password\na,surabaya\xff\n", 2, "not UTF-8");
        assert_bad(b"{\"username\":\"\xff\"}", 1, "not a JSON object");
    }

    #[test]
    fn no_reason_shows_a_password() {
        for text in [
            "{\"username\":\"a\",\"password\":12345678}",
            "{\"username\":\"a\",\"password\":\"12345678\",\"phc\":\"12345678\"}",
            "{\"username\":\"a\",\"password\":\"12345678",
            "username,phc\na,12345678",
            "username,password\na,1234 5678",
        ] {
            assert!(!bad(text)[0].1.contains("5678"), "{text}");
        }
    }
}
