//! How a route treats WebSockets once they are open.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::config::{self, At, Frames, Limit, Mistakes, OverRate};

/// A route's WebSockets after their 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// Frames are looked at.
    pub metered: bool,
    /// Frames that break the RFCs end a tunnel.
    pub strict: bool,
    /// Clients of HTTP/2 may open some.
    pub bridge: bool,
    /// Pings to a quiet client.
    pub client_pulse: Option<Pulse>,
    /// Pings to a quiet upstream.
    pub upstream_pulse: Option<Pulse>,
    /// The largest payload of a frame.
    pub max_frame: u64,
    /// The largest payload of a message.
    pub max_message: u64,
    /// What the client may send.
    pub client_rate: Option<Rate>,
    /// What the upstream may send.
    pub upstream_rate: Option<Rate>,
    /// The greatest age; `None` for any.
    pub max_age: Option<Duration>,
    /// For a side to take something of what waits for it; `None` for ever.
    pub write_timeout: Option<Duration>,
    /// For a peer to answer a Close.
    pub close_timeout: Duration,
    /// A side hears by a Close that the other one is gone.
    pub tell_loss: bool,
}

/// When a quiet side is asked, and when it counts as gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Silence before a ping.
    pub interval: Duration,
    /// Silence after it.
    pub timeout: Duration,
}

/// What one side may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages a second.
    pub messages: Option<NonZeroU64>,
    /// Bytes a second.
    pub bytes: Option<NonZeroU64>,
    /// So much of it may come at once.
    pub burst: Duration,
    /// Who sends more is ended, and not only read later.
    pub closes: bool,
}

impl WebSocket {
    /// What a route says, else what is said for all, else the default.
    pub(crate) fn resolve(own: &config::WebSocket, common: &config::WebSocket) -> Self {
        let size = |own: Option<config::Size>, common: Option<config::Size>| {
            own.or(common).map_or(u64::MAX, |size| size.0)
        };
        let switch = |own: Option<config::Switch>, common: Option<config::Switch>| {
            own.or(common).is_none_or(|switch| switch.0)
        };
        let (beat, beats) = (&own.heartbeat, &common.heartbeat);
        let limit = |own: Option<Limit>, common: Option<Limit>, default| match own.or(common) {
            None => default,
            Some(Limit::Off) => None,
            Some(Limit::After(after)) => Some(after),
        };
        let interval = limit(beat.interval, beats.interval, Some(Duration::from_secs(30)));
        let timeout = beat.timeout.or(beats.timeout).map_or(Duration::from_secs(10), |time| time.0);
        let pulse = |own, common| {
            let interval = interval.filter(|_| switch(own, common))?;
            Some(Pulse { interval, timeout })
        };
        Self {
            client_pulse: pulse(beat.client, beats.client),
            upstream_pulse: pulse(beat.upstream, beats.upstream),
            metered: own.frames.or(common.frames).unwrap_or_default() == Frames::Metered,
            strict: switch(own.strict, common.strict),
            bridge: switch(own.bridge, common.bridge),
            max_frame: size(own.max_frame, common.max_frame),
            max_message: size(own.max_message, common.max_message),
            client_rate: own.client_rate.or(common.client_rate).map(rate),
            upstream_rate: own.upstream_rate.or(common.upstream_rate).map(rate),
            max_age: limit(own.max_age, common.max_age, None),
            write_timeout: limit(
                own.write_timeout,
                common.write_timeout,
                Some(Duration::from_secs(60)),
            ),
            close_timeout: own
                .close_timeout
                .or(common.close_timeout)
                .map_or(Duration::from_secs(5), |time| time.0),
            tell_loss: switch(own.tell_loss, common.tell_loss),
        }
    }
}

/// Finds the mistakes in what is written at `at`.
pub(super) fn check(written: &config::WebSocket, at: &At, mistakes: &mut Mistakes) {
    for (key, rate) in
        [("client_rate", written.client_rate), ("upstream_rate", written.upstream_rate)]
    {
        let Some(rate) = rate else { continue };
        let at = at.key(key);
        let zeros = [
            ("messages", rate.messages.is_some_and(|count| count.0 == 0)),
            ("bytes", rate.bytes.is_some_and(|size| size.0 == 0)),
            ("burst", rate.burst.is_some_and(|time| time.0.is_zero())),
        ];
        for (key, _) in zeros.into_iter().filter(|(_, zero)| *zero) {
            let told = "nothing could ever pass: give at least one, or leave the key out";
            mistakes.add(&at.key(key), told);
        }
        if rate.messages.is_none() && rate.bytes.is_none() {
            mistakes.add(&at, "this limits nothing: give `messages` or `bytes`, each per second");
        }
        let burst = rate.burst.map_or(1.0, |time| time.0.as_secs_f64());
        let first = rate.messages.map_or(1.0, |count| f64::from(count.0) * burst);
        if rate.limit == OverRate::Close && first < 1.0 {
            let told = "the first message would be one too many: make it longer than 1 s divided by `messages`";
            mistakes.add(&at.key("burst"), told);
        }
    }
}

fn rate(written: config::Rate) -> Rate {
    Rate {
        messages: written.messages.and_then(|count| NonZeroU64::new(count.0.into())),
        bytes: written.bytes.and_then(|size| NonZeroU64::new(size.0)),
        burst: written.burst.map_or(Duration::from_secs(1), |time| time.0),
        closes: written.limit == OverRate::Close,
    }
}
