//! Checks of submits before they are in the log.

use longshore_embedded::{Access, Embedded};
use longshore_proto::BLOB_VALUE_LIMIT;
use longshore_scheduler::{Intake, SubmitError, SubmitRequest};
use serde_json::{Value, json};
use tempfile::TempDir;

const WORKFLOW: &str = "longshore: v1
name: count
inputs: { rows: { type: array } }
steps:
  - { id: a, set: { rows: '${{ size(inputs.rows) }}' } }
";

#[tokio::test]
async fn inputs_with_more_values_than_a_run_can_read_are_refused() {
    let dir = TempDir::new().expect("a folder");
    let embedded = Embedded::open(dir.path(), Access::ReadWrite).await.expect("opens");
    let intake = Intake::new(embedded.backend(), 1);
    let plan = intake.register(WORKFLOW).await.expect("registers");
    let rows = json!({ "rows": vec![Value::Bool(true); BLOB_VALUE_LIMIT] });
    let inputs = rows.as_object().cloned().expect("an object");
    let request = SubmitRequest::new("default".parse().expect("a namespace"), plan.name.clone(), inputs);
    let refused = intake.submit(intake.draw_id(), &plan, request).await.expect_err("refused");
    assert!(matches!(refused, SubmitError::TooManyValues(_)), "{refused}");
    assert!(refused.to_string().contains("more than 1000000 values"), "{refused}");
    embedded.close().await;
}
