//! Whether a side is still there: a ping when nothing was heard of it for a while, and an end when
//! nothing comes back. Decisions only; time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::frame::{self, Heading};

/// How often a side is asked, and for how long it may keep quiet then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Of silence before a ping.
    pub interval: Duration,
    /// Of silence after a ping before the side counts as gone.
    pub timeout: Duration,
}

/// The first half of a ping's payload: who looks at frames sees whose it is.
const SIGNATURE: [u8; 4] = *b"bowl";

/// What is known of one side.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// When the last byte came.
    heard: Instant,
    ping: Ping,
    /// The second half of the last ping's payload; a random number at first, one more each time.
    tag: u32,
    /// Which of the last eight have no answer yet, the last one in the lowest place.
    unanswered: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    /// None is out.
    No,
    /// One waits for the end of a frame under way.
    Waits,
    /// One went out then.
    Out(Instant),
    /// None will be any more; those that are out may still be answered.
    Over,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing.
    Wait,
    /// Send a ping.
    Ask,
    /// Nothing came back.
    Gone,
}

impl Heartbeat {
    /// A side that was heard `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { heard: now, ping: Ping::No, tag: 0, unanswered: 0 }
    }

    /// Bytes came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When [`Heartbeat::act`] will have something to do; `None` while a ping waits, or for good.
    pub(super) fn due(&self, pulse: Pulse) -> Option<Instant> {
        match self.ping {
            Ping::Waits | Ping::Over => None,
            // A ping that had to wait may be asked of a side that has just said something.
            Ping::Out(sent) if sent >= self.heard => {
                let (sent, heard) =
                    (sent.checked_add(pulse.timeout)?, self.heard.checked_add(pulse.interval)?);
                Some(sent.max(heard))
            }
            // Whatever was heard since is as good as a pong.
            Ping::Out(_) | Ping::No => self.heard.checked_add(pulse.interval),
        }
    }

    /// What is to be done `now`.
    pub(super) fn act(&self, pulse: Pulse, now: Instant) -> Act {
        match self.due(pulse) {
            Some(due) if due <= now => match self.ping {
                Ping::Out(sent) if sent >= self.heard => Act::Gone,
                _ => Act::Ask,
            },
            _ => Act::Wait,
        }
    }

    /// The next ping. It counts from when it is [`Heartbeat::sent`].
    pub(super) fn ask(&mut self, heading: Heading) -> Vec<u8> {
        if self.tag == 0 {
            // Without randomness a peer could guess a tag, and gain nothing by it.
            self.tag = getrandom::u32().unwrap_or_default();
        }
        self.tag = self.tag.wrapping_add(1);
        self.unanswered = (self.unanswered << 1) | 1;
        self.ping = Ping::Waits;
        let [a, b, c, d] = SIGNATURE;
        let [e, f, g, h] = self.tag.to_be_bytes();
        frame::ping(heading, [a, b, c, d, e, f, g, h])
    }

    /// Asks no more. What answers an earlier ping is still ours.
    pub(super) fn rest(&mut self) {
        self.ping = Ping::Over;
    }

    /// Nothing was asked yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.tag == 0
    }

    /// The ping went out.
    pub(super) fn sent(&mut self, now: Instant) {
        if self.ping == Ping::Waits {
            self.ping = Ping::Out(now);
        }
    }

    /// Whether a pong answers one of ours, be it late; with the round trip when it answers the last.
    pub(super) fn pong(&mut self, payload: &[u8], now: Instant) -> Option<Option<Duration>> {
        let tag = payload.strip_prefix(&SIGNATURE)?.try_into().ok()?;
        let age = self.tag.wrapping_sub(u32::from_be_bytes(tag));
        let place = 1_u8.checked_shl(age).filter(|place| self.unanswered & place != 0)?;
        // Once: a peer may not have more swallowed than it was asked for.
        self.unanswered &= !place;
        match self.ping {
            Ping::Out(sent) if age == 0 => {
                self.ping = Ping::No;
                Some(Some(now.saturating_duration_since(sent)))
            }
            // It has gone out, though what came behind it still waits with it to be taken.
            Ping::Waits if age == 0 => {
                self.ping = Ping::No;
                Some(None)
            }
            _ => Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PULSE: Pulse =
        Pulse { interval: Duration::from_secs(30), timeout: Duration::from_secs(10) };

    fn at(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    /// The payload of a ping to the client.
    fn tag(frame: &[u8]) -> [u8; 8] {
        assert_eq!(frame[..2], [0x89, 8]);
        frame[2..].try_into().unwrap()
    }

    #[test]
    fn a_side_that_talks_is_never_asked() {
        let began = Instant::now();
        let mut heartbeat = Heartbeat::new(began);
        for minute in (0..3600).step_by(29) {
            assert_eq!(heartbeat.act(PULSE, at(began, minute)), Act::Wait);
            heartbeat.heard(at(began, minute));
        }
    }

    #[test]
    fn a_quiet_side_is_asked_and_its_answer_is_a_round_trip() {
        let began = Instant::now();
        let mut heartbeat = Heartbeat::new(began);
        for round in 0..5 {
            let asked = at(began, 30 + round * 35);
            assert_eq!(heartbeat.due(PULSE), Some(asked));
            assert_eq!(heartbeat.act(PULSE, asked), Act::Ask);
            let ping = heartbeat.ask(Heading::ToClient);
            heartbeat.sent(asked);
            assert_eq!(heartbeat.act(PULSE, asked + Duration::from_secs(9)), Act::Wait);
            let answered = asked + Duration::from_secs(5);
            heartbeat.heard(answered);
            let round_trip = heartbeat.pong(&tag(&ping), answered);
            assert_eq!(round_trip, Some(Some(Duration::from_secs(5))));
        }
    }

    #[test]
    fn a_side_that_keeps_quiet_is_gone_and_one_that_says_anything_is_not() {
        let began = Instant::now();
        let mut heartbeat = Heartbeat::new(began);
        drop(heartbeat.ask(Heading::ToUpstream));
        heartbeat.sent(at(began, 30));
        assert_eq!(heartbeat.act(PULSE, at(began, 39)), Act::Wait);
        assert_eq!(heartbeat.act(PULSE, at(began, 40)), Act::Gone);
        heartbeat.heard(at(began, 38));
        assert_eq!(heartbeat.act(PULSE, at(began, 40)), Act::Wait);
        assert_eq!(heartbeat.due(PULSE), Some(at(began, 68)));
    }

    #[test]
    fn a_ping_that_waits_for_a_frame_to_end_condemns_nobody() {
        let began = Instant::now();
        let mut heartbeat = Heartbeat::new(began);
        drop(heartbeat.ask(Heading::ToClient));
        assert_eq!(
            (heartbeat.due(PULSE), heartbeat.act(PULSE, at(began, 1000))),
            (None, Act::Wait)
        );
        heartbeat.sent(at(began, 1000));
        assert_eq!(heartbeat.due(PULSE), Some(at(began, 1010)));
    }

    #[test]
    fn a_heartbeat_at_rest_asks_nobody_and_knows_its_answers() {
        let began = Instant::now();
        let mut heartbeat = Heartbeat::new(began);
        let asked = tag(&heartbeat.ask(Heading::ToClient));
        heartbeat.sent(began);
        heartbeat.rest();
        assert_eq!(
            (heartbeat.due(PULSE), heartbeat.act(PULSE, at(began, 1000))),
            (None, Act::Wait)
        );
        assert_eq!(heartbeat.pong(&asked, at(began, 1000)), Some(None));
        assert_eq!(heartbeat.pong(&asked, at(began, 1000)), None);
        assert_eq!(heartbeat.due(PULSE), None);
    }

    /// Found by simulation.rs: it was gone `timeout` after the ping, however short its silence was.
    #[test]
    fn a_side_that_talks_while_its_ping_waits_has_the_whole_interval() {
        let began = Instant::now();
        let mut heartbeat = Heartbeat::new(began);
        drop(heartbeat.ask(Heading::ToClient));
        heartbeat.heard(at(began, 99));
        heartbeat.sent(at(began, 100));
        assert_eq!(heartbeat.act(PULSE, at(began, 110)), Act::Wait);
        assert_eq!(heartbeat.due(PULSE), Some(at(began, 129)));
        assert_eq!(heartbeat.act(PULSE, at(began, 129)), Act::Gone);
    }

    /// Found by simulation.rs: with a slow side, a message behind the ping kept it from counting as
    /// sent until after its answer, which then seemed to be missing.
    #[test]
    fn an_answer_counts_even_when_its_ping_seems_to_wait() {
        let began = Instant::now();
        let mut heartbeat = Heartbeat::new(began);
        let ping = heartbeat.ask(Heading::ToClient);
        heartbeat.heard(at(began, 31));
        assert_eq!(heartbeat.pong(&tag(&ping), at(began, 31)), Some(None));
        heartbeat.sent(at(began, 32));
        assert_eq!(heartbeat.act(PULSE, at(began, 42)), Act::Wait);
        assert_eq!(heartbeat.due(PULSE), Some(at(began, 61)));
    }

    #[test]
    fn only_pongs_that_answer_ours_are_ours() {
        let began = Instant::now();
        let mut heartbeat = Heartbeat::new(began);
        assert_eq!(heartbeat.pong(&[0; 8], began), None);
        let first = tag(&heartbeat.ask(Heading::ToClient));
        heartbeat.sent(began);
        let second = tag(&heartbeat.ask(Heading::ToClient));
        heartbeat.sent(began);
        assert_ne!(first, second);
        // A late one is ours, and tells nothing; one that was answered is not asked for again.
        assert_eq!(heartbeat.pong(&first, began), Some(None));
        assert_eq!(heartbeat.pong(&second, began), Some(Some(Duration::ZERO)));
        assert_eq!(heartbeat.pong(&second, began), None);
        let next = u64::from_be_bytes(second).wrapping_add(1).to_be_bytes();
        let before = u64::from_be_bytes(first).wrapping_sub(1).to_be_bytes();
        for other in [&next[..], &before, b"", b"1234567", b"123456789"] {
            assert_eq!(heartbeat.pong(other, began), None, "{other:?}");
        }
    }
}
