//! TLS of a listener. Files are only named here; `plan/` finds them and `accept/` reads them.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::wording::quoted;
use super::{Count, Switch, Time};

/// TLS of one listener. Files are looked at once a second; one that has changed takes effect for
/// handshakes from then on, and one that is broken leaves what was read before in use.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of TLS settings")]
pub struct Tls {
    /// Certificates with their keys. The client's server name (SNI) chooses among them, and among
    /// several for the same name the signatures that the client knows (ECDSA before RSA). The first
    /// one serves clients that send no name or one that is not covered. Default: none, which needs
    /// `self_signed`.
    pub certificates: Vec<Certificate>,
    /// Serve `localhost`, `127.0.0.1` and `::1` with a certificate that is made at the start and
    /// that nobody trusts: to try things on one machine. Default: `false`.
    pub self_signed: Option<Switch>,
    /// The oldest version of TLS that is spoken: `1.2` or `1.3`. Default: `1.2`.
    pub min_version: Option<TlsVersion>,
    /// Whether handshakes without a server name, or with one that no certificate covers, are
    /// refused. Without this they get the first certificate. Default: `false`.
    pub strict_sni: Option<Switch>,
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
    /// File with the keys of session tickets, for several Bowlines that take each other's: one key
    /// of 80 or 48 bytes in base64 on each line, or a single one as raw bytes. The first one
    /// makes tickets, all of them are taken. Default: keys of the process's own, changed every 6 hours.
    pub ticket_keys_file: Option<String>,
    /// Whether clients have to show a certificate, and who issues it. Default: they are not asked.
    pub client_auth: Option<ClientAuth>,
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

/// Certificates of clients (mutual TLS).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping with `ca`")]
pub struct ClientAuth {
    /// Whether a client without a certificate is refused. A wrong one always is. Default:
    /// `required`.
    pub mode: Option<ClientAuthMode>,
    /// PEM file with the certificates of the authorities that clients' certificates come from.
    /// Required.
    pub ca: Option<String>,
    /// PEM file with the revocation lists of these authorities, one of each that is in a chain.
    /// Default: nothing is revoked.
    pub crl: Option<String>,
    /// What upstreams are told of a client's certificate. Default: `summary`.
    pub forward: Option<ForwardedCertificate>,
}

/// Whether a client must show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMode {
    /// Without one the handshake fails.
    #[default]
    Required,
    /// Without one the client is served, and upstreams are told of none.
    Optional,
}

/// What upstreams are told of a client's certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedCertificate {
    /// `X-Client-Cert-Subject`, `X-Client-Cert-San` and `X-Client-Cert-Fingerprint`.
    #[default]
    Summary,
    /// All of it, in `Client-Cert` (RFC 9440).
    Certificate,
    /// Both.
    Both,
    /// Nothing.
    None,
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

/// A version of TLS: `1.2` or `1.3`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl<'de> Deserialize<'de> for TlsVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = TlsVersion;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`1.2` or `1.3`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TlsVersion, E> {
                match text {
                    "1.2" => Ok(TlsVersion::Tls12),
                    "1.3" => Ok(TlsVersion::Tls13),
                    _ => Err(E::custom(format_args!(
                        "{} is no version of TLS that is spoken here; write `1.2` or `1.3`",
                        quoted(text)
                    ))),
                }
            }

            // YAML takes 1.2 for a number.
            fn visit_f64<E: Error>(self, number: f64) -> Result<TlsVersion, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<TlsVersion, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for TlsVersion {
    fn schema_name() -> Cow<'static, str> {
        "TlsVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A version of TLS: `1.2` or `1.3`.",
            "anyOf": [
                { "type": "number", "enum": [1.2, 1.3] },
                { "type": "string", "pattern": r"^1\.[23]$|\$\{" },
            ],
        })
    }
}
