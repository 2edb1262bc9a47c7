//! From single checks to up or down: a pure state machine with as much inertia as `rise` and
//! `fall` say.

/// One endpoint as its checks see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Streak {
    up: bool,
    /// Checks in a row that speak against `up`.
    against: u32,
}

impl Streak {
    /// An endpoint of which nothing is known but its state.
    pub(super) fn new(up: bool) -> Self {
        Self { up, against: 0 }
    }

    /// Notes a check. The new state, if it changed: after `rise` passed checks in a row it is up,
    /// after `fall` failed ones down.
    pub(super) fn note(&mut self, passed: bool, rise: u32, fall: u32) -> Option<bool> {
        if passed == self.up {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        if self.against < if self.up { fall } else { rise } {
            return None;
        }
        *self = Self::new(!self.up);
        Some(self.up)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changes(checks: &[bool], rise: u32, fall: u32) -> Vec<(usize, bool)> {
        let mut streak = Streak::new(true);
        let noted = checks.iter().enumerate();
        noted.filter_map(|(at, passed)| Some((at, streak.note(*passed, rise, fall)?))).collect()
    }

    #[test]
    fn only_as_many_in_a_row_as_asked_for_change_anything() {
        let (x, o) = (false, true);
        assert_eq!(changes(&[x, x, o, x, x, x, x], 2, 3), [(5, false)]);
        assert_eq!(changes(&[x, x, x, o, x, o, o, o], 2, 3), [(2, false), (6, true)]);
        assert_eq!(changes(&[x, o, x], 1, 1), [(0, false), (1, true), (2, false)]);
        assert_eq!(changes(&[o; 9], 2, 3), []);
    }

    proptest! {
        /// However an endpoint flaps: states alternate, and each change stands at the end of a run of
        /// checks that is as long as asked for and no part of which had led to a change before.
        #[test]
        fn a_flapping_endpoint_changes_only_behind_a_whole_run(
            checks in prop::collection::vec(any::<bool>(), 0..300),
            rise in 1_u32..5,
            fall in 1_u32..5,
        ) {
            let changes = changes(&checks, rise, fall);
            let mut up = true;
            let mut from = 0;
            for (at, now) in &changes {
                prop_assert_eq!(*now, !up);
                let run = if *now { rise } else { fall } as usize;
                prop_assert!(at + 1 >= from + run);
                prop_assert!(checks[at + 1 - run..=*at].iter().all(|passed| passed == now));
                (up, from) = (*now, at + 1);
            }
            // And no run was missed: what is left holds none.
            let run = if up { fall } else { rise } as usize;
            prop_assert!(!checks[from..].windows(run).any(|run| run.iter().all(|passed| *passed != up)));
        }
    }
}
