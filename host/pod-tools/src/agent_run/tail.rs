//! The end of a log, for the message of a failure. Pure.

use std::collections::VecDeque;

use kubeopencode_api::report::SUMMARY_BYTES;

use crate::redact::Redactor;

/// Bytes that are remembered: more than the text has, since colours and empty lines are left out of it.
const REMEMBERED: usize = 4 * SUMMARY_BYTES;

/// The last bytes of a log.
#[derive(Default)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    /// the first line that is remembered has lost its beginning
    is_cut: bool,
}

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(REMEMBERED)..];
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(REMEMBERED);
        self.is_cut |= excess > 0;
        self.bytes.drain(..excess);
        self.bytes.extend(bytes);
    }

    /// The last lines, at most [`SUMMARY_BYTES`] of them: without colours, control characters, empty lines, and credentials
    /// in addresses. A line is whole, where it fits.
    pub(super) fn text(&self) -> Option<String> {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = Redactor::new([]).clean(&plain(&String::from_utf8_lossy(&bytes)));
        let mut lines: Vec<_> = text.lines().map(str::trim_end).collect();
        if self.is_cut && lines.len() > 1 {
            lines.remove(0);
        }
        lines.retain(|line| !line.trim().is_empty());
        let mut left = SUMMARY_BYTES;
        let fits = |line: &&&str| {
            let fits = line.len() < left;
            left = left.saturating_sub(line.len() + 1);
            fits
        };
        let kept = lines.iter().rev().take_while(fits).count();
        match (kept, lines.last()) {
            (_, None) => None,
            (0, Some(last)) => Some(last[last.ceil_char_boundary(last.len() - SUMMARY_BYTES)..].to_owned()),
            _ => Some(lines.split_off(lines.len() - kept).join("\n")),
        }
    }
}

/// The text without what moves a terminal's cursor or colours it.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            // CSI: parameters up to a letter
            '\u{1b}' if characters.next_if_eq(&'[').is_some() => {
                while characters.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\n' => plain.push('\n'),
            '\t' => plain.push(' '),
            _ if character.is_control() => {}
            _ => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(log: &str) -> Option<String> {
        let mut tail = Tail::default();
        log.as_bytes().chunks(7).for_each(|bytes| tail.push(bytes));
        tail.text()
    }

    #[test]
    fn the_last_lines_are_whole_plain_and_without_credentials() {
        assert_eq!(text(""), None);
        assert_eq!(text("\n \n"), None);
        let colours = "\u{1b}[1;31mError:\u{1b}[0m no\tmodel\r\n\n  see https://user:pw@host/x\n";
        assert_eq!(text(colours).unwrap(), "Error: no model\n  see https://***@host/x");
        let long: String = (0..1000).map(|i| format!("line {i}\n")).collect();
        let last = text(&long).unwrap();
        assert!(last.starts_with("line ") && last.ends_with("line 999"), "{last}");
        assert!(last.len() <= SUMMARY_BYTES && last.len() > SUMMARY_BYTES - 16);
    }

    #[test]
    fn of_one_long_line_the_end_stays() {
        let last = text(&format!("first\n{}the end", "é".repeat(3000))).unwrap();
        assert!(last.len() <= SUMMARY_BYTES && last.ends_with("éthe end"), "{last}");
    }
}
