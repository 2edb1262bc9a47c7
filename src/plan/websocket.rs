//! How a route treats WebSockets once they are open.

use std::time::Duration;

use crate::config::{self, Frames, Limit};

/// A route's WebSockets after their 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// Frames are looked at.
    pub metered: bool,
    /// Frames that break the RFCs end a tunnel.
    pub strict: bool,
    /// Pings to a quiet client.
    pub client_pulse: Option<Pulse>,
    /// Pings to a quiet upstream.
    pub upstream_pulse: Option<Pulse>,
    /// The largest payload of a frame.
    pub max_frame: u64,
    /// The largest payload of a message.
    pub max_message: u64,
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
            max_frame: size(own.max_frame, common.max_frame),
            max_message: size(own.max_message, common.max_message),
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
