//! Assignment of partitions to live schedulers.
//!
//! Every scheduler computes it from the same list of live schedulers, so none has to be asked; leases decide while two of them
//! have different lists. Each pair of a partition and a scheduler gets a score from their names, and the highest scores come
//! first (rendezvous hashing), so that a scheduler that joins or leaves moves few partitions besides its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use longshore_proto::{Digest, NodeId, Partition};

/// Returns the partitions that `me` should lead. The shares of two schedulers differ by at most one partition.
pub(super) fn share(live: &[NodeId], me: &NodeId, partitions: u16) -> BTreeSet<Partition> {
    // The caller is alive, even if the list does not have it yet.
    let nodes: BTreeSet<&NodeId> = live.iter().chain([me]).collect();
    let least = usize::from(partitions).checked_div(nodes.len()).unwrap_or_default();
    // Number of schedulers that get one partition more than the others.
    let mut larger_shares = usize::from(partitions).checked_rem(nodes.len()).unwrap_or_default();
    let (mut assigned, mut counts) = (BTreeMap::new(), BTreeMap::new());
    for (_, partition, node) in scores(&nodes, partitions) {
        let count: &mut usize = counts.entry(node).or_default();
        let is_one_more = *count == least && larger_shares > 0;
        if assigned.contains_key(&partition) || !(*count < least || is_one_more) {
            continue;
        }
        *count += 1;
        larger_shares -= usize::from(is_one_more);
        assigned.insert(partition, node);
    }
    assigned.into_iter().filter(|(_, node)| *node == me).map(|(partition, _)| partition).collect()
}

/// Returns every pair of a partition and a scheduler, the highest score first.
fn scores<'a>(nodes: &BTreeSet<&'a NodeId>, partitions: u16) -> Vec<(Reverse<u128>, Partition, &'a NodeId)> {
    let pairs = nodes.iter().flat_map(|node| (0..partitions).map(move |number| (Partition(number), *node)));
    let score = |partition, node| Digest::of(format!("{partition}/{node}").as_bytes()).prefix();
    let mut scores: Vec<_> =
        pairs.map(|(partition, node)| (Reverse(score(partition, node)), partition, node)).collect();
    scores.sort_unstable();
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &str) -> Vec<NodeId> {
        names.split_whitespace().map(|name| name.parse().expect("a node")).collect()
    }

    /// Returns the leader of each partition, in the order of partitions.
    fn leaders(live: &[NodeId], partitions: u16) -> Vec<NodeId> {
        let of =
            |node: &NodeId| share(live, node, partitions).into_iter().map(|p| (p, node.clone())).collect();
        let all: Vec<Vec<(Partition, NodeId)>> = live.iter().map(of).collect();
        let mut all = all.concat();
        all.sort_unstable();
        let numbers: Vec<_> = all.iter().map(|(partition, _)| *partition).collect();
        assert_eq!(numbers, (0..partitions).map(Partition).collect::<Vec<_>>(), "one leader for each");
        all.into_iter().map(|(_, node)| node).collect()
    }

    #[test]
    fn shares_are_the_same_on_every_scheduler_and_in_every_version() {
        let cases = [
            ("a", "a", "0 1 2 3 4 5 6 7"),
            ("a b", "a", "1 3 4 5"),
            ("b a", "b", "0 2 6 7"),
            ("c a b", "a", "1 4 5"),
            ("c a b", "b", "0 6 7"),
            ("c a b", "c", "2 3"),
            ("a b b a", "b", "0 2 6 7"),
            ("", "a", "0 1 2 3 4 5 6 7"),
            ("b", "a", "1 3 4 5"),
        ];
        for (live, me, expected) in cases {
            let share = share(&nodes(live), &nodes(me)[0], 8);
            let got: Vec<_> = share.iter().map(|partition| partition.0.to_string()).collect();
            assert_eq!(got.join(" "), expected, "{me} of {live}");
        }
    }

    #[test]
    fn shares_are_even_and_every_partition_has_one_leader() {
        for count in 1..12_usize {
            let live: Vec<NodeId> = (0..count).map(|n| format!("n{n}").parse().expect("a node")).collect();
            for partitions in 1..20 {
                leaders(&live, partitions);
                let sizes: BTreeSet<_> = live.iter().map(|me| share(&live, me, partitions).len()).collect();
                let apart = sizes.last().zip(sizes.first()).map(|(most, least)| most - least);
                assert!(apart <= Some(1), "{partitions} among {count}: {sizes:?}");
            }
        }
    }

    #[test]
    fn a_scheduler_that_joins_moves_few_partitions_besides_own_share() {
        let partitions = 64;
        let live: Vec<NodeId> = (0..9).map(|n| format!("scheduler-{n}").parse().expect("a node")).collect();
        for count in 1..live.len() {
            let (before, after) = (leaders(&live[..count], partitions), leaders(&live[..=count], partitions));
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            let own_share = share(&live[..=count], &live[count], partitions).len();
            assert!(moved <= 2 * own_share, "{count} and one more: {moved} moved, its share is {own_share}");
        }
    }
}
