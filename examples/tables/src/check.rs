//! Problems of a table.
//!
//! Every problem has its line and a description. A table with problems is still a valid result: the caller decides if the
//! table is good enough.

use std::collections::BTreeSet;

use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

use crate::table::{Row, Table, number};

/// The limit for the problems that are listed: a user corrects a file after the first few. All problems are counted.
const MAX_PROBLEMS: usize = 100;

/// The result of a check.
#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Validation {
    /// The file that was checked.
    pub(crate) file: String,
    /// True if no problem was found.
    pub(crate) valid: bool,
    /// The number of rows, without the header.
    pub(crate) rows: u64,
    /// The columns, in the order of the file.
    pub(crate) columns: Vec<Column>,
    /// The number of problems.
    pub(crate) problem_count: u64,
    /// The first hundred problems.
    pub(crate) problems: Vec<Problem>,
}

/// A column of a table.
#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Column {
    /// Its name in the header.
    pub(crate) name: String,
    /// True if at least half of its values are numbers.
    pub(crate) numeric: bool,
}

/// A problem of a table.
#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Problem {
    /// The line of the file, starting at 1.
    pub(crate) line: u64,
    /// The kind of the problem.
    pub(crate) kind: ProblemKind,
    /// The description of the problem.
    pub(crate) message: String,
}

/// The kinds of problems.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProblemKind {
    /// A column without a name.
    EmptyHeader,
    /// Two columns of one name.
    DuplicateHeader,
    /// A row with more or fewer fields than the header.
    RaggedRow,
    /// A value that is not a number, in a numeric column.
    NotANumber,
}

/// Checks a table. `file` is the file's name for the result.
pub(crate) fn validate(file: String, table: &Table) -> Validation {
    let numeric = table.numeric();
    let found =
        header_problems(table).chain(table.rows.iter().flat_map(|row| row_problems(table, &numeric, row)));
    let mut problems = Vec::new();
    let mut problem_count = 0;
    for problem in found {
        problem_count += 1;
        if problems.len() < MAX_PROBLEMS {
            problems.push(problem);
        }
    }
    Validation {
        file,
        valid: problem_count == 0,
        rows: u64::try_from(table.rows.len()).unwrap_or(u64::MAX),
        columns: table
            .header
            .iter()
            .zip(numeric)
            .map(|(name, numeric)| Column { name: name.clone(), numeric })
            .collect(),
        problem_count,
        problems,
    }
}

fn header_problems(table: &Table) -> impl Iterator<Item = Problem> {
    let mut names = BTreeSet::new();
    table.header.iter().enumerate().filter_map(move |(index, name)| {
        let (kind, message) = if name.is_empty() {
            (ProblemKind::EmptyHeader, format!("column {} has no name", index + 1))
        } else if !names.insert(name) {
            (ProblemKind::DuplicateHeader, format!("column {} is called {name:?} again", index + 1))
        } else {
            return None;
        };
        Some(Problem { line: 1, kind, message })
    })
}

fn row_problems(table: &Table, numeric: &[bool], row: &Row) -> Vec<Problem> {
    let (fields, columns) = (row.fields.len(), table.header.len());
    if fields != columns {
        let message = format!("{fields} fields where the header has {columns}");
        return vec![Problem { line: row.line, kind: ProblemKind::RaggedRow, message }];
    }
    let columns = table.header.iter().zip(numeric).zip(&row.fields);
    columns
        .filter(|((_, numeric), field)| **numeric && !field.is_empty() && number(field).is_none())
        .map(|((name, _), field)| Problem {
            line: row.line,
            kind: ProblemKind::NotANumber,
            message: format!("{field:?} in column {name:?} is not a number"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Validation {
        validate("t.csv".to_owned(), &Table::read("t.csv", text.as_bytes()).unwrap())
    }

    #[test]
    fn valid_file_has_no_problems() {
        let found = check("product,amount\ntea,1.5\ncoffee,\n");
        assert_eq!((found.valid, found.rows, found.problem_count), (true, 2, 0));
        let columns: Vec<_> =
            found.columns.iter().map(|column| (column.name.as_str(), column.numeric)).collect();
        assert_eq!(columns, [("product", false), ("amount", true)]);
    }

    #[test]
    fn every_problem_has_its_line_and_a_description() {
        let found = check("product,,amount,amount\ntea,x,1,2\ncoffee,x,12.-,3\nmilk,x\nwater,x,1,2,3\n");
        let found: Vec<_> = found.problems.iter().map(|p| (p.line, p.kind, p.message.as_str())).collect();
        assert_eq!(
            found,
            [
                (1, ProblemKind::EmptyHeader, "column 2 has no name"),
                (1, ProblemKind::DuplicateHeader, "column 4 is called \"amount\" again"),
                (3, ProblemKind::NotANumber, "\"12.-\" in column \"amount\" is not a number"),
                (4, ProblemKind::RaggedRow, "2 fields where the header has 4"),
                (5, ProblemKind::RaggedRow, "5 fields where the header has 4"),
            ]
        );
    }

    #[test]
    fn all_problems_are_counted_and_the_first_hundred_are_listed() {
        let found = check(&format!("a,b\n{}", "1\n".repeat(250)));
        assert_eq!((found.problem_count, found.problems.len(), found.valid), (250, 100, false));
    }
}
