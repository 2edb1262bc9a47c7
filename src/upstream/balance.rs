//! Which endpoint comes next: a pure function over a snapshot of loads.

use crate::config::Balance;

/// The index of the next endpoint out of `count`. `load` gives an endpoint's live sockets and
/// requests, `None` when it is out of the question. `turn` grows by one a call.
pub(super) fn pick(
    policy: Balance,
    count: usize,
    load: impl Fn(usize) -> Option<usize>,
    turn: usize,
) -> Option<usize> {
    let start = turn.checked_rem(count)?;
    // From `start` round to it again: equals take turns.
    let mut candidates =
        (start..count).chain(0..start).filter_map(|index| Some((index, load(index)?)));
    match policy {
        Balance::RoundRobin => candidates.next(),
        Balance::LeastConnections => candidates.min_by_key(|(_, load)| *load),
    }
    .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_robin_takes_turns_and_passes_over_what_is_out() {
        let open = |index| (index != 1).then_some(0);
        let picks: Vec<_> =
            (0..6).filter_map(|turn| pick(Balance::RoundRobin, 3, open, turn)).collect();
        assert_eq!(picks, [0, 2, 2, 0, 2, 2]);
    }

    #[test]
    fn least_connections_takes_the_emptiest_and_lets_equals_take_turns() {
        let loads = [3, 1, 1];
        let load = |index: usize| loads.get(index).copied();
        let picks: Vec<_> =
            (0..3).filter_map(|turn| pick(Balance::LeastConnections, 3, load, turn)).collect();
        assert_eq!(picks, [1, 1, 2]);
    }

    #[test]
    fn nothing_to_pick_from_is_none() {
        assert_eq!(pick(Balance::RoundRobin, 0, |_| Some(0), 5), None);
        assert_eq!(pick(Balance::LeastConnections, 2, |_| None, 5), None);
    }
}
