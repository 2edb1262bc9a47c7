//! Whose certificates are believed.

use std::sync::Arc;

use aws_lc_rs::digest;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::config::At;
use crate::pem;
use crate::plan::{NamedFile, UpstreamTls};

/// A mistake, and its place.
type Mistake = (At, String);

/// The authorities in `file`; they go into `digest`.
pub(super) fn roots(
    file: &NamedFile,
    digest: &mut digest::Context,
) -> Result<Arc<RootCertStore>, Mistake> {
    let wrong = |what| (file.at.clone(), what);
    let path = &file.path;
    let found = pem::read(path).and_then(|bytes| pem::certificates(&bytes, path)).map_err(wrong)?;
    let mut roots = RootCertStore::empty();
    for one in found {
        digest.update(&one);
        let added = roots.add(one);
        added.map_err(|error| wrong(format!("{} holds no authority: {error}", path.display())))?;
    }
    Ok(Arc::new(roots))
}

/// The authorities that the system trusts, read when they are first needed and once for all upstreams.
#[derive(Default)]
pub(super) struct SystemRoots(Option<System>);

struct System {
    roots: Arc<RootCertStore>,
    digest: digest::Digest,
    /// What could not be read.
    problem: String,
}

impl SystemRoots {
    pub(super) fn get(
        &mut self,
        plan: &UpstreamTls,
        digest: &mut digest::Context,
    ) -> Result<Arc<RootCertStore>, Mistake> {
        let system = self.0.get_or_insert_with(System::read);
        if system.roots.is_empty() {
            let what = format!(
                "TLS to this upstream needs authorities to believe, and the system has none{}: install its \
                 package `ca-certificates`, or write `tls: {{ ca: ca.pem }}`",
                system.problem
            );
            return Err((plan.at.clone(), what));
        }
        digest.update(system.digest.as_ref());
        Ok(Arc::clone(&system.roots))
    }
}

impl System {
    fn read() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut digest = digest::Context::new(&digest::SHA256);
        found.certs.iter().for_each(|one| digest.update(one));
        let mut roots = RootCertStore::empty();
        // Some systems have ones that nobody can parse.
        roots.add_parsable_certificates(found.certs);
        let problem = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        Self { roots: Arc::new(roots), digest: digest.finish(), problem }
    }
}

/// Believes everybody; only that whoever speaks has the key of what was shown is looked at.
#[derive(Debug)]
pub(super) struct Anyone(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
