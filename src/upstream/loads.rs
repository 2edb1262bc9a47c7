//! What endpoints carry, side by side in memory: a pick that compares all of an upstream's reads one
//! word of each, eight to a cache line, and follows no pointer.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Endpoint;

/// One tunnel in a word. Tunnels stand in the upper half and requests in the lower one: one number, so
/// that both together are bounded in one step.
pub(super) const TUNNEL: u64 = 1 << 32;

/// The words of endpoints that appeared together.
type Words = Arc<[AtomicU64]>;

/// One endpoint's word.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    words: Words,
    at: usize,
}

impl Slot {
    /// So many in a row.
    pub(super) fn row(count: usize) -> impl Iterator<Item = Self> {
        let words: Words = (0..count).map(|_| AtomicU64::new(0)).collect();
        (0..count).map(move |at| Self { words: Arc::clone(&words), at })
    }

    /// The word.
    pub(super) fn word(&self) -> &AtomicU64 {
        // A slot is made with its words and keeps them.
        &self.words[self.at]
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self { words: Arc::new([AtomicU64::new(0)]), at: 0 }
    }
}

/// Live tunnels in a word.
pub(super) fn tunnels(word: u64) -> u64 {
    word >> 32
}

/// Requests in flight in a word.
pub(super) fn requests(word: u64) -> u64 {
    word & (TUNNEL - 1)
}

/// Both; at most 33 bits.
pub(super) fn both(word: u64) -> u64 {
    tunnels(word) + requests(word)
}

/// The words of an upstream's endpoints, in their order.
#[derive(Debug)]
pub(super) struct Loads(Vec<Run>);

/// Endpoints whose words stand in a row.
#[derive(Debug)]
struct Run {
    /// The index of the first endpoint.
    first: usize,
    words: Words,
    at: Range<usize>,
}

impl Loads {
    /// Of these endpoints. One run, unless some have appeared later than others.
    pub(super) fn of(endpoints: &[Arc<Endpoint>]) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        for (index, Slot { words, at }) in endpoints.iter().map(|one| one.slot()).enumerate() {
            match runs.last_mut() {
                Some(run) if Arc::ptr_eq(&run.words, words) && run.at.end == *at => {
                    run.at.end = at.saturating_add(1);
                }
                _ => runs.push(Run {
                    first: index,
                    words: Arc::clone(words),
                    at: *at..at.saturating_add(1),
                }),
            }
        }
        Self(runs)
    }

    /// Shows the endpoints of `range` in order: the index of each, and its load.
    pub(super) fn each(&self, range: Range<usize>, mut see: impl FnMut(usize, u64)) {
        for run in &self.0 {
            let words = run.words.get(run.at.clone()).unwrap_or_default();
            let from = range.start.saturating_sub(run.first).min(words.len());
            let to = range.end.saturating_sub(run.first).min(words.len());
            let part = words.get(from..to).unwrap_or_default();
            for (index, word) in (run.first.saturating_add(from)..).zip(part) {
                see(index, both(word.load(Ordering::Relaxed)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Target;

    fn endpoint(slot: Slot) -> Arc<Endpoint> {
        let target = Target::Address(([127, 0, 0, 1], 1).into());
        let endpoint = Endpoint::new(0, "web".to_owned(), "127.0.0.1:1".to_owned(), target);
        Arc::new(endpoint.in_slot(slot))
    }

    #[test]
    fn endpoints_are_seen_once_each_in_their_order_whenever_they_appeared() {
        let mut old: Vec<_> = Slot::row(5).map(endpoint).collect();
        let new: Vec<_> = Slot::row(2).map(endpoint).collect();
        // One of the old ones is gone, and two have changed places.
        old.remove(3);
        old.swap(0, 1);
        let all = [&old[..2], &new, &old[2..]].concat();
        for (index, one) in all.iter().enumerate() {
            one.slot().word().store(index as u64 * (TUNNEL + 1), Ordering::Relaxed);
        }
        let loads = Loads::of(&all);
        assert_eq!(loads.0.len(), 5);
        for from in 0..=all.len() {
            for to in from..=all.len() + 1 {
                let mut seen = Vec::new();
                loads.each(from..to, |index, load| seen.push((index, load)));
                let expected: Vec<_> =
                    (from..to.min(all.len())).map(|at| (at, 2 * at as u64)).collect();
                assert_eq!(seen, expected, "{from}..{to}");
            }
        }
        assert_eq!(Loads::of(&Slot::row(1000).map(endpoint).collect::<Vec<_>>()).0.len(), 1);
    }

    #[test]
    fn a_word_holds_both_counts_apart() {
        let slot = Slot::default();
        slot.word().fetch_add(3 * TUNNEL + 2, Ordering::Relaxed);
        let word = slot.word().load(Ordering::Relaxed);
        assert_eq!((tunnels(word), requests(word), both(word)), (3, 2, 5));
        assert_eq!(both(u64::MAX), 2 * u64::from(u32::MAX));
    }
}
