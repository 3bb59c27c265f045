//! Reports: summaries and checks as a Markdown file.
//!
//! The text depends only on the arguments, and a report replaces the report of the same name atomically. So writing it twice
//! has the same effect as writing it once, and a reader never sees half of it.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::check::Validation;
use crate::summary::Summary;

/// The limit for a name: with the ending and a temporary suffix, common file systems take it.
const MAX_NAME_BYTES: usize = 100;

/// The folder that reports are written to.
#[derive(Debug)]
pub(crate) struct Reports {
    folder: PathBuf,
}

/// The content of a report.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// The file's name without ending: letters, digits, `-` and `_`. A report of the same name is replaced.
    pub(crate) name: String,
    /// The heading of the report.
    pub(crate) title: String,
    /// The sums of all files, from combine_summaries.
    pub(crate) totals: Summary,
    /// The sums of each file, from summarise_csv.
    pub(crate) files: Vec<Summary>,
    /// The problems of the files, from validate_csv.
    #[serde(default)]
    pub(crate) checks: Vec<Validation>,
}

/// The file of a report.
#[derive(Debug, JsonSchema, PartialEq, Serialize)]
pub(crate) struct WrittenReport {
    /// The path of the file.
    pub(crate) path: String,
    /// The size in bytes.
    pub(crate) bytes: u64,
}

/// The reason why a report is not written.
#[derive(Debug, Error)]
pub(crate) enum ReportRefusal {
    #[error("{0:?} is not a name for a report: use up to {MAX_NAME_BYTES} letters, digits, `-` and `_`")]
    Name(String),
    #[error("the report {} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Reports {
    /// Opens a folder, and creates it if it does not exist.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, ReportRefusal> {
        match std::fs::create_dir_all(&folder) {
            Ok(()) => Ok(Self { folder }),
            Err(source) => Err(ReportRefusal::Write { path: folder, source }),
        }
    }

    /// Writes a report, or replaces the report of the same name.
    pub(crate) fn write(&self, report: &Report) -> Result<WrittenReport, ReportRefusal> {
        let name = &report.name;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(allowed) {
            return Err(ReportRefusal::Name(name.clone()));
        }
        let path = self.folder.join(format!("{name}.md"));
        let text = report.to_string();
        self.replace(&path, text.as_bytes())
            .map_err(|source| ReportRefusal::Write { path: path.clone(), source })?;
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(WrittenReport { path: path.display().to_string(), bytes })
    }

    /// Replaces a file after the new text is on disk.
    fn replace(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(text)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# {}\n\n{} rows from {} files.",
            cell(&self.title),
            self.totals.rows,
            self.totals.files.len()
        )?;
        totals(f, &self.totals)?;
        files(f, self)?;
        groups(f, &self.totals)?;
        problems(f, &self.checks)
    }
}

fn totals(f: &mut fmt::Formatter<'_>, totals: &Summary) -> fmt::Result {
    writeln!(
        f,
        "\n## Totals\n\n| column | values | sum | mean | smallest | largest |\n|---|--:|--:|--:|--:|--:|"
    )?;
    for (name, of) in &totals.columns {
        let (count, sum, mean, min, max) = (of.count, of.sum, of.mean, of.min, of.max);
        writeln!(f, "| {} | {count} | {sum:.2} | {mean:.2} | {min:.2} | {max:.2} |", cell(name))?;
    }
    Ok(())
}

fn files(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    writeln!(f, "\n## By file\n")?;
    sums_header(f, "file", &report.totals)?;
    for summary in &report.files {
        let sum = |column: &str| summary.columns.get(column).map(|numbers| numbers.sum);
        sums(f, &report.totals, &summary.files.join(", "), summary.rows, sum)?;
    }
    Ok(())
}

fn groups(f: &mut fmt::Formatter<'_>, totals: &Summary) -> fmt::Result {
    let Some(column) = &totals.group_by else { return Ok(()) };
    writeln!(f, "\n## By {}\n", cell(column))?;
    sums_header(f, column, totals)?;
    for (name, group) in &totals.groups {
        let sum = |column: &str| group.columns.get(column).map(|numbers| numbers.sum);
        sums(f, totals, name, group.rows, sum)?;
    }
    Ok(())
}

