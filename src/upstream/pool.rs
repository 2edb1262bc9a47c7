//! Idle upstream connections of one worker. Nothing is shared between workers, so nothing locks.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tokio::time::Instant;

use super::http1::Connection;
use super::{Endpoint, Upstream};
use crate::plan::KeepAlive;

/// Idle connections by endpoint id, the one used last on top.
#[derive(Debug, Default)]
pub struct Pool {
    idle: RefCell<BTreeMap<usize, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    until: Instant,
}

impl Pool {
    /// A connection to `endpoint` of `upstream` that can take a request now, the most recently used first.
    pub fn take(&self, upstream: &Upstream, endpoint: &Endpoint) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let idle = idle.get_mut(&endpoint.id)?;
        let now = Instant::now();
        while let Some(mut one) = idle.pop() {
            // The sweep comes round only now and then.
            if one.until > now
                && one.connection.is_by(upstream.tls.as_ref())
                && one.connection.is_quiet()
            {
                return Some(one.connection);
            }
        }
        None
    }

    /// Keeps a connection whose exchange is over, if it may be used again.
    pub fn put(&self, endpoint: &Endpoint, connection: Connection, keep: KeepAlive) {
        let mut pools = self.idle.borrow_mut();
        let idle = pools.entry(endpoint.id).or_default();
        if idle.len() < keep.max
            && let Some(until) = connection.until(Instant::now(), keep)
        {
            idle.push(Idle { connection, until });
        }
    }

    /// Closes what was idle for too long or was closed by its upstream.
    pub fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|_, idle| {
            idle.retain_mut(|one| one.until > now && one.connection.is_quiet());
            idle.shrink_to_fit();
            !idle.is_empty()
        });
    }

    /// Closes all.
    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
    }
}
