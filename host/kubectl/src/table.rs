//! Tables as kubectl prints them, and texts that harm no terminal.
//!
//! May touch: text.

use unicode_width::UnicodeWidthStr;

use crate::output::{Paint, Style};

/// Between two columns.
const GAP: usize = 3;

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A text that is about something.
    pub(crate) fn painted(text: impl Into<String>, paint: Paint) -> Self {
        Self { text: text.into(), paint }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(text, Paint::Plain)
    }
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// With these columns.
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// All of it.
    pub(crate) fn print(&self, style: Style) -> String {
        let widths = self.widths();
        let head: Vec<_> = self.head.iter().map(|name| Cell::from(*name)).collect();
        std::iter::once(&head).chain(&self.rows).map(|cells| line(cells, &widths, style)).collect()
    }

    /// How wide each column is.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let widest = |i: usize, name: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(i)).map(|cell| shown(cell).width());
            cells.chain([name.len()]).max().unwrap_or_default()
        };
        self.head.iter().enumerate().map(|(i, name)| widest(i, name)).collect()
    }
}

/// A row in columns of these widths, which it may be wider than.
pub(crate) fn line(cells: &[Cell], widths: &[usize], style: Style) -> String {
    let mut text = String::new();
    for (i, cell) in cells.iter().enumerate() {
        let shown = shown(cell);
        text.push_str(&style.paint(cell.paint, &shown));
        if i + 1 < cells.len() {
            let width = widths.get(i).copied().unwrap_or_default();
            text.push_str(&" ".repeat(width.saturating_sub(shown.width()) + GAP));
        }
    }
    text.push('\n');
    text
}

/// What a cell shows: one line.
fn shown(cell: &Cell) -> String {
    match cell.text.split_once('\n') {
        Some((first, _)) => format!("{}...", harmless(first)),
        None => harmless(&cell.text),
    }
}

/// A text without what moves a cursor or changes colours: messages hold what an agent wrote.
pub(crate) fn harmless(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_in_line_whatever_their_colours_are() {
        let mut table = Table::new(&["NAME", "PHASE", "MESSAGE"]);
        table.row(vec!["a".into(), Cell::painted("Failed", Paint::Bad), "first\nsecond".into()]);
        table.row(vec!["longer-name".into(), "-".into(), "\u{1b}[2Jgone".into()]);
        let plain = table.print(Style { colours: false });
        assert_eq!(
            plain,
            "NAME          PHASE    MESSAGE\na             Failed   first...\nlonger-name   -        \u{fffd}[2Jgone\n"
        );
        let coloured = table.print(Style { colours: true });
        assert_eq!(coloured.replace("\u{1b}[31m", "").replace("\u{1b}[0m", ""), plain);
    }

    #[test]
    fn a_column_is_as_wide_as_a_terminal_shows_it() {
        let mut table = Table::new(&["KEY", "MESSAGE"]);
        table.row(vec!["\u{6f22}\u{5b57}".into(), "two columns each".into()]);
        table.row(vec!["e\u{301}".into(), "an accent has none".into()]);
        table.row(vec!["four".into(), "-".into()]);
        assert_eq!(
            table.print(Style { colours: false }),
            "KEY    MESSAGE\n\u{6f22}\u{5b57}   two columns each\ne\u{301}      an accent has none\nfour   -\n"
        );
    }
}
