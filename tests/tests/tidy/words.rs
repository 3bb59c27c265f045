//! The language of the house: plain technical English in sources and documentation.
//!
//! The words below belong to an idiom that new readers have to decode. None of them is used, so that it does not come back.

use std::fs;

use crate::{CRATES, root, sources};

/// The words, in lower case. A part of a name counts as a word, in snake case and in camel case.
const WORDS: [&str; 41] = [
    "anew",
    "anybody",
    "are none",
    "bring on",
    "brings on",
    "brought on",
    "came to its end",
    "comes to an end",
    "comes to its end",
    "comes to their end",
    "desk",
    "doorway",
    "go on",
    "goes on",
    "gossip",
    "happening",
    "happenings",
    "heard",
    "hears",
    "how many-th",
    "is none",
    "manner",
    "mend",
    "mended",
    "mends",
    "neighbour",
    "neighbours",
    "news",
    "nobody",
    "riddle",
    "silence",
    "somebody",
    "stands",
    "story",
    "take no notice",
    "takes no notice",
    "to be had",
    "told",
    "untold",
    "vault",
    "whoever",
];

/// The openings that a doc comment does not have: it begins with a noun phrase or with a verb in the third person.
const OPENINGS: [&str; 15] = [
    "What",
    "Whether",
    "How",
    "Whoever",
    "Who",
    "Whose",
    "Where",
    "When",
    "Why",
    "That",
    "It",
    "Nobody",
    "Somebody",
    "Everybody",
    "Everything",
];

/// The folders beside those of the crates: examples and the files of a deployment.
const OTHER_SOURCES: [&str; 2] = ["examples", "deploy"];

#[test]
fn sources_and_documentation_use_plain_words() {
    let mut files = 0;
    let mut found = Vec::new();
    for (path, text) in sources().into_iter().chain(pages()) {
        let is_source =
            CRATES.iter().chain(&OTHER_SOURCES).any(|folder| path.starts_with(&format!("{folder}/")));
        if is_source || path.ends_with(".md") {
            files += 1;
            found.extend(offences(&path, &text));
        }
    }
    assert!(files > 400, "the sources are where this test looks: {files}");
    println!("{} words of the idiom in {files} files", found.len());
    assert!(found.is_empty(), "write plain words instead:\n{}", found.join("\n"));
}

/// Returns the pages of documentation with their texts.
fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "deploy", "examples", "examples/sales-report"] {
        for entry in fs::read_dir(root().join(folder)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                pages.push((path, fs::read_to_string(entry.path()).unwrap_or_default()));
            }
        }
    }
    assert!(pages.len() > 15, "the pages are where this test looks: {}", pages.len());
    pages
}

/// Returns a line for each word and opening in a file, with its place.
fn offences(path: &str, text: &str) -> Vec<String> {
    let mut offences = Vec::new();
    let mut follows_comment = false;
    for (index, line) in text.lines().enumerate() {
        let lower = line.to_ascii_lowercase();
        let mut words: Vec<_> = WORDS
            .iter()
            .flat_map(|word| std::iter::repeat_n(*word, occurrences(line, &lower, word)))
            .collect();
        let comment = line.trim_start().strip_prefix("//").and_then(|rest| rest.strip_prefix(['/', '!']));
        if path.ends_with(".rs") && !follows_comment {
            let first = comment.and_then(|comment| comment.split_whitespace().next());
            words.extend(OPENINGS.iter().filter(|opening| first == Some(opening)));
        }
        follows_comment = comment.is_some();
        offences
            .extend(words.into_iter().map(|word| format!("{path}:{}: {word}: {}", index + 1, line.trim())));
    }
    offences
}

/// Returns how often a word or phrase occurs in a line, which is given in lower case too.
fn occurrences(line: &str, lower: &str, word: &str) -> usize {
    let is_whole = |at: usize| {
        let end = at + word.len();
        starts_word(line, at) && (end == line.len() || starts_word(line, end)) && !is_excused(lower, at, word)
    };
    lower.match_indices(word).filter(|(at, _)| is_whole(*at)).count()
}

/// Returns true if a word can begin at this byte: there is no letter before it, or it begins a part of a name in camel case.
fn starts_word(line: &str, at: usize) -> bool {
    let before = line.get(..at).and_then(|text| text.chars().next_back());
    let here = line.get(at..).and_then(|text| text.chars().next());
    let is_hump = before.is_some_and(char::is_lowercase) && here.is_some_and(char::is_uppercase);
    is_hump || !before.is_some_and(char::is_alphabetic) || !here.is_some_and(char::is_alphabetic)
}

/// Returns true for "there is none", which is plain English; "it is none" is not.
fn is_excused(line: &str, at: usize, word: &str) -> bool {
    word.ends_with(" none") && line.get(..at).is_some_and(|before| before.ends_with("there "))
}

#[test]
fn words_are_found_in_sentences_and_in_names() {
    let occurrences = |line: &str, word| occurrences(line, &line.to_ascii_lowercase(), word);
    for line in ["It is told.", "is_told()", "struct ToldTwice;", "fn wasTold()", "Told"] {
        assert_eq!(occurrences(line, "told"), 1, "{line}");
    }
    for line in ["untold", "toldest", "a stolde"] {
        assert_eq!(occurrences(line, "told"), 0, "{line}");
    }
    assert_eq!((occurrences("if it is none", "is none"), occurrences("if there is none", "is none")), (1, 0));
    let text = "/// What it is.\n/// It is second.\nstruct A;\n//! Whether";
    assert_eq!(offences("a.rs", text).len(), 2);
}
