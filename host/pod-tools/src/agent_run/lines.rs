//! Cuts a stream of bytes into lines of bounded length. Pure.

/// A longer line is no event that anybody reads; it is passed through in pieces, so that memory stays bounded.
/// A fuzzer's inputs are short.
pub(super) const MAX_LINE: usize = if cfg!(fuzzing) { 256 } else { 1 << 20 };

/// A piece of the output. Both kinds hold their newline, where there is one.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    /// A whole line.
    Whole(&'a [u8]),
    /// A part of a line that is too long.
    Piece(&'a [u8]),
}

/// What of a line has come so far.
#[derive(Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    too_long: bool,
}

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8], mut sink: impl FnMut(Line)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends = part.ends_with(b"\n");
            if self.too_long {
                sink(Line::Piece(part));
                self.too_long = !ends;
            } else if self.begun.len() + part.len() > MAX_LINE {
                if !self.begun.is_empty() {
                    sink(Line::Piece(&self.begun));
                    self.begun = Vec::new();
                }
                sink(Line::Piece(part));
                self.too_long = !ends;
            } else if ends && self.begun.is_empty() {
                sink(Line::Whole(part));
            } else {
                self.begun.extend_from_slice(part);
                if ends {
                    sink(Line::Whole(&self.begun));
                    self.begun.clear();
                }
            }
        }
    }

    /// The last line, when it had no newline.
    pub(super) fn finish(self, mut sink: impl FnMut(Line)) {
        if !self.begun.is_empty() {
            sink(Line::Whole(&self.begun));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole lines as text; pieces of a long one as their total length.
    fn cut(chunks: &[&[u8]]) -> Vec<String> {
        let mut seen: Vec<String> = Vec::new();
        let mut long = 0;
        let mut lines = Lines::default();
        let mut sink = |line: Line| match line {
            Line::Whole(bytes) => seen.push(String::from_utf8_lossy(bytes).into_owned()),
            Line::Piece(bytes) => long += bytes.len(),
        };
        chunks.iter().for_each(|chunk| lines.push(chunk, &mut sink));
        lines.finish(&mut sink);
        if long > 0 {
            seen.push(format!("{long} bytes"));
        }
        seen
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        assert_eq!(cut(&[b"one\ntwo\n"]), ["one\n", "two\n"]);
        assert_eq!(cut(&[b"o", b"ne\nt", b"wo"]), ["one\n", "two"]);
        assert_eq!(cut(&[b"\n\n"]), ["\n", "\n"]);
        assert_eq!(cut(&[]), [""; 0]);
    }

    #[test]
    fn a_line_too_long_passes_in_pieces_and_the_next_is_whole_again() {
        let chunk = vec![b'x'; 400_000];
        assert_eq!(cut(&[&chunk, &chunk, &chunk, &chunk, b"\nnext\n"]), ["next\n", "1600001 bytes"]);
        let mut at_once = vec![b'x'; MAX_LINE];
        at_once.extend(b"\nnext\n");
        assert_eq!(cut(&[&at_once]), ["next\n".to_owned(), format!("{} bytes", MAX_LINE + 1)]);
        assert_eq!(cut(&[&at_once[1..]])[0].len(), MAX_LINE);
    }
}
