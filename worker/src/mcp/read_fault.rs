//! Reasons why a resource is not read.

use longshore_attempt::CallFault;

use super::classify::{INVALID_PARAMS, McpFailure};

/// MCP error code: the server has no such resource. Version 2026-07-28 uses [`INVALID_PARAMS`] instead.
const RESOURCE_NOT_FOUND: i64 = -32002;

/// Reason why a resource is not read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ReadFault {
    /// The server cannot be reached, so no request was sent.
    Server(CallFault),
    /// The server has no such resource. Holds its error message.
    NotFound(String),
    /// The request for the resource failed.
    Resource(CallFault),
}

impl ReadFault {
    /// Classifies the failure of a request for a resource.
    pub(super) fn of_request(failure: McpFailure) -> Self {
        match failure {
            McpFailure::JsonRpc { code: INVALID_PARAMS | RESOURCE_NOT_FOUND, message, .. } => {
                Self::NotFound(message)
            }
            other => Self::Resource(other.into_fault()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_codes_for_a_missing_resource_become_not_found() {
        let answered = |code| {
            let message = "no x://y".to_owned();
            let (data, supported) = (String::new(), Vec::new());
            ReadFault::of_request(McpFailure::JsonRpc { code, message, data, supported })
        };
        for code in [-32602, -32002] {
            assert_eq!(answered(code), ReadFault::NotFound("no x://y".to_owned()));
        }
        assert!(matches!(answered(-32603), ReadFault::Resource(_)));
    }
}
