//! Scope of the expressions of a run.
//!
//! All values come from the run's state, so the same state gives the same values. Large values are not in the state; an
//! expression that reads one that is not known is evaluated again when it is.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use longshore_proto::{Digest, Payload, StepStatus};
use longshore_workflow::{Plan, Scope, StepField, StepIndex, StepKind};
use serde_json::{Map, Value, json};

use super::Run;

/// Large values by content address, and the addresses of those that were missing.
#[derive(Debug, Default)]
pub struct LargeValues {
    known: BTreeMap<Digest, Arc<Value>>,
    missing: RefCell<BTreeSet<Digest>>,
}

impl LargeValues {
    /// Adds a value.
    pub fn insert(&mut self, digest: Digest, value: Arc<Value>) {
        self.known.insert(digest, value);
    }

    /// Returns the addresses of the values that were read and are not known, and forgets them.
    pub(super) fn take_missing(&self) -> BTreeSet<Digest> {
        self.missing.take()
    }

    fn get(&self, digest: &Digest) -> Option<&Value> {
        let found = self.known.get(digest);
        if found.is_none() {
            self.missing.borrow_mut().insert(*digest);
        }
        found.map(Arc::as_ref)
    }
}

/// A run as the scope of an expression.
pub(super) struct RunScope<'a> {
    pub(super) run: &'a Run,
    pub(super) plan: &'a Plan,
    pub(super) values: &'a LargeValues,
    /// The group whose failures count for `success()`. `None` at the top.
    pub(super) group: Option<StepIndex>,
}

impl RunScope<'_> {
    fn value<'a>(&'a self, payload: &'a Payload) -> Option<Cow<'a, Value>> {
        match payload {
            Payload::Inline(value) => Some(Cow::Borrowed(value)),
            Payload::Blob { digest, .. } => self.values.get(digest).map(Cow::Borrowed),
        }
    }

    /// Returns the output of a step. The output of a group has the outputs of its members under their ids.
    fn output(&self, index: StepIndex) -> Option<Cow<'_, Value>> {
        let step = self.run.step(index)?;
        match &self.plan.step(index)?.kind {
            StepKind::Parallel { members, .. } if step.status == StepStatus::Succeeded => {
                let mut all = Map::new();
                for member in members {
                    let (Some(path), Some(output)) = (self.run.path(*member), self.output(*member)) else {
                        continue;
                    };
                    all.insert(path.to_string(), output.into_owned());
                }
                Some(Cow::Owned(Value::Object(all)))
            }
            _ => self.value(&step.output()?.value),
        }
    }
}

impl Scope for RunScope<'_> {
    fn inputs(&self) -> Cow<'_, Value> {
        self.value(&self.run.inputs).unwrap_or(Cow::Owned(Value::Null))
    }

    fn step(&self, id: &str, field: StepField) -> Option<Cow<'_, Value>> {
        let index = self.plan.find_id(id)?;
        let step = self.run.step(index)?;
        match field {
            StepField::Output => self.output(index),
            StepField::Content => self.value(step.output()?.content.as_ref()?),
            StepField::Status => Some(Cow::Owned(json!(step.status.as_str()))),
            StepField::Error => step
                .error()
                .map(|fault| Cow::Owned(json!({ "class": fault.class.as_str(), "message": fault.message }))),
            StepField::Attempts => {
                Some(Cow::Owned(json!(step.attempts().last().map_or(0, |attempt| attempt.number.0))))
            }
        }
    }

    fn run(&self) -> Cow<'_, Value> {
        let mut run = json!({
            "id": self.run.id.to_string(),
            "workflow": self.run.outline.workflow.name.as_str(),
            // A run is executed once; running it again makes a new run.
            "attempt": 1,
        });
        if let (Some(error), Some(object)) = (&self.run.error, run.as_object_mut()) {
            let step = error.step.as_ref().map(ToString::to_string);
            let fault =
                json!({ "class": error.fault.class.as_str(), "message": error.fault.message, "step": step });
            object.insert("error".to_owned(), fault);
        }
        Cow::Owned(run)
    }

    fn failed(&self) -> bool {
        super::obstacle::failure_within(self.run, self.plan, self.group).is_some()
    }

    fn cancelled(&self) -> bool {
        self.run.status == longshore_proto::RunStatus::Cancelling
    }
}
