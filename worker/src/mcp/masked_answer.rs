//! The answer of a tool without the values that must not be seen.

use std::collections::BTreeSet;

use longshore_attempt::Answer;

use super::config::Secrets;

/// Variables and headers that are named as replaced in one answer. A record keeps the names, and a person needs a few of them.
const MOST_NAMED: usize = 8;

/// Returns the answer without any of the values, and the variables and headers whose values were there, in words.
pub(super) fn masked_answer(answer: Answer, secrets: &Secrets) -> (Answer, Vec<String>) {
    let mut noted = BTreeSet::new();
    let Answer { value, content, meta, is_error, error_text } = answer;
    let masked = Answer {
        value: secrets.hide_in_noting(value, &mut noted),
        content: secrets.hide_in_noting(content, &mut noted),
        meta: secrets.hide_in_noting(meta, &mut noted),
        is_error,
        error_text: secrets.hide_noting(&error_text, &mut noted).into_owned(),
    };
    let named = noted.iter().take(MOST_NAMED).map(|origin| secrets.hide(origin).into_owned());
    (masked, named.collect())
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
        };
        assert_eq!(masked_answer(with("a token-1 b"), &secrets), (with("a *** b"), Vec::new()));
    }
}
