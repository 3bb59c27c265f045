//! Reasons why a resource is not read.

use longshore_attempt::CallFault;

use super::classify::{INVALID_PARAMS, Observation};

/// MCP: the server has no such resource. Version 2026-07-28 has [`INVALID_PARAMS`] for it.
const RESOURCE_NOT_FOUND: i64 = -32002;

/// Reason why a resource is not read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ReadFault {
    /// The server cannot be reached, so it was not asked.
    Server(CallFault),
    /// The server has no such resource, in its words.
    NotFound(String),
    /// The server was asked, and does not give the resource.
    Resource(CallFault),
}

impl ReadFault {
    /// The meaning of what was seen after the server was asked.
    pub(super) fn of_request(seen: Observation) -> Self {
        match seen {
            Observation::JsonRpc { code: INVALID_PARAMS | RESOURCE_NOT_FOUND, message, .. } => {
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
    fn only_the_codes_for_a_missing_resource_mean_that_it_is_missing() {
        let answered = |code| {
            let message = "no x://y".to_owned();
            let (data, supported) = (String::new(), Vec::new());
            ReadFault::of_request(Observation::JsonRpc { code, message, data, supported })
        };
        for code in [-32602, -32002] {
            assert_eq!(answered(code), ReadFault::NotFound("no x://y".to_owned()));
        }
        assert!(matches!(answered(-32603), ReadFault::Resource(_)));
    }
}
