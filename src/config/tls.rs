//! TLS of a listener. Files are only named here; `plan/` finds them and `accept/` reads them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Time};

/// TLS of one listener.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of TLS settings")]
pub struct Tls {
    /// Certificates with their keys. The client's server name (SNI) chooses among them; the first
    /// one serves clients that send none or one that is not covered. Required.
    pub certificates: Vec<Certificate>,
    /// How long a client may take for the TLS handshake. Default: `10s`.
    pub handshake_timeout: Option<Time>,
    /// How many handshakes may be under way at once, through all workers; further connections wait
    /// unread, first come, first served, and are closed when `handshake_timeout` is over. Default: any
    /// number, since whoever begins a handshake and stops there keeps one of these places for all of
    /// `handshake_timeout`; each worker takes turns between handshakes and open sockets anyway. Write
    /// a number, a thousand for each worker, say, to bound the memory and the wait of each when
    /// everybody comes back at once.
    pub max_handshakes: Option<Count>,
    /// What happens when the `Host` of a request is not the name that the TLS handshake asked for.
    /// Default: `refuse`.
    pub host_mismatch: Option<HostMismatch>,
}

/// A certificate chain and its private key.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping with `cert` and `key`")]
pub struct Certificate {
    /// PEM file with the chain, leaf first; relative to the folder of this file. Required.
    pub cert: Option<String>,
    /// PEM file with the private key; relative to the folder of this file. Required.
    pub key: Option<String>,
}

/// What to do with a request for another host than the TLS handshake named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostMismatch {
    /// Answer with 421, so that nobody reaches a host behind another's certificate.
    #[default]
    Refuse,
    /// Route by `Host` alone.
    Allow,
}
