//! Tables with aligned columns, fitted to the width of a terminal if there is one.

use super::styled_line::{PLAIN, StyledLine};

/// Gap between two columns.
const GAP: usize = 2;

/// Width down to which ids shrink before any other column does: their ends still differ, and nothing is lost that the
/// shortened id does not find.
const USUAL_ID: usize = 12;

/// Room for a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableRoom {
    /// Columns of the terminal; `None` where nothing is cut, because a program or a file gets the table.
    pub(crate) columns: Option<usize>,
    /// The sign that marks cut text.
    pub(crate) ellipsis: &'static str,
}

impl TableRoom {
    /// Cuts a line to the columns of the terminal.
    pub(crate) fn cut(self, line: StyledLine) -> StyledLine {
        match self.columns {
            Some(columns) => line.cut(columns, self.ellipsis),
            None => line,
        }
    }

    /// Breaks the line into lines that fit, if the width is limited.
    pub(crate) fn wrapped(self, line: StyledLine) -> Vec<StyledLine> {
        match self.columns {
            Some(columns) => line.wrapped(columns),
            None => vec![line],
        }
    }

    /// Returns the room that is left beside some columns.
    pub(crate) fn beside(self, columns: usize) -> Self {
        Self { columns: self.columns.map(|all| all.saturating_sub(columns)), ..self }
    }
}

/// A column that may become narrower.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShrinkingColumn {
    /// Index of the column.
    number: usize,
    /// Minimum width, so that cells can still be distinguished.
    least: usize,
    /// The part of a cell that is cut.
    truncation: Truncation,
}

impl ShrinkingColumn {
    /// Creates a column with an index and the minimum width that it keeps.
    pub(crate) const fn new(number: usize, least: usize, truncation: Truncation) -> Self {
        Self { number, least, truncation }
    }
}

/// The part of a cell that is cut when its column becomes narrower.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Truncation {
    /// The beginning: for ids, which differ at their ends.
    Beginning,
    /// The middle: for names.
    Middle,
    /// The end: for sentences.
    End,
}

/// Aligns the columns of rows. The last cell of a row has any width.
pub(crate) fn aligned(rows: Vec<Vec<StyledLine>>) -> Vec<StyledLine> {
    let widths = widths(&rows);
    rows.into_iter().map(|row| joined(row, &widths)).collect()
}

/// Aligns the columns of rows within a room. The widest shrinking column becomes narrower until the table fits, so that no
/// column is lost.
pub(crate) fn aligned_within(
    mut rows: Vec<Vec<StyledLine>>,
    room: TableRoom,
    shrinking: &[ShrinkingColumn],
) -> Vec<StyledLine> {
    let Some(columns) = room.columns else { return aligned(rows) };
    let mut widths = widths(&rows);
    shrink(&mut widths, columns, shrinking);
    for ShrinkingColumn { number, truncation, .. } in shrinking {
        let Some(width) = widths.get(*number) else { continue };
        for cell in rows.iter_mut().filter_map(|row| row.get_mut(*number)) {
            let whole = std::mem::take(cell);
            *cell = match truncation {
                Truncation::Beginning => whole.without_beginning(*width, room.ellipsis),
                Truncation::Middle => whole.without_middle(*width, room.ellipsis),
                Truncation::End => whole.cut(*width, room.ellipsis),
            };
        }
    }
    rows.into_iter().map(|row| joined(row, &widths)).collect()
}

/// Returns true if rows fit into a room with the shrinking columns at their minimum widths.
pub(crate) fn fits(rows: &[Vec<StyledLine>], room: TableRoom, shrinking: &[ShrinkingColumn]) -> bool {
    let mut widths = widths(rows);
    for ShrinkingColumn { number, least, .. } in shrinking {
        if let Some(width) = widths.get_mut(*number) {
            *width = (*width).min(*least);
        }
    }
    room.columns.is_none_or(|columns| with_gaps(&widths) <= columns)
}

/// Returns the column at which a further cell of these rows begins.
pub(crate) fn columns_before(rows: &[Vec<StyledLine>]) -> usize {
    widths(rows).iter().map(|width| width + GAP).sum()
}

