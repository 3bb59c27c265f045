//! Which scheduler should lead which partition.
//!
//! Everybody computes this from the same list of live schedulers, so nobody has to be asked; the lease settles the
//! moments in which two of them see different lists. Each pair of a partition and a scheduler draws a number from their
//! names, and the highest go first (rendezvous hashing), so that one scheduler more or less moves little besides what
//! it takes or leaves.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use longshore_proto::{Digest, NodeId, Partition};

/// The partitions that `me` should lead. No two schedulers have more than one partition between them.
pub(super) fn share(live: &[NodeId], me: &NodeId, partitions: u16) -> BTreeSet<Partition> {
    // A scheduler counts itself in, whatever the list says: it would not ask if it were not there.
    let nodes: BTreeSet<&NodeId> = live.iter().chain([me]).collect();
    let places = usize::from(partitions);
    let every = places.checked_div(nodes.len()).unwrap_or_default();
    // How many schedulers have one more than the others.
    let mut more = places.checked_rem(nodes.len()).unwrap_or_default();
    let (mut given, mut counts) = (BTreeMap::new(), BTreeMap::new());
    for (_, partition, node) in draws(&nodes, partitions) {
        let count: &mut usize = counts.entry(node).or_default();
        let is_one_more = *count == every && more > 0;
        if given.contains_key(&partition) || !(*count < every || is_one_more) {
            continue;
        }
        *count += 1;
        more -= usize::from(is_one_more);
        given.insert(partition, node);
    }
    given.into_iter().filter(|(_, node)| *node == me).map(|(partition, _)| partition).collect()
}

/// Every pair, the highest draw first.
fn draws<'a>(nodes: &BTreeSet<&'a NodeId>, partitions: u16) -> Vec<(Reverse<u128>, Partition, &'a NodeId)> {
    let pairs = nodes.iter().flat_map(|node| (0..partitions).map(move |number| (Partition(number), *node)));
    let draw = |partition, node| Digest::of(format!("{partition}/{node}").as_bytes()).prefix();
    let mut draws: Vec<_> =
        pairs.map(|(partition, node)| (Reverse(draw(partition, node)), partition, node)).collect();
    draws.sort_unstable();
    draws
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &str) -> Vec<NodeId> {
        names.split_whitespace().map(|name| name.parse().expect("a node")).collect()
    }

    /// Who leads each partition, in the order of partitions.
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
    fn everybody_comes_to_the_same_shares_in_any_version_of_longshore() {
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
    fn one_scheduler_more_or_less_moves_little_besides_its_own_share() {
        let partitions = 64;
        let live: Vec<NodeId> = (0..9).map(|n| format!("scheduler-{n}").parse().expect("a node")).collect();
        for count in 1..live.len() {
            let (before, after) = (leaders(&live[..count], partitions), leaders(&live[..=count], partitions));
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            let its_own = share(&live[..=count], &live[count], partitions).len();
            assert!(moved <= 2 * its_own, "{count} and one more: {moved} moved, {its_own} are its own");
        }
    }
}
