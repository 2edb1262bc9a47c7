//! One worker's counters of one route. Names and labels are the exposition's business.

use std::time::Duration;

use http::StatusCode;

use super::{Counter, Histogram, LATENCY, LIFETIME, SizeHistogram};
use crate::error::Failure;
use crate::tunnel::{CODES, Closer, Ended, Heading, Reason};

/// What happened to requests and tunnels of one route, as one worker saw it.
#[derive(Debug)]
pub struct RouteShard {
    /// Answers by class, 1xx to 5xx; see [`RouteShard::count_status`].
    pub requests: [Counter; 5],
    /// From the whole request head to the end of the answer's body. Upgrades are not in it.
    pub request_seconds: Histogram,
    /// Bowline's own answers by cause, indexed as [`Failure::ALL`].
    pub failures: [Counter; Failure::ALL.len()],
    /// Upgrade requests by outcome, indexed as [`UpgradeOutcome::ALL`].
    pub upgrades: [Counter; UpgradeOutcome::ALL.len()],
    /// Upgrades that `origin_mode: report` let through.
    pub origin_reports: Counter,
    /// From the whole upgrade request to the upstream's 101; accepted upgrades only.
    pub handshake_seconds: Histogram,
    /// Tunnels begun.
    pub tunnels_opened: Counter,
    /// Tunnels ended, by reason and then by closer.
    pub tunnels_ended: [[Counter; Closer::ALL.len()]; Reason::ALL.len()],
    /// Tunnels ended, by the class of their close code, indexed as [`CODES`].
    pub tunnel_codes: [Counter; CODES.len()],
    /// Messages of clients, in tunnels that ended.
    pub tunnel_messages_to_upstream: Counter,
    /// Messages of upstreams, in tunnels that ended.
    pub tunnel_messages_to_client: Counter,
    /// Bytes delivered to the upstream by tunnels that ended.
    pub tunnel_bytes_to_upstream: Counter,
    /// Bytes delivered to the client by tunnels that ended.
    pub tunnel_bytes_to_client: Counter,
    /// Messages of clients, as they come.
    pub message_bytes_to_upstream: SizeHistogram,
    /// Messages of upstreams, as they come.
    pub message_bytes_to_client: SizeHistogram,
    /// How often a client was not read, for its upstream's sake or its own rate's.
    pub pauses_to_upstream: Counter,
    /// How often an upstream was not read, for its client's sake or its own rate's.
    pub pauses_to_client: Counter,
    /// How long tunnels lived.
    pub tunnel_seconds: Histogram,
    /// From a ping to the client to its pong.
    pub client_ping_seconds: Histogram,
    /// From a ping to the upstream to its pong.
    pub upstream_ping_seconds: Histogram,
}

impl RouteShard {
    /// Counts an answer by its class; a status outside 100 to 599 counts as 5xx.
    #[inline]
    pub fn count_status(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, self.requests.len());
        if let Some(counter) = self.requests.get(class - 1) {
            counter.inc();
        }
    }

    /// Counts an answer that Bowline made itself.
    #[inline]
    pub fn count_failure(&self, failure: Failure) {
        if let Some(counter) = self.failures.get(failure as usize) {
            counter.inc();
        }
    }

    /// Counts what became of an upgrade request.
    #[inline]
    pub fn count_upgrade(&self, outcome: UpgradeOutcome) {
        if let Some(counter) = self.upgrades.get(outcome as usize) {
            counter.inc();
        }
    }

    /// Notes how long a peer took to answer a ping.
    #[inline]
    pub fn round_trip(&self, side: Closer, took: Duration) {
        match side {
            Closer::Client => self.client_ping_seconds.observe(took),
            Closer::Bowline | Closer::Upstream => self.upstream_ping_seconds.observe(took),
        }
    }

    /// Notes how large a message was.
    #[inline]
    pub fn message(&self, heading: Heading, bytes: u64) {
        match heading {
            Heading::ToUpstream => self.message_bytes_to_upstream.observe(bytes),
            Heading::ToClient => self.message_bytes_to_client.observe(bytes),
        }
    }

    /// Counts a source that is not read for a while.
    #[inline]
    pub fn paused(&self, heading: Heading) {
        match heading {
            Heading::ToUpstream => self.pauses_to_upstream.inc(),
            Heading::ToClient => self.pauses_to_client.inc(),
        }
    }

    /// Counts the end of a tunnel: reason, closer, life and bytes in one go.
    pub fn tunnel_ended(&self, ended: &Ended) {
        let row = self.tunnels_ended.get(ended.reason as usize);
        if let Some(counter) = row.and_then(|row| row.get(ended.closer as usize)) {
            counter.inc();
        }
        if let Some(counter) = self.tunnel_codes.get(ended.code_class()) {
            counter.inc();
        }
        self.tunnel_messages_to_upstream.add(ended.messages_to_upstream);
        self.tunnel_messages_to_client.add(ended.messages_to_client);
        self.tunnel_bytes_to_upstream.add(ended.to_upstream);
        self.tunnel_bytes_to_client.add(ended.to_client);
        self.tunnel_seconds.observe(ended.lasted);
    }
}

