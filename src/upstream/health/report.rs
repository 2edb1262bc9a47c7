//! What clients' requests met, told by the places that know. Failures in a row eject; anything else
//! begins the count anew, which costs one load where there is nothing to begin anew.

use std::fmt;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;

use super::super::{Endpoint, Upstream};
use super::ejection::Terms;
use super::quorum;
use super::standing::Probation;

/// Something that speaks against an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// No connection, or not in time.
    Connect,
    /// No answer in time.
    Silence,
    /// What came is no whole head of an answer.
    Answer,
    /// A 101 that does not fit the handshake.
    Upgrade,
    /// A status that counts as a failure.
    Status(StatusCode),
    /// A tunnel ended young, and without a Close.
    Lost,
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("no connection"),
            Self::Silence => f.write_str("no answer in time"),
            Self::Answer => f.write_str("no whole answer"),
            Self::Upgrade => f.write_str("a wrong 101"),
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            Self::Lost => f.write_str("a WebSocket lost"),
        }
    }
}

/// Whether a dial failed for want of something here: descriptors, ports, memory. It says nothing about
/// the endpoint.
///
/// That a path may not be entered (EACCES) is neither's fault or both's, but nothing that passes, and
/// the other endpoints may well be reached: it counts against the endpoint, as that its path is missing.
pub fn is_local(error: &io::Error) -> bool {
    /// ENOMEM, ENFILE, EMFILE, EADDRNOTAVAIL, ENOBUFS on Linux; std has no kinds for most.
    const LOCAL: [i32; 5] = [12, 23, 24, 99, 105];
    error.raw_os_error().is_some_and(|code| LOCAL.contains(&code))
}

impl Upstream {
    /// Whether an answer with this status is a failure of the server.
    pub fn is_failure(&self, status: StatusCode) -> bool {
        self.ward.plan.passive.status.contains(status)
    }

    /// `endpoint` has answered, a 101 among the answers.
    pub fn answered(&self, endpoint: &Endpoint, status: StatusCode) {
        if self.is_failure(status) {
            return self.failed(endpoint, Mishap::Status(status));
        }
        let failures = &endpoint.standing.failures;
        if failures.load(Ordering::Relaxed) > 0 {
            failures.store(0, Ordering::Relaxed);
        }
    }

    /// A request to `endpoint` has failed, through no fault of the client's or Bowline's.
    pub fn failed(&self, endpoint: &Endpoint, mishap: Mishap) {
        let Some(most) = self.patience(endpoint) else { return };
        let before = endpoint.standing.failures.fetch_add(1, Ordering::Relaxed);
        let failures = before.saturating_add(1);
        if failures >= most {
            let probation = Probation::Failures(most.saturating_sub(1));
            self.eject(endpoint, mishap, failures, probation);
        }
    }

    /// A tunnel to `endpoint` has ended, before its lease is let go; `lost` if the endpoint ended it
    /// without a Close.
    ///
    /// A lost tunnel is a failure only when it was young, and only when as many in a row are lost as
    /// are still open: a server that ends some sockets rudely, those of strangers for example, is one
    /// that works.
    pub fn tunnel_ended(&self, endpoint: &Endpoint, lost: bool, lasted: Duration) {
        let count = &endpoint.standing.lost;
        if !lost {
            if count.load(Ordering::Relaxed) > 0 {
                count.store(0, Ordering::Relaxed);
            }
            return;
        }
        if lasted >= self.ward.plan.passive.lost_within {
            return;
        }
        let Some(most) = self.patience(endpoint) else { return };
        let lost = count.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let open = endpoint.tunnels().saturating_sub(1);
        if lost >= most && usize::try_from(lost).is_ok_and(|lost| lost >= open) {
            let probation = Probation::Lost(most.saturating_sub(1));
            self.eject(endpoint, Mishap::Lost, lost, probation);
        }
    }

    /// How many failures in a row eject `endpoint`; `None` when nothing can, or need.
    fn patience(&self, endpoint: &Endpoint) -> Option<u32> {
        let most = self.ward.plan.passive.failures;
        (most > 0 && self.endpoints.len() > 1 && endpoint.is_open()).then_some(most)
    }

