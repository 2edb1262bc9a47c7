//! Whom names are asked from, and how often.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{self, At, Mistakes};

/// A name that is asked for more often than this is asked for in a busy loop.
const LEAST: Duration = Duration::from_millis(100);

/// How names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// Whom; empty for the system's servers.
    pub servers: Vec<SocketAddr>,
    /// For an answer, with all that is asked again meanwhile.
    pub timeout: Duration,
    /// An answer holds at least this long.
    pub min_ttl: Duration,
    /// An answer holds at most this long.
    pub max_ttl: Duration,
}

impl Resolver {
    pub(super) fn build(written: &config::Resolver, at: &At, mistakes: &mut Mistakes) -> Self {
        let mut servers = Vec::new();
        for (index, server) in written.servers.iter().enumerate() {
            match self::server(server) {
                Some(address) => servers.push(address),
                None => mistakes.add(
                    &at.key("servers").index(index),
                    format!("`{server}` is no address of a DNS server: write 10.0.0.53 or 127.0.0.1:5353"),
                ),
            }
        }
        let timeout = written.timeout.map_or(Duration::from_secs(5), |time| time.0);
        if timeout < LEAST {
            mistakes.add(&at.key("timeout"), "no answer comes so fast: give at least 100ms");
        }
        let min_ttl = written.min_ttl.map_or(Duration::from_secs(1), |time| time.0);
        if min_ttl < LEAST {
            mistakes.add(&at.key("min_ttl"), "this would ask without a pause: give at least 100ms");
        }
        let max_ttl = written.max_ttl.map_or(Duration::from_secs(300), |time| time.0);
        if max_ttl < min_ttl {
            mistakes.add(&at.key("max_ttl"), "this is less than `min_ttl`: give more");
        }
        Self { servers, timeout, min_ttl, max_ttl: max_ttl.max(min_ttl) }
    }
}

fn server(written: &str) -> Option<SocketAddr> {
    let with_port = written.parse::<SocketAddr>().ok().filter(|address| address.port() > 0);
    with_port.or_else(|| written.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53)))
}
