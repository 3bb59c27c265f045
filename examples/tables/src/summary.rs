//! Sums of the numbers of one file, and of several files together.
//!
//! A [`Summary`] names its files, and summaries of different files can be combined into one, so a workflow can add up several
//! files in parallel and combine the results afterwards.

use std::collections::BTreeMap;

use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::table::{Table, number};

/// The limit for the number of groups: a column with more values holds names or numbers of single things.
const MAX_GROUPS: usize = 1_000;

/// The sums of a set of files.
#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// The files.
    pub(crate) files: Vec<String>,
    /// The number of rows that were added up.
    pub(crate) rows: u64,
    /// The number of rows that were left out because they have more or fewer fields than the header.
    pub(crate) skipped_rows: u64,
    /// The numeric columns, over all rows.
    pub(crate) columns: BTreeMap<String, Numbers>,
    /// The column whose values form the groups.
    pub(crate) group_by: Option<String>,
    /// The sums of the rows of each value of that column.
    pub(crate) groups: BTreeMap<String, Group>,
}

/// The sums of the rows of a group.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Group {
    /// The number of rows.
    pub(crate) rows: u64,
    /// The numeric columns.
    pub(crate) columns: BTreeMap<String, Numbers>,
}

/// The numbers of a column. Other values are not counted.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) struct Numbers {
    /// The number of numbers.
    pub(crate) count: u64,
    /// Their sum.
    pub(crate) sum: f64,
    /// The smallest number.
    pub(crate) min: f64,
    /// The largest number.
    pub(crate) max: f64,
    /// Their average.
    pub(crate) mean: f64,
}

/// The reason why a file is not added up, or summaries are not combined.
#[derive(Debug, Error)]
pub(crate) enum SummaryRefusal {
    #[error("{file:?} has no column {column:?}; it has {}", names(.known))]
    NoColumn { file: String, column: String, known: Vec<String> },
    #[error("less than half of column {column:?} of {file:?} are numbers: leave it out of columns")]
    NotNumeric { file: String, column: String },
    #[error("column {0:?} has more than {MAX_GROUPS} different values: group by one with fewer")]
    TooManyGroups(String),
    #[error("there is nothing to combine: give at least one summary")]
    Nothing,
    #[error("{} is grouped by {}, and {} by {}: summarise all files with the same group_by",
        names(.files), column(.by), names(.others), column(.other_by))]
    Mixed { files: Vec<String>, by: Option<String>, others: Vec<String>, other_by: Option<String> },
}

/// Adds up the given columns of a table, or all numeric columns.
pub(crate) fn summarise(
    file: String,
    table: &Table,
    group_by: Option<String>,
    columns: Option<&[String]>,
) -> Result<Summary, SummaryRefusal> {
    let mut numeric = numeric_columns(table);
    if let Some(columns) = columns {
        if let Some(column) = columns.iter().find(|column| !numeric.contains_key(column.as_str())) {
            position(&file, table, column)?;
            return Err(SummaryRefusal::NotNumeric { file, column: column.clone() });
        }
        numeric.retain(|name, _| columns.iter().any(|column| column == name));
    }
    let key = group_by.as_ref().map(|column| position(&file, table, column)).transpose()?;
    let mut total = Group::default();
    let mut groups = BTreeMap::<String, Group>::new();
    for row in table.whole_rows() {
        let values: Vec<_> = numeric
            .iter()
            .filter_map(|(name, index)| Some((*name, number(row.fields.get(*index)?)?)))
            .collect();
        total.add_row(&values);
        if let Some(group) = key.and_then(|key| row.fields.get(key)) {
            groups.entry(group.clone()).or_default().add_row(&values);
        }
        if groups.len() > MAX_GROUPS {
            return Err(SummaryRefusal::TooManyGroups(group_by.unwrap_or_default()));
        }
    }
    let all = u64::try_from(table.rows.len()).unwrap_or(u64::MAX);
    Ok(Summary {
        files: vec![file],
        rows: total.rows,
        skipped_rows: all - total.rows,
        columns: total.columns,
        group_by,
        groups,
    })
}

/// Combines the summaries of different files into one. Counts saturate instead of overflowing, because the caller may give
/// any numbers.
pub(crate) fn combine(summaries: Vec<Summary>) -> Result<Summary, SummaryRefusal> {
    let mut summaries = summaries.into_iter();
    let mut all = summaries.next().ok_or(SummaryRefusal::Nothing)?;
    for next in summaries {
        if next.group_by != all.group_by {
            return Err(SummaryRefusal::Mixed {
                files: all.files,
                by: all.group_by,
                others: next.files,
                other_by: next.group_by,
            });
        }
        all.files.extend(next.files);
        all.rows = all.rows.saturating_add(next.rows);
        all.skipped_rows = all.skipped_rows.saturating_add(next.skipped_rows);
        merge_columns(&mut all.columns, &next.columns);
        for (name, group) in next.groups {
            let into = all.groups.entry(name).or_default();
            into.rows = into.rows.saturating_add(group.rows);
            merge_columns(&mut into.columns, &group.columns);
        }
    }
    Ok(all)
}

impl Group {
    fn add_row(&mut self, values: &[(&str, f64)]) {
        self.rows += 1;
        for (column, value) in values {
            merge_column(&mut self.columns, column, &Numbers::of(*value));
        }
    }
}

impl Numbers {
    fn of(value: f64) -> Self {
        Self { count: 1, sum: value, min: value, max: value, mean: value }
    }

    fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = readable(self.sum + other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.mean = readable(self.sum / self.count.max(1) as f64);
    }
}

fn merge_columns(into: &mut BTreeMap<String, Numbers>, from: &BTreeMap<String, Numbers>) {
    for (column, numbers) in from {
        merge_column(into, column, numbers);
    }
}

