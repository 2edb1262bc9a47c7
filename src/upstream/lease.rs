//! A claim on an endpoint. Taken before the dial, moved into the tunnel, released by its drop
//! and by nothing else: peers' counters leak or forget wherever there is a second way.

use std::sync::Arc;

use super::Endpoint;
use super::gate::Seat;

/// One request or one tunnel, counted on its endpoint for as long as this lives.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    /// The same, counted on the upstream, where that is bounded.
    seated: bool,
    tunnel: bool,
}

impl Lease {
    /// A request to `endpoint`, unless that carries `most` requests and tunnels already; it takes the
    /// `seat` along.
    pub(super) fn request(
        endpoint: &Arc<Endpoint>,
        most: Option<u32>,
        seat: &mut Seat,
    ) -> Option<Self> {
        endpoint.begin(most).then(|| Self {
            endpoint: Arc::clone(endpoint),
            seated: seat.hand_over(),
            tunnel: false,
        })
    }

    /// The request became a tunnel: counted as one from now on, without a gap.
    #[must_use]
    pub fn into_tunnel(mut self) -> Self {
        if !self.tunnel {
            self.endpoint.switch();
            self.tunnel = true;
        }
        self
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The endpoint's count last: who sees it fall finds the seat free as well.
        if self.seated {
            self.endpoint.house.leave();
        }
        self.endpoint.end(self.tunnel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Target;

    fn endpoint() -> Arc<Endpoint> {
        let target = Target::Address(([127, 0, 0, 1], 1).into());
        Arc::new(Endpoint::new(0, "web".to_owned(), "127.0.0.1:1".to_owned(), target))
    }

    fn lease(endpoint: &Arc<Endpoint>) -> Lease {
        Lease::request(endpoint, None, &mut Seat::default()).unwrap()
    }

    #[test]
    fn a_lease_counts_while_it_lives_and_not_a_moment_longer() {
        let endpoint = endpoint();
        let first = lease(&endpoint);
        let second = lease(&endpoint);
        assert_eq!((endpoint.requests(), endpoint.tunnels(), endpoint.load()), (2, 0, 2));
        let second = second.into_tunnel();
        assert_eq!((endpoint.requests(), endpoint.tunnels(), endpoint.load()), (1, 1, 2));
        let second = second.into_tunnel();
        assert_eq!((endpoint.requests(), endpoint.tunnels()), (1, 1));
        drop(first);
        assert_eq!((endpoint.requests(), endpoint.tunnels()), (0, 1));
        drop(second);
        assert_eq!(endpoint.load(), 0);
    }

    #[test]
    fn a_task_that_panics_lets_go_of_what_it_held() {
        let endpoint = endpoint();
        let lease = lease(&endpoint).into_tunnel();
        let task = std::thread::spawn(move || {
            let _held = lease;
            panic!("on purpose");
        });
        assert!(task.join().is_err());
        assert_eq!(endpoint.load(), 0);
    }

    #[test]
    fn counts_return_to_zero_however_threads_interleave() {
        let endpoint = endpoint();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let endpoint = &endpoint;
                scope.spawn(move || {
                    for turn in 0..1000 {
                        let lease = lease(endpoint);
                        if (turn + worker) % 2 == 0 {
                            drop(lease.into_tunnel());
                        }
                    }
                });
            }
        });
        assert_eq!((endpoint.requests(), endpoint.tunnels()), (0, 0));
    }

    #[test]
    fn a_bound_holds_for_requests_and_tunnels_together_however_threads_interleave() {
        let endpoint = endpoint();
        let bounded = || Lease::request(&endpoint, Some(3), &mut Seat::default());
        let _tunnel = bounded().unwrap().into_tunnel();
        let peak = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let held = (0..2000).map(|_| {
                            let lease = bounded().map(Lease::into_tunnel);
                            let load = endpoint.load();
                            drop(lease);
                            load
                        });
                        held.max().unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
        });
        assert!(peak <= 3, "{peak}");
        assert_eq!(endpoint.load(), 1);
    }
}
