//! What differs between two picks over the same snapshot.

/// The golden ratio in 64 bits: its multiples are spread evenly however many there are.
pub(super) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What differs from one request to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw {
    /// Grows by one a request.
    pub(crate) turn: u64,
    /// A random number.
    pub(crate) random: u64,
    /// The hash of what the request is known by, if it is.
    pub(crate) key: Option<u64>,
}

impl Draw {
    /// The draw of a turn. Each turn of one `seed` has a random number of its own, without a state
    /// that workers would share.
    pub(crate) fn of(turn: u64, seed: u64, key: Option<u64>) -> Self {
        Self { turn, random: scatter(seed.wrapping_add(turn.wrapping_mul(GOLDEN))), key }
    }

    /// Further random numbers.
    pub(super) fn number(self, step: u64) -> u64 {
        scatter(self.random.wrapping_add(step.wrapping_mul(GOLDEN)))
    }
}

/// Makes of numbers in a row numbers that look like chance: the finaliser of SplitMix64 (Steele, Lea,
/// Flood: Fast splittable pseudorandom number generators, 2014).
fn scatter(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
