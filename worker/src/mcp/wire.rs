//! Messages of a server, read before the MCP library sees them.
//!
//! The library drops an answer that does not fit its types, even in one part, and the caller waits for the deadline. So every
//! message is read as plain JSON first. The unchanged answer to a call is kept in [`PendingRequests`], and the library gets a
//! placeholder that wakes the caller. An answer that cannot be read is kept as an [`McpFailure`] in the same way. Pure.

mod errors;
mod memory;
mod pipe;
mod text;
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use longshore_proto::find_lossy_number;
use rmcp::RoleClient;
use rmcp::model::{
    ClientNotification, ClientRequest, CustomResult, ErrorCode, ErrorData, JsonRpcMessage, RequestId,
    ServerJsonRpcMessage, ServerResult,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use serde_json::{Map, Value, json};

use super::classify::McpFailure;
use super::config::Secrets;
use super::elicitation::{self, Elicitation};
pub(crate) use memory::exceeds_memory;
pub(crate) use text::{excerpt, quote};
pub(crate) use tools::{left_out_of, takes_tasks, task_tools_of};

/// Maximum number of given-up requests that are remembered, since they may still be answered. An answer to an older one
/// counts as an answer without a request.
const MOST_GIVEN_UP: usize = 1024;

/// Error code of placeholders for answers that cannot be read. Outside the range that JSON-RPC reserves.
const PLACEHOLDER: ErrorCode = ErrorCode(1001);

/// The requests of one connection that wait for an answer, and the answers that wait to be taken.
#[derive(Clone, Debug)]
pub(crate) struct PendingRequests {
    state: Arc<Mutex<RequestsState>>,
    secrets: Secrets,
}

#[derive(Debug, Default)]
struct RequestsState {
    elicitation: Elicitation,
    waiting: BTreeMap<i64, WaitingRequest>,
    given_up: BTreeSet<i64>,
    answers: BTreeMap<i64, KeptAnswer>,
    /// [`KeptAnswer::rounded`] of the text that is being read.
    rounded: Option<String>,
    /// Number of bytes that the server read from its input. Known once no process can read more.
    read_bytes: Option<u64>,
}

/// An answer that waits to be taken.
#[derive(Debug)]
pub(crate) struct KeptAnswer {
    /// The unchanged result, or the failure.
    pub(crate) result: Result<Map<String, Value>, McpFailure>,
    /// The first number of its text that 64 bits cannot hold, as the server wrote it.
    pub(crate) rounded: Option<String>,
}

#[derive(Debug)]
struct WaitingRequest {
    format: AnswerFormat,
    /// Bytes that were written to the server before the request. `None` until the request is written.
    start: Option<u64>,
    /// Description of a question that the server asked a person meanwhile.
    asked_person: Option<String>,
}

/// The format of the answer to a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum AnswerFormat {
    /// Any object, which is kept unchanged.
    Raw,
    /// A page of tools, of which the usable ones are kept.
    Tools,
    /// The answer to `initialize`.
    Handshake,
    /// A type of the library.
    Typed,
}

/// The messages in a text of a server.
#[derive(Debug, Default)]
pub(crate) struct ReadMessages {
    /// Messages for the library.
    pub(crate) messages: Vec<RxJsonRpcMessage<RoleClient>>,
    /// The text, or a part of it, is no message.
    pub(crate) is_unread: bool,
}

impl PendingRequests {
    /// Creates an empty set of requests. `secrets` are hidden in excerpts of texts of the server. A question that `elicitation`
    /// leaves without an answer makes its call a fault.
    pub(crate) fn new(secrets: Secrets, elicitation: Elicitation) -> Self {
        Self {
            state: Arc::new(Mutex::new(RequestsState { elicitation, ..RequestsState::default() })),
            secrets,
        }
    }

