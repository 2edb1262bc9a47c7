//! Idle upstream connections of one worker. Nothing is shared between workers, so nothing locks.

use std::cell::RefCell;

use tokio::time::Instant;

use super::Endpoint;
use super::http1::Connection;
use crate::plan::KeepAlive;

/// Idle connections by endpoint id, the one used last on top.
#[derive(Debug, Default)]
pub struct Pool {
    idle: RefCell<Vec<Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    until: Instant,
}

impl Pool {
    /// A connection that can take a request now, the most recently used first.
    pub fn take(&self, endpoint: &Endpoint) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let idle = idle.get_mut(endpoint.id)?;
        let now = Instant::now();
        while let Some(one) = idle.pop() {
            // The sweep comes round only now and then.
            if one.until > now && one.connection.is_quiet() {
                return Some(one.connection);
            }
        }
        None
    }

    /// Keeps a connection whose exchange is over, if it may be used again.
    pub fn put(&self, endpoint: &Endpoint, connection: Connection, keep: KeepAlive) {
        let mut pools = self.idle.borrow_mut();
        if pools.len() <= endpoint.id {
            pools.resize_with(endpoint.id.saturating_add(1), Vec::new);
        }
        if let Some(idle) = pools.get_mut(endpoint.id)
            && idle.len() < keep.max
            && let Some(until) = connection.until(Instant::now(), keep)
        {
            idle.push(Idle { connection, until });
        }
    }

    /// Closes what was idle for too long or was closed by its upstream.
    pub fn sweep(&self, now: Instant) {
        for idle in self.idle.borrow_mut().iter_mut() {
            idle.retain(|one| one.until > now && one.connection.is_quiet());
            idle.shrink_to_fit();
        }
    }

    /// Closes all.
    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
    }
}
