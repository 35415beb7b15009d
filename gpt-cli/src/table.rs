//! Tables with aligned columns, coloured on a terminal unless `NO_COLOR` or `TERM=dumb` is set.

use console::Style;

/// The alignment of a column.
#[derive(Clone, Copy)]
pub enum Align {
    Left,
    Right,
}

/// The look of a row.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    Head,
    Plain,
    Detail,
    Sum,
}

/// Rows of text whose columns are as wide as their widest cell.
pub struct Table {
    columns: Vec<Align>,
    rows: Vec<(Look, Vec<String>)>,
}

impl Table {
    /// A table whose columns are aligned as in `columns`: `<` left, `>` right.
    pub fn new(columns: &str) -> Table {
        let align = |c| match c {
            '>' => Align::Right,
            _ => Align::Left,
        };
        Table { columns: columns.chars().map(align).collect(), rows: Vec::new() }
    }

    /// Adds the titles of the columns. That of the first column is the title of the table.
    pub fn head<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.add(Look::Head, cells);
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.add(Look::Plain, cells);
    }

    /// Adds a row that is part of the one above it.
    pub fn detail<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.add(Look::Detail, cells);
    }

    /// Adds a row with the sum of those above it.
    pub fn sum<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.add(Look::Sum, cells);
    }

    fn add<S: Into<String>>(&mut self, look: Look, cells: impl IntoIterator<Item = S>) {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        match (look, &mut cells[..]) {
            (Look::Plain | Look::Sum, [first, ..]) => first.insert_str(0, "  "),
            (Look::Detail, [first, ..]) => first.insert_str(0, "    "),
            _ => {}
        }
        self.rows.push((look, cells));
    }

    /// The lines of the table, without spaces at their ends.
    pub fn lines(&self) -> Vec<String> {
        let width = |column: usize| {
            // A title alone may be wider than its column.
            let rows = self.rows.iter().filter(|(_, cells)| cells.len() > 1);
            let cells = rows.filter_map(|(_, cells)| cells.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |(look, cells): &(Look, Vec<String>)| {
            let mut line = String::new();
            let mut pending = 0;
            for (i, cell) in cells.iter().enumerate() {
                let free = widths[i].saturating_sub(cell.chars().count());
                let (before, after) = match self.columns[i] {
                    Align::Left => (0, free),
                    Align::Right => (free, 0),
                };
                if !cell.is_empty() {
                    line.push_str(&" ".repeat(pending + before));
                    line.push_str(&self.styled(*look, i, cell));
                    pending = after + GAP;
                } else {
                    pending += widths[i] + GAP;
                }
            }
            line
        };
        self.rows.iter().map(line).collect()
    }

    fn styled(&self, look: Look, column: usize, cell: &str) -> String {
        let style = match (look, column) {
            (Look::Head, 0) => title(),
            (Look::Head, _) => Style::new().dim(),
            (Look::Plain, 0) => Style::new().cyan(),
            (Look::Sum, _) => Style::new().bold(),
            (Look::Plain | Look::Detail, _) => Style::new(),
        };
        style.apply_to(cell).to_string()
    }
}

/// Spaces between columns.
const GAP: usize = 2;

/// The style of a title.
pub fn title() -> Style {
    Style::new().bold().green()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        console::set_colors_enabled(false);
        let mut table = Table::new("<>>");
        table.head(["title", "a", "bytes"]);
        table.row(["first", "1", ""]);
        table.detail(["part", "", "1024"]);
        table.sum(["sum", "12", "3"]);
        let lines =
            ["title      a  bytes", "  first    1", "    part       1024", "  sum     12      3"];
        assert_eq!(table.lines(), lines);
    }
}