    /// Records a message that is about to be sent.
    pub(crate) fn note_sent(&self, message: &TxJsonRpcMessage<RoleClient>) {
        match message {
            JsonRpcMessage::Request(request) => {
                let (Some(id), format) = (number(&request.id), answer_format(&request.request)) else {
                    return;
                };
                self.state().waiting.insert(id, WaitingRequest { format, start: None, asked_person: None });
            }
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.give_up(id);
                }
            }
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
        }
    }

    /// Gives a request up: its caller stopped waiting.
    pub(crate) fn give_up(&self, id: &RequestId) {
        let Some(id) = number(id) else { return };
        let mut state = self.state();
        state.answers.remove(&id);
        if state.waiting.remove(&id).is_some() {
            state.given_up.insert(id);
            if state.given_up.len() > MOST_GIVEN_UP {
                state.given_up.pop_first();
            }
        }
    }

    /// Takes the answer to a request.
    pub(crate) fn take(&self, id: &RequestId) -> Option<KeptAnswer> {
        self.state().answers.remove(&number(id)?)
    }

    /// Takes the failure of the newest failed request, whatever its id: the library does not report the ids of the handshake.
    pub(crate) fn take_fault(&self) -> Option<McpFailure> {
        let mut state = self.state();
        let id = state.answers.iter().rev().find_map(|(id, answer)| answer.result.is_err().then_some(*id))?;
        state.answers.remove(&id)?.result.err()
    }

    /// Ends a request with a failure. Returns the message for the library, if the request is waiting.
    pub(crate) fn fault(&self, id: &RequestId, failure: McpFailure) -> Option<RxJsonRpcMessage<RoleClient>> {
        let id = number(id)?;
        let mut state = self.state();
        state.waiting.remove(&id)?;
        Some(state.keep_answer(id, Err(failure)))
    }

    /// Ends all waiting requests with a failure.
    pub(crate) fn fault_all(&self, failure: &McpFailure) -> Vec<RxJsonRpcMessage<RoleClient>> {
        let mut state = self.state();
        let ids: Vec<i64> = std::mem::take(&mut state.waiting).into_keys().collect();
        ids.into_iter().map(|id| state.keep_answer(id, Err(failure.clone()))).collect()
    }

    /// Reads a text of the server: a message, or a batch of messages. `of` is the request that the text answers, if the transport
    /// knows it.
    pub(crate) fn read(&self, text: &[u8], of: Option<&RequestId>) -> ReadMessages {
        let of = of.and_then(number);
        // The text is parsed before the lock is taken: it may be large, and senders need the lock too.
        let messages = match text::read(text) {
            Ok(Value::Array(batch)) => batch,
            Ok(message) => vec![message],
            Err(error) => {
                let why = error.describe(|range| self.excerpt_at(text, range));
                return self.state().no_json(text, of, why, || self.excerpt(text));
            }
        };
        let rounded = std::str::from_utf8(text).ok().and_then(find_lossy_number).map(str::to_owned);
        let mut state = self.state();
        state.rounded = rounded;
        let mut reading = ReadMessages::default();
        for message in messages {
            let one = state.message(message, of, || self.excerpt(text));
            reading.messages.extend(one.messages);
            reading.is_unread |= one.is_unread;
        }
        state.rounded = None;
        reading
    }

    /// Returns the values that are hidden in excerpts.
    pub(crate) const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    fn excerpt(&self, text: &[u8]) -> String {
        self.excerpt_at(text, 0)
    }

    fn excerpt_at(&self, text: &[u8], at: usize) -> String {
        excerpt(text, at, &self.secrets)
    }

    fn state(&self) -> MutexGuard<'_, RequestsState> {
        // No code that holds the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RequestsState {
    fn message(&mut self, message: Value, of: Option<i64>, excerpt: impl Fn() -> String) -> ReadMessages {
        let Value::Object(mut message) = message else {
            return self.no_message(of, "it is no object", excerpt);
        };
        if message.get("method").is_some_and(Value::is_string) {
            return self.request_or_notification(message, of);
        }
        let has_answer = ["result", "error"].iter().any(|key| message.contains_key(*key));
        if !has_answer {
            let named = message.get("id").and_then(id_in).filter(|id| self.waiting.contains_key(id));
            return self.no_message(named.or(of), "it has neither `result` nor `error`", excerpt);
        }
        let Some(id) = self.request_of(message.get("id"), of) else {
            // Late answers are expected. Other answers without a request are shown in faults of calls without an answer.
            let is_late = message.get("id").and_then(id_in).is_some_and(|id| self.given_up.contains(&id));
            return ReadMessages { is_unread: !is_late, ..ReadMessages::default() };
        };
        let Some(waiting) = self.waiting.remove(&id) else { return ReadMessages::default() };
        let answer =
            match (message.remove("error").filter(|error| !error.is_null()), message.remove("result")) {
                (Some(error), _) => Err(errors::read(&error)),
                (None, Some(Value::Object(result))) => Ok(result),
                (None, _) => Err(McpFailure::BadAnswer(format!("its result is no object: {}", excerpt()))),
            };
        let answer = match waiting.asked_person {
            Some(question) if answer.is_ok() => Err(McpFailure::AskedPerson(question)),
            _ => answer,
        };
        ReadMessages { messages: vec![self.answer(id, waiting.format, answer)], is_unread: false }
    }

    /// Returns the message for the library that represents an answer.
    fn answer(
        &mut self,
        id: i64,
        format: AnswerFormat,
        answer: Result<Map<String, Value>, McpFailure>,
    ) -> RxJsonRpcMessage<RoleClient> {
        let result = match (format, answer) {
            (AnswerFormat::Raw, answer) => return self.keep_answer(id, answer),
            (_, Err(failure)) => return self.keep_answer(id, Err(failure)),
            (AnswerFormat::Tools, Ok(result)) => tools::page(result),
            (AnswerFormat::Handshake, Ok(result)) => tools::handshake(result),
            (AnswerFormat::Typed, Ok(result)) => typed(result),
        };
        match result {
            Ok(result) => JsonRpcMessage::response(result, RequestId::Number(id)),
            Err(why) => self.keep_answer(id, Err(McpFailure::BadAnswer(why))),
        }
    }

    /// Keeps an answer for its caller. Returns the message that wakes the caller.
    fn keep_answer(
        &mut self,
        id: i64,
        answer: Result<Map<String, Value>, McpFailure>,
    ) -> RxJsonRpcMessage<RoleClient> {
        let message = match &answer {
            Ok(_) => {
                let placeholder = ServerResult::CustomResult(CustomResult::new(Value::from("kept")));
                JsonRpcMessage::response(placeholder, RequestId::Number(id))
            }
            Err(failure) => JsonRpcMessage::error(placeholder_of(failure), Some(RequestId::Number(id))),
        };
        self.answers.insert(id, KeptAnswer { result: answer, rounded: self.rounded.clone() });
        message
    }

    /// Reads a request or a notification of the server.
    fn request_or_notification(&mut self, mut message: Map<String, Value>, of: Option<i64>) -> ReadMessages {
        let is_question = message.get("method").is_some_and(|method| method == "elicitation/create");
        let content = self.elicitation.content(message.get("params").unwrap_or(&Value::Null));
        if is_question
            && let Err(why) = content
            && let Some(id) = of.or_else(|| self.only_waiting())
            && let Some(waiting) = self.waiting.get_mut(&id)
        {
            let question = elicitation::describe_unanswered(&Value::Object(message.clone()), &why);
            waiting.asked_person = Some(question);
        }
        message.insert("jsonrpc".to_owned(), Value::from("2.0"));
        match serde_json::from_value::<ServerJsonRpcMessage>(Value::Object(message)) {
            Ok(message) => ReadMessages { messages: vec![message], is_unread: false },
            Err(error) => {
                tracing::debug!(%error, "dropped a request or notification that cannot be read");
                ReadMessages::default()
            }
        }
    }

    /// Handles a text that is no message. If it answers a request, it ends the request.
    fn no_message(&mut self, of: Option<i64>, why: &str, excerpt: impl Fn() -> String) -> ReadMessages {
        match of.filter(|id| self.waiting.remove(id).is_some()) {
            Some(id) => {
                let failure = McpFailure::Unreadable(format!("{why}: {}", excerpt()));
                ReadMessages { messages: vec![self.keep_answer(id, Err(failure))], is_unread: false }
            }
            None => ReadMessages { messages: Vec::new(), is_unread: true },
        }
    }

    /// Handles a text that is not JSON. Most are lines of a log, and some are answers with one invalid value.
    fn no_json(
        &mut self,
        text: &[u8],
        of: Option<i64>,
        why: String,
        excerpt: impl Fn() -> String,
    ) -> ReadMessages {
        let named = text::response_id(text);
        let Some(id) = named.as_ref().and_then(|id| self.request_of(Some(id), of)) else {
            return self.no_message(of, &why, excerpt);
        };
        self.waiting.remove(&id);
        ReadMessages {
            messages: vec![self.keep_answer(id, Err(McpFailure::BadAnswer(why)))],
            is_unread: false,
        }
    }

    /// Returns the waiting request that an answer with this id ends.
    fn request_of(&self, id: Option<&Value>, of: Option<i64>) -> Option<i64> {
        let named = id.and_then(id_in);
        if let Some(id) = named.filter(|id| self.waiting.contains_key(id)) {
            return Some(id);
        }
        if named.is_some_and(|id| self.given_up.contains(&id)) {
            return None;
        }
        // The id is that of no request, or of an answered one, so the answer belongs to the only request that waits.
        of.filter(|id| self.waiting.contains_key(id)).or_else(|| self.only_waiting())
    }

    fn only_waiting(&self) -> Option<i64> {
        let mut ids = self.waiting.keys();
        ids.next().copied().filter(|_| ids.next().is_none())
    }
}

