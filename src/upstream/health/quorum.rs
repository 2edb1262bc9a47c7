//! How many endpoints must be left: the share below which health is ignored, and the share that may
//! be ejected. Pure functions on counts.

/// Whether so few of `all` endpoints are open that health is to be ignored: less than `percent` of
/// them; 0 for never. Backups are not among `all`; while they alone serve, and at least one of them
/// can, health is not ignored: it would send requests back to where nobody answers.
pub(super) fn is_lost(open: usize, all: usize, open_backups: usize, percent: u8) -> bool {
    let backups_serve = open == 0 && open_backups > 0;
    !backups_serve && open.saturating_mul(100) < all.saturating_mul(percent.into())
}

/// Whether one more of `all` endpoints may be ejected while `ejected` are, and `open` others neither
/// are nor are down: at most `percent` of them, rounded down, but one unless that is 0, and never the
/// last one.
pub(super) fn may_eject(all: usize, ejected: usize, open: usize, percent: u8) -> bool {
    let share = all.saturating_mul(percent.into()) / 100;
    let most = if percent == 0 { 0 } else { share.max(1) };
    ejected < most && open > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_ignored_below_the_share_and_not_at_it() {
        let is_lost = |open, all, percent| is_lost(open, all, 0, percent);
        assert!(!is_lost(1, 2, 50) && is_lost(0, 1, 50) && is_lost(1, 3, 50));
        assert!(is_lost(99, 100, 100) && !is_lost(100, 100, 100));
        assert!(!is_lost(0, 3, 0) && !is_lost(0, 0, 50));
    }

    #[test]
    fn health_counts_while_backups_serve() {
        assert!(!is_lost(0, 4, 1, 50) && !is_lost(0, 4, 1, 100));
        // They do not serve yet.
        assert!(is_lost(1, 4, 1, 50));
        assert!(is_lost(0, 4, 0, 50));
    }

    #[test]
    fn the_last_endpoint_is_never_ejected_whatever_the_share() {
        for percent in 0..=100 {
            assert!(!may_eject(1, 0, 0, percent));
            for all in 2..20 {
                assert!(!may_eject(all, all - 1, 0, percent));
            }
        }
    }

    #[test]
    fn as_many_are_ejected_as_the_share_allows_and_one_where_it_allows_less() {
        // From none on, one after another, until no further one may be.
        let most = |all: usize, percent| {
            (0..all).find(|ejected| !may_eject(all, *ejected, all - ejected - 1, percent)).unwrap()
        };
        assert_eq!((most(2, 50), most(3, 50), most(4, 50), most(5, 50)), (1, 1, 2, 2));
        assert_eq!((most(10, 10), most(5, 10), most(2, 1)), (1, 1, 1));
        assert_eq!((most(4, 100), most(4, 0), most(1, 100)), (3, 0, 0));
    }
}