    #[cold]
    fn eject(&self, endpoint: &Endpoint, mishap: Mishap, failures: u32, probation: Probation) {
        let passive = &self.ward.plan.passive;
        let others = || self.endpoints.iter().filter(|one| one.id != endpoint.id);
        let may = || {
            let ejected = others().filter(|one| one.standing.is_ejected()).count();
            let open = others().filter(|one| one.is_open()).count();
            let all = self.endpoints.len();
            // A tunnel may outlive its endpoint's place here.
            let is_here = self.endpoints.iter().any(|one| one.id == endpoint.id);
            is_here
                && endpoint.is_open()
                && quorum::may_eject(all, ejected, open, passive.max_ejected)
        };
        // First without the lock: where all fail and no further one may be ejected, each failure comes
        // here.
        if !may() {
            return;
        }
        {
            // It guards no data: what a panic leaves behind is whole.
            let _alone = self.ward.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
            if !may() {
                return;
            }
            let terms = Terms { first: passive.eject, longest: passive.max_eject };
            // Without randomness it is only as long as written.
            let jitter = getrandom::u32().unwrap_or_default();
            let time = endpoint.standing.eject(terms, probation, jitter);
            tracing::warn!(
                upstream = &*self.name, endpoint = endpoint.label, failures, last = %mishap, ?time,
                "an endpoint is ejected for failures in a row"
            );
        }
        self.ward.panics(&self.name, &self.endpoints);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::time::advance;

    use super::*;
    use crate::config;
    use crate::plan::Plan;
    use crate::telemetry::Metrics;
    use crate::upstream::Registry;

    fn upstream(endpoints: usize, health: &str) -> Upstream {
        let endpoints: Vec<_> = (1..=endpoints).map(|port| format!("'10.0.0.1:{port}'")).collect();
        let yaml = format!(
            "routes: [ {{ upstream: up }} ]\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
             upstreams: {{ up: {{ balance: round_robin, endpoints: [ {} ], health: {health} }} }}\n",
            endpoints.join(", ")
        );
        let (config, mut mistakes) = config::parse("test", &yaml, &|_| None);
        let plan = Plan::build(&config, Path::new(""), &mut mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        Upstream::new(&plan.upstreams[0], &Registry::default(), &Metrics::new(1))
    }

    /// Ports that the next picks of a whole round go to, sorted.
    fn round(upstream: &Upstream) -> Vec<u16> {
        let leases = upstream
            .endpoints
            .iter()
            .filter_map(|_| upstream.lease(&crate::upstream::Claim::default(), &[]).ok());
        let mut ports: Vec<u16> = leases
            .map(|lease| lease.endpoint().label.rsplit(':').next().unwrap().parse().unwrap())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    fn fail(upstream: &Upstream, index: usize, times: usize) {
        for _ in 0..times {
            upstream.failed(&upstream.endpoints[index], Mishap::Connect);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_eject_and_one_more_after_the_return_does_again() {
        let upstream = upstream(3, "{}");
        fail(&upstream, 0, 4);
        upstream.answered(&upstream.endpoints[0], StatusCode::INTERNAL_SERVER_ERROR);
        fail(&upstream, 0, 4);
        assert_eq!(round(&upstream), [1, 2, 3], "none was the fifth in a row");
        fail(&upstream, 0, 1);
        assert_eq!(round(&upstream), [2, 3]);
        advance(Duration::from_secs(10)).await;
        assert_eq!(round(&upstream), [1, 2, 3], "back after its time");
        fail(&upstream, 0, 1);
        assert_eq!(round(&upstream), [2, 3], "on probation");
        advance(Duration::from_secs(17)).await;
        assert_eq!(round(&upstream), [2, 3], "twice as long, less a tenth at most");
        advance(Duration::from_secs(3)).await;
        upstream.lease(&crate::upstream::Claim::default(), &[]).unwrap();
        assert_eq!(round(&upstream), [1, 2, 3]);
        upstream.answered(&upstream.endpoints[0], StatusCode::OK);
        fail(&upstream, 0, 4);
        assert_eq!(round(&upstream), [1, 2, 3], "with its credit back");
        assert_eq!(upstream.endpoints[0].ejections(), 2);
    }

    #[test]
    fn an_only_endpoint_is_never_ejected_nor_the_last_of_several() {
        let one = upstream(1, "{ passive: { failures: 1, max_ejected: 100% } }");
        fail(&one, 0, 50);
        assert_eq!(round(&one), [1]);
        let three = upstream(3, "{ passive: { failures: 1, max_ejected: 100% }, panic: 0% }");
        for index in [0, 1, 2, 0] {
            fail(&three, index, 2);
        }
        assert_eq!(round(&three), [3]);
    }

    #[test]
    fn no_more_are_ejected_than_the_share_allows() {
        let upstream = upstream(5, "{ passive: { failures: 1, max_ejected: 40% }, panic: 0% }");
        for index in 0..5 {
            fail(&upstream, index, 3);
        }
        assert_eq!(round(&upstream), [3, 4, 5]);
    }

    #[test]
    fn with_too_few_left_all_get_requests_until_enough_are_back() {
        let upstream = upstream(4, "{ panic: 50%, passive: { failures: 1, max_ejected: 75% } }");
        fail(&upstream, 0, 1);
        fail(&upstream, 1, 1);
        assert_eq!(round(&upstream), [3, 4], "half is enough");
        fail(&upstream, 2, 1);
        assert_eq!(round(&upstream), [1, 2, 3, 4], "a quarter is not");
        assert!(upstream.ward.panics.is_on());
    }

    #[tokio::test(start_paused = true)]
    async fn panic_ends_with_the_ejections() {
        let upstream = upstream(2, "{ panic: 100%, passive: { failures: 1 } }");
        fail(&upstream, 0, 1);
        assert_eq!((round(&upstream), upstream.ward.panics.is_on()), (vec![1, 2], true));
        advance(Duration::from_secs(10)).await;
        assert_eq!((round(&upstream), upstream.ward.panics.is_on()), (vec![1, 2], false));
    }

    #[test]
    fn panic_at_zero_never_comes() {
        let upstream = upstream(2, "{ panic: 0% }");
        for endpoint in &upstream.endpoints {
            endpoint.standing.set_down(true);
        }
        assert!(upstream.lease(&crate::upstream::Claim::default(), &[]).is_err());
        upstream.endpoints[0].standing.set_down(false);
        assert_eq!(round(&upstream), [1]);
    }

    #[test]
    fn only_statuses_that_speak_of_the_server_count() {
        let upstream = upstream(2, "{ passive: { failures: 1, status: [ 500, 503-504 ] } }");
        for (status, ejections) in [(200, 0), (404, 0), (502, 0), (503, 1)] {
            let status = StatusCode::from_u16(status).unwrap();
            upstream.answered(&upstream.endpoints[0], status);
            assert_eq!(upstream.endpoints[0].ejections(), ejections, "{status}");
        }
    }

    #[test]
    fn nothing_is_ejected_where_zero_failures_are_asked_for() {
        let upstream = upstream(2, "{ passive: { failures: 0 } }");
        fail(&upstream, 0, 1000);
        assert_eq!(round(&upstream), [1, 2]);
    }

    #[test]
    fn tunnels_lost_young_eject_when_as_many_are_lost_as_are_left() {
        let young = Duration::from_secs(1);
        let upstream = upstream(2, "{}");
        let endpoint = &upstream.endpoints[0];
        let lose = |lost, lasted, times| {
            (0..times).for_each(|_| upstream.tunnel_ended(endpoint, lost, lasted));
        };
        let leases: Vec<_> = (0..40)
            .filter_map(|_| upstream.lease(&crate::upstream::Claim::default(), &[]).ok())
            .collect();
        let mut tunnels: Vec<_> = leases.into_iter().map(|one| one.into_tunnel()).collect();
        assert_eq!(endpoint.tunnels(), 20);
        lose(true, young, 4);
        lose(false, young, 1);
        lose(true, young, 18);
        lose(true, Duration::from_secs(10), 100);
        assert!(endpoint.is_open(), "19 others are open");
        lose(true, young, 1);
        assert!(!endpoint.is_open());
        tunnels.clear();
        assert_eq!(upstream.endpoints[1].ejections(), 0);
    }

    #[test]
    fn workers_that_fail_all_at_once_eject_no_more_than_the_share() {
        for _ in 0..20 {
            let upstream = upstream(6, "{ passive: { failures: 2, max_ejected: 50% }, panic: 0% }");
            std::thread::scope(|scope| {
                for worker in 0..4 {
                    let upstream = &upstream;
                    scope.spawn(move || {
                        (0..60).for_each(|turn| fail(upstream, (turn + worker) % 6, 1));
                    });
                }
            });
            assert_eq!(round(&upstream).len(), 3);
        }
    }

    #[test]
    fn want_of_descriptors_is_not_the_endpoints_fault() {
        assert!(is_local(&io::Error::from_raw_os_error(24)));
        assert!(!is_local(&io::Error::from(io::ErrorKind::ConnectionRefused)));
        // ENOENT, EACCES, ECONNREFUSED.
        for code in [2, 13, 111] {
            assert!(!is_local(&io::Error::from_raw_os_error(code)), "{code}");
        }
    }
}
