//! Draws runs as trees of steps, within the rows and columns of a terminal.

mod caption;

use longshore_proto::{Fault, RunStatus, RunView, StepStatus, StepView, Timestamp};

use self::caption::StepCaption;
use super::activity::Activities;
use super::fit::fit;
use crate::output::{
    DOUBTFUL, Elapsed, FAINT, PLAIN, STRONG, ShrinkingColumn, StyledLine, Symbols, TableRoom, TerminalSize,
    Truncation, aligned_within, columns_before, hanging,
};

/// Parameters of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameContext<'a> {
    /// The moment of the frame.
    pub(super) now: Timestamp,
    /// The signs that the terminal can show.
    pub(super) symbols: Symbols,
    /// The size of the terminal.
    pub(super) size: TerminalSize,
    /// No frame follows, so every step is shown, and long lines wrap.
    pub(super) is_last: bool,
    /// Activities of calls under way.
    pub(super) activities: &'a Activities,
}

/// Returns the lines of a frame. Runs that have ended take one line; the others share the remaining rows.
pub(super) fn frame<'a>(
    runs: impl Iterator<Item = &'a RunView>,
    context: FrameContext<'_>,
) -> Vec<StyledLine> {
    let mut runs: Vec<&RunView> = runs.collect();
    let alone = runs.len() == 1;
    runs.sort_by_key(|view| view.summary.status.is_terminal());
    let mut rows = context.rows();
    let mut lines = Vec::new();
    for (index, view) in runs.iter().enumerate() {
        let after = runs.len() - index - 1;
        if rows < 2 && after > 0 {
            lines.push(StyledLine::of(FAINT, &format!("and {} more runs", after + 1)));
            break;
        }
        lines.push(context.heading(view));
        rows = rows.saturating_sub(1);
        if alone || !view.summary.status.is_terminal() {
            if let Some(reason) = view.summary.cancel_reason.as_ref().filter(|_| rows > after) {
                lines.push(StyledLine::of(DOUBTFUL, &format!("  reason: {reason}")));
                rows = rows.saturating_sub(1);
            }
            let mut steps = context.steps(view, rows / (after + 1));
            rows = rows.saturating_sub(steps.len());
            lines.append(&mut steps);
        }
    }
    if context.is_last {
        return lines;
    }
    let (columns, ellipsis) = (context.size.columns, context.symbols.ellipsis());
    lines.into_iter().map(|line| line.cut(columns, ellipsis)).collect()
}

