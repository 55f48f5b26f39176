//! The words of a request line: reading and writing them.

use bytes::{BufMut as _, BytesMut};

use super::ParseError;
use super::codec::REQUEST_END;

/// Reads the words of a line from left to right.
///
/// Words are parted by single spaces. A space at the very end makes no further word; two spaces in a row make an
/// empty word, which is a word.
#[derive(Debug)]
pub(super) struct Words<'a> {
    rest: Option<&'a str>,
}

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { rest: Some(line) }
    }

    /// The next word, if there is one.
    pub(super) fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.take()?;
        let space = memchr::memchr(b' ', rest.as_bytes());
        if let Some((word, rest)) = space.and_then(|space| rest.split_at_checked(space)) {
            self.rest = rest.get(1..);
            return Some(word);
        }
        (!rest.is_empty()).then_some(rest)
    }

    /// The next word, which must be there.
    pub(super) fn required(&mut self) -> Result<&'a str, ParseError> {
        self.next().ok_or(ParseError::BadArguments)
    }

    /// The next word, unless it is left out or `-`.
    pub(super) fn optional(&mut self) -> Option<&'a str> {
        self.next().filter(|word| *word != LEFT_OUT)
    }

    /// The next two words, unless both are left out.
    pub(super) fn optional_pair(&mut self) -> Result<Option<(&'a str, &'a str)>, ParseError> {
        match (self.optional(), self.optional()) {
            (None, None) => Ok(None),
            (Some(first), Some(second)) => Ok(Some((first, second))),
            _ => Err(ParseError::BadArguments),
        }
    }

    /// Everything to the end of the line, verbatim; at least one byte.
    pub(super) fn body(&mut self) -> Result<&'a str, ParseError> {
        let body = self.rest.take().unwrap_or_default();
        if body.is_empty() {
            return Err(ParseError::BadArguments);
        }
        Ok(body)
    }

    /// Everything to the end of the line but for one space at its very end.
    pub(super) fn text(&mut self) -> &'a str {
        let text = self.rest.take().unwrap_or_default();
        text.strip_suffix(' ').unwrap_or(text)
    }

    /// Like [`text`](Self::text), unless it is left out or `-`.
    pub(super) fn optional_text(&mut self) -> Option<&'a str> {
        Some(self.text()).filter(|text| !text.is_empty() && *text != LEFT_OUT)
    }

    /// Makes sure that no word is left.
    pub(super) fn finish(mut self) -> Result<(), ParseError> {
        match self.next() {
            None => Ok(()),
            Some(_) => Err(ParseError::BadArguments),
        }
    }
}

/// Writes a line that [`Words`] reads back the same, or says which argument cannot be written and why.
#[derive(Debug)]
pub(super) struct LineWriter<'a> {
    dst: &'a mut BytesMut,
}

/// Which argument cannot be written, and why; never its value.
pub(super) type Unencodable = String;

impl<'a> LineWriter<'a> {
    pub(super) fn new(dst: &'a mut BytesMut, command: &str) -> Self {
        dst.put_slice(command.as_bytes());
        Self { dst }
    }

    /// A word that must be there.
    pub(super) fn word(&mut self, argument: &str, word: &str) -> Result<&mut Self, Unencodable> {
        if word.is_empty() {
            return Err(format!("{argument} is empty"));
        }
        if word.contains(' ') {
            return Err(format!("{argument} has a space in it"));
        }
        self.put(argument, word)
    }

    /// A word that may be left out; if something follows it, `-` takes its place.
    pub(super) fn optional(
        &mut self,
        argument: &str,
        word: Option<&str>,
        following: Option<&str>,
    ) -> Result<&mut Self, Unencodable> {
        if word.is_none() && following.is_some() {
            return self.put(argument, LEFT_OUT);
        }
        self.last(argument, word)
    }

    /// A word that may be left out and that nothing follows.
    pub(super) fn last(
        &mut self,
        argument: &str,
        word: Option<&str>,
    ) -> Result<&mut Self, Unencodable> {
        match word {
            None => Ok(self),
            Some(LEFT_OUT) => Err(format!("{argument} is '-', which means none")),
            Some(word) => self.word(argument, word),
        }
    }

    /// What [`Words::body`] reads.
    pub(super) fn body(&mut self, argument: &str, body: &str) -> Result<&mut Self, Unencodable> {
        if body.is_empty() {
            return Err(format!("{argument} is empty"));
        }
        self.put(argument, body)
    }

    /// What [`Words::text`] reads.
    pub(super) fn text(&mut self, argument: &str, text: &str) -> Result<&mut Self, Unencodable> {
        if !text.is_empty() {
            self.put(argument, text)?;
        }
        if text.ends_with(' ') {
            self.dst.put_u8(b' ');
        }
        Ok(self)
    }

    /// What [`Words::optional_text`] reads.
    pub(super) fn optional_text(
        &mut self,
        argument: &str,
        text: Option<&str>,
    ) -> Result<&mut Self, Unencodable> {
        match text {
            None => Ok(self),
            Some("" | LEFT_OUT) => Err(format!("{argument} is empty or '-', which mean none")),
            Some(text) => self.text(argument, text),
        }
    }

    /// Ends the line.
    pub(super) fn finish(&mut self) {
        self.dst.put_slice(REQUEST_END);
    }

    fn put(&mut self, argument: &str, text: &str) -> Result<&mut Self, Unencodable> {
        if memchr::memchr2(b'\r', b'\n', text.as_bytes()).is_some() {
            return Err(format!("{argument} has a line end in it"));
        }
        self.dst.put_u8(b' ');
        self.dst.put_slice(text.as_bytes());
        Ok(self)
    }
}

/// Stands for an optional word left out.
const LEFT_OUT: &str = "-";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_are_those_of_the_book(line in "[a ]{0,12}") {
            let mut expected: Vec<_> = line.split(' ').collect();
            expected.pop_if(|last| last.is_empty());
            let mut words = Words::new(&line);
            let words: Vec<_> = std::iter::from_fn(|| words.next()).collect();
            prop_assert_eq!(words, expected);
        }
    }
}
