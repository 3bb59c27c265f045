//! The server `"type": "noop"`, which runs in the worker itself and serves to measure the overhead of a call.
//!
//! Its one tool, `echo`, answers at once with its arguments. It replaces the streams of a child process, so a call needs a
//! connection, the list of tools, a check of its arguments and a deadline like any other call. It leaves out the process, its pipes
//! and the JSON on them.

use std::convert::Infallible;
use std::sync::Arc;

use rmcp::RoleClient;
use rmcp::model::{
    ClientRequest, CustomResult, EmptyResult, ErrorCode, ErrorData, Implementation, InitializeResult,
    JsonRpcMessage, ListToolsResult, ServerCapabilities, ServerResult, Tool, ToolsCapability,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

/// Answers that wait to be read. The library reads them at once.
const WAITING_ANSWERS: usize = 1_024;

/// A transport that answers each request itself.
pub(crate) struct NoopServer {
    answers: mpsc::Sender<RxJsonRpcMessage<RoleClient>>,
    answered: mpsc::Receiver<RxJsonRpcMessage<RoleClient>>,
}

impl NoopServer {
    /// Creates the server of one connection.
    pub(crate) fn new() -> Self {
        let (answers, answered) = mpsc::channel(WAITING_ANSWERS);
        Self { answers, answered }
    }
}

impl Transport<RoleClient> for NoopServer {
    type Error = Infallible;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
        let answers = self.answers.clone();
        async move {
            if let JsonRpcMessage::Request(sent) = message {
                let answer = match answer(sent.request) {
                    Ok(result) => JsonRpcMessage::response(result, sent.id),
                    Err(refusal) => JsonRpcMessage::error(refusal, Some(sent.id)),
                };
                // The send fails once the connection is closed, when no caller waits.
                let _ = answers.send(answer).await;
            }
            Ok(())
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        self.answered.recv().await
    }

    async fn close(&mut self) -> Result<(), Infallible> {
        self.answered.close();
        Ok(())
    }
}

fn answer(request: ClientRequest) -> Result<ServerResult, ErrorData> {
    match request {
        ClientRequest::InitializeRequest(request) => {
            let mut capabilities = ServerCapabilities::default();
            capabilities.tools = Some(ToolsCapability::default());
            let mut result = InitializeResult::new(capabilities);
            result.protocol_version = request.params.protocol_version;
            let us = Implementation::new("longshore-noop", env!("CARGO_PKG_VERSION"));
            Ok(ServerResult::InitializeResult(result.with_server_info(us)))
        }
        ClientRequest::PingRequest(_) => Ok(ServerResult::EmptyResult(EmptyResult {})),
        ClientRequest::ListToolsRequest(_) => {
            let schema = Map::from_iter([("type".to_owned(), Value::from("object"))]);
            let echo = Tool::new("echo", "Answers with its arguments.", Arc::new(schema));
            Ok(ServerResult::ListToolsResult(ListToolsResult::with_all_items(vec![echo])))
        }
        ClientRequest::CallToolRequest(call) => {
            let arguments = Value::Object(call.params.arguments.unwrap_or_default());
            // A custom result, because the answers of other servers also reach their callers in this form.
            let result = json!({ "content": [], "structuredContent": arguments });
            Ok(ServerResult::CustomResult(CustomResult::new(result)))
        }
        _ => Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "the noop server only has tools", None)),
    }
}