/// Returns the width of a row with cells of these widths.
fn with_gaps(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

fn shrink(widths: &mut [usize], columns: usize, shrinking: &[ShrinkingColumn]) {
    for width in widths.iter_mut() {
        // No cell is wider than the terminal, which bounds the loop below.
        *width = (*width).min(columns);
    }
    let over = with_gaps(widths).saturating_sub(columns);
    for _ in 0..over {
        let width = |column: &&ShrinkingColumn| widths.get(column.number).copied().unwrap_or(0);
        let is_long_id = |column: &&ShrinkingColumn| {
            matches!(column.truncation, Truncation::Beginning) && width(column) > USUAL_ID.max(column.least)
        };
        let can_shrink = |column: &&ShrinkingColumn| width(column) > column.least;
        let widest = shrinking.iter().filter(is_long_id).max_by_key(width);
        let widest = widest.or_else(|| shrinking.iter().filter(can_shrink).max_by_key(width));
        let Some(width) = widest.and_then(|column| widths.get_mut(column.number)) else { return };
        *width -= 1;
    }
}

fn widths(rows: &[Vec<StyledLine>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column| rows.iter().filter_map(|row| row.get(column)).map(StyledLine::width).max().unwrap_or(0);
    (0..columns).map(width).collect()
}

fn joined(mut row: Vec<StyledLine>, widths: &[usize]) -> StyledLine {
    let last = row.pop().unwrap_or_default();
    let gap = " ".repeat(GAP);
    let padded = row.into_iter().zip(widths).map(|(cell, width)| cell.padded(*width).with(PLAIN, &gap));
    padded.reduce(StyledLine::followed_by).unwrap_or_default().followed_by(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<const N: usize>(cells: [&str; N]) -> Vec<StyledLine> {
        cells.map(|cell| StyledLine::of(PLAIN, cell)).to_vec()
    }

    fn texts(lines: &[StyledLine]) -> Vec<String> {
        lines.iter().map(StyledLine::text).collect()
    }

    #[test]
    fn columns_line_up() {
        let lines =
            aligned(vec![row(["a", "bbb", "c"]), row(["aaaa", "b", ""]), vec![StyledLine::of(PLAIN, "x")]]);
        assert_eq!(texts(&lines), ["a     bbb  c", "aaaa  b", "x"]);
    }

    #[test]
    fn widest_column_becomes_narrower_and_none_is_lost() {
        let rows = || vec![row(["run_00_9v0w", "north-and-south", "2.0s", "it failed"])];
        let column = ShrinkingColumn::new;
        let shrinking = [
            column(0, 6, Truncation::Beginning),
            column(1, 8, Truncation::Middle),
            column(3, 6, Truncation::End),
        ];
        let within =
            |columns| texts(&aligned_within(rows(), TableRoom { columns, ellipsis: "~" }, &shrinking));
        assert_eq!(within(None), ["run_00_9v0w  north-and-south  2.0s  it failed"]);
        assert_eq!(within(Some(45)), ["run_00_9v0w  north-and-south  2.0s  it failed"]);
        assert_eq!(within(Some(41)), ["run_00_9v0w  north~south  2.0s  it failed"]);
        assert_eq!(within(Some(34)), ["~00_9v0w  nor~outh  2.0s  it fail~"]);
        assert_eq!(within(Some(30)), ["~_9v0w  nor~outh  2.0s  it fa~"]);
        let reason = "the file has no column `units`, which the tool needs";
        let rows = vec![row(["run_00_01kbgq5v8m3n4p5q6r7s8t9v0w", reason])];
        let shrinking = [column(0, 8, Truncation::Beginning), column(1, 8, Truncation::End)];
        let room = TableRoom { columns: Some(85), ellipsis: "~" };
        let shown = texts(&aligned_within(rows, room, &shrinking));
        assert!(shown[0].ends_with(reason), "an id gives way to a reason: {shown:?}");
        assert_eq!(within(Some(10)), ["~_9v0w  nor~outh  2.0s  it fa~"], "the rest is cut with the line");
    }
}
