//! The vocabulary of Longshore: the types that its parts exchange, and the glossary.
//!
//! Messages between two parts are types of this crate. Each term below has one meaning, in code, on the wire, in metrics,
//! on the command line and in the documentation.
//!
//! | word | meaning |
//! |---|---|
//! | Workflow | a named YAML or JSON document, identified by the [`Digest`] of its text |
//! | Plan | a workflow that has been checked and compiled (`longshore_workflow::Plan`) |
//! | Run | one execution of a plan with inputs, known by its [`RunId`] |
//! | Step | a node of the plan; its [`StepPath`] names one occurrence in a run |
//! | Attempt | one try at a step, numbered from 1: [`Attempt`], [`AttemptRecord`] |
//! | Job | the message that carries attempts to a worker: [`Job`], [`JobId`] |
//! | Call | one MCP `tools/call` |
//! | Activity | the present state of a call, for display only: [`CallActivity`], in a [`CallUpdate`] of its worker |
//! | Outcome | the result of a step: output, fault, or indeterminate: [`Outcome`] |
//! | Event | a fact in the log: [`Event`], read back as a [`Record`] |
//! | Writer role | the role in which a process appends events, which decides the kinds that it may write: [`WriterRole`] |
//! | Checkpoint | the state of a partition up to a log sequence: [`CheckpointMark`] |
//! | Grant | the permission for the calls of a job that are not safe to repeat, which the log gives to one delivery: [`Grant`] |
//! | Claim | the idempotency record of a call with a key of its own: [`ClaimKey`], [`ClaimResult`] |
//!
//! Verbs: submit, append, apply, advance, dispatch, settle, checkpoint, drain.
//!
//! This crate does no I/O, reads no clock and draws no random numbers. Its manifest has no dependency that could.

mod activity;
mod checkpoint;
mod claim;
mod digest;
mod digits;
mod display;
mod evaluation;
mod event;
mod event_kind;
mod event_message;
mod fault;
mod grant;
mod id;
mod job;
mod outcome;
mod pattern;
mod payload;
mod policy;
mod retention;
mod secret;
mod strict;
pub mod subject;
mod submit;
mod text;
mod time;
mod view;
mod wire;

pub use activity::{CallActivity, CallUpdate, PROGRESS_MESSAGE_CHARS, Progress};
pub use checkpoint::{CheckpointMark, Incarnation, RollingHash};
pub use claim::ClaimResult;
pub use digest::{Digest, DigestError};
pub use digits::{find_infinite_number, find_lossy_number, is_canonical, json_numbers, loses_digits};
pub use display::{truncate, truncate_with_size, value_type};
pub use evaluation::{Evaluation, EvaluationNumber};
pub use event::{Event, Record, Semantics, Signal, Timer, TimerKind, WorkflowRef};
pub use event_kind::{EventKind, WriterRole};
pub use event_message::{EventError, decode_events, decode_events_of, encode_event};
pub use fault::{Fault, FaultClass, Sent};
pub use grant::{Grant, GrantDecision};
pub use id::{
    Attempt, ClaimKey, DeliveryId, Epoch, IdError, JobId, Namespace, NodeId, Partition, RunId, SecretName,
    Seq, ServerName, StepPath, ToolName, WorkflowName,
};
pub use job::{Job, JobAddress, OnToolError, TraceContext};
pub use outcome::{AttemptRecord, Outcome, Output, ServerInstance, Settlement};
pub use pattern::{PATTERN_LIMIT_BYTES, match_units, pattern_weight, wide_case_folds};
pub use payload::{
    BLOB_LIMIT_BYTES, BLOB_VALUE_LIMIT, INLINE_LIMIT_BYTES, Payload, SpilledPayload, has_too_many_values,
};
pub use policy::{
    Backoff, IN_PLACE_RETRY_LIMIT, MAX_TIMEOUT_FACTOR, RepeatSafety, RetryDecision, RetryPolicy,
};
pub use retention::Retention;
pub use secret::SecretPlace;
pub use strict::{StrictValue, strict_map};
pub use submit::{ID_HEADER, SubmitBody};
pub use time::Timestamp;
pub use view::{RunStatus, RunSummary, RunView, StepStatus, StepView};
pub use wire::{FORMAT_VERSION, NEWEST_FORMAT, WireError, decode, decode_all, encode, join_messages};
