//! A door for the fuzz targets to what is private here; with the feature `fuzzing` only, and no
//! promise to anybody.

use std::net::SocketAddr;

use tokio_rustls::rustls::pki_types::CertificateDer;

use super::tls::x509::Facts;
use crate::proxy_protocol;

/// A header of the PROXY protocol that came whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The client, where it is named.
    pub source: Option<SocketAddr>,
    /// What the client reached, where that is named.
    pub destination: Option<SocketAddr>,
    /// Whether it came by TLS, where that is said.
    pub tls: Option<bool>,
    /// Bytes of the header.
    pub length: usize,
}

/// Reads the header at the start of `bytes`; `None` while more are needed.
///
/// # Errors
/// Why they are none.
pub fn introduction(bytes: &[u8]) -> Result<Option<Introduction>, String> {
    let parsed = proxy_protocol::parse(bytes).map_err(|fault| fault.to_string())?;
    Ok(parsed.map(|(header, length)| Introduction {
        source: header.source,
        destination: header.destination,
        tls: header.tls,
        length,
    }))
}

/// Subject and alternative names of a certificate, as they are told; `None` when it is none.
pub fn certificate(der: &[u8]) -> Option<(String, String)> {
    let facts = Facts::of(&CertificateDer::from(der)).ok()?;
    Some((facts.subject, facts.alternatives))
}
