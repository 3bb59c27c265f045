//! Messages of a server, read before the MCP library sees them.
//!
//! The library knows only what fits its types: an answer with one odd part is lost as a whole, and an answer that it cannot
//! read is dropped, so that its caller waits for the deadline. Here every message is read as plain JSON first. The answer
//! to a call is kept as it came, in [`Requests`], and the library gets a placeholder that wakes the caller. An answer
//! that cannot be read is kept as an [`Observation`] in the same way. Pure.

mod errors;
mod memory;
mod pipe;
mod text;
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::RoleClient;
use rmcp::model::{
    ClientNotification, ClientRequest, CustomResult, ErrorCode, ErrorData, JsonRpcMessage, RequestId,
    ServerJsonRpcMessage, ServerResult,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use serde_json::{Map, Value, json};

use super::classify::Observation;
use super::config::Secrets;
use super::elicitation::{self, Elicitation};
pub(crate) use memory::exceeds_memory;
pub(crate) use text::{excerpt, quote};
pub(crate) use tools::{left_out_of, takes_tasks, task_tools_of};

/// Requests that were given up and may still be answered. A later answer to an older one counts as one that was never asked.
const MOST_GIVEN_UP: usize = 1024;

/// The code of placeholders for answers that cannot be read. Outside the range that JSON-RPC reserves.
const PLACEHOLDER: ErrorCode = ErrorCode(1001);

/// The requests of one connection that wait for an answer, and answers that wait to be taken.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    state: Arc<Mutex<State>>,
    secrets: Secrets,
}

#[derive(Debug, Default)]
struct State {
    elicitation: Elicitation,
    waiting: BTreeMap<i64, Waiting>,
    given_up: BTreeSet<i64>,
    answers: BTreeMap<i64, Result<Map<String, Value>, Observation>>,
    /// Bytes that the server read of all that was written to it. Known once no process reads any more.
    read_bytes: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    kind: Kind,
    /// Bytes that were written to the server before the request. `None` until the request is being written.
    start: Option<u64>,
    /// The question that the server asked a person meanwhile.
    asked_person: Option<String>,
}

/// The way in which the answer to a request is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Kept as it came.
    Raw,
    /// A page of tools, of which those that can be used are kept.
    Tools,
    /// The answer to `initialize`.
    Handshake,
    /// Read by the library.
    Typed,
}

/// Messages that were read of a piece of text.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Messages for the library.
    pub(crate) messages: Vec<RxJsonRpcMessage<RoleClient>>,
    /// The text, or a part of it, is no message.
    pub(crate) is_unread: bool,
}

impl Requests {
    /// No requests yet. `secrets` are hidden in excerpts of what a server sent; a question that `elicitation` leaves without an
    /// answer makes its call a fault.
    pub(crate) fn new(secrets: Secrets, elicitation: Elicitation) -> Self {
        Self { state: Arc::new(Mutex::new(State { elicitation, ..State::default() })), secrets }
    }

