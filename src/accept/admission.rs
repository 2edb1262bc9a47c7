//! A client's place: counted from accept until its connection, or the tunnel that it became, is
//! gone. The drop is the only release.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::live_listener::Place;
use crate::exchange::Worker;

/// How many connections and tunnels each worker holds; read by all, written by its owner.
#[derive(Debug)]
pub(super) struct Loads(Box<[AtomicUsize]>);

/// One admitted client.
#[derive(Debug)]
pub(super) struct Admission {
    worker: Rc<Worker>,
    loads: Arc<Loads>,
    _place: Place,
}

impl Admission {
    /// Counts a client in. `place` is the one that it has under the listener's limit.
    pub(super) fn new(worker: Rc<Worker>, loads: Arc<Loads>, place: Place) -> Self {
        worker.counters().accepted.inc();
        worker.enter();
        if let Some(load) = loads.0.get(worker.id) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        Self { worker, loads, _place: place }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.worker.counters().closed.inc();
        if let Some(load) = self.loads.0.get(self.worker.id) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
        self.worker.leave();
    }
}

impl Loads {
    /// For `workers` workers.
    pub(super) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| AtomicUsize::new(0)).collect())
    }

    /// Who should take the next connection that `own` accepted; `None` to keep it.
    pub(super) fn relief(&self, own: usize) -> Option<usize> {
        let loads: Vec<usize> = self.0.iter().map(|load| load.load(Ordering::Relaxed)).collect();
        relief(&loads, own)
    }
}

/// Long-lived sockets pile up where chance put them. A worker well above the mean passes a fresh
/// connection to the emptiest one; the slack keeps small or even loads where they are.
fn relief(loads: &[usize], own: usize) -> Option<usize> {
    const SLACK: usize = 16;
    let mine = *loads.get(own)?;
    let mean = loads.iter().sum::<usize>().checked_div(loads.len())?;
    if mine <= mean.saturating_add(mean / 8).saturating_add(SLACK) {
        return None;
    }
    let (emptiest, load) = loads.iter().enumerate().min_by_key(|(_, load)| **load)?;
    (*load < mine).then_some(emptiest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_well_above_the_mean_passes_to_the_emptiest() {
        assert_eq!(relief(&[100, 10, 40], 0), Some(1));
        assert_eq!(relief(&[100, 10, 40], 1), None);
    }

    #[test]
    fn small_and_even_loads_stay_where_they_are() {
        assert_eq!(relief(&[10, 0], 0), None);
        assert_eq!(relief(&[1000, 990], 0), None);
        assert_eq!(relief(&[5000], 0), None);
    }
}
