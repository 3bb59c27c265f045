//! Names of claim holders. A holder is one delivery to a worker, and its name begins with the worker's id.
//!
//! The same worker may get a job again while it still works on it. The second delivery must not be taken for the holder of the
//! first one's claim, because a repeated claim of the same holder succeeds. So each delivery has a name of its own.

use longshore_proto::NodeId;

/// Characters of a worker's id in a holder's name: a node id has at most 128, and a dash and a number take at most 21.
const WORKER_CHARS: usize = 107;

/// Returns the holder name of one delivery to `worker`.
pub fn claim_holder(worker: &NodeId, delivery: u64) -> NodeId {
    let stem: String = worker.as_str().chars().take(WORKER_CHARS).collect();
    format!("{stem}-{delivery}").parse().unwrap_or_else(|_| worker.clone())
}

/// Returns the worker in a holder's name, shortened if its id is long. A name of another form is returned unchanged.
pub fn worker_of(holder: &NodeId) -> NodeId {
    let parts = holder.as_str().rsplit_once('-').filter(|(_, delivery)| delivery.parse::<u64>().is_ok());
    parts.and_then(|(worker, _)| worker.parse().ok()).unwrap_or_else(|| holder.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> NodeId {
        id.parse().expect("a node id")
    }

    #[test]
    fn worker_is_read_from_the_name_of_its_holder() {
        for worker in ["host-1-abc", "host", "host-7", &"x".repeat(WORKER_CHARS)] {
            assert_eq!(worker_of(&claim_holder(&node(worker), u64::MAX)), node(worker));
        }
        assert_ne!(claim_holder(&node("host"), 1), claim_holder(&node("host"), 2));
    }

    #[test]
    fn long_worker_id_is_shortened_and_other_name_is_unchanged() {
        let long = node(&"x".repeat(128));
        assert_eq!(worker_of(&claim_holder(&long, 3)), node(&"x".repeat(WORKER_CHARS)));
        assert_eq!(worker_of(&node("host-1-abc")), node("host-1-abc"));
    }
}
