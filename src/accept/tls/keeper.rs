//! Looks once a second whether a file of TLS has changed, and has it read.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use super::live::LiveTls;
use super::tickets::unix_time;
use super::vault::Vault;
use crate::telemetry::Metrics;

/// How often files are looked at; also how long they must have been left alone before they are read.
const EACH: Duration = Duration::from_secs(1);

/// Keeps the files of all listeners in view until it is dropped.
#[derive(Debug)]
pub struct Keeper(Option<JoinHandle<()>>);

impl Keeper {
    /// Tells `metrics` what is in use, and begins to look. Without TLS there is nothing to do.
    pub fn start(kept: Vec<Arc<LiveTls>>, vault: &Arc<Vault>, metrics: &Arc<Metrics>) -> Self {
        tell(&kept, metrics);
        if kept.is_empty() {
            return Self(None);
        }
        Self(Some(tokio::spawn(keep(kept.into(), Arc::clone(vault), Arc::clone(metrics)))))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn keep(kept: Arc<[Arc<LiveTls>]>, vault: Arc<Vault>, metrics: Arc<Metrics>) {
    let mut ticks = interval(EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        vault.tickets.turn(unix_time());
        // Every listener is looked at.
        let due: Vec<_> = kept.iter().filter(|live| live.look()).map(Arc::clone).collect();
        if due.is_empty() {
            continue;
        }
        // Reading a key takes milliseconds, a file on another machine any time.
        let renewed = spawn_blocking(move || due.iter().for_each(|live| live.renew())).await;
        if renewed.is_err() {
            tracing::error!("a certificate could not be read by a panic; this is a bug in Bowline");
        }
        tell(&kept, &metrics);
    }
}

fn tell(kept: &[Arc<LiveTls>], metrics: &Metrics) {
    metrics.tls_files().set(kept.iter().flat_map(|live| live.files()));
}
