//! Cuts a stream of bytes into lines of bounded length. Pure.

use super::shrink::Shrink;

/// A longer line is kept in part: of an event its strings are cut, any other one is passed through in pieces, so that
/// memory stays bounded. A fuzzer's inputs are short.
pub(super) const MAX_LINE: usize = if cfg!(fuzzing) { 256 } else { 1 << 20 };

/// A piece of the output. The first two hold their newline, where there is one.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    /// A whole line.
    Whole(&'a [u8]),
    /// A part of a line that is too long and no event.
    Piece(&'a [u8]),
    /// What is left of an event that is too long.
    Shrunk {
        /// JSON of at most [`MAX_LINE`] bytes.
        event: &'a [u8],
        /// Length of the line.
        bytes: usize,
    },
}

/// What of a line has come so far.
#[derive(Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    long: Long,
}

/// What becomes of the line that comes now, where it is too long.
#[derive(Default)]
enum Long {
    #[default]
    No,
    Pieces,
    Event(Shrink),
}

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8], mut sink: impl FnMut(Line)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends = part.ends_with(b"\n");
            if matches!(self.long, Long::No) && self.begun.len() + part.len() > MAX_LINE {
                self.begin_long(part, &mut sink);
            }
            match &mut self.long {
                Long::Pieces => sink(Line::Piece(part)),
                Long::Event(shrink) => {
                    shrink.push(part);
                    if ends {
                        sink(shrink.line());
                    }
                }
                Long::No if ends && self.begun.is_empty() => sink(Line::Whole(part)),
                Long::No => {
                    self.begun.extend_from_slice(part);
                    if ends {
                        sink(Line::Whole(&self.begun));
                        self.begun.clear();
                    }
                }
            }
            if ends {
                self.long = Long::No;
            }
        }
    }

    /// The line is too long with this part: what has begun of it is handed on.
    fn begin_long(&mut self, part: &[u8], sink: &mut impl FnMut(Line)) {
        let begun = std::mem::take(&mut self.begun);
        let first = begun.iter().chain(part).find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'{') {
            let mut shrink = Shrink::default();
            shrink.push(&begun);
            self.long = Long::Event(shrink);
        } else {
            if !begun.is_empty() {
                sink(Line::Piece(&begun));
            }
            self.long = Long::Pieces;
        }
    }

    /// The last line, when it had no newline.
    pub(super) fn finish(mut self, mut sink: impl FnMut(Line)) {
        if let Long::Event(shrink) = &mut self.long {
            sink(shrink.line());
        } else if !self.begun.is_empty() {
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
            Line::Shrunk { bytes, .. } => seen.push(format!("an event of {bytes}")),
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

    #[test]
    fn of_an_event_too_long_its_beginning_is_kept_and_the_next_line_is_whole_again() {
        let event = [&b" {\"a\":\""[..], &vec![b'x'; 3 * MAX_LINE], b"\"}\n"].concat();
        let chunks: Vec<_> = event.chunks(400_000).chain([&b"next\n"[..]]).collect();
        let expected = [format!("an event of {}", event.len()), "next\n".to_owned()];
        assert_eq!(cut(&chunks), expected);
        assert_eq!(cut(&[&event, b"next\n"]), expected);
        assert_eq!(cut(&[&event[..event.len() - 1]]), [format!("an event of {}", event.len() - 1)]);
    }
}
