//! What help texts propose in the place of a mistake: each proposal is valid there.

#![expect(clippy::expect_used, reason = "a surprise ends the test")]

use longshore_workflow::{Diagnostics, compile_and_warn};

use crate::texts::texts;

fn problems(text: &str) -> Diagnostics {
    compile_and_warn(text).map_or_else(|problems| problems, |(_, warnings)| warnings)
}

/// Returns the first text that a help proposes to write in the place of the mistake.
fn proposed(help: &str) -> Option<&str> {
    if help.contains("by itself in `with` of a call") {
        return None;
    }
    let (_, rest) = help.split_once("write `")?;
    rest.split('`').next()
}

/// Returns a text in which a problem is replaced by a proposal. A proposal with braces replaces a whole expression.
fn replaced(text: &str, (line, column, length): (usize, usize, usize), proposal: &str) -> String {
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let at = |offset: usize| {
        let rest = text.get(start..).expect("a line");
        start + rest.char_indices().nth(offset).map_or(rest.len(), |(at, _)| at)
    };
    let (mut from, mut to) = (at(column - 1), at(column - 1 + length));
    if proposal.starts_with("${{") && !text.get(from..).expect("a mistake").starts_with("${{") {
        from = text.get(..from).and_then(|before| before.rfind("${{")).unwrap_or(from);
        to = text.get(to..).and_then(|after| after.find("}}")).map_or(to, |end| to + end + 2);
    }
    format!("{}{proposal}{}", text.get(..from).expect("before"), text.get(to..).expect("after"))
}

#[test]
fn proposal_of_a_help_is_valid_in_the_place_of_the_mistake() {
    let (mut count, mut wrong) = (0, Vec::new());
    for (code, texts) in texts() {
        for text in texts.iter().filter(|text| text.len() < 10_000) {
            for problem in problems(text).iter() {
                let Some(proposal) = problem.help.and_then(proposed) else { continue };
                let position = (problem.line, problem.column, problem.length);
                let changed = replaced(text, position, proposal);
                count += 1;
                let left = problems(&changed);
                if let Some(left) =
                    left.iter().find(|left| (left.line, left.column) == (position.0, position.1))
                {
                    wrong.push(format!(
                        "{code}: `{proposal}` for {}: {} {}",
                        problem.message, left.code, left.message
                    ));
                }
            }
        }
    }
    assert!(count > 20, "{count}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
