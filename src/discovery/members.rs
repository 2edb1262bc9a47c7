//! Which endpoints an upstream has, all its sources together, and what differs between two lists. Pure.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::plan::{Discovered, Endpoint};

/// Names of endpoints in one line of the log; of more, only how many.
const SHOWN: usize = 10;

/// What a source found, with what the configuration says about its endpoints.
pub(super) fn claimed(found: &[Endpoint], by: &Discovered) -> impl Iterator<Item = Endpoint> {
    let (weight, backup) = (by.weight, by.backup);
    // A source that has weights of its own is not given one.
    let weighed = move |one: &Endpoint| if weight == 1 { one.weight } else { weight };
    found.iter().map(move |one| Endpoint {
        weight: weighed(one),
        backup: backup || one.backup,
        ..one.clone()
    })
}

/// All of these, each once (the first of a label counts), and light enough: `room` is what their weights
/// may come to together. How many had to be left out for want of room.
pub(super) fn fitted(
    endpoints: impl Iterator<Item = Endpoint>,
    room: u32,
) -> (Vec<Endpoint>, usize) {
    let mut known = HashSet::new();
    let mut all: Vec<_> = endpoints.filter(|one| known.insert(one.label.clone())).collect();
    let most = usize::try_from(room).unwrap_or(usize::MAX);
    let too_many = all.len().saturating_sub(most);
    all.truncate(most);
    let sum = |all: &[Endpoint]| all.iter().map(|one| u64::from(one.weight)).sum::<u64>();
    let (whole, room) = (sum(&all), u64::from(room));
    if whole > room {
        // What exceeds 1 for each is shared out in proportion.
        let count = all.len() as u64;
        let (spare, wanted) = (room.saturating_sub(count), whole.saturating_sub(count).max(1));
        for one in &mut all {
            let more = u64::from(one.weight).saturating_sub(1) * spare / wanted;
            one.weight = u16::try_from(more.saturating_add(1)).unwrap_or(u16::MAX);
        }
    }
    (all, too_many)
}

/// What a new list changes, for the log: who joins, who leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) joined: String,
    pub(super) left: String,
}

impl Change {
    /// `None` where both lists are the same.
    pub(super) fn between(before: &[Endpoint], after: &[Endpoint]) -> Option<Self> {
        let without = |these: &[Endpoint], those: &[Endpoint]| {
            let those: HashSet<_> = those.iter().map(|one| one.label.as_str()).collect();
            let rest = these.iter().map(|one| one.label.as_str());
            named(rest.filter(|label| !those.contains(label)))
        };
        (before != after)
            .then(|| Self { joined: without(after, before), left: without(before, after) })
    }
}

fn named<'a>(labels: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<_> = labels.collect();
    let mut text = all.iter().take(SHOWN).copied().collect::<Vec<_>>().join(" ");
    if all.len() > SHOWN {
        // Writing to a String cannot fail.
        write!(text, " and {} more", all.len() - SHOWN).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Source;

    fn endpoints(written: &[(&str, u16)]) -> Vec<Endpoint> {
        let endpoint = |(address, weight): &(&str, u16)| Endpoint {
            weight: *weight,
            ..Endpoint::at(address.parse().unwrap())
        };
        written.iter().map(endpoint).collect()
    }

    #[test]
    fn the_first_of_a_label_counts() {
        let all = endpoints(&[("10.0.0.1:1", 3), ("10.0.0.2:1", 1), ("10.0.0.1:1", 9)]);
        let (fitted, out) = fitted(all.into_iter(), 100);
        assert_eq!(fitted, endpoints(&[("10.0.0.1:1", 3), ("10.0.0.2:1", 1)]));
        assert_eq!(out, 0);
    }

    #[test]
    fn weights_are_divided_until_they_fit_and_who_has_no_room_is_counted() {
        let many = |count: u16, weight: u16| -> Vec<_> {
            (1..=count)
                .map(|port| Endpoint { weight, ..Endpoint::at(([10, 0, 0, 1], port).into()) })
                .collect()
        };
        for (count, weight, room) in [(100, 256, 4_096), (300, 256, 65_535), (4_096, 9, 4_096)] {
            let (all, out) = fitted(many(count, weight).into_iter(), room);
            let sum: u32 = all.iter().map(|one| u32::from(one.weight)).sum();
            assert!(sum <= room && sum * 3 > room * 2, "{sum} of {room}");
            assert!(all.iter().all(|one| one.weight >= 1 && one.weight == all[0].weight));
            assert_eq!((all.len(), out), (usize::from(count), 0));
        }
        let (all, out) = fitted(many(5_000, 2).into_iter(), 4_096);
        assert_eq!((all.len(), out), (4_096, 904));
        assert!(all.iter().all(|one| one.weight == 1));
    }

    #[test]
    fn an_entry_gives_its_endpoints_weight_and_place() {
        let source = Source::Services { name: "a".to_owned() };
        let by = |weight, backup| Discovered { source: source.clone(), weight, backup };
        let found = endpoints(&[("10.0.0.1:1", 7)]);
        let one = |by: &Discovered| claimed(&found, by).next().map(|one| (one.weight, one.backup));
        assert_eq!(one(&by(1, false)), Some((7, false)));
        assert_eq!(one(&by(3, true)), Some((3, true)));
    }

    #[test]
    fn a_change_names_who_joins_and_who_leaves() {
        let before = endpoints(&[("10.0.0.1:1", 1), ("10.0.0.2:1", 1)]);
        let after = endpoints(&[("10.0.0.2:1", 1), ("10.0.0.3:1", 1)]);
        let change = Change::between(&before, &after).unwrap();
        assert_eq!((change.joined.as_str(), change.left.as_str()), ("10.0.0.3:1", "10.0.0.1:1"));
        assert_eq!(Change::between(&before, &before), None);
        let heavier = endpoints(&[("10.0.0.1:1", 2), ("10.0.0.2:1", 1)]);
        let change = Change::between(&before, &heavier).unwrap();
        assert_eq!((change.joined.as_str(), change.left.as_str()), ("", ""));
        let many: Vec<_> =
            (1..=12).map(|port| Endpoint::at(([10, 0, 0, 1], port).into())).collect();
        assert!(Change::between(&[], &many).unwrap().joined.ends_with("10.0.0.1:10 and 2 more"));
    }
}
