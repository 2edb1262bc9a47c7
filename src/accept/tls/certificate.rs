//! One certificate that a listener serves: its chain and key, checked against each other.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys};

use super::part::{Complaint, Source};
use super::pem;
use super::x509::Facts;
use crate::plan::CertificateFiles;

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) facts: Facts,
}

impl Certificate {
    /// # Errors
    /// Why they are none, or do not belong together.
    pub(super) fn pair(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, Error> {
        let key = CertifiedKey::from_der(chain, key, provider)?;
        let facts = Facts::of(key.end_entity_cert()?).map_err(Error::General)?;
        Ok(Self { key: Arc::new(key), facts })
    }

    /// Whether `host`, in lower case, is one that it is for.
    pub(super) fn covers(&self, host: &str) -> bool {
        self.facts.names.iter().any(|name| {
            name == host
                || name.strip_prefix("*.").is_some_and(|parent| {
                    host.split_once('.').is_some_and(|(_, rest)| rest == parent)
                })
        })
    }
}

impl Source for CertificateFiles {
    type Value = Certificate;

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.cert.clone(), self.key.clone()]
    }

    fn read(&self, provider: &Arc<CryptoProvider>) -> Result<Certificate, Vec<Complaint>> {
        let complaint = |what| Complaint { at: self.at.clone(), what };
        let chain = pem::read(&self.cert).and_then(|bytes| pem::certificates(&bytes, &self.cert));
        let key = pem::read(&self.key).and_then(|bytes| pem::key(&bytes, &self.key));
        let (chain, key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => {
                let found = chain.err().into_iter().chain(key.err());
                return Err(found.map(complaint).collect());
            }
        };
        let (cert, named) = (self.cert.display(), self.key.display());
        Certificate::pair(chain, key, provider).map_err(|error| {
            vec![complaint(match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
                    "the key in {named} does not belong to the certificate in {cert}: check that both are of one issue",
                ),
                error => format!("{cert} with {named}: {error}"),
            })]
        })
    }
}
