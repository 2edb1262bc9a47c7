//! Which certificate a client gets: by the server name that it asks for, and by the signatures that
//! it can check.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::SignatureAlgorithm;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::certificate::Certificate;

/// Certificates for one name, the one that is liked best first.
type Choices = Vec<Arc<CertifiedKey>>;

/// The certificates of a listener.
pub(super) struct ByName {
    exact: HashMap<String, Choices>,
    /// By what stands behind `*.`.
    wildcard: HashMap<String, Choices>,
    /// For everybody else; none when everybody else is refused.
    others: Choices,
}

impl ByName {
    /// `strict`: who asks for no name, or for one that is not covered, is refused.
    pub(super) fn new(certificates: &[Arc<Certificate>], strict: bool) -> Self {
        let mut names =
            Self { exact: HashMap::new(), wildcard: HashMap::new(), others: Vec::new() };
        for certificate in certificates {
            for name in &certificate.facts.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut names.wildcard, parent),
                    None => (&mut names.exact, name.as_str()),
                };
                map.entry(name.to_owned()).or_default().push(Arc::clone(&certificate.key));
            }
        }
        // An ECDSA signature costs a tenth of an RSA one; who can only check RSA gets RSA.
        let lists = names.exact.values_mut().chain(names.wildcard.values_mut());
        lists.for_each(|list| {
            list.sort_by_key(|one| one.key.algorithm() == SignatureAlgorithm::RSA);
        });
        if let Some(first) = certificates.first().filter(|_| !strict) {
            let same = first.facts.names.first().and_then(|name| names.covering(name));
            names.others = same.cloned().unwrap_or_else(|| vec![Arc::clone(&first.key)]);
        }
        names
    }

    /// Those for a name in lower case, which may be a pattern itself.
    fn covering(&self, name: &str) -> Option<&Choices> {
        self.exact.get(name).or_else(|| {
            // A wildcard stands for one label (RFC 9525 section 6.3).
            let (_, parent) = name.split_once('.')?;
            self.wildcard.get(parent)
        })
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().map(str::to_ascii_lowercase);
        let choices = asked.and_then(|name| self.covering(&name)).unwrap_or(&self.others);
        let can_check =
            |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        // Where it can check none, the handshake says so in the right words.
        choices.iter().find(can_check).or(choices.first()).cloned()
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByName({} names)", self.exact.len().saturating_add(self.wildcard.len()))
    }
}
