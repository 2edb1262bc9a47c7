//! Session tickets: a session's state, sealed, that the client keeps for us (RFC 8446 section 4.6.1,
//! RFC 5077). Nothing is remembered here, so a reload, a renewed certificate or another Bowline with
//! the same keys resumes it.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use tokio_rustls::rustls::server::ProducesTickets;

/// How long a ticket is taken, in seconds: 12 hours, as rustls's own.
const LIFETIME: u64 = 12 * 60 * 60;

/// How long a key of the process's own makes tickets, in seconds.
const TURN: u64 = 6 * 60 * 60;

/// How far the clocks of two Bowlines with the same keys may differ, in seconds.
const SKEW: u64 = 60;

const NAME: usize = 16;
const NONCE: usize = 12;
const TIME: usize = 8;

/// What a ticket is good for: one that was given out where clients are identified in one way opens
/// nothing where they are in another.
pub(super) type Purpose = [u8; 32];

/// A key of tickets.
#[derive(Clone)]
struct TicketKey {
    /// Stands in the ticket, so that its key is found.
    name: [u8; NAME],
    seal: Arc<LessSafeKey>,
    /// Unix time; from then on it has made tickets.
    since: u64,
}

/// The keys of tickets, the one that makes them first.
pub(super) struct Keyring {
    keys: ArcSwap<Vec<TicketKey>>,
}

impl TicketKey {
    /// A key of `secret`, 48 or 80 bytes: the first 16 are its name, as nginx and HAProxy have it.
    fn of(secret: &[u8], since: u64) -> Option<Self> {
        let (name, secret) = secret.split_first_chunk::<NAME>()?;
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"bowline ticket 1");
        // Two nonces that are equal by chance do not break this cipher, so a key may stay for years.
        let key = UnboundKey::new(&AES_256_GCM_SIV, derived.as_ref()).ok()?;
        Some(Self { name: *name, seal: Arc::new(LessSafeKey::new(key)), since })
    }

    fn random(now: u64) -> Option<Self> {
        let mut secret = [0; 80];
        rand::fill(&mut secret).ok()?;
        Self::of(&secret, now)
    }
}

impl Keyring {
    /// A key of the process's own. Without any, which is when the system has no random numbers, no
    /// tickets are made.
    pub(super) fn own() -> Self {
        Self { keys: ArcSwap::from_pointee(TicketKey::random(unix_time()).into_iter().collect()) }
    }

    /// The keys of a file.
    pub(super) fn of(secrets: &[Vec<u8>]) -> Self {
        let keys = secrets.iter().filter_map(|secret| TicketKey::of(secret, 0));
        Self { keys: ArcSwap::from_pointee(keys.collect()) }
    }

    /// Has a new key make tickets when the one that does is old, and forgets keys of which no ticket
    /// is taken any more. For keys of the process's own; one caller.
    pub(super) fn turn(&self, now: u64) {
        let keys = self.keys.load();
        if keys.first().is_some_and(|key| now < key.since.saturating_add(TURN)) {
            return;
        }
        let Some(fresh) = TicketKey::random(now) else { return };
        let of_use = |key: &&TicketKey| now < key.since.saturating_add(TURN + LIFETIME);
        let kept = keys.iter().filter(of_use).cloned();
        self.keys.store(Arc::new(std::iter::once(fresh).chain(kept).collect()));
    }

    /// name, nonce, and sealed: time of issue and `state`.
    fn seal(&self, state: &[u8], purpose: &Purpose, now: u64) -> Option<Vec<u8>> {
        let keys = self.keys.load();
        let key = keys.first()?;
        let mut nonce = [0; NONCE];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = [&now.to_be_bytes()[..], state].concat();
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        key.seal.seal_in_place_append_tag(nonce_used, Aad::from(*purpose), &mut sealed).ok()?;
        Some([&key.name[..], &nonce, &sealed].concat())
    }

    /// The state in a ticket that was sealed here, for this purpose, and not too long ago.
    fn open(&self, ticket: &[u8], purpose: &Purpose, now: u64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let keys = self.keys.load();
        let key = keys.iter().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.seal.open_in_place(nonce, Aad::from(*purpose), &mut sealed).ok()?;
        let (issued, state) = opened.split_first_chunk::<TIME>()?;
        let issued = u64::from_be_bytes(*issued);
        let of_now = issued <= now.saturating_add(SKEW) && now < issued.saturating_add(LIFETIME);
        of_now.then(|| state.to_vec())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.keys.load().len())
    }
}

