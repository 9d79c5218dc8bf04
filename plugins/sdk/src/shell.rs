//! Words for `sh -c`.

use std::borrow::Cow;

/// A word for `sh -c`: itself where a shell takes it as it is, so that what people read stays readable; else quoted.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn only_what_a_shell_would_read_differently_is_quoted() {
        for plain in ["/workspace/task.md", "http://a.b.svc:4096/x", "-f", "a=b"] {
            assert_eq!(quoted(plain), plain);
        }
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("/my work/$(x);"), "'/my work/$(x);'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
