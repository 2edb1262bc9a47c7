//! What a request waits for before it gets an endpoint: its turn among the upgrades, and that one of
//! those ends who are under way.

use std::future::pending;
use std::sync::Arc;

use super::reply::Refusal;
use super::timer::LazyTimer;
use super::worker::Worker;
use crate::error::Failure;
use crate::generation::Way;
use crate::upstream::{Claim, Endpoint, Lease, Shut, Upstream};

/// Waits until it is an upgrade's turn. One that leaves meanwhile leaves its turn unused.
///
/// # Errors
/// The refusal that the client gets when that would take too long.
pub(super) async fn pace(timer: &LazyTimer, way: Way<'_>) -> Result<(), Refusal> {
    let Some(upgrades) = &way.upstream.upgrades else { return Ok(()) };
    match upgrades.reserve() {
        Ok(wait) => {
            let mut wait = (!wait.is_zero()).then_some(wait);
            loop {
                if let Some(wait) = wait {
                    timer.within(wait, pending::<()>()).await;
                }
                match upgrades.pass() {
                    Ok(()) => break,
                    Err(more) => wait = Some(more),
                }
            }
        }
        Err(wait) => {
            let limit = upgrades.terms().rate;
            if upgrades.told.may_tell() {
                tracing::warn!(
                    upstream = &*way.upstream.name, limit, wait = ?wait,
                    "upgrades are refused: more came at once than upgrades.rate lets through in time"
                );
            }
            return Err(Refusal::new(Failure::UpgradeRate)
                .because(format!("upgrades.rate: {limit} upgrades a second go to this upstream"))
                .retry_after(wait));
        }
    }
    Ok(())
}

/// Waits in the queue of a full upstream, if it has one, for an endpoint that is not in `tried`.
///
/// # Errors
/// The refusal that the client gets, when there is no place or it takes too long; `None` when there is
/// no endpoint to wait for.
pub(super) async fn queue(
    worker: &Worker,
    timer: &LazyTimer,
    way: Way<'_>,
    claim: &Claim,
    tried: &[Arc<Endpoint>],
) -> Result<Lease, Option<Refusal>> {
    let upstream = way.upstream;
    let Some(terms) = &upstream.queue else { return Err(Some(full(upstream, ""))) };
    let Some(place) = upstream.house.place(terms.size.get()) else {
        return Err(Some(full(upstream, ", and the queue is full")));
    };
    upstream.counters.at(worker.id).queued.inc();
    let attempt = || match upstream.lease_at_front(claim, tried) {
        Ok(lease) => Some(Some(lease)),
        Err(Shut::Full) => None,
        Err(Shut::NoEndpoint) => Some(None),
    };
    match timer.within(terms.wait, place.wait(attempt)).await {
        Some(lease) => lease.ok_or(None),
        None => Err(Some(full(upstream, ", and none ended while this one waited"))),
    }
}

/// Says by which limit an upstream is full, in the log at most once a second.
fn full(upstream: &Upstream, queue: &'static str) -> Refusal {
    let bounds = &upstream.bounds;
    let taken = |most: &u32| upstream.house.seats() >= *most as usize;
    let limit = match (bounds.upstream.map(|most| most.get()).filter(taken), bounds.endpoint) {
        (Some(most), _) => format!("max_connections.upstream: {most} are under way"),
        (None, Some(most)) => format!("max_connections.endpoint: {most} are under way to each"),
        // One has just ended, or others wait.
        (None, None) => "max_connections.upstream: all were under way".to_owned(),
    };
    if upstream.house.told.may_tell() {
        tracing::warn!(upstream = &*upstream.name, limit, "requests are refused: full{queue}");
    }
    Refusal::new(Failure::UpstreamFull).because(format!("{limit}{queue}"))
}
