//! The language: text in, and out come either all its problems or a [`Plan`].
//!
//! No I/O, no clock, no randomness: the same text gives the same plan on any machine, which is what lets a run be
//! pinned to the hash of its workflow's text.

mod plan;

pub use plan::{
    CallStep, Condition, InputSpec, InputType, Plan, Step, StepIndex, StepKind,
};
