//! [`Letter`]: what stands in a message, so that it is known again.

use super::fact::{Tag, User};

/// The texts and keys of one run.
#[derive(Debug, Clone)]
pub(crate) struct Letters {
    /// Tells the messages of this run from those of others.
    run: u32,
    size: usize,
}

/// What the text of a message says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) tag: Tag,
    pub(crate) from: User,
    pub(crate) to: User,
}

impl Letters {
    /// Texts of `size` bytes, or as many as it takes to be told apart.
    pub(crate) fn new(run: u32, size: usize) -> Self {
        Self { run, size }
    }

    /// The text of a message.
    pub(crate) fn write(&self, letter: Letter) -> String {
        let Letter { tag: Tag(tag), from: User(from), to: User(to) } = letter;
        let mut text = format!("{:08x}.{tag}.{from}.{to}.", self.run);
        let padding = self.size.saturating_sub(text.len());
        text.extend(std::iter::repeat_n('x', padding));
        text
    }

    /// Which message a text is. None unless every byte is as it was sent.
    pub(crate) fn read(&self, text: &str) -> Option<Letter> {
        let mut parts = text.split('.');
        let _run = parts.next()?;
        let mut number = || parts.next()?.parse().ok();
        let letter = Letter { tag: Tag(number()?), from: User(number()?), to: User(number()?) };
        (self.write(letter) == text).then_some(letter)
    }

    /// The KEY a message is posted under.
    pub(crate) fn key(&self, Tag(tag): Tag) -> String {
        format!("verify.{:08x}.{tag}", self.run)
    }

    /// The text that finds the end of a mailbox before the run.
    pub(crate) fn probe(&self) -> String {
        format!("chat-load verify {:08x}", self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTER: Letter = Letter { tag: Tag(70_000), from: User(3), to: User(199) };

    #[test]
    fn a_text_is_known_again() {
        for size in [1, 100, 5000] {
            let letters = Letters::new(0xab, size);
            let text = letters.write(LETTER);
            assert!(text.len() == size || size == 1, "{text}");
            assert_eq!(letters.read(&text), Some(LETTER));
        }
    }

    #[test]
    fn another_text_is_not() {
        let letters = Letters::new(0xab, 100);
        let text = letters.write(LETTER);
        for other in
            ["", "halo", &text[1..], &text[..99], &text.replace("3.", "03."), &format!("{text} ")]
        {
            assert_eq!(letters.read(other), None, "{other}");
        }
        assert_eq!(Letters::new(0xac, 100).read(&text), None, "of another run");
    }
}
