//! Pieces of text that become one file, as `task.md` of `kubetask.io` does. The plan joins by this rule, and so does what joins
//! Secrets inside the Pod.
//!
//! May touch: text. Must not touch: what the text is about.

/// Between two pieces: a blank line, a horizontal rule of Markdown, a blank line.
pub const SEPARATOR: &str = "\n\n---\n\n";

/// Puts a piece behind what is joined so far. Line ends (`\n`, `\r\n`) at the end of what is not the last are cut; a piece of
/// nothing but line ends is none.
///
/// What is joined of several pieces may be one of them: the result is the same.
pub fn push(joined: &mut String, piece: &str, separator: &str) {
    if is_blank(piece) {
        return;
    }
    joined.truncate(without_line_ends(joined).len());
    if !joined.is_empty() {
        joined.push_str(separator);
    }
    joined.push_str(piece);
}

/// All of them as one; `None`: there is no piece.
pub fn join<'a>(pieces: impl IntoIterator<Item = &'a str>, separator: &str) -> Option<String> {
    let mut joined = String::new();
    pieces.into_iter().for_each(|piece| push(&mut joined, piece, separator));
    (!joined.is_empty()).then_some(joined)
}

/// Whether it is nothing but line ends, which is no piece.
pub fn is_blank(text: &str) -> bool {
    without_line_ends(text).is_empty()
}

fn without_line_ends(mut text: &str) -> &str {
    while let Some(rest) = text.strip_suffix('\n') {
        text = rest.strip_suffix('\r').unwrap_or(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces, and the file that they become.
    const TABLE: [(&[&str], Option<&str>); 17] = [
        (&[], None),
        (&[""], None),
        (&["\n", "\r\n\r\n", ""], None),
        (&["a"], Some("a")),
        (&["a\n\n"], Some("a\n\n")),
        (&["a\r\n"], Some("a\r\n")),
        (&["\n\na"], Some("\n\na")),
        (&["a\n", "b\n"], Some("a\n\n---\n\nb\n")),
        (&["a", "b"], Some("a\n\n---\n\nb")),
        (&["", "\n", "a"], Some("a")),
        (&["a\n\n", "\n"], Some("a\n\n")),
        (&["a\n", "", "b\n\n"], Some("a\n\n---\n\nb\n\n")),
        (&["a\r\n\r\n", "b\r\n"], Some("a\n\n---\n\nb\r\n")),
        (&["a\n\r\n\n", "b"], Some("a\n\n---\n\nb")),
        // neither a lone carriage return nor a space is a line end
        (&["a\r", "\r", "b \n", "c"], Some("a\r\n\n---\n\n\r\n\n---\n\nb \n\n---\n\nc")),
        (&["---\n", "---"], Some("---\n\n---\n\n---")),
        (&["ä\n", "ö\n"], Some("ä\n\n---\n\nö\n")),
    ];

    #[test]
    fn line_ends_are_cut_between_pieces_and_nowhere_else() {
        for (pieces, expected) in TABLE {
            assert_eq!(join(pieces.iter().copied(), SEPARATOR).as_deref(), expected, "{pieces:?}");
        }
    }

    #[test]
    fn pieces_may_be_joined_beforehand() {
        for (pieces, expected) in TABLE {
            for cut in 0..=pieces.len() {
                let halves = [&pieces[..cut], &pieces[cut..]];
                let halves = halves.map(|half| join(half.iter().copied(), SEPARATOR).unwrap_or_default());
                let joined = join(halves.iter().map(String::as_str), SEPARATOR);
                assert_eq!(joined.as_deref(), expected, "{pieces:?} at {cut}");
            }
        }
    }
}
