//! An upstream: servers that do the same work, and how to use them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Balance, Breaker, Count, EndpointEntry, HashBy, Health, Limit, MaxConnections, Queue,
    Rebalance, Retries, Sticky, Time, Upgrades,
};

/// A group of servers that do the same work.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of upstream settings")]
pub struct Upstream {
    /// The servers: `10.0.0.1:9001`, `chat.internal:9001` or `http://chat.internal:9001`, or a
    /// mapping. `dns://chat.internal:9001` stands for every address of that name, and
    /// `dns+srv://_ws._tcp.chat.internal` for what its SRV records name; both follow the DNS. Either
    /// these, `endpoints_file` or `builtin` is needed. Default: none.
    pub endpoints: Vec<EndpointEntry>,
    /// A file with further endpoints: a YAML or JSON list like `endpoints`, without `dns://`. It is
    /// read again whenever it changes; as long as it is broken, empty or gone, the last list holds.
    /// Default: none.
    pub endpoints_file: Option<String>,
    /// A server inside Bowline, in place of endpoints. Default: none.
    pub builtin: Option<Builtin>,
    /// Which endpoint gets the next request. Default: `least_connections`.
    pub balance: Option<Balance>,
    /// What `ring_hash` and `maglev` look at: `client_ip`, `path`, or one of `{ header: NAME }`,
    /// `{ cookie: NAME }` and `{ query: NAME }`. Requests with the same value meet the same endpoint,
    /// through every Bowline with the same endpoints, in whatever order. Default: `client_ip`.
    pub hash_by: Option<HashBy>,
    /// How long an endpoint that appears beside others, or recovers, takes to come to its whole
    /// share, beginning with a tenth. Default: `off`.
    pub slow_start: Option<Limit>,
    /// What keeps a client with the endpoint that it met first: `cookie`, `engineio` (the sessions of
    /// socket.io, so that its long polling and its WebSocket meet the same server), `client_ip`, or
    /// a mapping. Whose endpoint is gone goes to another one. Default: none.
    pub sticky: Option<Sticky>,
    /// Idle connections kept for the next request. Default: each its own.
    pub keep_alive: KeepAlive,
    /// Addresses of this machine (`10.0.0.5`) that connections come from, in turn. Each has ports of its
    /// own, some 28,000 to one endpoint with Linux's defaults. Of each endpoint's family at least one, or
    /// the kernel chooses there. Default: what the kernel chooses.
    pub source_addresses: Vec<String>,
    /// Each connection begins with a header of the PROXY protocol that names the client and the address
    /// that it reached: `v1` or `v2`. Such a connection carries one request, for the next one may be another
    /// client's. Checks say that they are none. Default: no header.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Which servers count as down. Default: each its own.
    pub health: Health,
    /// How fast new WebSockets may come. Default: as fast as clients open them.
    pub upgrades: Option<Upgrades>,
    /// How many requests and WebSockets may be under way. Default: each its own.
    pub max_connections: MaxConnections,
    /// Who waits when so many are. Default: nobody.
    pub queue: Option<Queue>,
    /// How often a request that failed is tried elsewhere. Default: each its own.
    pub retries: Retries,
    /// When an upstream that fails is spared. Default: never.
    pub breaker: Option<Breaker>,
    /// Whether open WebSockets are moved to endpoints that appear or come back. Default: never.
    pub rebalance: Option<Rebalance>,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}

/// A server inside Bowline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Builtin {
    /// A WebSocket server that sends back every message.
    Echo,
    /// A page that opens a WebSocket to `/echo` on the same host and shows its frames.
    Page,
}

/// Idle connections to an upstream, kept for the next request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of keep-alive settings")]
pub struct KeepAlive {
    /// How long an unused connection is kept. It should be shorter than the upstream's own keep-alive
    /// time, or requests meet connections that are just being closed. Default: `60s`.
    pub idle: Option<Time>,
    /// How many idle connections each worker keeps to each endpoint; 0 keeps none. Default: `64`.
    pub max: Option<Count>,
    /// A connection is not used again once it is so old, or up to a tenth younger, at random, so that
    /// not all are replaced at once: behind a name or a balancer, new ones find new servers. Default: `off`.
    pub max_age: Option<Limit>,
    /// A connection is not used again after so many requests. Default: any number.
    pub max_requests: Option<Count>,
}

impl Builtin {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Page => "page",
        }
    }
}
