//! The requests that a server did not read from the pipe of its input before it ended.

use rmcp::RoleClient;
use rmcp::model::{JsonRpcMessage, RequestId};
use rmcp::service::TxJsonRpcMessage;

use super::{Requests, number};

impl Requests {
    /// Notes that a message is being written to a pipe, after so many bytes.
    pub(crate) fn note_start(&self, message: &TxJsonRpcMessage<RoleClient>, written: u64) {
        if let JsonRpcMessage::Request(request) = message
            && let Some(id) = number(&request.id)
            && let Some(waiting) = self.state().waiting.get_mut(&id)
        {
            waiting.start = Some(written);
        }
    }

    /// Notes that no process reads the pipe any more, and that so many bytes of it were read.
    pub(crate) fn note_read(&self, bytes: u64) {
        self.state().read_bytes = Some(bytes);
    }

    /// Returns true if it is certain that no process has read any byte of a request, and none will.
    pub(crate) fn is_unread(&self, id: &RequestId) -> bool {
        let (state, Some(id)) = (self.state(), number(id)) else { return false };
        let Some(read) = state.read_bytes else { return false };
        match state.waiting.get(&id) {
            Some(waiting) => waiting.start.is_none_or(|start| start >= read),
            // A request that never came as far as the pipe.
            None => !state.answers.contains_key(&id) && !state.given_up.contains(&id),
        }
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::{CallToolRequest, CallToolRequestParams, ClientRequest};

    use super::super::super::config::Secrets;
    use super::super::super::elicitation::Elicitation;
    use super::*;

    fn call(id: i64) -> TxJsonRpcMessage<RoleClient> {
        let call = CallToolRequest::new(CallToolRequestParams::new("t"));
        JsonRpcMessage::request(ClientRequest::CallToolRequest(call), RequestId::Number(id))
    }

    #[test]
    fn a_request_is_unread_if_no_byte_of_it_was_read_and_none_can_be() {
        let requests = Requests::new(Secrets::default(), Elicitation::Refuse);
        for (id, start) in [(1, 0), (2, 100), (3, 200)] {
            requests.note_sent(&call(id));
            requests.note_start(&call(id), start);
        }
        requests.note_sent(&call(4));
        requests.note_sent(&call(5));
        requests.give_up(&RequestId::Number(5));
        requests.read(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#, None);
        let unread = |requests: &Requests| {
            (1..=6).filter(|id| requests.is_unread(&RequestId::Number(*id))).collect::<Vec<_>>()
        };
        assert_eq!(unread(&requests), [0_i64; 0], "while the server may read on");
        requests.note_read(101);
        assert_eq!(unread(&requests), [3, 4, 6], "those behind, and those that never came to the pipe");
        requests.note_read(100);
        assert_eq!(unread(&requests), [2, 3, 4, 6]);
    }
}
