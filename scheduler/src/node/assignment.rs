//! Which scheduler should lead which partition.
//!
//! Everybody computes this from the same list of live schedulers, so nobody has to be asked; the lease settles the
//! moments in which two of them see different lists.

use std::collections::BTreeSet;

use longshore_proto::{NodeId, Partition};

/// The partitions that `me` should lead: the schedulers in the order of their ids take turns, so that no two have
/// more than one partition between them.
pub(super) fn share(live: &[NodeId], me: &NodeId, partitions: u16) -> BTreeSet<Partition> {
    // A scheduler counts itself in, whatever the list says: it would not ask if it were not there.
    let order: BTreeSet<&NodeId> = live.iter().chain([me]).collect();
    let place = order.iter().position(|node| *node == me).unwrap_or_default();
    (0..partitions)
        .filter(|partition| usize::from(*partition) % order.len() == place)
        .map(Partition)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &str) -> Vec<NodeId> {
        names.split_whitespace().map(|name| name.parse().expect("a node")).collect()
    }

    #[test]
    fn shares_are_as_even_as_they_can_be_whatever_the_order_of_the_list() {
        let cases = [
            ("a", "a", "0 1 2 3 4 5 6 7"),
            ("a b", "a", "0 2 4 6"),
            ("b a", "b", "1 3 5 7"),
            ("c a b", "a", "0 3 6"),
            ("c a b", "b", "1 4 7"),
            ("c a b", "c", "2 5"),
            ("a b b a", "b", "1 3 5 7"),
            ("", "a", "0 1 2 3 4 5 6 7"),
            ("b", "a", "0 2 4 6"),
        ];
        for (live, me, expected) in cases {
            let share = share(&nodes(live), &nodes(me)[0], 8);
            let got: Vec<_> = share.iter().map(|partition| partition.0.to_string()).collect();
            assert_eq!(got.join(" "), expected, "{me} of {live}");
        }
    }

    #[test]
    fn every_partition_has_exactly_one_scheduler() {
        for count in 1..12 {
            let live: Vec<NodeId> = (0..count).map(|n| format!("n{n}").parse().expect("a node")).collect();
            for partitions in 1..20 {
                let mut all: Vec<_> = live.iter().flat_map(|me| share(&live, me, partitions)).collect();
                all.sort_unstable();
                assert_eq!(all, (0..partitions).map(Partition).collect::<Vec<_>>());
            }
        }
    }
}
