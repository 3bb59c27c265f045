//! `longshore dlq`: refused submits whose senders could not be answered (dead letters).

use longshore_ports::DeadLetter;

use crate::args::{DeadLettersArgs, DlqDropArgs, DlqListArgs, DlqRetryArgs, DlqShowArgs};
use crate::cluster::Client;
use crate::config::Config;
use crate::confirm::confirm;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{
    BAD, FAINT, Output, PLAIN, STRONG, ShrinkingColumn, StyledLine, TableRoom, TimeFormatter, Truncation,
    aligned, aligned_within,
};

/// Schema name of a dead letter in JSON.
const SCHEMA: &str = "longshore.dead-letter";

/// Number of dead letters that one command submits again or removes, as many as a list has at most.
const LETTERS_PER_COMMAND: usize = 1_000;

/// Lists dead letters, newest first.
pub(super) async fn list(args: DlqListArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let client = Client::connect(config, args.cluster.verbose, output).await?;
    let dead_letters = client.dead_letters(args.limit.into()).await?;
    if args.json {
        dead_letters.iter().try_for_each(|dead_letter| output.document(SCHEMA, dead_letter))?;
    } else if dead_letters.is_empty() {
        output.message("there are no refused submits");
    } else {
        output.lines(table(&dead_letters, &output.result_times, output.table_room()))?;
    }
    Ok(Exit::Success)
}

/// Shows a dead letter with its body.
pub(super) async fn show(args: DlqShowArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let client = Client::connect(config, args.cluster.verbose, output).await?;
    let dead_letter = client.dead_letter(args.number).await.map_err(|failure| match failure.exit {
        Exit::NotFound => failure.help("`longshore dlq list` shows them; they are kept for 30 days"),
        _ => failure,
    })?;
    if args.json {
        output.document(SCHEMA, &dead_letter)?;
    } else {
        output.wrapped_lines(page(&dead_letter, &output.result_times))?;
        output.text(&dead_letter.body)?;
    }
    Ok(Exit::Success)
}

/// Submits the submits in dead letters again, oldest first, and prints the ids of the runs.
pub(super) async fn retry(args: DlqRetryArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let client = Client::connect(config, args.cluster.verbose, output).await?;
    let numbers = chosen(&client, &args.which).await?;
    let (mut exit, mut done) = (Exit::Success, 0);
    for number in &numbers {
        match client.retry_dead_letter(*number).await {
            Ok(submitted) => {
                output.result(&submitted.run.to_string())?;
                done += 1;
            }
            Err(failure) => exit = print_failure(failure, *number, output)?,
        }
    }
    summarize("submitted again", done, numbers.len(), output);
    Ok(exit)
}

/// Removes dead letters.
pub(super) async fn drop(args: DlqDropArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let client = Client::connect(config, args.cluster.verbose, output).await?;
    let numbers = chosen(&client, &args.which).await?;
    let are_named = !args.which.numbers.is_empty();
    let submits = if numbers.len() == 1 { "submit" } else { "submits" };
    let what = format!("{} refused {submits} of the namespace `{}`", numbers.len(), config.namespace);
    if !are_named
        && !numbers.is_empty()
        && !args.yes
        && !confirm("remove", &what, &config.nats().to_string(), output).await?
    {
        output.message("nothing was removed");
        return Ok(Exit::Error);
    }
    let (mut exit, mut done) = (Exit::Success, 0);
    for number in &numbers {
        match client.drop_dead_letter(*number).await {
            Ok(()) => done += 1,
            Err(failure) => exit = print_failure(failure, *number, output)?,
        }
    }
    summarize("removed", done, numbers.len(), output);
    Ok(exit)
}

/// Returns the numbers of the dead letters that the command line names or describes, oldest first.
async fn chosen(client: &Client, which: &DeadLettersArgs) -> Result<Vec<u64>, Failure> {
    if !which.numbers.is_empty() {
        return Ok(which.numbers.clone());
    }
    let dead_letters = client.dead_letters(LETTERS_PER_COMMAND).await?;
    let fits = |dead_letter: &DeadLetter| which.code.as_ref().is_none_or(|code| *code == dead_letter.code);
    Ok(dead_letters
        .iter()
        .rev()
        .filter(|dead_letter| fits(dead_letter))
        .map(|dead_letter| dead_letter.seq)
        .collect())
}

