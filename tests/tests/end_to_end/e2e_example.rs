//! The examples: the report that `./demo` writes is correct, and every workflow is valid.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use longshore_proto::StepStatus;
use longshore_tests::scratch::{Scratch, step};
use longshore_tests::tools::{CommandLine, program};
use serde_json::json;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples")
}

/// Copies the data and the workflow of the sales report, with the server of its `mcp.json`.
fn sales_report() -> Scratch {
    let example = examples().join("sales-report");
    let scratch = Scratch::with(&fs::read_to_string(example.join("workflow.yaml")).unwrap(), &json!({}));
    for file in fs::read_dir(example.join("data")).unwrap() {
        let path = file.unwrap().path();
        let name = format!("data/{}", path.file_name().unwrap().to_string_lossy());
        scratch.write(&name, fs::read(path).unwrap());
    }
    let options = ["--root", "data", "--out", "out", "--journal", "journal"];
    scratch.servers(&json!({ "tables": CommandLine::new(program("tables"), options).entry() }));
    scratch
}

#[tokio::test]
async fn sales_report_is_written_with_the_right_numbers() {
    let scratch = sales_report();
    let outputs =
        scratch.longshore(["run", "workflow.yaml", "-i", "report=mine"]).run().await.expecting(0).json();
    let run = scratch.newest().await;
    assert!(run.steps.iter().all(|step| step.status == StepStatus::Succeeded), "{run:#?}");
    assert_eq!(scratch.journal().repeated().len(), 0);

    // The expected sums are computed here, without the code of the server.
    let (mut rows, mut units, mut revenue) = (0, 0, 0.0);
    for region in ["north", "east", "south", "west"] {
        let text = scratch.read(&format!("data/{region}.csv"));
        let mut lines = text.lines();
        let names: Vec<_> = lines.next().unwrap().split(',').collect();
        let place = |name: &str| names.iter().position(|found| *found == name).unwrap();
        for cells in lines.map(|line| line.split(',').collect::<Vec<_>>()) {
            if cells.len() != names.len() {
                continue;
            }
            rows += 1;
            units += cells[place("units")].parse::<i64>().unwrap_or_default();
            revenue += cells[place("revenue")].parse::<f64>().unwrap_or_default();
        }
    }
    assert_eq!(outputs["rows"], rows, "{outputs}");
    assert_eq!(outputs["units"].as_f64().unwrap(), units as f64, "{outputs}");
    assert!((outputs["revenue"].as_f64().unwrap() - revenue).abs() < 0.01, "{outputs} and {revenue}");
    assert_eq!(outputs["problems"], 4, "{outputs}");

    let report = scratch.read("out/mine.md");
    assert!(outputs["report"].as_str().unwrap().ends_with("out/mine.md"), "{outputs}");
    for part in ["Sales, third quarter of 2026", "north.csv", "west.csv", &units.to_string()] {
        assert!(report.contains(part), "{part} in\n{report}");
    }
    assert!(step(&run, "warn").output.is_some(), "west.csv has bad rows, and they are noted");
}

#[tokio::test]
async fn every_example_is_a_valid_workflow() {
    let mut valid = Vec::new();
    for folder in fs::read_dir(examples()).unwrap() {
        let workflow = folder.unwrap().path().join("workflow.yaml");
        if workflow.is_file() {
            valid.push(workflow.display().to_string());
        }
    }
    assert!(valid.len() >= 2, "{valid:?}");
    let scratch = Scratch::new(&json!({ "tables": { "command": "tables" } }));
    let arguments = ["validate".to_owned()].into_iter().chain(valid);
    scratch.longshore(arguments).run().await.expecting(0);
}
