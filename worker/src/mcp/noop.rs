//! The server `"type": "noop"`: in the worker itself, for measuring what everything around a call costs.
//!
//! Its one tool, `echo`, answers at once with its arguments. It stands where the streams of a child process would, so a
//! call to it takes the whole way of any other: connection, list of tools, check of arguments, deadline. What it leaves
//! out is the process, its pipes and the JSON on them.

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

/// Answers that wait to be read. The library reads them all the time.
const ANSWERS: usize = 1_024;

/// The other end of a connection, which answers whatever is sent to it.
pub(crate) struct Noop {
    answers: mpsc::Sender<RxJsonRpcMessage<RoleClient>>,
    answered: mpsc::Receiver<RxJsonRpcMessage<RoleClient>>,
}

impl Noop {
    /// A server of its own for one connection.
    pub(crate) fn new() -> Self {
        let (answers, answered) = mpsc::channel(ANSWERS);
        Self { answers, answered }
    }
}

impl Transport<RoleClient> for Noop {
    type Error = Infallible;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
        let answers = self.answers.clone();
        async move {
            if let JsonRpcMessage::Request(asked) = message {
                let answer = match answer(asked.request) {
                    Ok(result) => JsonRpcMessage::response(result, asked.id),
                    Err(refusal) => JsonRpcMessage::error(refusal, Some(asked.id)),
                };
                // Nobody waits for it once the connection is closed.
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
        ClientRequest::InitializeRequest(asked) => {
            let mut capabilities = ServerCapabilities::default();
            capabilities.tools = Some(ToolsCapability::default());
            let mut result = InitializeResult::new(capabilities);
            result.protocol_version = asked.params.protocol_version;
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
            // As answers of other servers reach their callers: as they came.
            let result = json!({ "content": [], "structuredContent": arguments });
            Ok(ServerResult::CustomResult(CustomResult::new(result)))
        }
        _ => Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "the noop server only has tools", None)),
    }
}
