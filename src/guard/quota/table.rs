//! Buckets of many keys in a memory that does not grow. A key that has not been seen for as long as its
//! bucket takes to fill needs no slot, so what is here is who came lately.

use std::sync::{Mutex, PoisonError};

/// Slots in a set: a key has its place in one of them, anywhere within.
const WAYS: usize = 8;

/// Sets; with so many two workers seldom meet at one, and then for a few nanoseconds.
const SETS: usize = 8192;

/// When buckets are full again, by key. In a full set the bucket that is full soonest makes room: whose it
/// is begins anew with a full one. It is never the other way round, a stranger paying for another.
#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[Mutex<[Slot; WAYS]>]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    /// 0 where nobody is.
    full: u64,
}

impl Default for Table {
    fn default() -> Self {
        Self { sets: (0..SETS).map(|_| Mutex::default()).collect() }
    }
}

impl Table {
    /// Makes of the instant at which the bucket of `key` is full what `next` makes of it.
    ///
    /// # Errors
    /// That instant, where `next` says no; nothing changes then.
    pub(super) fn update(
        &self,
        key: u64,
        next: impl FnOnce(u64) -> Option<u64>,
    ) -> Result<(), u64> {
        let Some(set) = self.sets.get(key as usize % SETS) else { return Ok(()) };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let own = |slot: &Slot| slot.key == key && slot.full > 0;
        let first = |slot: &&mut Slot| if own(slot) { 0 } else { slot.full.saturating_add(1) };
        let Some(slot) = set.iter_mut().min_by_key(first) else { return Ok(()) };
        let full = if own(slot) { slot.full } else { 0 };
        *slot = Slot { key, full: next(full).ok_or(full)? };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that have a slot.
    fn len(table: &Table) -> usize {
        let taken = |set: &Mutex<[Slot; WAYS]>| {
            set.lock().unwrap().iter().filter(|slot| slot.full > 0).count()
        };
        table.sets.iter().map(taken).sum()
    }

    /// Spreads small numbers as a hash does.
    fn key(number: u64) -> u64 {
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32)
    }

    #[test]
    fn a_million_keys_take_the_memory_of_none() {
        let table = Table::default();
        let bytes = size_of_val(&*table.sets);
        assert!(bytes <= 1_200_000, "{bytes} bytes");
        for number in 1..=1_000_000 {
            assert_eq!(table.update(key(number), |_| Some(number)), Ok(()));
            // Nothing in it points anywhere: it is all there is.
            assert!(number % 100_000 != 0 || len(&table) <= WAYS * SETS);
        }
        assert_eq!(len(&table), WAYS * SETS, "full, and no larger");
        assert_eq!(size_of_val(&*table.sets), bytes);
    }

    #[test]
    fn in_a_full_set_who_owes_the_least_makes_room_and_nobody_inherits() {
        let table = Table::default();
        // All of one set.
        let key = |number: u64| number * SETS as u64;
        for number in 1..=WAYS as u64 {
            table.update(key(number), |full| (full == 0).then_some(1000 + number)).unwrap();
        }
        table.update(key(99), |full| (full == 0).then_some(5000)).unwrap();
        let full = |number| table.update(key(number), |_| None).unwrap_err();
        assert_eq!(full(1), 0, "forgotten");
        for number in 2..=WAYS as u64 {
            assert_eq!(full(number), 1000 + number);
        }
        assert_eq!(full(99), 5000);
    }

    #[test]
    fn threads_lose_no_update() {
        let table = Table::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..40_000 {
                        table.update(key(number % 10), |full| Some(full + 1)).unwrap();
                    }
                });
            }
        });
        for number in 0..10 {
            assert_eq!(table.update(key(number), |_| None), Err(16_000));
        }
    }
}
