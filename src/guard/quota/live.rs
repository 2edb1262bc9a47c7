//! Who has how many sockets open. Exact, and as large as there are sockets.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 16;

/// Maps below this are not worth making smaller.
const SMALL: usize = 64;

/// Live sockets by key.
#[derive(Debug, Default)]
pub(super) struct Live {
    shards: [Mutex<HashMap<u64, u32>>; SHARDS],
}

/// One live socket; its drop is the only end that it has.
#[derive(Debug)]
pub(super) struct Seat {
    live: Arc<Live>,
    key: u64,
}

/// The seats that one socket has with the quotas that count it; a pointer, since every tunnel has it.
#[derive(Debug, Default)]
pub struct Seats(Option<Box<Link>>);

#[derive(Debug)]
struct Link {
    _seat: Seat,
    _next: Seats,
}

impl Seats {
    /// Whether no quota counts the socket.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Keeps one more.
    pub(super) fn add(&mut self, seat: Seat) {
        let next = Self(self.0.take());
        self.0 = Some(Box::new(Link { _seat: seat, _next: next }));
    }
}

impl Live {
    /// A seat for `key`, unless it has so many already.
    pub(super) fn take(this: &Arc<Self>, key: u64, most: NonZeroU32) -> Option<Seat> {
        let mut counts = this.shard(key)?;
        let count = counts.entry(key).or_default();
        if *count >= most.get() {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Seat { live: Arc::clone(this), key })
    }

    fn shard(&self, key: u64) -> Option<MutexGuard<'_, HashMap<u64, u32>>> {
        let shard = self.shards.get(key as usize % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(mut counts) = self.live.shard(self.key) else { return };
        let Some(count) = counts.get_mut(&self.key) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&self.key);
            // What a crowd needed is given back when it has gone.
            if counts.capacity() > SMALL && counts.len() < counts.capacity() / 8 {
                let room = counts.len().saturating_mul(2);
                counts.shrink_to(room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(live: &Live) -> (usize, usize) {
        live.shards.iter().fold((0, 0), |(len, room), shard| {
            let counts = shard.lock().unwrap();
            (len + counts.len(), room + counts.capacity())
        })
    }

    #[test]
    fn a_seat_is_free_when_it_is_dropped_and_no_sooner() {
        let (live, most) = (Arc::new(Live::default()), NonZeroU32::new(2).unwrap());
        let mut seats = Seats::default();
        seats.add(Live::take(&live, 7, most).unwrap());
        seats.add(Live::take(&live, 7, most).unwrap());
        assert!(Live::take(&live, 7, most).is_none());
        let other = Live::take(&live, 8, most);
        assert!(other.is_some(), "each key has its own");
        drop(seats);
        assert!(Live::take(&live, 7, most).is_some());
        drop(other);
        assert_eq!(size(&live).0, 0);
    }

    #[test]
    fn it_is_as_large_as_there_are_sockets() {
        let (live, most) = (Arc::new(Live::default()), NonZeroU32::MIN);
        let crowd: Vec<_> = (0..100_000).map(|key| Live::take(&live, key, most).unwrap()).collect();
        assert_eq!(size(&live).0, 100_000);
        // Who gets none leaves nothing behind.
        for key in 0..100_000 {
            assert!(Live::take(&live, key, most).is_none());
        }
        assert_eq!(size(&live).0, 100_000);
        drop(crowd);
        let (len, room) = size(&live);
        assert_eq!(len, 0);
        assert!(room <= SHARDS * SMALL * 2, "{room}");
    }
}
