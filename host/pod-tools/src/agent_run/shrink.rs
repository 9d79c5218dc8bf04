//! Makes JSON of any length short while it comes: long strings are cut, and what is then still too much is left out. Pure.

use super::lines::{Line, MAX_LINE};

/// Most bytes that stay of a string, as it is written.
const MAX_STRING: usize = MAX_LINE / 16;
/// Stands where a string was cut.
const CUT: &[u8] = "…".as_bytes();

/// What is left of an object so far.
#[derive(Default)]
pub(super) struct Shrink {
    out: Vec<u8>,
    /// of all that came
    bytes: usize,
    at: At,
    /// objects and arrays that are open
    depth: usize,
    /// bytes of the string that is open
    string: usize,
    /// the rest of the string is left out
    is_cut: bool,
    /// the first half of a pair of escapes was kept, so the second has to be
    is_half: bool,
    /// how much of `out` is whole members of the object
    whole: usize,
    /// the rest of the object is left out
    is_full: bool,
}

/// Where in the JSON the next byte is.
#[derive(Clone, Copy, Default)]
enum At {
    #[default]
    Outside,
    String,
    Escape,
    /// after `\\u`: the digits so far, and how many
    Unicode(u32, u8),
}

impl Shrink {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        for byte in bytes {
            self.byte(*byte);
        }
    }

    /// What is left of the line.
    pub(super) fn line(&mut self) -> Line<'_> {
        if self.is_full {
            self.out.truncate(self.whole);
            self.out.push(b'}');
        }
        Line::Shrunk { event: &self.out, bytes: self.bytes }
    }

    fn byte(&mut self, byte: u8) {
        match self.at {
            At::Outside => self.outside(byte),
            At::String if byte == b'"' => {
                (self.at, self.string, self.is_cut, self.is_half) = (At::Outside, 0, false, false);
                self.keep(byte);
            }
            At::String => {
                let begins_a_character = byte & 0xc0 != 0x80;
                if begins_a_character && !self.is_cut && !self.is_half && self.string >= MAX_STRING {
                    CUT.iter().for_each(|byte| self.keep(*byte));
                    self.is_cut = true;
                }
                if byte == b'\\' {
                    self.at = At::Escape;
                } else {
                    self.is_half = false;
                }
                self.keep_of_string(byte);
            }
            At::Escape => {
                self.at = if byte == b'u' { At::Unicode(0, 0) } else { At::String };
                self.is_half &= byte == b'u';
                self.keep_of_string(byte);
            }
            At::Unicode(digits, count) => {
                let digits = digits << 4 | char::from(byte).to_digit(16).unwrap_or(0);
                self.at = if count < 3 { At::Unicode(digits, count + 1) } else { At::String };
                if count == 3 {
                    self.is_half = !self.is_cut && (0xd800..0xdc00).contains(&digits);
                }
                self.keep_of_string(byte);
            }
        }
    }

    fn outside(&mut self, byte: u8) {
        match byte {
            b'"' => self.at = At::String,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b',' if self.depth == 1 && !self.is_full => self.whole = self.out.len(),
            _ => {}
        }
        self.keep(byte);
    }

    fn keep_of_string(&mut self, byte: u8) {
        if !self.is_cut {
            self.string += 1;
            self.keep(byte);
        }
    }

    fn keep(&mut self, byte: u8) {
        // a byte is left for the end
        self.is_full |= self.out.len() + 1 >= MAX_LINE;
        if !self.is_full {
            self.out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is left of a text, which comes in pieces of this length.
    fn shrunk(text: &str, piece: usize) -> Value {
        let mut shrink = Shrink::default();
        text.as_bytes().chunks(piece).for_each(|bytes| shrink.push(bytes));
        let Line::Shrunk { event, bytes } = shrink.line() else { panic!("a shrunk one") };
        assert_eq!(bytes, text.len());
        assert!(event.len() <= MAX_LINE);
        serde_json::from_slice(event).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(event)))
    }

    #[test]
    fn short_strings_and_numbers_stay() {
        let event = json!({"type": "error", "n": [1, -2.5, null, true], "s": "a\"b\\c\u{1}é日🦀", "o": {}});
        assert_eq!(shrunk(&event.to_string(), 1), event);
        assert_eq!(shrunk(r#"{"s": "\ud83e\udd80 \/"}"#, 3), json!({"s": "🦀 /"}));
    }

    #[test]
    fn a_long_string_is_cut_between_characters_and_the_rest_stays() {
        for (character, written) in
            [("x", "x"), ("é", "é"), ("🦀", r"\ud83e\udd80"), ("\n", r"\n"), ("\u{1}", r"\u0001")]
        {
            for shift in 0..12 {
                let text = format!(
                    r#"{{"long":"{}{}","type":"error"}}"#,
                    "a".repeat(shift),
                    written.repeat(MAX_LINE)
                );
                let left = shrunk(&text, 1000);
                assert_eq!(left["type"], "error", "{written}");
                let long = left["long"].as_str().unwrap();
                let kept = long.strip_suffix('…').unwrap().trim_start_matches('a');
                assert!(
                    !kept.is_empty() && long.len() <= MAX_STRING + 16,
                    "{} bytes of {written}",
                    long.len()
                );
                assert!(character == "x" || kept.replace(character, "").is_empty(), "{written} at {shift}");
            }
        }
    }

    #[test]
    fn of_too_many_members_the_first_stay() {
        let many: Vec<_> = (0..MAX_LINE).collect();
        let text = format!(r#"{{"type":"error","many":{},"last":1}}"#, json!(many));
        assert_eq!(shrunk(&text, 4096), json!({"type": "error"}));
    }
}
