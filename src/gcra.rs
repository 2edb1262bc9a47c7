//! How fast, as one number: the generic cell rate algorithm. A bucket is nothing but the instant at which
//! it would be full again, in nanoseconds of a clock that the caller chooses.

/// A pace, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gcra {
    /// Between two of them; at least 1, since a place costs something at every rate.
    pub(crate) each: u64,
    /// What may come at once, in the same measure; one at least comes, whatever it is.
    pub(crate) burst: u64,
}

impl Gcra {
    /// How long the next one waits, where the bucket is full again at `full`.
    pub(crate) fn wait(self, full: u64, now: u64) -> u64 {
        self.taken(full, now).saturating_sub(self.burst.max(self.each)).saturating_sub(now)
    }

    /// When the bucket is full again once the next one has been taken from it.
    pub(crate) fn taken(self, full: u64, now: u64) -> u64 {
        full.max(now).saturating_add(self.each)
    }
}