fn sums_header(f: &mut fmt::Formatter<'_>, first: &str, totals: &Summary) -> fmt::Result {
    let names: String = totals.columns.keys().fold(String::new(), |mut names, name| {
        _ = write!(names, " {} |", cell(name));
        names
    });
    writeln!(f, "| {} | rows |{names}\n|---|--:|{}", cell(first), "--:|".repeat(totals.columns.len()))
}

fn sums(
    f: &mut fmt::Formatter<'_>,
    totals: &Summary,
    name: &str,
    rows: u64,
    sum: impl Fn(&str) -> Option<f64>,
) -> fmt::Result {
    write!(f, "| {} | {rows} |", cell(name))?;
    for column in totals.columns.keys() {
        write!(f, " {:.2} |", sum(column).unwrap_or(0.0))?;
    }
    writeln!(f)
}

fn problems(f: &mut fmt::Formatter<'_>, checks: &[Validation]) -> fmt::Result {
    let found = checks.iter().fold(0_u64, |found, check| found.saturating_add(check.problem_count));
    writeln!(f, "\n## Problems in the data\n\n{found} in {} files that were checked.", checks.len())?;
    for check in checks.iter().filter(|check| !check.valid) {
        writeln!(f, "\n{}, {} of {} shown:\n", cell(&check.file), check.problems.len(), check.problem_count)?;
        for problem in &check.problems {
            writeln!(f, "- line {}: {}", problem.line, cell(&problem.message))?;
        }
    }
    Ok(())
}

/// Escapes text of a file, so that it cannot end a table cell, begin a new line or become markup.
fn cell(text: &str) -> String {
    text.chars()
        .flat_map(|char| match char {
            '\n' | '\r' => vec![' '],
            '|' | '<' | '[' | '`' | '*' | '#' | '\\' => vec!['\\', char],
            _ => vec![char],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::validate;
    use crate::summary::{combine, summarise};
    use crate::table::Table;

    fn report(name: &str) -> Report {
        let text = "product,units\ntea,2\nrock | <b>,4\nmilk\n";
        let table = Table::read("north.csv", text.as_bytes()).unwrap();
        let sum = || summarise("north.csv".to_owned(), &table, Some("product".to_owned()), None).unwrap();
        Report {
            name: name.to_owned(),
            title: "Sales".to_owned(),
            totals: combine(vec![sum()]).unwrap(),
            files: vec![sum()],
            checks: vec![validate("north.csv".to_owned(), &table)],
        }
    }

    #[test]
    fn report_has_totals_files_groups_and_problems() {
        let expected = "\
# Sales

2 rows from 1 files.

## Totals

| column | values | sum | mean | smallest | largest |
|---|--:|--:|--:|--:|--:|
| units | 2 | 6.00 | 3.00 | 2.00 | 4.00 |

## By file

| file | rows | units |
|---|--:|--:|
| north.csv | 2 | 6.00 |

## By product

| product | rows | units |
|---|--:|--:|
| rock \\| \\<b> | 1 | 4.00 |
| tea | 1 | 2.00 |

## Problems in the data

1 in 1 files that were checked.

north.csv, 1 of 1 shown:

- line 4: 1 fields where the header has 2
";
        assert_eq!(report("sales").to_string(), expected);
    }

    #[test]
    fn report_that_is_written_again_is_the_same_file() {
        let scratch = tempfile::tempdir().unwrap();
        let reports = Reports::open(scratch.path().join("out")).unwrap();
        let first = reports.write(&report("sales")).unwrap();
        assert_eq!(reports.write(&report("sales")).unwrap(), first);
        assert_eq!(std::fs::read_to_string(&first.path).unwrap(), report("sales").to_string());
        assert_eq!(
            std::fs::read_dir(scratch.path().join("out")).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn names_that_lead_out_of_the_folder_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let reports = Reports::open(scratch.path().to_owned()).unwrap();
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        for name in ["", "..", "../sales", "/tmp/sales", "a/b", "sales.md", &long] {
            let refusal = reports.write(&report(name)).unwrap_err();
            assert!(matches!(refusal, ReportRefusal::Name(_)), "{name}: {refusal}");
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