/// Prints why a dead letter could not be submitted again or removed, and returns the exit code. Returns the failure if the
/// cluster does not answer or has no room, because the next dead letter would fail in the same way.
fn print_failure(mut failure: Failure, number: u64, output: &Output) -> Result<Exit, Failure> {
    failure.message = format!("refused submit {number}: {}", failure.message);
    if matches!(failure.exit, Exit::Unreachable | Exit::Full) {
        return Err(failure);
    }
    output.failure(&failure);
    Ok(failure.exit)
}

fn summarize(what: &str, done: usize, of: usize, output: &Output) {
    match (done, of) {
        (_, 0) => output.message("no such refused submits"),
        (done, of) => output.message(&format!("{what}: {done} of {of}")),
    }
}

fn table(dead_letters: &[DeadLetter], times: &TimeFormatter, room: TableRoom) -> Vec<StyledLine> {
    let heading = ["NUMBER", "REFUSED", "REASON", "SUBJECT", "IN WORDS"];
    let mut rows = vec![heading.map(|title| StyledLine::of(FAINT, title)).to_vec()];
    rows.extend(dead_letters.iter().map(|dead_letter| {
        vec![
            StyledLine::of(PLAIN, &dead_letter.seq.to_string()),
            StyledLine::of(FAINT, &times.shown(dead_letter.at)),
            StyledLine::of(BAD, &dead_letter.code),
            StyledLine::of(PLAIN, &dead_letter.subject),
            StyledLine::of(PLAIN, &one_line(&dead_letter.reason)),
        ]
    }));
    let subject = ShrinkingColumn::new(3, 16, Truncation::Middle);
    let words = ShrinkingColumn::new(4, 16, Truncation::End);
    aligned_within(rows, room, &[subject, words])
}

/// Returns a reason in one line. It has each problem of the inputs on a line of its own.
fn one_line(reason: &str) -> String {
    reason.replace('\n', "; ")
}

fn page(dead_letter: &DeadLetter, times: &TimeFormatter) -> Vec<StyledLine> {
    let fact = |name: &str, value: StyledLine| vec![StyledLine::of(STRONG, name), value];
    let mut facts = vec![
        fact("refused", StyledLine::of(PLAIN, &times.shown(dead_letter.at))),
        fact(
            "reason",
            StyledLine::of(BAD, &dead_letter.code)
                .with(PLAIN, &format!(": {}", one_line(&dead_letter.reason))),
        ),
        fact("subject", StyledLine::of(PLAIN, &dead_letter.subject)),
    ];
    for (name, value) in &dead_letter.headers {
        facts.push(fact("header", StyledLine::of(PLAIN, &format!("{name}: {value}"))));
    }
    facts.push(fact("body", StyledLine::default()));
    let mut lines = aligned(facts);
    lines.push(StyledLine::default());
    lines
}

#[cfg(test)]
mod tests {
    use longshore_proto::Timestamp;

    use super::*;

    fn dead_letter() -> DeadLetter {
        DeadLetter {
            seq: 17,
            at: Timestamp::from_millis(1_795_187_471_000),
            code: "unknown_workflow".to_owned(),
            reason: "input `n` wants a number\nthere is no input `k`".to_owned(),
            subject: "longshore.v1.submit.default.x".to_owned(),
            headers: [("longshore-id".to_owned(), "order-1".to_owned())].into(),
            body: "{}".to_owned(),
            whole: true,
        }
    }

    #[test]
    fn refused_submit_is_one_row_of_a_list_and_shown_in_full() {
        let room = TableRoom { columns: None, ellipsis: "…" };
        let rows: Vec<_> =
            table(&[dead_letter()], &TimeFormatter::default(), room).iter().map(StyledLine::text).collect();
        assert!(
            rows[1].starts_with("17      2026-11-20T15:11:11.000Z  unknown_workflow  longshore.v1"),
            "{rows:?}"
        );
        assert!(rows[1].ends_with("input `n` wants a number; there is no input `k`"), "{rows:?}");
        assert_eq!(
            page(&dead_letter(), &TimeFormatter::default())[1].text(),
            "reason   unknown_workflow: input `n` wants a number; there is no input `k`"
        );
        assert_eq!(
            page(&dead_letter(), &TimeFormatter::default())[3].text(),
            "header   longshore-id: order-1"
        );
    }
}
