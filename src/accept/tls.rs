//! TLS on a listener: certificates read and checked, the one served chosen by server name.

mod pem;

use std::fmt;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys, ServerConfig};

use crate::config::Mistakes;
use crate::plan::{CertificateFiles, Tls};

/// HTTP/2 in the words of ALPN.
pub(super) const HTTP2: &[u8] = b"h2";

/// Reads the certificates of a listener. Every mistake is added with its place; the acceptor is of
/// use only when there was none.
pub fn load(tls: &Tls, mistakes: &mut Mistakes) -> Option<TlsAcceptor> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut certificates = Vec::new();
    for files in &tls.certificates {
        match certified(files, &provider) {
            Ok(certificate) => certificates.push(Arc::new(certificate)),
            Err(found) => found.into_iter().for_each(|what| mistakes.add(&files.at, what)),
        }
    }
    if certificates.is_empty() {
        return None;
    }
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|builder| {
            builder.with_no_client_auth().with_cert_resolver(Arc::new(ByName { certificates }))
        });
    let mut config = match config {
        Ok(config) => config,
        Err(error) => {
            mistakes.add(&crate::config::At::root(), format!("TLS cannot be set up: {error}"));
            return None;
        }
    };
    config.alpn_protocols = alpn(tls.http2);
    if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
        config.ticketer = ticketer;
    }
    Some(TlsAcceptor::from(Arc::new(config)))
}

/// HTTP/2 first: who can speak both shall.
fn alpn(http2: bool) -> Vec<Vec<u8>> {
    let offered = [(HTTP2, http2), (&b"http/1.1"[..], true)];
    offered.iter().filter(|(_, offered)| *offered).map(|(name, _)| name.to_vec()).collect()
}

fn certified(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Vec<String>> {
    let (chain, key) = match (pem::chain(&files.cert), pem::key(&files.key)) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
    };
    let paired = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
            "the key in {} does not belong to the certificate in {}: check that both are of one issue",
            files.key.display(),
            files.cert.display()
        ),
        error => format!("{} with {}: {error}", files.cert.display(), files.key.display()),
    });
    paired.map_err(|what| vec![what])
}

/// Picks the first certificate that is valid for the server name; the first of all otherwise.
struct ByName {
    certificates: Vec<Arc<CertifiedKey>>,
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByName({} certificates)", self.certificates.len())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let default = self.certificates.first()?;
        if self.certificates.len() == 1 {
            return Some(Arc::clone(default));
        }
        let named = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = named.and_then(|name| {
            self.certificates.iter().find(|certificate| {
                certificate
                    .end_entity_cert()
                    .and_then(ParsedCertificate::try_from)
                    .is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
            })
        });
        Some(Arc::clone(fits.unwrap_or(default)))
    }
}