fn merge_column(into: &mut BTreeMap<String, Numbers>, column: &str, numbers: &Numbers) {
    match into.get_mut(column) {
        Some(sum) => sum.merge(numbers),
        None => _ = into.insert(column.to_owned(), numbers.clone()),
    }
}

/// Returns the indices of the numeric columns by their names. A column without a name is left out, and of two columns of the
/// same name the first is taken; `validate_csv` reports both problems.
fn numeric_columns(table: &Table) -> BTreeMap<&str, usize> {
    let mut columns = BTreeMap::new();
    for (index, (name, numeric)) in table.header.iter().zip(table.numeric()).enumerate() {
        if numeric && !name.is_empty() {
            columns.entry(name.as_str()).or_insert(index);
        }
    }
    columns
}

/// Rounds to a millionth, so that the sum of 0.1 and 0.2 is 0.3. JSON has no infinity, so a sum that is too large becomes the
/// largest number.
fn readable(number: f64) -> f64 {
    let rounded = (number * 1e6).round() / 1e6;
    if rounded.is_finite() { rounded } else { number.clamp(f64::MIN, f64::MAX) }
}

fn position(file: &str, table: &Table, column: &str) -> Result<usize, SummaryRefusal> {
    table.header.iter().position(|name| name == column).ok_or_else(|| SummaryRefusal::NoColumn {
        file: file.to_owned(),
        column: column.to_owned(),
        known: table.header.clone(),
    })
}

fn names(names: &[String]) -> String {
    names.join(", ")
}

fn column(name: &Option<String>) -> &str {
    name.as_deref().unwrap_or("nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORTH: &str = "product,units,price\ntea,2,0.1\ncoffee,4,0.2\ntea,3,x\nmilk,1\n";
    const SOUTH: &str = "product,units,price\ntea,5,0.3\n";

    fn sum(file: &str, text: &str, group_by: Option<&str>) -> Result<Summary, SummaryRefusal> {
        let table = Table::read(file, text.as_bytes()).unwrap();
        summarise(file.to_owned(), &table, group_by.map(str::to_owned), None)
    }

    #[test]
    fn each_numeric_column_is_added_up() {
        let summary = sum("north.csv", NORTH, None).unwrap();
        assert_eq!((summary.rows, summary.skipped_rows), (3, 1));
        assert_eq!(summary.columns["units"], Numbers { count: 3, sum: 9.0, min: 2.0, max: 4.0, mean: 3.0 });
        assert_eq!(summary.columns["price"], Numbers { count: 2, sum: 0.3, min: 0.1, max: 0.2, mean: 0.15 });
        assert_eq!(summary.columns.len(), 2, "names are not numbers");
        assert!(summary.groups.is_empty());
    }

    #[test]
    fn columns_without_a_unique_name_are_left_out() {
        let summary = sum("t.csv", "units,,units\n1,2,4\n", None).unwrap();
        let sums: Vec<_> =
            summary.columns.iter().map(|(name, numbers)| (name.as_str(), numbers.sum)).collect();
        assert_eq!(sums, [("units", 1.0)]);
    }

    #[test]
    fn only_given_columns_are_added_up() {
        let table = Table::read("north.csv", NORTH.as_bytes()).unwrap();
        let only = |column: &str| summarise("north.csv".to_owned(), &table, None, Some(&[column.to_owned()]));
        assert_eq!(only("units").unwrap().columns.into_keys().collect::<Vec<_>>(), ["units"]);
        assert!(matches!(only("amount"), Err(SummaryRefusal::NoColumn { column, .. }) if column == "amount"));
        assert!(
            matches!(only("product"), Err(SummaryRefusal::NotNumeric { column, .. }) if column == "product")
        );
    }

    #[test]
    fn group_adds_up_the_rows_of_one_value() {
        let summary = sum("north.csv", NORTH, Some("product")).unwrap();
        let rows: Vec<_> = summary.groups.iter().map(|(name, group)| (name.as_str(), group.rows)).collect();
        assert_eq!(rows, [("coffee", 1), ("tea", 2)]);
        assert_eq!(summary.groups["tea"].columns["units"].sum, 5.0);
    }

    #[test]
    fn combined_summaries_equal_the_summary_of_all_rows() {
        let parts = vec![
            sum("north.csv", NORTH, Some("product")).unwrap(),
            sum("south.csv", SOUTH, Some("product")).unwrap(),
        ];
        let combined = combine(parts).unwrap();
        let whole = sum("all.csv", &format!("{NORTH}tea,5,0.3\n"), Some("product")).unwrap();
        assert_eq!(combined.files, ["north.csv", "south.csv"]);
        assert_eq!(combined.columns, whole.columns);
        assert_eq!(combined.groups, whole.groups);
        assert_eq!((combined.rows, combined.skipped_rows), (whole.rows, whole.skipped_rows));
    }

    #[test]
    fn refusals_say_what_to_change() {
        let no_column = sum("north.csv", NORTH, Some("region")).unwrap_err().to_string();
        assert!(no_column.contains("product, units, price"), "{no_column}");
        assert!(matches!(combine(vec![]), Err(SummaryRefusal::Nothing)));
        let mixed = vec![sum("n.csv", NORTH, None).unwrap(), sum("s.csv", SOUTH, Some("product")).unwrap()];
        let mixed = combine(mixed).unwrap_err().to_string();
        assert!(mixed.contains("n.csv is grouped by nothing, and s.csv by product"), "{mixed}");
        let rows: String = (0..=MAX_GROUPS).map(|id| format!("id{id},1\n")).collect();
        let many = sum("many.csv", &format!("id,units\n{rows}"), Some("id"));
        assert!(matches!(many, Err(SummaryRefusal::TooManyGroups(column)) if column == "id"));
    }
}
