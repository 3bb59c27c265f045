//! Names of the holders of claims: one for each delivery, made of the worker's id.
//!
//! A worker that gets a job again while it still has it must not take its own claim for one that it may use: a holder that
//! claims twice wins twice. So a holder is one delivery, and the worker's id is the beginning of its name.

use longshore_proto::NodeId;

/// Characters of a worker's id in the name of a holder: a node id has at most 128, a dash and a number at most 21.
const WORKER_CHARS: usize = 107;

/// Returns the name of the holder of a claim: `worker`, and one of its deliveries.
pub fn holder(worker: &NodeId, delivery: u64) -> NodeId {
    let stem: String = worker.as_str().chars().take(WORKER_CHARS).collect();
    format!("{stem}-{delivery}").parse().unwrap_or_else(|_| worker.clone())
}

/// Returns the worker in the name of a holder; a long id is cut there. A name that is no holder's is returned as it is.
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
    fn the_name_of_a_holder_gives_its_worker_back() {
        for worker in ["host-1-abc", "host", "host-7", &"x".repeat(WORKER_CHARS)] {
            assert_eq!(worker_of(&holder(&node(worker), u64::MAX)), node(worker));
        }
        assert_ne!(holder(&node("host"), 1), holder(&node("host"), 2));
    }

    #[test]
    fn a_long_id_is_cut_and_a_foreign_name_kept() {
        let long = node(&"x".repeat(128));
        assert_eq!(worker_of(&holder(&long, 3)), node(&"x".repeat(WORKER_CHARS)));
        assert_eq!(worker_of(&node("host-1-abc")), node("host-1-abc"));
    }
}
