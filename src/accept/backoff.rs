//! What to do when accept fails. Running out of descriptors must neither spin nor end the loop.

use std::io;
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(1);

/// The pause between failing accepts: doubles up to a second, starts anew after a success.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// A connection came.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// How long to wait after `error`; `None` to go on at once, because only that one connection
    /// is gone.
    pub(super) fn after(&mut self, error: &io::Error) -> Option<Duration> {
        use io::ErrorKind as K;
        let of_one_connection = matches!(
            error.kind(),
            K::ConnectionAborted
                | K::ConnectionReset
                | K::Interrupted
                | K::TimedOut
                | K::HostUnreachable
                | K::NetworkUnreachable
                | K::NetworkDown
        );
        if of_one_connection {
            return None;
        }
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(LONGEST);
        Some(pause)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_descriptors_doubles_up_to_a_second_and_starts_anew() {
        let emfile = io::Error::from_raw_os_error(24);
        let mut backoff = Backoff::default();
        let pauses: Vec<_> =
            (0..10).filter_map(|_| backoff.after(&emfile)).map(|p| p.as_millis()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.after(&emfile), Some(FIRST));
    }

    #[test]
    fn a_client_that_left_the_queue_costs_no_pause() {
        let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(Backoff::default().after(&aborted), None);
    }
}
