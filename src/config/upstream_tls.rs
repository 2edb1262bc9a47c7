//! TLS to an upstream's servers. Files are only named here; `plan/` finds them, `upstream/` reads them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Switch, Time};

/// TLS to the servers of an upstream: 1.2 or 1.3, whichever they know, and HTTP/1.1 inside. Files are
/// read at the start and at each reload.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of TLS settings")]
pub struct UpstreamTls {
    /// PEM file with the authorities whose certificates are believed, or with a self-signed certificate
    /// itself; relative to the folder of this file. Default: those that the system trusts.
    pub ca: Option<String>,
    /// The name that servers are asked for (SNI) and that their certificates have to be for; an address is
    /// verified as one, and not sent. Default: the host of the endpoint; behind `dns://` and
    /// `dns+srv://` the name that is looked up, without `_service._tcp.`.
    pub server_name: Option<String>,
    /// PEM file with the certificate that servers are shown when they ask for one, its chain behind it;
    /// relative to the folder of this file. Needs `key`. Default: none.
    pub cert: Option<String>,
    /// PEM file with the private key of `cert`; relative to the folder of this file. Default: none.
    pub key: Option<String>,
    /// Take any certificate of anybody, so that whoever stands in between may read and change
    /// everything. To try things out; `ca` trusts a certificate of one's own. Default: `false`.
    pub insecure_skip_verify: Option<Switch>,
    /// How long a handshake may take; connecting and this together never take longer than
    /// `timeouts.connect`. Default: what that leaves.
    pub handshake_timeout: Option<Time>,
}