    /// Takes note of a message that is about to be sent.
    pub(crate) fn note_sent(&self, message: &TxJsonRpcMessage<RoleClient>) {
        match message {
            JsonRpcMessage::Request(request) => {
                let (Some(id), kind) = (number(&request.id), kind_of(&request.request)) else { return };
                self.state().waiting.insert(id, Waiting { kind, start: None, asked_person: None });
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

    /// Forgets a request that nobody waits for any more.
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

    /// Takes the answer to a request: its result as it came, or what was seen instead.
    pub(crate) fn take(&self, id: &RequestId) -> Option<Result<Map<String, Value>, Observation>> {
        self.state().answers.remove(&number(id)?)
    }

    /// Takes what was seen instead of the last answer, whichever request it was for: the handshake does not tell its ids.
    pub(crate) fn take_fault(&self) -> Option<Observation> {
        let mut state = self.state();
        let id = state.answers.iter().rev().find_map(|(id, answer)| answer.is_err().then_some(*id))?;
        state.answers.remove(&id)?.err()
    }

    /// Ends a request without an answer. Returns the message for the library, if the request waits.
    pub(crate) fn fault(&self, id: &RequestId, seen: Observation) -> Option<RxJsonRpcMessage<RoleClient>> {
        let id = number(id)?;
        let mut state = self.state();
        state.waiting.remove(&id)?;
        Some(state.end(id, Err(seen)))
    }

    /// Ends all requests that wait, without an answer.
    pub(crate) fn fault_all(&self, seen: &Observation) -> Vec<RxJsonRpcMessage<RoleClient>> {
        let mut state = self.state();
        let ids: Vec<i64> = std::mem::take(&mut state.waiting).into_keys().collect();
        ids.into_iter().map(|id| state.end(id, Err(seen.clone()))).collect()
    }

    /// Reads a text that a server sent: a message, or a batch of them. `of` is the request that the text answers, where the
    /// transport knows it.
    pub(crate) fn read(&self, text: &[u8], of: Option<&RequestId>) -> Reading {
        let of = of.and_then(number);
        // Read before the lock is taken: a message may be large, and senders need the lock as well.
        match text::read(text) {
            Ok(Value::Array(batch)) => {
                let mut state = self.state();
                let mut reading = Reading::default();
                for message in batch {
                    let one = state.message(message, of, || self.excerpt(text));
                    reading.messages.extend(one.messages);
                    reading.is_unread |= one.is_unread;
                }
                reading
            }
            Ok(message) => self.state().message(message, of, || self.excerpt(text)),
            Err(error) => {
                let why = error.describe(|range| self.excerpt_at(text, range));
                self.state().broken(text, of, why, || self.excerpt(text))
            }
        }
    }

    /// The values that are hidden in excerpts.
    pub(crate) const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    fn excerpt(&self, text: &[u8]) -> String {
        self.excerpt_at(text, 0)
    }

    fn excerpt_at(&self, text: &[u8], at: usize) -> String {
        excerpt(text, at, &self.secrets)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn message(&mut self, message: Value, of: Option<i64>, excerpt: impl Fn() -> String) -> Reading {
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
            // Late answers are usual. Everything else is shown with the fault of a call that gets no answer.
            let late = message.get("id").and_then(id_in).is_some_and(|id| self.given_up.contains(&id));
            return Reading { is_unread: !late, ..Reading::default() };
        };
        let Some(waiting) = self.waiting.remove(&id) else { return Reading::default() };
        let answer =
            match (message.remove("error").filter(|error| !error.is_null()), message.remove("result")) {
                (Some(error), _) => Err(errors::observed(&error)),
                (None, Some(Value::Object(result))) => Ok(result),
                (None, _) => Err(Observation::BadAnswer(format!("its result is no object: {}", excerpt()))),
            };
        let answer = match waiting.asked_person {
            Some(question) if answer.is_ok() => Err(Observation::AskedPerson(question)),
            _ => answer,
        };
        Reading { messages: vec![self.answer(id, waiting.kind, answer)], is_unread: false }
    }

    /// The message for the library that stands for an answer.
    fn answer(
        &mut self,
        id: i64,
        kind: Kind,
        answer: Result<Map<String, Value>, Observation>,
    ) -> RxJsonRpcMessage<RoleClient> {
        let result = match (kind, answer) {
            (Kind::Raw, answer) => return self.end(id, answer),
            (_, Err(seen)) => return self.end(id, Err(seen)),
            (Kind::Tools, Ok(result)) => tools::page(result),
            (Kind::Handshake, Ok(result)) => tools::handshake(result),
            (Kind::Typed, Ok(result)) => typed(result),
        };
        match result {
            Ok(result) => JsonRpcMessage::response(result, RequestId::Number(id)),
            Err(why) => self.end(id, Err(Observation::BadAnswer(why))),
        }
    }

    /// Keeps an answer for its caller. Returns the message that wakes it.
    fn end(
        &mut self,
        id: i64,
        answer: Result<Map<String, Value>, Observation>,
    ) -> RxJsonRpcMessage<RoleClient> {
        let message = match &answer {
            Ok(_) => {
                let placeholder = ServerResult::CustomResult(CustomResult::new(Value::from("kept")));
                JsonRpcMessage::response(placeholder, RequestId::Number(id))
            }
            Err(seen) => JsonRpcMessage::error(placeholder_of(seen), Some(RequestId::Number(id))),
        };
        self.answers.insert(id, answer);
        message
    }

    /// A request or a notification of the server.
    fn request_or_notification(&mut self, mut message: Map<String, Value>, of: Option<i64>) -> Reading {
        let is_question = message.get("method").is_some_and(|method| method == "elicitation/create");
        let content = self.elicitation.content(message.get("params").unwrap_or(&Value::Null));
        if is_question
            && let Err(why) = content
            && let Some(id) = of.or_else(|| self.only_waiting())
            && let Some(waiting) = self.waiting.get_mut(&id)
        {
            waiting.asked_person = Some(elicitation::unanswered(&Value::Object(message.clone()), &why));
        }
        message.insert("jsonrpc".to_owned(), Value::from("2.0"));
        match serde_json::from_value::<ServerJsonRpcMessage>(Value::Object(message)) {
            Ok(message) => Reading { messages: vec![message], is_unread: false },
            Err(error) => {
                tracing::debug!(%error, "dropped a request or notification that cannot be read");
                Reading::default()
            }
        }
    }

    /// A text that is no message. If it answers a request, that ends.
    fn no_message(&mut self, of: Option<i64>, why: &str, excerpt: impl Fn() -> String) -> Reading {
        match of.filter(|id| self.waiting.remove(id).is_some()) {
            Some(id) => {
                let seen = Observation::Unreadable(format!("{why}: {}", excerpt()));
                Reading { messages: vec![self.end(id, Err(seen))], is_unread: false }
            }
            None => Reading { messages: Vec::new(), is_unread: true },
        }
    }

    /// A text that is no JSON. Most are lines of a log; some are answers with one broken value.
    fn broken(&mut self, text: &[u8], of: Option<i64>, why: String, excerpt: impl Fn() -> String) -> Reading {
        let named = text::response_id(text);
        let Some(id) = named.as_ref().and_then(|id| self.request_of(Some(id), of)) else {
            return self.no_message(of, &why, excerpt);
        };
        self.waiting.remove(&id);
        Reading { messages: vec![self.end(id, Err(Observation::BadAnswer(why)))], is_unread: false }
    }

    /// The request that an answer with this id is for.
    fn request_of(&self, id: Option<&Value>, of: Option<i64>) -> Option<i64> {
        let named = id.and_then(id_in);
        if let Some(id) = named.filter(|id| self.waiting.contains_key(id)) {
            return Some(id);
        }
        if named.is_some_and(|id| self.given_up.contains(&id)) {
            return None;
        }
        // An id that was never asked, or was answered before: it can only be meant for the one that waits.
        of.filter(|id| self.waiting.contains_key(id)).or_else(|| self.only_waiting())
    }

    fn only_waiting(&self) -> Option<i64> {
        let mut ids = self.waiting.keys();
        ids.next().copied().filter(|_| ids.next().is_none())
    }
}

/// The error that the library gets in the place of an answer. Its code matters while connecting: by it the library tells eras.
fn placeholder_of(seen: &Observation) -> ErrorData {
    match seen {
        Observation::JsonRpc { code, message, supported, .. } => {
            let data = (!supported.is_empty()).then(|| json!({ "supported": supported }));
            ErrorData::new(ErrorCode(i32::try_from(*code).unwrap_or(PLACEHOLDER.0)), message.clone(), data)
        }
        seen => ErrorData::new(PLACEHOLDER, seen.to_string(), None),
    }
}

fn typed(result: Map<String, Value>) -> Result<ServerResult, String> {
    serde_json::from_value(Value::Object(result)).map_err(|error| error.to_string())
}

fn kind_of(request: &ClientRequest) -> Kind {
    match request {
        // Requests about tasks of 2025-11-25, which the library does not know, are custom ones.
        ClientRequest::CallToolRequest(_)
        | ClientRequest::ReadResourceRequest(_)
        | ClientRequest::CustomRequest(_) => Kind::Raw,
        ClientRequest::ListToolsRequest(_) => Kind::Tools,
        ClientRequest::InitializeRequest(_) => Kind::Handshake,
        _ => Kind::Typed,
    }
}

/// The library numbers its requests.
fn number(id: &RequestId) -> Option<i64> {
    match id {
        RequestId::Number(id) => Some(*id),
        RequestId::String(_) => None,
    }
}

/// An id as servers repeat it: some as text, some with a fraction of zero.
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