impl Default for RouteShard {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            request_seconds: Histogram::new(&LATENCY),
            // The library's Default for arrays stops at 32.
            failures: std::array::from_fn(|_| Counter::default()),
            upgrades: Default::default(),
            origin_reports: Counter::default(),
            handshake_seconds: Histogram::new(&LATENCY),
            tunnels_opened: Counter::default(),
            tunnels_ended: Default::default(),
            tunnel_codes: Default::default(),
            tunnel_messages_to_upstream: Counter::default(),
            tunnel_messages_to_client: Counter::default(),
            tunnel_bytes_to_upstream: Counter::default(),
            tunnel_bytes_to_client: Counter::default(),
            message_bytes_to_upstream: SizeHistogram::default(),
            message_bytes_to_client: SizeHistogram::default(),
            pauses_to_upstream: Counter::default(),
            pauses_to_client: Counter::default(),
            tunnel_seconds: Histogram::new(&LIFETIME),
            client_ping_seconds: Histogram::new(&LATENCY),
            upstream_ping_seconds: Histogram::new(&LATENCY),
        }
    }
}

/// What became of a WebSocket upgrade request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpgradeOutcome {
    /// The upstream sent a good 101 and the tunnel began.
    Accepted,
    /// The upstream answered with something else, which was passed on.
    Declined,
    /// No good answer came: no endpoint, no connection, a timeout, a 101 that does not fit.
    Failed,
    /// Bowline said no before any upstream was asked: a guard, draining.
    Refused,
}

impl UpgradeOutcome {
    /// Every outcome, in label order: the index into a metrics table.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Declined, Self::Failed, Self::Refused];

    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_variant_stands_in_its_table_at_its_own_number() {
        assert!(Failure::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
        assert!(Reason::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
        assert!(Closer::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
        assert!(UpgradeOutcome::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
    }

    #[test]
    fn no_two_variants_share_a_label() {
        let failures: BTreeSet<_> = Failure::ALL.iter().map(|one| one.label()).collect();
        assert_eq!(failures.len(), Failure::ALL.len());
        let reasons: BTreeSet<_> = Reason::ALL.iter().map(|one| one.label()).collect();
        assert_eq!(reasons.len(), Reason::ALL.len());
        let closers: BTreeSet<_> = Closer::ALL.iter().map(|one| one.label()).collect();
        assert_eq!(closers.len(), Closer::ALL.len());
    }

    #[test]
    fn a_status_is_counted_by_its_class() {
        let shard = RouteShard::default();
        for status in [101, 200, 204, 304, 404, 502, 599, 999] {
            shard.count_status(StatusCode::from_u16(status).unwrap());
        }
        assert_eq!(shard.requests.each_ref().map(Counter::value), [1, 2, 1, 1, 3]);
    }

    #[test]
    fn the_end_of_a_tunnel_is_counted_once_with_bytes_and_life() {
        let shard = RouteShard::default();
        shard.tunnel_ended(&Ended {
            reason: Reason::Idle,
            closer: Closer::Bowline,
            code: Some(1000),
            messages_to_upstream: 1,
            messages_to_client: 2,
            to_upstream: 3,
            to_client: 5,
            lasted: Duration::from_secs(90),
        });
        let ended = &shard.tunnels_ended[Reason::Idle as usize][Closer::Bowline as usize];
        assert_eq!(ended.value(), 1);
        assert_eq!(shard.tunnels_ended.iter().flatten().map(Counter::value).sum::<u64>(), 1);
        assert_eq!(shard.tunnel_bytes_to_upstream.value(), 3);
        assert_eq!(shard.tunnel_bytes_to_client.value(), 5);
        assert_eq!(shard.tunnel_seconds.snapshot().sum(), 90.0);
    }
}
