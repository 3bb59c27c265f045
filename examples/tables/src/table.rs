//! The content of a CSV file: a header, and rows with their line numbers.
//!
//! The reader is lenient, so that [`check`](crate::check) can report every problem of a file; only files that are not CSV
//! text are refused. The numeric columns are determined here, for checks and sums alike.

use std::io::Read;

use csv::{ReaderBuilder, StringRecord, Trim};
use thiserror::Error;

/// A header and the rows below it.
#[derive(Debug)]
pub(crate) struct Table {
    /// The names of the columns, in order.
    pub(crate) header: Vec<String>,
    /// The rows, in order. A row may have more or fewer fields than the header.
    pub(crate) rows: Vec<Row>,
}

/// A row of a table.
#[derive(Debug)]
pub(crate) struct Row {
    /// The line of the file on which the row begins, starting at 1.
    pub(crate) line: u64,
    /// The fields, without leading and trailing blanks.
    pub(crate) fields: Vec<String>,
}

/// The reason why a file cannot be read as a table.
#[derive(Debug, Error)]
pub(crate) enum TableRefusal {
    #[error("{0:?} is empty: a table begins with a header line")]
    Empty(String),
    #[error("{name:?} is not CSV text: {source}; save it as UTF-8 with commas between the fields")]
    Syntax { name: String, source: csv::Error },
}

impl Table {
    /// Reads a table. `name` is the file's name for messages.
    pub(crate) fn read(name: &str, text: impl Read) -> Result<Self, TableRefusal> {
        let syntax = |source| TableRefusal::Syntax { name: name.to_owned(), source };
        let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(text);
        let header = fields(reader.headers().map_err(syntax)?);
        if header.is_empty() {
            return Err(TableRefusal::Empty(name.to_owned()));
        }
        let rows = reader
            .records()
            .map(|record| record.map(|record| Row { line: line(&record), fields: fields(&record) }))
            .collect::<Result<_, _>>()
            .map_err(syntax)?;
        Ok(Self { header, rows })
    }

    /// Returns the rows that have as many fields as the header.
    pub(crate) fn whole_rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.fields.len() == self.header.len())
    }

    /// Returns for each column if it is numeric: at least half of its values that are not empty are numbers. So a few mistakes
    /// do not turn a column of amounts into text, and a few numbers do not turn names into amounts.
    pub(crate) fn numeric(&self) -> Vec<bool> {
        let mut seen = vec![(0_u64, 0_u64); self.header.len()];
        for row in self.whole_rows() {
            for ((numbers, filled), field) in seen.iter_mut().zip(&row.fields) {
                *numbers += u64::from(number(field).is_some());
                *filled += u64::from(!field.is_empty());
            }
        }
        seen.into_iter().map(|(numbers, filled)| numbers > 0 && numbers * 2 >= filled).collect()
    }
}

/// Returns the number in a field. Infinity and NaN are not numbers here.
pub(crate) fn number(field: &str) -> Option<f64> {
    field.parse().ok().filter(|number: &f64| number.is_finite())
}

fn fields(record: &StringRecord) -> Vec<String> {
    record.iter().map(str::to_owned).collect()
}

fn line(record: &StringRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        Table::read("t.csv", text.as_bytes()).unwrap()
    }

    #[test]
    fn row_has_its_line_number_after_quoted_line_breaks() {
        let table = table("name,note\n a ,\"one\ntwo\"\nb,c\n");
        assert_eq!(table.header, ["name", "note"]);
        let rows: Vec<_> = table.rows.iter().map(|row| (row.line, row.fields.join("|"))).collect();
        assert_eq!(rows, [(2, "a|one\ntwo".to_owned()), (4, "b|c".to_owned())]);
    }

    #[test]
    fn column_is_numeric_if_half_of_its_values_are() {
        let table = table("amount,name,empty,mixed\n1,a,,1\n-2.5e3,b,,x\nn/a,3,,\n");
        assert_eq!(table.numeric(), [true, false, false, true]);
    }

    #[test]
    fn only_finite_numbers_are_numbers() {
        assert_eq!(number("12.50"), Some(12.5));
        for word in ["", "inf", "NaN", "1,5", "2026-07-01"] {
            assert_eq!(number(word), None, "{word}");
        }
    }

    #[test]
    fn file_without_a_header_and_file_that_is_not_text_are_refused() {
        assert!(matches!(Table::read("t.csv", &b""[..]), Err(TableRefusal::Empty(_))));
        let refusal = Table::read("t.csv", &b"a,b\n1,\xff\n"[..]).unwrap_err().to_string();
        assert!(refusal.contains("UTF-8") && refusal.contains("t.csv"), "{refusal}");
    }
}
