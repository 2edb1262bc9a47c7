//! What systemd is told, where it wants to know (`sd_notify(3)`; `Type=notify` or `notify-reload`): how
//! things stand, and that the workers are awake. Without `NOTIFY_SOCKET` nothing happens here.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::accept::RollCall;
use crate::drain::Phase;

/// What a stop may take beyond what the configuration says, before systemd loses patience.
const MARGIN: Duration = Duration::from_secs(10);

/// What is asked for at once; the field has room for 71 minutes.
const AT_ONCE: Duration = Duration::from_secs(3600);

/// Tells each phase as it comes, and how long the stop may take: `TimeoutStopSec=` need not know the
/// configuration. Never done.
pub(super) async fn follow(
    mut phase: watch::Receiver<Phase>,
    stop_takes: impl Fn() -> Duration,
    limit: Option<u64>,
) {
    let reached = |at: Phase| move |phase: &Phase| *phase >= at;
    if phase.wait_for(reached(Phase::Serving)).await.is_ok() {
        let room = limit.map_or(String::new(), |limit| format!("; descriptors: {limit}"));
        tell(&[NotifyState::Ready, NotifyState::Status(&format!("serving{room}"))]);
    }
    if phase.wait_for(reached(Phase::Leaving)).await.is_ok() {
        tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
        let mut left = stop_takes().saturating_add(MARGIN);
        while !left.is_zero() {
            // From now on, each time.
            let asked = left.min(AT_ONCE);
            let usec = u32::try_from(asked.as_micros()).unwrap_or(u32::MAX);
            tell(&[NotifyState::ExtendTimeoutUsec(usec)]);
            left = left.saturating_sub(AT_ONCE / 2);
            sleep(AT_ONCE / 2).await;
        }
    }
    std::future::pending().await
}

/// Says that a reload has begun. systemd, which may have sent SIGHUP, waits from now on for
/// [`reloaded`].
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "systemd is not told of a reload"),
    }
}

/// Says that a reload is over. One that failed leaves a service that works: the status tells it.
pub(super) fn reloaded(taken: bool) {
    let status = if taken { "serving" } else { "serving; the last reload failed, see the log" };
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says twice in each `WatchdogSec=` that all workers are awake, as long as they are. Never done.
pub(super) async fn watchdog(roll_call: RollCall) {
    if let Some(patience) = sd_notify::watchdog_enabled() {
        let mut ticks = interval(patience / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match timeout(patience, roll_call.all()).await {
                Ok(()) => tell(&[NotifyState::Watchdog]),
                Err(_) => tracing::error!(?patience, "a worker does not answer the watchdog"),
            }
        }
    }
    std::future::pending().await
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd does not hear how things stand (NOTIFY_SOCKET)");
    }
}