/// Returns the error that the library gets in place of an answer. While connecting, the library recognises the era by the error
/// code.
fn placeholder_of(failure: &McpFailure) -> ErrorData {
    match failure {
        McpFailure::JsonRpc { code, message, supported, .. } => {
            let data = (!supported.is_empty()).then(|| json!({ "supported": supported }));
            ErrorData::new(ErrorCode(i32::try_from(*code).unwrap_or(PLACEHOLDER.0)), message.clone(), data)
        }
        failure => ErrorData::new(PLACEHOLDER, failure.to_string(), None),
    }
}

fn typed(result: Map<String, Value>) -> Result<ServerResult, String> {
    serde_json::from_value(Value::Object(result)).map_err(|error| error.to_string())
}

fn answer_format(request: &ClientRequest) -> AnswerFormat {
    match request {
        // Requests for tasks of 2025-11-25, which the library does not know, are custom requests.
        ClientRequest::CallToolRequest(_)
        | ClientRequest::ReadResourceRequest(_)
        | ClientRequest::CustomRequest(_) => AnswerFormat::Raw,
        ClientRequest::ListToolsRequest(_) => AnswerFormat::Tools,
        ClientRequest::InitializeRequest(_) => AnswerFormat::Handshake,
        _ => AnswerFormat::Typed,
    }
}

/// Returns the number of a request. The library uses numbers only.
fn number(id: &RequestId) -> Option<i64> {
    match id {
        RequestId::Number(id) => Some(*id),
        RequestId::String(_) => None,
    }
}

/// Reads the id of an answer. Some servers write it as text, and some with a fraction of zero.
fn id_in(id: &Value) -> Option<i64> {
    match id {
        Value::Number(id) => id.as_i64().or_else(|| {
            let id = id.as_f64().filter(|id| id.fract() == 0.0 && id.abs() < 1e15)?;
            format!("{id:.0}").parse().ok()
        }),
        Value::String(id) => id.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
