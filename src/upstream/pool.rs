//! Idle upstream connections of one worker. Nothing is shared between workers, so nothing locks.

use std::cell::RefCell;

use hyper::body::Body;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::Endpoint;
use crate::plan::KeepAlive;

/// Idle connections by endpoint id, the one used last on top.
#[derive(Debug)]
pub struct Pool<B> {
    idle: RefCell<Vec<Vec<Idle<B>>>>,
}

#[derive(Debug)]
struct Idle<B> {
    sender: SendRequest<B>,
    until: Instant,
}

impl<B: Body + 'static> Pool<B> {
    /// A connection that can take a request now, the most recently used first.
    pub fn take(&self, endpoint: &Endpoint) -> Option<SendRequest<B>> {
        let mut idle = self.idle.borrow_mut();
        let idle = idle.get_mut(endpoint.id)?;
        let mut busy = None;
        let now = Instant::now();
        let found = loop {
            match idle.pop() {
                None => break None,
                // The sweep comes round only now and then.
                Some(one) if one.until <= now => {}
                Some(one) if one.sender.is_ready() => break Some(one.sender),
                Some(one) if one.sender.is_closed() => {}
                // Still sending a body that its answer did not wait for. One such is kept; more
                // would make this a search.
                Some(one) => busy = Some(one),
            }
        };
        idle.extend(busy);
        found
    }

    /// Keeps a connection whose exchange is over.
    pub fn put(&self, endpoint: &Endpoint, sender: SendRequest<B>, keep: KeepAlive) {
        if sender.is_closed() {
            return;
        }
        let mut pools = self.idle.borrow_mut();
        if pools.len() <= endpoint.id {
            pools.resize_with(endpoint.id.saturating_add(1), Vec::new);
        }
        if let Some(idle) = pools.get_mut(endpoint.id)
            && idle.len() < keep.max
            && let Some(until) = Instant::now().checked_add(keep.idle)
        {
            idle.push(Idle { sender, until });
        }
    }

    /// Closes what was idle for too long or was closed by its upstream.
    pub fn sweep(&self, now: Instant) {
        for idle in self.idle.borrow_mut().iter_mut() {
            idle.retain(|one| one.until > now && !one.sender.is_closed());
            idle.shrink_to_fit();
        }
    }

    /// Closes all.
    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
    }
}

impl<B> Default for Pool<B> {
    fn default() -> Self {
        Self { idle: RefCell::default() }
    }
}
