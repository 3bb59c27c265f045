//! Selects the steps of a long run that are shown when not all of them fit.
//!
//! Failed steps come first, then running ones, then those closest to them, because users look at the steps under way. The
//! others are counted.

use std::collections::{BTreeMap, BTreeSet};

use longshore_proto::{StepStatus, StepView};

/// The steps to show, in the order of the file, and a line about the others.
pub(super) struct VisibleSteps<'a> {
    /// Steps that are shown, with their indices among all steps.
    pub(super) shown: Vec<(usize, &'a StepView)>,
    /// The line about the others, if there are any: `and 37 more: 30 succeeded, 7 pending`.
    pub(super) rest: Option<String>,
}

/// Selects steps whose heights, with the line about the others, take at most `rows` rows. The groups of a shown step are
/// shown with it, because the tree would not show its position otherwise.
pub(super) fn fit<'a>(
    steps: &'a [StepView],
    rows: usize,
    height: impl Fn(&StepView) -> usize,
) -> VisibleSteps<'a> {
    let heights: Vec<usize> = steps.iter().map(&height).collect();
    if heights.iter().fold(0, |sum: usize, height| sum.saturating_add(*height)) <= rows {
        return VisibleSteps { shown: steps.iter().enumerate().collect(), rest: None };
    }
    let (focus, groups) = (focus(steps), groups(steps));
    let mut ranked: Vec<(usize, &StepView)> = steps.iter().enumerate().collect();
    ranked.sort_by_key(|(index, step)| (rank(step.status), index.abs_diff(focus)));
    let mut left = rows.saturating_sub(1);
    let mut shown = BTreeSet::new();
    for (index, _) in ranked {
        let mut wanted = BTreeSet::new();
        let mut next = Some(index);
        while let Some(index) = next.filter(|index| !shown.contains(index)) {
            wanted.insert(index);
            next = groups.get(index).copied().flatten();
        }
        let needed = wanted.iter().filter_map(|index| heights.get(*index)).sum();
        if let Some(still) = left.checked_sub(needed) {
            left = still;
            shown.append(&mut wanted);
        }
    }
    let (shown, rest): (Vec<_>, Vec<_>) =
        steps.iter().enumerate().partition(|(index, _)| shown.contains(index));
    let rest: Vec<_> = rest.into_iter().map(|(_, step)| step).collect();
    VisibleSteps { shown, rest: Some(count(&rest)) }
}

/// Returns the index of the group of each step.
fn groups(steps: &[StepView]) -> Vec<Option<usize>> {
    let mut open: Vec<(u16, usize)> = Vec::new();
    let mut groups = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        open.retain(|(depth, _)| *depth < step.depth);
        groups.push(open.last().map(|(_, group)| *group));
        open.push((step.depth, index));
    }
    groups
}

/// Returns the index of the last running step, or else of the last ended one.
fn focus(steps: &[StepView]) -> usize {
    let last = |wanted: fn(StepStatus) -> bool| steps.iter().rposition(|step| wanted(step.status));
    last(is_active).or_else(|| last(StepStatus::is_terminal)).unwrap_or_default()
}

const fn is_active(status: StepStatus) -> bool {
    matches!(status, StepStatus::Running | StepStatus::Retrying)
}

const fn rank(status: StepStatus) -> u8 {
    match status {
        StepStatus::Failed | StepStatus::Indeterminate => 0,
        StepStatus::Running | StepStatus::Retrying => 1,
        StepStatus::Cancelled | StepStatus::Pending | StepStatus::Skipped | StepStatus::Succeeded => 2,
    }
}

fn count(rest: &[&StepView]) -> String {
    let mut by_status: BTreeMap<&str, usize> = BTreeMap::new();
    for step in rest {
        *by_status.entry(step.status.as_str()).or_default() += 1;
    }
    let counts: Vec<_> = by_status.iter().map(|(status, count)| format!("{count} {status}")).collect();
    format!("and {} more: {}", rest.len(), counts.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::sample::step;
    use super::*;

    fn steps(statuses: &[&str]) -> Vec<StepView> {
        let named = |(index, status): (usize, &&str)| step(&format!("s{index}"), status, json!({}));
        statuses.iter().enumerate().map(named).collect()
    }

    fn check(statuses: &[&str], rows: usize, shown: &[&str], rest: Option<&str>) {
        let steps = steps(statuses);
        let visible = fit(&steps, rows, |_| 1);
        let paths: Vec<_> = visible.shown.iter().map(|(_, step)| step.path.as_str()).collect();
        assert_eq!((paths.as_slice(), visible.rest.as_deref()), (shown, rest));
    }

    #[test]
    fn all_are_shown_where_all_fit() {
        check(&["succeeded", "running", "pending"], 3, &["s0", "s1", "s2"], None);
    }

    #[test]
    fn running_steps_and_those_next_to_them_come_before_the_rest() {
        let statuses = ["succeeded", "succeeded", "succeeded", "running", "pending", "pending", "pending"];
        check(&statuses, 4, &["s2", "s3", "s4"], Some("and 4 more: 2 pending, 2 succeeded"));
    }

    #[test]
    fn failed_steps_are_shown_at_any_distance() {
        let statuses = ["failed", "succeeded", "succeeded", "succeeded", "running", "pending"];
        check(&statuses, 3, &["s0", "s4"], Some("and 4 more: 1 pending, 3 succeeded"));
    }

    #[test]
    fn groups_of_a_shown_step_are_shown() {
        let mut steps = steps(&["running", "running", "succeeded", "running", "pending"]);
        for (step, depth) in steps.iter_mut().zip([0, 1, 2, 2, 0]) {
            step.depth = depth;
        }
        steps[0].status = StepStatus::Succeeded;
        let shown = |rows| fit(&steps, rows, |_| 1).shown.iter().map(|(index, _)| *index).collect::<Vec<_>>();
        assert_eq!(shown(4), [0, 1, 3]);
        assert_eq!(shown(3), [0, 1]);
        assert!(shown(2).len() <= 1);
    }

    #[test]
    fn terminal_of_one_row_shows_the_count() {
        check(&["running", "pending"], 1, &[], Some("and 2 more: 1 pending, 1 running"));
    }
}
