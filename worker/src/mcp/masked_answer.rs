//! The answer of a tool with `***` in place of secret values.

use std::collections::BTreeSet;

use longshore_attempt::Answer;
use longshore_ports::{LONG_WORK_BYTES, on_blocking_thread};
use longshore_proto::truncate;

use crate::large_values::approximate_bytes;

use super::config::Secrets;

/// Maximum number of variables and headers that are named for one answer. The names are stored in a record, and a
/// person needs a few of them.
const MOST_ORIGINS: usize = 8;
/// Maximum number of characters of a rounded number that are kept: enough to recognise it.
const MOST_DIGITS: usize = 60;

/// Returns the warning that `***` replaces values in `place`, such as "an output". `origins` describes the variables and headers
/// of the values.
pub fn mask_warning(place: &str, origins: &[String]) -> String {
    format!(
        "`***` in {place} replaces the value of {}, which counts as a secret; if it is not one, name the variable in \
         `visible_env` of that server",
        origins.join(", ")
    )
}

/// Replaces secret values in an answer, on a blocking thread if it is large. Also returns descriptions of the variables and headers
/// whose values were replaced.
pub(super) async fn masked_answer(answer: Answer, secrets: &Secrets) -> (Answer, Vec<String>) {
    match approximate_bytes([&answer.value, &answer.content, &answer.meta]) {
        bytes if bytes < LONG_WORK_BYTES => mask(answer, secrets),
        _ => {
            let secrets = secrets.clone();
            on_blocking_thread(move || mask(answer, &secrets)).await
        }
    }
}

/// Replaces secret values in an answer. Also returns descriptions of the variables and headers whose values were replaced.
fn mask(answer: Answer, secrets: &Secrets) -> (Answer, Vec<String>) {
    let mut noted = BTreeSet::new();
    let Answer { value, content, meta, is_error, error_text, rounded } = answer;
    let masked = Answer {
        value: secrets.hide_in_noting(value, &mut noted),
        content: secrets.hide_in_noting(content, &mut noted),
        meta: secrets.hide_in_noting(meta, &mut noted),
        is_error,
        error_text: secrets.hide_noting(&error_text, &mut noted).into_owned(),
        rounded: rounded.map(|number| truncate(&secrets.hide(&number), MOST_DIGITS).into_owned()),
    };
    let origins = noted.iter().take(MOST_ORIGINS).map(|origin| secrets.hide(origin).into_owned());
    (masked, origins.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_answer_is_masked() {
        let mut secrets = Secrets::default();
        secrets.add("token-1");
        let with = |text: &str| Answer {
            value: text.into(),
            content: text.into(),
            meta: text.into(),
            is_error: true,
            error_text: text.to_owned(),
            rounded: Some(text.to_owned()),
        };
        assert_eq!(mask(with("a token-1 b"), &secrets), (with("a *** b"), Vec::new()));
    }
}
