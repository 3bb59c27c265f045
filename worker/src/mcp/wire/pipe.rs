//! Requests that a server did not read from the pipe of its input before it ended.

use rmcp::RoleClient;
use rmcp::model::{JsonRpcMessage, RequestId};
use rmcp::service::TxJsonRpcMessage;

use super::{PendingRequests, number};

impl PendingRequests {
    /// Records that a message is written to a pipe, after this number of bytes.
    pub(crate) fn note_start(&self, message: &TxJsonRpcMessage<RoleClient>, written: u64) {
        if let JsonRpcMessage::Request(request) = message
            && let Some(id) = number(&request.id)
            && let Some(waiting) = self.state().waiting.get_mut(&id)
        {
            waiting.start = Some(written);
        }
    }

    /// Records that no process reads the pipe any more, and the number of bytes that were read.
    pub(crate) fn note_read(&self, bytes: u64) {
        self.state().read_bytes = Some(bytes);
    }

    /// Returns true if it is certain that no process has read any byte of a request, and none will.
    pub(crate) fn is_unread(&self, id: &RequestId) -> bool {
        let (state, Some(id)) = (self.state(), number(id)) else { return false };
        let Some(read) = state.read_bytes else { return false };
        match state.waiting.get(&id) {
            Some(waiting) => waiting.start.is_none_or(|start| start >= read),
            // The request was never written to the pipe.
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
    fn request_is_unread_if_no_byte_of_it_was_read_or_can_be_read() {
        let requests = PendingRequests::new(Secrets::default(), Elicitation::Refuse);
        for (id, start) in [(1, 0), (2, 100), (3, 200)] {
            requests.note_sent(&call(id));
            requests.note_start(&call(id), start);
        }
        requests.note_sent(&call(4));
        requests.note_sent(&call(5));
        requests.give_up(&RequestId::Number(5));
        requests.read(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#, None);
        let unread = |requests: &PendingRequests| {
            (1..=6).filter(|id| requests.is_unread(&RequestId::Number(*id))).collect::<Vec<_>>()
        };
        assert_eq!(unread(&requests), [0_i64; 0], "while the server may read more");
        requests.note_read(101);
        assert_eq!(unread(&requests), [3, 4, 6], "those behind, and those that were never written");
        requests.note_read(100);
        assert_eq!(unread(&requests), [2, 3, 4, 6]);
    }
}
