//! The last cell of a step's row: its tool, counts and activity, fitted to the remaining columns.

use crate::output::{FAINT, PLAIN, StyledLine};

/// Minimum width of a shortened tool name.
const TOOL_COLUMNS: usize = 6;

/// Minimum width of the shortened id of a named step.
const ID_COLUMNS: usize = 4;

/// Width of an activity for which names are shortened: room for `1234/10000` with its gap and the beginning of a message.
const ACTIVITY_COLUMNS: usize = 20;

/// The last cell of a step's row, in parts. Each part but the first contains its gap, and may be empty.
pub(super) struct StepCaption<'a> {
    /// The tool, or the kind of a group.
    pub(super) tool: &'a str,
    /// Members that have ended, and attempts.
    pub(super) counts: String,
    /// The id of a named step.
    pub(super) id: String,
    /// The activity of the call.
    pub(super) activity: String,
}

impl StepCaption<'_> {
    /// Returns the cell in full.
    pub(super) fn whole(&self) -> StyledLine {
        self.of(StyledLine::of(FAINT, self.tool), StyledLine::of(FAINT, &self.id))
    }

    /// Returns the cell within some columns: the tool and the id are shortened first, then the end of the activity is cut.
    /// Counts and numbers of progress stay, even beyond the columns.
    pub(super) fn within(&self, columns: usize, ellipsis: &str) -> StyledLine {
        let (tool, id) = (StyledLine::of(FAINT, self.tool), StyledLine::of(FAINT, &self.id));
        let [counts, activity] =
            [&self.counts, &self.activity].map(|text| StyledLine::of(PLAIN, text).width());
        let kept = counts + activity.min(ACTIVITY_COLUMNS);
        let (mut tool_width, mut id_width) = (tool.width(), id.width());
        while tool_width + id_width + kept > columns {
            let can_lose = [(&mut tool_width, TOOL_COLUMNS), (&mut id_width, ID_COLUMNS + GAP)];
            let widest = can_lose.into_iter().filter(|(width, least)| **width > *least);
            let Some((width, _)) = widest.max_by_key(|(width, _)| **width) else { break };
            *width -= 1;
        }
        let end = columns.max(tool_width + id_width + kept);
        let gap = id.cut(GAP.min(id_width), "");
        let id = StyledLine::of(FAINT, self.id.trim_start());
        let id = gap.followed_by(id.without_middle(id_width.saturating_sub(GAP), ellipsis));
        self.of(tool.without_middle(tool_width, ellipsis), id).cut(end, ellipsis)
    }

    fn of(&self, tool: StyledLine, id: StyledLine) -> StyledLine {
        tool.with(PLAIN, &self.counts).followed_by(id).with(PLAIN, &self.activity)
    }
}

/// Width of the gap before a part.
const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn within(columns: usize, counts: &str, activity: &str) -> String {
        let (counts, activity) = (counts.to_owned(), activity.to_owned());
        let tool = "demo/trigger-long-running-operation";
        let caption = StepCaption { tool, counts, id: "  slow_step".to_owned(), activity };
        caption.within(columns, "…").text()
    }

    #[test]
    fn names_become_shorter_before_progress() {
        let all = "demo/trigger-long-running-operation  attempt 2/3  slow_step  4/10";
        assert_eq!(within(80, "  attempt 2/3", "  4/10"), all);
        assert_eq!(within(45, "  attempt 2/3", "  4/10"), "demo/tr…eration  attempt 2/3  slow_step  4/10");
        assert_eq!(within(10, "  attempt 2/3", "  4/10"), "de…ion  attempt 2/3  s…ep  4/10", "least widths");
    }

    #[test]
    fn message_of_a_server_is_cut_at_its_end() {
        let activity = format!("  4/10 {}", "m".repeat(100));
        assert_eq!(within(40, "", &activity), "demo…ation  slo…step  4/10 mmmmmmmmmmmm…");
    }
}
