//! A claim on an endpoint. Taken before the dial, moved into the tunnel, released by its drop
//! and by nothing else: peers' counters leak or forget wherever there is a second way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Endpoint;

/// One request or one tunnel, counted on its endpoint for as long as this lives.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    tunnel: bool,
}

impl Lease {
    pub(super) fn request(endpoint: Arc<Endpoint>) -> Self {
        endpoint.requests.fetch_add(1, Ordering::Relaxed);
        Self { endpoint, tunnel: false }
    }

    /// The request became a tunnel: counted as one from now on, without a gap.
    #[must_use]
    pub fn into_tunnel(mut self) -> Self {
        if !self.tunnel {
            self.endpoint.tunnels.fetch_add(1, Ordering::Relaxed);
            self.endpoint.requests.fetch_sub(1, Ordering::Relaxed);
            self.tunnel = true;
        }
        self
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    fn count(&self) -> &AtomicUsize {
        if self.tunnel { &self.endpoint.tunnels } else { &self.endpoint.requests }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let before = self.count().fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a lease released twice");
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

    #[test]
    fn a_lease_counts_while_it_lives_and_not_a_moment_longer() {
        let endpoint = endpoint();
        let first = Lease::request(Arc::clone(&endpoint));
        let second = Lease::request(Arc::clone(&endpoint));
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
        let lease = Lease::request(Arc::clone(&endpoint)).into_tunnel();
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
                        let lease = Lease::request(Arc::clone(endpoint));
                        if (turn + worker) % 2 == 0 {
                            drop(lease.into_tunnel());
                        }
                    }
                });
            }
        });
        assert_eq!((endpoint.requests(), endpoint.tunnels()), (0, 0));
    }
}
