//! What a request waits for before it gets an endpoint: its turn among the upgrades, and that one of
//! those ends who are under way.

use std::future::pending;
use std::sync::Arc;

use tokio::time::Instant;

use super::reply::Refusal;
use super::timer::LazyTimer;
use super::worker::Worker;
use crate::error::Failure;
use crate::generation::Way;
use crate::plan::InProgress;
use crate::upstream::gate::Seat;
use crate::upstream::{Claim, Endpoint, Lease, Shut, Upstream};

/// Waits until it is an upgrade's turn. One that leaves meanwhile leaves its turn unused: those
/// behind it were told their own when they came, and moving the end of the line forward would only
/// give newcomers turns that others have. What it costs is one upgrade's time of the rate.
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

/// Waits until fewer upgrades are under way than may be, behind all who wait already; `began` is when
/// this one began to wait for anything. It counts as under way while the seat is held.
///
/// # Errors
/// The refusal that the client gets when that takes too long.
pub(super) async fn turn(
    worker: &Worker,
    timer: &LazyTimer,
    way: Way<'_>,
    began: Instant,
) -> Result<Seat, Refusal> {
    let Some((InProgress { most, wait }, porch)) = &way.upstream.in_progress else {
        return Ok(Seat::default());
    };
    if let Some(seat) = porch.seat_for_newcomer(most.get()) {
        return Ok(seat);
    }
    way.upstream.counters.at(worker.id).upgrades_queued.inc();
    // Boxed: few ever wait, and every upgrade would carry its size.
    let queued = Box::pin(porch.queue(most.get()));
    if let Some(seat) = timer.within(wait.saturating_sub(began.elapsed()), queued).await {
        return Ok(seat);
    }
    let limit =
        format!("upgrades.in_progress: {most} were under way to this upstream all the time");
    if porch.told.may_tell() {
        tracing::warn!(upstream = &*way.upstream.name, limit, "upgrades are refused");
    }
    Err(Refusal::new(Failure::UpgradesInProgress).because(limit))
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
    match timer.within(terms.wait, place.wait(attempt, || upstream.next_return())).await {
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
