//! Finds the run that a user names by its id, or by a unique beginning or end of it.

use longshore_proto::RunId;

use crate::exit::Exit;
use crate::failure::Failure;

/// Number of candidates that are named when a text fits several runs.
const MAX_CANDIDATES: usize = 5;

/// The word for the newest run.
const LAST: &str = "last";

/// Returns the one run among `known` (newest first) whose id is `text`, or begins or ends with it. The word `last` means the
/// first one.
pub(crate) fn which_run(text: &str, known: impl IntoIterator<Item = RunId>) -> Result<RunId, Failure> {
    if text == LAST {
        let none = || Failure::new(Exit::NotFound, "there are no runs, so there is no newest one");
        return known.into_iter().next().ok_or_else(none);
    }
    let wanted = text.to_ascii_lowercase();
    let fits = |run: &RunId| {
        let id = run.to_string();
        // The beginning may be that of the id itself, or of its part behind `run_00_`.
        let own = id.rsplit('_').next().unwrap_or_default();
        id.starts_with(&wanted) || own.starts_with(&wanted) || id.ends_with(&wanted)
    };
    let found: Vec<RunId> = known.into_iter().filter(fits).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Failure::new(Exit::NotFound, format!("there is no run `{text}`"))
            .help("`longshore runs list` shows the newest ones; older ones need their whole id")),
        several => {
            let named: Vec<_> = several.iter().take(MAX_CANDIDATES).map(ToString::to_string).collect();
            let message = format!("`{text}` fits {} runs: {}", several.len(), named.join(", "));
            Err(Failure::new(Exit::Usage, message).help("write more of the id"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_part_of_an_id_names_a_run() {
        let ids = ["run_00_01kbgq5v8m3n4p5q6r7s8t9v0w", "run_00_01kbgq5v8m3n4p5q6r7s8t9v1x"];
        let known = || ids.iter().map(|id| id.parse::<RunId>().expect("an id"));
        let find = |text: &str| which_run(text, known()).map(|run| run.to_string());
        assert_eq!(find("v0w").expect("an end"), ids[0]);
        assert_eq!(find("V1X").expect("an end"), ids[1]);
        assert_eq!(find(ids[1]).expect("all of it"), ids[1]);
        assert_eq!(find("01kb").expect_err("both").exit, Exit::Usage);
        assert_eq!(find("zzz").expect_err("none").exit, Exit::NotFound);
        assert_eq!(find("last").expect("the newest"), ids[0]);
        assert_eq!(which_run("last", []).expect_err("none").exit, Exit::NotFound);
        assert_eq!(which_run("01kbgq5", known().take(1)).expect("a beginning").to_string(), ids[0]);
    }
}
