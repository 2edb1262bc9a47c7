//! TLS to an upstream's servers, as files that are yet to be read.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::ServerName;

use super::endpoint::server_name;
use super::{CertificateFiles, NamedFile};
use crate::config::{self, At, Mistakes};

/// TLS to an upstream's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Authorities in PEM; `None` for those that the system trusts.
    pub ca: Option<NamedFile>,
    /// Who is expected at each endpoint; `None` for the endpoint's own host.
    pub server_name: Option<ServerName<'static>>,
    /// What servers are shown when they ask.
    pub identity: Option<CertificateFiles>,
    /// Whether the certificates of servers are looked at.
    pub verify: bool,
    /// For a handshake to finish; `None` for what the time to connect leaves.
    pub handshake_timeout: Option<Duration>,
    /// Where it stands, or where its upstream does.
    pub at: At,
}

impl UpstreamTls {
    pub(super) fn build(
        written: &config::UpstreamTls,
        folder: &Path,
        at: At,
        mistakes: &mut Mistakes,
    ) -> Self {
        let verify = !written.insecure_skip_verify.is_some_and(|on| on.0);
        if let (false, Some(_)) = (verify, &written.ca) {
            mistakes.add(
                &at.key("insecure_skip_verify"),
                "with this nobody looks at `ca`: remove one of the two, and rather this one",
            );
        }
        let name = written.server_name.as_deref();
        if let Some(name) = name.filter(|name| server_name(name).is_none()) {
            mistakes.add(
                &at.key("server_name"),
                format!(
                    "`{name}` is no name of a host: write one such as chat.internal, without a port"
                ),
            );
        }
        if written.handshake_timeout.is_some_and(|time| time.0.is_zero()) {
            mistakes.add(
                &at.key("handshake_timeout"),
                "no handshake is ever that fast: give a time, or leave the key out",
            );
        }
        let identity = match (&written.cert, &written.key) {
            (Some(cert), Some(key)) => Some(CertificateFiles {
                cert: folder.join(cert),
                key: folder.join(key),
                at: at.key("cert"),
            }),
            (None, None) => None,
            (Some(_), None) => {
                mistakes
                    .add(&at.key("cert"), "a certificate needs its `key`: the PEM file with it");
                None
            }
            (None, Some(_)) => {
                mistakes.add(&at.key("key"), "a key needs its `cert`: the PEM file with the chain");
                None
            }
        };
        let ca = written.ca.as_ref();
        Self {
            ca: ca.map(|file| NamedFile { path: folder.join(file), at: at.key("ca") }),
            server_name: name.and_then(server_name),
            identity,
            verify,
            handshake_timeout: written.handshake_timeout.map(|time| time.0),
            at,
        }
    }
}

/// Who is believed, and what is shown.
impl fmt::Display for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ca {
            _ if !self.verify => f.write_str("certificates are NOT verified")?,
            Some(file) => write!(f, "certificates by {}", file.path.display())?,
            None => f.write_str("certificates by the system's authorities")?,
        }
        if let Some(name) = &self.server_name {
            write!(f, ", asked for as {}", name.to_str())?;
        }
        if let Some(files) = &self.identity {
            write!(f, ", shows {}", files.cert.display())?;
        }
        if let Some(time) = self.handshake_timeout {
            write!(f, ", handshake {time:?}")?;
        }
        Ok(())
    }
}
