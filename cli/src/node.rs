//! The node id of this process, which the log and claims contain.

use std::process;

use longshore_proto::NodeId;

use crate::exit::Exit;
use crate::failure::Failure;

/// Length of the part of a host's name in a node id. A node id has at most 128 characters.
const HOST_CHARS: usize = 64;

/// Returns a new node id: host, process id, and a random token, because process ids are used again.
pub(crate) fn name() -> Result<NodeId, Failure> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let token: u32 = rand::random();
    let name = format!("{}-{}-{token:08x}", clean(&host), process::id());
    name.parse().map_err(|error| Failure::new(Exit::Error, format!("{error}")))
}

/// Replaces characters of a host's name that a node id may not have.
fn clean(host: &str) -> String {
    let fitting = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let clean: String = host.chars().take(HOST_CHARS).map(fitting).collect();
    if clean.is_empty() { "host".to_owned() } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_host_name_makes_a_node_id() {
        assert_eq!(clean("box.example.org"), "box-example-org");
        assert_eq!(clean(""), "host");
        assert_eq!(clean(&"ü".repeat(300)), "-".repeat(HOST_CHARS));
        assert_ne!(name().expect("a node id"), name().expect("a node id"));
    }
}