/// A keyring as rustls uses it on one listener.
#[derive(Debug)]
pub(super) struct Ticketer {
    pub(super) keys: Arc<Keyring>,
    pub(super) purpose: Purpose,
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.seal(plain, &self.purpose, unix_time())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.keys.open(cipher, &self.purpose, unix_time())
    }
}

/// Seconds since 1970.
pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Purpose = [1; 32];
    const ELSEWHERE: Purpose = [2; 32];
    const NOW: u64 = 1_800_000_000;

    fn ring(secrets: &[u8]) -> Keyring {
        Keyring::of(&secrets.iter().map(|byte| vec![*byte; 80]).collect::<Vec<_>>())
    }

    #[test]
    fn a_ticket_is_opened_by_its_key_for_its_purpose_in_its_time() {
        let ring = ring(&[1]);
        let ticket = ring.seal(b"state", &HERE, NOW).unwrap();
        assert_eq!(ring.open(&ticket, &HERE, NOW).unwrap(), b"state");
        assert_eq!(ring.open(&ticket, &HERE, NOW + LIFETIME - 1).unwrap(), b"state");
        assert_eq!(ring.open(&ticket, &HERE, NOW - SKEW).unwrap(), b"state");
        assert_eq!(ring.open(&ticket, &HERE, NOW + LIFETIME), None);
        assert_eq!(ring.open(&ticket, &HERE, NOW - SKEW - 1), None);
        assert_eq!(ring.open(&ticket, &ELSEWHERE, NOW), None);
    }

    #[test]
    fn whatever_is_not_a_ticket_is_no_ticket() {
        let ring = ring(&[1]);
        let ticket = ring.seal(b"state", &HERE, NOW).unwrap();
        for length in 0..ticket.len() {
            assert_eq!(ring.open(&ticket[..length], &HERE, NOW), None);
        }
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(ring.open(&forged, &HERE, NOW), None, "{at}");
        }
    }

    #[test]
    fn the_first_key_makes_tickets_and_all_open_them() {
        let (before, after, later) = (ring(&[1]), ring(&[2, 1]), ring(&[3, 2]));
        let old = before.seal(b"a", &HERE, NOW).unwrap();
        assert_eq!(after.open(&old, &HERE, NOW).unwrap(), b"a");
        let new = after.seal(b"b", &HERE, NOW).unwrap();
        assert_eq!(before.open(&new, &HERE, NOW), None);
        assert_eq!(later.open(&new, &HERE, NOW).unwrap(), b"b");
        assert_eq!(later.open(&old, &HERE, NOW), None);
        let short = Keyring::of(&[vec![1; 48]]);
        assert_eq!(short.open(&old, &HERE, NOW), None, "a secret of another length is another");
    }

    #[test]
    fn own_keys_take_turns_and_no_ticket_is_lost_by_it() {
        let ring = Keyring { keys: ArcSwap::from_pointee(vec![TicketKey::random(NOW).unwrap()]) };
        let name = |ring: &Keyring| ring.keys.load()[0].name;
        let first = name(&ring);
        let at_last = NOW + TURN - 1;
        let ticket = ring.seal(b"a", &HERE, at_last).unwrap();
        ring.turn(at_last);
        assert_eq!(name(&ring), first);
        let mut now = NOW;
        while now < at_last + LIFETIME {
            ring.turn(now);
            assert!(ring.open(&ticket, &HERE, now.max(at_last)).is_some(), "{}", now - NOW);
            assert!(ring.keys.load().len() <= 4);
            now += 60;
        }
        assert_ne!(name(&ring), first);
        ring.turn(now + TURN);
        assert!(ring.keys.load().iter().all(|key| key.name != first));
    }

    #[test]
    fn two_processes_have_keys_of_their_own() {
        let (one, other) = (Keyring::own(), Keyring::own());
        let ticket = one.seal(b"a", &HERE, NOW).unwrap();
        assert_eq!(other.open(&ticket, &HERE, NOW), None);
    }
}
