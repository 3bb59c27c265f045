//! All diagnostics as users see them: texts for each code, and the rendered result as a snapshot.

#[path = "diagnostics/proposals.rs"]
mod proposals;
#[path = "diagnostics/texts.rs"]
mod texts;

use std::collections::BTreeSet;

use longshore_workflow::{codes, compile, compile_and_warn, explain};

use texts::{steps, texts};

#[test]
fn diagnostics_of_all_codes_match_their_snapshots() {
    for (code, texts) in texts() {
        let mut shown = format!("{}\n", explain(code).expect("the code exists"));
        for text in texts {
            let problems = compile_and_warn(&text).map_or_else(|problems| problems, |(_, warnings)| warnings);
            let found: Vec<_> = problems.iter().map(|one| one.code).collect();
            assert!(found.contains(&code), "{code}: {found:?} in {text:.200}");
            // Long lines and long lists say nothing more; the rest of the line is cut.
            let look = problems.render("demo.yaml", &text, false);
            let look: Vec<String> =
                look.lines().take(40).map(|line| line.chars().take(240).collect()).collect();
            shown.push_str(&format!("\n{}\n", look.join("\n")));
        }
        insta::assert_snapshot!(code, shown);
    }
}

#[test]
fn every_code_has_a_text_in_this_test() {
    let covered: BTreeSet<_> = texts().into_iter().map(|(code, _)| code).collect();
    // LS04, LS0503 and LS0507 are about servers, which no text shows; `finding` has them all.
    let of_texts = codes().filter(|code| !code.starts_with("LS04") && !["LS0503", "LS0507"].contains(code));
    let missing: Vec<_> = of_texts.filter(|code| !covered.contains(code)).collect();
    assert_eq!(missing, ["LS0100"], "LS0100 means a mistake in Longshore, which no text causes");
}

#[test]
fn the_documentation_lists_every_code() {
    let page = include_str!("../../docs/language.md");
    let missing: Vec<_> = codes().filter(|code| !page.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_example_of_the_documentation_compiles() {
    let page = include_str!("../../docs/language.md");
    let example =
        page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("there is one");
    compile(example).unwrap_or_else(|problems| panic!("{}", problems.render("example", example, false)));
}

#[test]
fn one_pass_reports_all_problems_in_the_order_of_the_file() {
    let text = "longshore: v1\nname: Demo\nnmae: x\nsteps:\n  - id: a\n    call: web\n    retry: { attempts: many }\n  - id: a\n    set:\n      x: ${{ steps.b.output }}\n      y: ${{ 1 + }}\noutputs:\n  z: ${{ inputs.q }}\n";
    let problems = compile(text).expect_err("there are problems");
    let found: Vec<_> = problems.iter().map(|one| (one.line, one.code)).collect();
    let expected = [
        (2, "LS0105"),
        (3, "LS0101"),
        (6, "LS0116"),
        (7, "LS0103"),
        (8, "LS0112"),
        (10, "LS0107"),
        (11, "LS0201"),
        (13, "LS0119"),
    ];
    assert_eq!(found, expected);
    insta::assert_snapshot!("display", problems.to_string());
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&problems).expect("it is JSON"));
    insta::assert_snapshot!("colour", problems.render("demo.yaml", text, true));
}

#[test]
fn at_most_fifty_problems_are_shown() {
    let text = steps(&"  - wait: 1s\n".repeat(200));
    let problems = compile(&text).expect_err("none of them is built");
    assert_eq!(problems.iter().count(), 50);
    assert_eq!(problems.omitted(), 150);
    assert!(problems.to_string().ends_with("\nand 150 more"));
    assert!(problems.render("demo.yaml", &text, false).ends_with("\nand 150 more\n"));
}
