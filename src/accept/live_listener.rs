//! A listener while it is open: what the plan says of it now, and who has come in by it. Its sockets
//! stay when its settings change.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use tokio::sync::watch;

use super::tls::LiveTls;
use crate::plan::{Access, Listener};
use crate::upstream::gate::House;

/// A listener that all workers share; each has a socket of its own.
#[derive(Debug)]
pub struct LiveListener {
    /// As bound: the port is known even when 0 was asked for.
    pub address: SocketAddr,
    settings: ArcSwap<Settings>,
    /// Who may come: asked about every request, whenever its connection began.
    pub(super) access: Arc<ArcSwapOption<Access>>,
    inside: AtomicUsize,
    /// Whose TLS handshake is under way, and who waits for that.
    pub(super) handshakes: Arc<House>,
    closed: watch::Sender<bool>,
}

/// What a reload may change.
#[derive(Debug)]
pub struct Settings {
    /// What was planned.
    pub plan: Listener,
    /// Its TLS.
    pub tls: Option<Arc<LiveTls>>,
}

/// One connection's place under `limits.connections`, for as long as it or its tunnel lives.
#[derive(Debug)]
pub(super) struct Place(Arc<LiveListener>);

impl LiveListener {
    /// One that is bound to `address`.
    pub fn new(address: SocketAddr, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            address,
            access: Arc::new(ArcSwapOption::new(settings.plan.access.clone())),
            settings: ArcSwap::from_pointee(settings),
            inside: AtomicUsize::new(0),
            handshakes: Arc::default(),
            closed: watch::Sender::new(false),
        })
    }

    /// What connections that come now live by.
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Changes what connections live by that come from now on, and who may come at once.
    pub fn change(&self, settings: Settings) {
        self.access.store(settings.plan.access.clone());
        self.settings.store(Arc::new(settings));
    }

    /// Ends the accept loops; who is in stays.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Resolves when it is to be closed.
    pub(super) async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        // The sender is here, so there is no error.
        drop(closed.wait_for(|closed| *closed).await);
    }

    /// A place for a fresh connection; `None` when as many are in as `most` allows.
    pub(super) fn enter(self: &Arc<Self>, most: Option<usize>) -> Option<Place> {
        let room =
            |inside: usize| most.is_none_or(|most| inside < most).then(|| inside.saturating_add(1));
        let entered = self.inside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        entered.ok().map(|_| Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}
