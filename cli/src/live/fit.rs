//! Which steps of a long run are shown when not all of them fit.
//!
//! What failed comes first, then what is going on, then whatever stands near to that: people look at the place where
//! the work is. What is left out is counted.

use std::collections::{BTreeMap, BTreeSet};

use longshore_proto::{StepStatus, StepView};

/// The steps to show, in the order of the file, and a word about the rest.
pub(super) struct Fitting<'a> {
    /// Steps that are shown, with their indices among all steps.
    pub(super) shown: Vec<(usize, &'a StepView)>,
    /// What is not, if anything: `and 37 more: 30 succeeded, 7 pending`.
    pub(super) rest: Option<String>,
}

/// Chooses among steps so that `height` of them, and the word about the rest, take at most `rows` rows. The groups around a
/// step that is shown are shown with it, or the tree would not show its place.
pub(super) fn fit<'a>(
    steps: &'a [StepView],
    rows: usize,
    height: impl Fn(&StepView) -> usize,
) -> Fitting<'a> {
    let heights: Vec<usize> = steps.iter().map(&height).collect();
    if heights.iter().fold(0, |sum: usize, height| sum.saturating_add(*height)) <= rows {
        return Fitting { shown: steps.iter().enumerate().collect(), rest: None };
    }
    let (focus, groups) = (focus(steps), groups(steps));
    let mut ranked: Vec<(usize, &StepView)> = steps.iter().enumerate().collect();
    ranked.sort_by_key(|(place, step)| (rank(step.status), place.abs_diff(focus)));
    let mut left = rows.saturating_sub(1);
    let mut shown = BTreeSet::new();
    for (place, _) in ranked {
        let mut wanted = BTreeSet::new();
        let mut next = Some(place);
        while let Some(place) = next.filter(|place| !shown.contains(place)) {
            wanted.insert(place);
            next = groups.get(place).copied().flatten();
        }
        let needed = wanted.iter().filter_map(|place| heights.get(*place)).sum();
        if let Some(still) = left.checked_sub(needed) {
            left = still;
            shown.append(&mut wanted);
        }
    }
    let (shown, rest): (Vec<_>, Vec<_>) =
        steps.iter().enumerate().partition(|(place, _)| shown.contains(place));
    let rest: Vec<_> = rest.into_iter().map(|(_, step)| step).collect();
    Fitting { shown, rest: Some(count(&rest)) }
}

/// The group that each step is a member of, by its place.
fn groups(steps: &[StepView]) -> Vec<Option<usize>> {
    let mut open: Vec<(u16, usize)> = Vec::new();
    let mut groups = Vec::with_capacity(steps.len());
    for (place, step) in steps.iter().enumerate() {
        open.retain(|(depth, _)| *depth < step.depth);
        groups.push(open.last().map(|(_, group)| *group));
        open.push((step.depth, place));
    }
    groups
}

/// Where the work is: the last step that is going on, or else the last that has ended.
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
        let named = |(place, status): (usize, &&str)| step(&format!("s{place}"), status, json!({}));
        statuses.iter().enumerate().map(named).collect()
    }

    fn check(statuses: &[&str], rows: usize, shown: &[&str], rest: Option<&str>) {
        let steps = steps(statuses);
        let fitting = fit(&steps, rows, |_| 1);
        let paths: Vec<_> = fitting.shown.iter().map(|(_, step)| step.path.as_str()).collect();
        assert_eq!((paths.as_slice(), fitting.rest.as_deref()), (shown, rest));
    }

    #[test]
    fn all_are_shown_where_all_fit() {
        check(&["succeeded", "running", "pending"], 3, &["s0", "s1", "s2"], None);
    }

    #[test]
    fn what_is_going_on_and_its_neighbours_come_before_the_rest() {
        let statuses = ["succeeded", "succeeded", "succeeded", "running", "pending", "pending", "pending"];
        check(&statuses, 4, &["s2", "s3", "s4"], Some("and 4 more: 2 pending, 2 succeeded"));
    }

    #[test]
    fn what_failed_is_shown_however_far_away() {
        let statuses = ["failed", "succeeded", "succeeded", "succeeded", "running", "pending"];
        check(&statuses, 3, &["s0", "s4"], Some("and 4 more: 1 pending, 3 succeeded"));
    }

    #[test]
    fn the_groups_around_a_step_are_shown_with_it() {
        let mut steps = steps(&["running", "running", "succeeded", "running", "pending"]);
        for (step, depth) in steps.iter_mut().zip([0, 1, 2, 2, 0]) {
            step.depth = depth;
        }
        steps[0].status = StepStatus::Succeeded;
        let shown = |rows| fit(&steps, rows, |_| 1).shown.iter().map(|(place, _)| *place).collect::<Vec<_>>();
        assert_eq!(shown(4), [0, 1, 3]);
        assert_eq!(shown(3), [0, 1]);
        assert!(shown(2).len() <= 1);
    }

    #[test]
    fn a_terminal_of_one_row_gets_the_count() {
        check(&["running", "pending"], 1, &[], Some("and 2 more: 1 pending, 1 running"));
    }
}
