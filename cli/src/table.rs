//! Tables as Helm prints them: cells left-aligned, padded to the widest, each followed by a tab.

use std::fmt;

/// A table for people.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a line of headings; without headings there is no such line.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            headings: headings.iter().map(|heading| (*heading).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<&Vec<String>> = std::iter::once(&self.headings)
            .filter(|headings| !headings.is_empty())
            .chain(&self.rows)
            .collect();
        let columns = lines.iter().map(|cells| cells.len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let width = |cells: &&Vec<String>| cells.get(column).map_or(0, |cell| shown_width(cell));
                lines.iter().map(width).max().unwrap_or(0)
            })
            .collect();
        for cells in lines {
            for (column, cell) in cells.iter().enumerate() {
                let padding = widths[column] - shown_width(cell);
                let end = if column + 1 == columns { "" } else { "\t" };
                write!(f, "{cell}{}{end}", " ".repeat(padding))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Characters on the screen: colour codes take none.
fn shown_width(cell: &str) -> usize {
    let mut width = 0;
    let mut in_code = false;
    for character in cell.chars() {
        match (in_code, character) {
            (false, '\u{1b}') => in_code = true,
            (true, 'm') => in_code = false,
            (true, _) => {}
            (false, _) => width += 1,
        }
    }
    width
}
