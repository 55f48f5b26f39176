//! Text made safe for HTML and SVG.

/// The text as it may stand between tags and in a quoted attribute. Characters that neither allows are replaced.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            control if control.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_means_something_to_a_browser_is_left() {
        assert_eq!(escape("a<b> & \"c'\u{1b}\n"), "a&lt;b&gt; &amp; &quot;c&#39;\u{fffd} ");
        assert_eq!(escape("latihan ☕"), "latihan ☕");
    }
}
