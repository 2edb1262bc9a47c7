//! What a configuration means: resolved, checked, immutable. Every mistake is found in one pass
//! and told with its place; nothing here opens a socket or reads a file.

mod balance;
mod cors;
mod difference;
mod drain;
mod endpoint;
mod gates;
mod health;
mod leaving;
mod listen_on;
mod listener;
mod networks;
mod origins;
mod rebalance;
mod resolver;
mod route;
mod routes;
mod source;
mod sticky;
mod tls;
mod upstream;
mod websocket;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;

use http::HeaderValue;

use crate::config::{self, At, Config, Mistakes};
use crate::fields::is_token;

pub use self::balance::{Balance, Key};
pub use self::cors::{Cors, Names};
pub use self::difference::{Changes, Difference};
pub use self::drain::Drain;
pub use self::endpoint::{Endpoint, Target};
pub use self::gates::{Bounds, Budget, Gates, InProgress, QueueTerms, Sparing, Trip, UpgradeTerms};
pub use self::health::{ActiveCheck, Health, Passive, Probe, Question, Statuses};
pub use self::listen_on::ListenOn;
pub use self::listener::{Limits, Listener};
pub use self::networks::{Access, Networks};
pub use self::origins::{OriginPolicy, OriginRule, Origins};
pub use self::rebalance::Rebalance;
pub use self::resolver::Resolver;
pub use self::route::{Matcher, PathRule, Route, Timeouts};
pub use self::routes::{Facts, Routes};
pub use self::source::{Discovered, Source};
pub use self::sticky::{Cookie, Sticky};
pub use self::tls::{CertificateFiles, ClientAuth, NamedFile, Tls};
pub use self::upstream::{KeepAlive, Upstream, listed};
pub use self::websocket::{Pulse, Rate, WebSocket};
pub use crate::proxy_protocol::Version as ProxyVersion;

/// One whole, checked configuration. Requests hold the one they began with.
#[derive(Debug)]
pub struct Plan {
    /// What was written, to tell what a reload changes.
    pub written: Box<Config>,
    /// Where to listen, in file order.
    pub listeners: Vec<Listener>,
    /// Which request goes where.
    pub routes: Routes,
    /// Where requests can go; a route names one by index.
    pub upstreams: Vec<Upstream>,
    /// How names of the DNS are looked up for them.
    pub resolver: Resolver,
    /// The admin listener, if any.
    pub admin: Option<SocketAddr>,
    /// Whether some upstream is told which address a client reached.
    pub tells_destinations: bool,
    /// Whose forwarding headers are believed.
    pub trusted: Networks,
    /// Whether `//` in a path is `/`.
    pub merge_slashes: bool,
    /// Bowline's name in `Via` (RFC 9110 section 7.6.3).
    pub pseudonym: HeaderValue,
    /// What it adds to the `Via` of an HTTP/1.1 message.
    pub via: HeaderValue,
    /// Which forwarding headers upstreams get.
    pub forwarded: config::Forwarded,
    /// How it ends.
    pub drain: Drain,
    /// Worker threads.
    pub workers: usize,
    /// The least important level that is logged.
    pub log_level: config::Level,
    /// How log lines look.
    pub log_format: config::Format,
    /// Whether requests and tunnels get access lines.
    pub access_log: bool,
}

impl Plan {
    /// Resolves and checks `config`. Files it names are relative to `folder`. The plan is of use
    /// only when `mistakes` is still empty afterwards.
    pub fn build(config: &Config, folder: &Path, mistakes: &mut Mistakes) -> Self {
        let root = At::root();
        let upstreams = upstream::build_all(config, folder, mistakes);
        let by_name: HashMap<&str, usize> =
            upstreams.iter().enumerate().map(|(id, upstream)| (&*upstream.name, id)).collect();
        let routes = route::build_all(config, &by_name, mistakes);
        websocket::check(&config.websocket, &root.key("websocket"), mistakes);
        sticky::check_secret(config, mistakes);
        let listeners = listener::build_all(config, folder, mistakes);
        let pseudonym = pseudonym(config, mistakes);
        Self {
            routes: Routes::new(routes),
            admin: admin(config, &listeners, mistakes),
            listeners,
            resolver: Resolver::build(&config.resolver, &root.key("resolver"), mistakes),
            trusted: Networks::read(
                &config.trusted_proxies,
                &root.key("trusted_proxies"),
                mistakes,
            ),
            tells_destinations: upstreams.iter().any(|one| one.proxy_protocol.is_some()),
            merge_slashes: config.merge_slashes.is_none_or(|merge| merge.0),
            via: HeaderValue::try_from([b"1.1 ", pseudonym.as_bytes()].concat())
                .unwrap_or_else(|_| pseudonym.clone()),
            pseudonym,
            forwarded: config.forwarded.unwrap_or_default(),
            drain: Drain::build(&config.drain, &root.key("drain"), mistakes),
            workers: workers(config, &root, mistakes),
            log_level: config.log.level.unwrap_or_default(),
            log_format: config.log.format.unwrap_or_default(),
            access_log: config.log.access.is_none_or(|access| access.0),
            upstreams,
            written: Box::new(config.clone()),
        }
    }

    /// The upstream that `route` leads to.
    pub fn upstream_of(&self, route: &Route) -> Option<&Upstream> {
        self.upstreams.get(route.upstream)
    }
}

fn admin(config: &Config, listeners: &[Listener], mistakes: &mut Mistakes) -> Option<SocketAddr> {
    let admin = config.admin.as_ref()?;
    let at = At::root().key("admin");
    let Some(address) = &admin.address else {
        mistakes.add(&at, "the admin listener needs an `address`, such as 127.0.0.1:9900");
        return None;
    };
    let address = match listen_on::address(address) {
        Ok(address) => address,
        Err(what) => {
            mistakes.add(&at.key("address"), what);
            return None;
        }
    };
    if address.port() != 0 && listeners.iter().any(|one| one.on.address() == Some(address)) {
        mistakes.add(
            &at.key("address"),
            format!("{address} is a listener's address too: give the admin listener another port"),
        );
    }
    Some(address)
}

fn pseudonym(config: &Config, mistakes: &mut Mistakes) -> HeaderValue {
    let fallback = HeaderValue::from_static("bowline");
    let Some(name) = &config.via else { return fallback };
    // A pseudonym is a token (RFC 9110 section 7.6.3).
    match HeaderValue::from_str(name) {
        Ok(value) if is_token(name) => value,
        _ => {
            mistakes.add(
                &At::root().key("via"),
                format!("`{name}` cannot stand in Via: use letters, digits, `-`, `_` and `.` only"),
            );
            fallback
        }
    }
}

fn workers(config: &Config, root: &At, mistakes: &mut Mistakes) -> usize {
    match config.workers {
        None => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        Some(count) if (1..=1024).contains(&count.0) => count.0 as usize,
        Some(count) => {
            mistakes.add(
                &root.key("workers"),
                format!(
                    "{} workers is out of range: give 1 to 1024, or leave it out for one per core",
                    count.0
                ),
            );
            1
        }
    }
}
