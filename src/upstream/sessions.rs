//! Which endpoint gave out which session: learned from the answers that pass, for clients that keep
//! no cookies. A bounded memory; what was not asked for longest is forgotten first.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::hash;

/// Sessions in each half of the memory: 131,072 at most in all, and 4 MB with their tables. A session
/// needs its entry until its client has its WebSocket, or for its life if it only polls.
const HALF: usize = 65_536;

/// Sessions of all upstreams, and the ids of their endpoints.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    halves: Mutex<Halves>,
    /// Nobody knows it who makes up sessions.
    seed: u64,
}

/// What is known. A full young half becomes the old one, which is then forgotten.
#[derive(Debug, Default)]
struct Halves {
    young: HashMap<u64, usize>,
    old: HashMap<u64, usize>,
}

impl Sessions {
    /// Knows none.
    pub(super) fn new(seed: u64) -> Self {
        Self { halves: Mutex::default(), seed }
    }

    /// Notes that an endpoint of `upstream` gave out a session.
    pub(super) fn learn(&self, upstream: &str, session: &str, endpoint: usize) {
        self.lock().put(self.key(upstream, session), endpoint);
    }

    /// The id of the endpoint that gave it out.
    pub(super) fn find(&self, upstream: &str, session: &str) -> Option<usize> {
        let key = self.key(upstream, session);
        let mut halves = self.lock();
        if let Some(endpoint) = halves.young.get(&key) {
            return Some(*endpoint);
        }
        let endpoint = halves.old.remove(&key)?;
        halves.put(key, endpoint);
        Some(endpoint)
    }

    /// Two sessions with one key cost one of them its way, once in 2^64.
    fn key(&self, upstream: &str, session: &str) -> u64 {
        let upstream = hash::seeded(self.seed, upstream.as_bytes());
        hash::seeded(upstream, session.as_bytes())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Halves> {
        // Both maps are whole after any panic.
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Halves {
    fn put(&mut self, key: u64, endpoint: usize) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, endpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_under_its_own_upstream_only() {
        let sessions = Sessions::new(7);
        sessions.learn("chat", "abc", 3);
        assert_eq!(sessions.find("chat", "abc"), Some(3));
        assert_eq!(sessions.find("web", "abc"), None);
        assert_eq!(sessions.find("chat", "abd"), None);
    }

    #[test]
    fn memory_is_bounded_and_what_is_asked_for_stays() {
        let sessions = Sessions::new(7);
        sessions.learn("chat", "asked", 1);
        sessions.learn("chat", "silent", 2);
        for number in 0..4 * HALF {
            sessions.learn("chat", &number.to_string(), 3);
            if number % 1000 == 0 {
                assert_eq!(sessions.find("chat", "asked"), Some(1), "{number}");
            }
        }
        assert_eq!(sessions.find("chat", "silent"), None);
        let halves = sessions.lock();
        assert!(halves.young.len() <= HALF && halves.old.len() <= HALF);
    }
}
