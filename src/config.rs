//! What the configuration file says: types that mirror the YAML key by key, the reader that finds
//! every structural mistake with its line and column, and the schema and reference made from the
//! same types. What a configuration *means* (defaults, references between its parts, addresses,
//! files) is `plan/`; nothing here opens a socket or resolves a name.

mod admin;
mod at;
mod balance;
mod cors;
mod drain;
mod endpoint;
mod frequency;
mod gates;
mod health;
mod http2;
mod include;
mod listener;
mod log;
mod mistakes;
mod one_or_many;
mod parse;
mod percent;
mod positions;
mod proxy_protocol;
mod quota;
mod read;
mod rebalance;
mod reference;
mod resolver;
mod root;
mod route;
mod schema;
mod secret;
mod size;
mod statuses;
mod sticky;
mod switch;
mod time;
mod timeouts;
mod tls;
mod upstream;
mod upstream_tls;
mod variables;
mod websocket;
mod wording;

pub use admin::Admin;
pub use at::At;
pub use balance::{Balance, HashBy, HashField};
pub use cors::Cors;
pub use drain::{Drain, OnRemoved};
pub use endpoint::{Endpoint, EndpointEntry};
pub use frequency::Frequency;
pub use gates::{Breaker, MaxConnections, Queue, Retries, Upgrades};
pub use health::{ActiveCheck, CheckKind, Health, OnDown, Passive};
pub use http2::Http2;
pub use include::files;
pub use listener::{Limits, Listener};
pub use log::{Format, Level, Log};
pub use mistakes::Mistakes;
pub use one_or_many::OneOrMany;
pub use parse::{parse, parse_endpoints};
pub use percent::Percent;
pub use proxy_protocol::ProxyProtocol;
pub use quota::{Per, Quota};
pub use read::{ReadError, read, read_endpoints};
pub use rebalance::{Ratio, Rebalance, ShedRate};
pub use reference::reference;
pub use resolver::Resolver;
pub use root::{Config, Forwarded};
pub use route::{Match, OriginMode, Route};
pub use schema::schema;
pub use secret::Secret;
pub use size::Size;
pub use statuses::Statuses;
pub use sticky::{SameSite, Sticky, StickyBy, StickyCookie};
pub use switch::{Count, Switch};
pub use time::{Limit, Time};
pub use timeouts::Timeouts;
pub use tls::{
    Certificate, ClientAuth, ClientAuthMode, ForwardedCertificate, HostMismatch, Tls, TlsVersion,
};
pub use upstream::{Builtin, KeepAlive, ProxyVersion, Upstream};
pub use upstream_tls::UpstreamTls;
pub use websocket::{Frames, Heartbeat, OverRate, Rate, WebSocket};