impl FrameContext<'_> {
    /// Returns the number of rows for runs. The last row of the terminal is for the cursor.
    const fn rows(self) -> usize {
        if self.is_last { usize::MAX } else { self.size.rows.saturating_sub(1) }
    }

    /// Returns a line such as `▸ sales-report running 1.2s run_00_...`.
    fn heading(self, view: &RunView) -> StyledLine {
        let summary = &view.summary;
        let (sign, style) = self.symbols.run(summary.status);
        let took = Elapsed(summary.finished_at.unwrap_or(self.now).since(summary.submitted_at));
        let tolerated = tolerated(view).map(|text| format!("  {text}")).unwrap_or_default();
        StyledLine::of(style, sign)
            .with(STRONG, &format!(" {}", summary.workflow.name))
            .with(style, &format!("  {}", summary.status))
            .with(PLAIN, &format!("  {took}"))
            .with(DOUBTFUL, &tolerated)
            .with(FAINT, &format!("  {}", summary.run))
    }

    fn steps(self, view: &RunView, rows: usize) -> Vec<StyledLine> {
        if rows == 0 {
            return Vec::new();
        }
        let fitting = fit(&view.steps, rows, |step| 1 + self.detail_lines(step, &view.steps).len());
        let table = self.table(view, &fitting.shown);
        let mut lines = Vec::new();
        for ((_, step), line) in fitting.shown.iter().zip(table) {
            lines.push(line);
            lines.extend(self.detail_lines(step, &view.steps));
        }
        let more = |rest: String| StyledLine::of(FAINT, &format!("  {} {rest}", self.symbols.ellipsis()));
        lines.extend(fitting.rest.map(more));
        lines
    }

    /// Returns the rows of steps. All frames but the last one are cut to the terminal.
    fn table(self, run: &RunView, steps: &[(usize, &StepView)]) -> Vec<StyledLine> {
        let ellipsis = self.symbols.ellipsis();
        let columns = (!self.is_last).then_some(self.size.columns);
        let mut rows: Vec<Vec<StyledLine>> = steps.iter().map(|(_, step)| self.cells(step)).collect();
        let left = columns.map(|columns| columns.saturating_sub(columns_before(&rows)));
        for (row, (index, step)) in rows.iter_mut().zip(steps) {
            let caption = self.caption(run, step, *index);
            row.push(left.map_or_else(|| caption.whole(), |left| caption.within(left, ellipsis)));
        }
        aligned_within(rows, TableRoom { columns, ellipsis }, &[names(steps)])
    }

    /// Returns the first cells of a step: its name or id, its status and its duration.
    fn cells(self, step: &StepView) -> Vec<StyledLine> {
        let (sign, style) = self.symbols.step(step.status);
        let waits = step.status == StepStatus::Pending;
        let title = step.name.as_deref().unwrap_or_else(|| step.path.as_str());
        let name =
            indented(step, 0).with(style, sign).with(if waits { FAINT } else { PLAIN }, &format!(" {title}"));
        let took = step
            .started_at
            .map(|began| format!("{:>6}", Elapsed(step.finished_at.unwrap_or(self.now).since(began))))
            .unwrap_or_default();
        vec![name, StyledLine::of(style, step.shown_status()), StyledLine::of(PLAIN, &took)]
    }

    /// Returns the last cell of a step, with its id if the step has a name.
    fn caption<'s>(self, run: &RunView, step: &'s StepView, index: usize) -> StepCaption<'s> {
        let members = members(&run.steps, index).map(|(ended, all)| format!("  {ended}/{all}"));
        let activity = self.activities.words(run.summary.run, step);
        StepCaption {
            tool: &step.does,
            counts: members.unwrap_or_default() + &self.attempts(step),
            id: step.name.as_ref().map(|_| format!("  {}", step.path)).unwrap_or_default(),
            activity: activity.map(|words| format!("  {words}")).unwrap_or_default(),
        }
    }

    /// Returns the number of the attempt that is under way or comes next, with the limit; for an ended step the number of
    /// its attempts.
    fn attempts(self, step: &StepView) -> String {
        let next = || {
            let most = step.attempt_limit.map(|most| format!("/{most}")).unwrap_or_default();
            format!("  attempt {}{most}", step.next_attempt())
        };
        match (step.attempts_made(), step.status) {
            (0, _) | (1, StepStatus::Succeeded | StepStatus::Failed) => String::new(),
            (_, StepStatus::Running) => next(),
            (_, StepStatus::Retrying) => match step.next_attempt_at {
                Some(at) => format!("{} in {}", next(), Elapsed(at.since(self.now))),
                None => next(),
            },
            (1, _) => "  1 attempt".to_owned(),
            (made, _) => format!("  {made} attempts"),
        }
    }

    /// Returns the lines below the row of a step: the reason why its call waits, and its fault. The reason has its own line,
    /// so that a narrow terminal shows it.
    fn detail_lines(self, step: &StepView, all: &[StepView]) -> Vec<StyledLine> {
        let is_out = step.status == StepStatus::Running;
        let mut lines: Vec<StyledLine> = Vec::new();
        if let Some(what) = step.waiting_for.as_ref().filter(|_| is_out) {
            lines.push(indented(step, 2).with(DOUBTFUL, &format!("waits for {what}")));
        }
        let Some(fault) = shown_fault(step, all) else { return lines };
        let retries = step.status == StepStatus::Retrying;
        let style = if retries { DOUBTFUL } else { self.symbols.step(step.status).1 };
        if self.is_last {
            let text = hanging(&fault.to_string());
            lines.extend(text.lines().map(|text| indented(step, 2).with(style, text)));
        } else {
            lines.push(indented(step, 2).with(style, &fault.to_string()));
        }
        lines
    }
}

/// Returns the column of names, which becomes narrower where counts and progress would not fit. Its minimum width has room
/// for the indented sign of each step, and for some of the name on both sides of an ellipsis.
fn names(steps: &[(usize, &StepView)]) -> ShrinkingColumn {
    let deepest = steps.iter().map(|(_, step)| usize::from(step.depth)).max().unwrap_or(0);
    ShrinkingColumn::new(0, 16 + 4 * deepest, Truncation::Middle)
}

/// Returns the number of steps that failed without failing the run, as text, if the run has succeeded.
pub(super) fn tolerated(view: &RunView) -> Option<String> {
    let failed = |step: &&StepView| matches!(step.status, StepStatus::Failed | StepStatus::Indeterminate);
    // A group that failed because of a member is not counted beside it.
    let calls = view.steps.iter().filter(failed).filter(|step| step.does.contains('/')).count();
    let has_succeeded = view.summary.status == RunStatus::Succeeded;
    (has_succeeded && calls > 0).then(|| format!("{calls} failed, tolerated"))
}

/// Returns the number of members of a group that have ended, and the number of all members. Returns `None` for a step that
/// is not a group.
fn members(steps: &[StepView], index: usize) -> Option<(usize, usize)> {
    let (group, after) = steps.get(index..)?.split_first()?;
    let inside = after.iter().take_while(|step| step.depth > group.depth);
    let members = inside.filter(|step| step.depth == group.depth + 1);
    let (mut ended, mut all) = (0, 0);
    for member in members {
        all += 1;
        ended += usize::from(member.status.is_terminal());
    }
    (all > 0).then_some((ended, all))
}

fn indented(step: &StepView, more: usize) -> StyledLine {
    StyledLine::of(PLAIN, &" ".repeat(2 + 2 * usize::from(step.depth) + more))
}

/// Returns the fault of a step, or that of its last attempt if another one follows.
fn shown_fault<'s>(step: &'s StepView, all: &[StepView]) -> Option<&'s Fault> {
    match step.status {
        StepStatus::Retrying => step.attempts.last().and_then(|attempt| attempt.fault.as_ref()),
        _ => step.own_error(all),
    }
}

#[cfg(test)]
mod tests;
