//! The pace of an upstream's upgrades: its bucket with a clock, and what outlives a plan of it.

use std::time::Duration;

use tokio::time::Instant;

use super::Told;
use super::rate::UpgradeRate;
use crate::plan::UpgradeTerms;

/// How fast one upstream takes new WebSockets, across all workers.
#[derive(Debug)]
pub struct Upgrades {
    terms: UpgradeTerms,
    /// Whose turn is when.
    turns: UpgradeRate,
    /// Who has gone on. A worker that was busy comes to several turns late and at once; they are within
    /// the burst, or wait a little more.
    passes: UpgradeRate,
    /// The beginning of the buckets' time, the same for all that follow one another.
    began: Instant,
    /// When a refusal was last told.
    pub told: Told,
}

impl Upgrades {
    /// By `terms`, going on where `before` stands, which may have had others.
    pub(in super::super) fn new(terms: UpgradeTerms, before: Option<&Self>) -> Self {
        let began = before.map_or_else(Instant::now, |before| before.began);
        let rate = |before: Option<&UpgradeRate>| {
            let fresh = UpgradeRate::new(terms.rate, terms.burst);
            match before {
                Some(before) => fresh.following(before, began.elapsed()),
                None => fresh,
            }
        };
        Self {
            terms,
            turns: rate(before.map(|before| &before.turns)),
            passes: rate(before.map(|before| &before.passes)),
            began,
            told: Told::default(),
        }
    }

    /// Takes the next free place: how long to wait for it.
    ///
    /// # Errors
    /// How long that would be, when it is longer than it may be; no place is taken then.
    pub fn reserve(&self) -> Result<Duration, Duration> {
        self.turns.reserve(self.began.elapsed(), self.terms.wait)
    }

    /// Goes on, when the turn has come.
    ///
    /// # Errors
    /// How long to wait, because others go on late.
    pub fn pass(&self) -> Result<(), Duration> {
        self.passes.reserve(self.began.elapsed(), Duration::ZERO).map(drop)
    }

    /// What it goes by.
    pub fn terms(&self) -> &UpgradeTerms {
        &self.terms
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn terms(rate: u32) -> UpgradeTerms {
        let wait = Duration::from_secs(1);
        UpgradeTerms { rate: NonZeroU32::new(rate).unwrap(), burst: 1, wait }
    }

    #[tokio::test(start_paused = true)]
    async fn turns_that_were_all_missed_are_not_made_up_for_at_once() {
        let upgrades = Upgrades::new(UpgradeTerms { burst: 5, ..terms(10) }, None);
        let taken = (0..15).filter(|_| upgrades.reserve().is_ok()).count();
        assert_eq!((taken, (0..5).filter(|_| upgrades.pass().is_ok()).count()), (15, 5));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((0..10).filter(|_| upgrades.pass().is_ok()).count(), 5);
        assert_eq!(upgrades.pass(), Err(Duration::from_millis(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_under_an_old_rate_stands_before_newcomers_under_the_new_one() {
        let old = Upgrades::new(terms(10), None);
        assert_eq!((0..20).filter(|_| old.reserve().is_ok()).count(), 11);
        let new = Upgrades::new(terms(100), Some(&old));
        let millis = Duration::from_millis;
        assert_eq!(new.reserve(), Ok(millis(110)), "behind eleven, at the new pace");
        tokio::time::advance(millis(500)).await;
        assert_eq!((new.reserve(), new.reserve()), (Ok(millis(0)), Ok(millis(10))));
    }
}
