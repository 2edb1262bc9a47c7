//! Certificates of clients: who issues them, which are revoked, and who a client has proved to be.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA256};
use data_encoding::HEXLOWER;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{CertificateError, Error, RootCertStore};

use super::part::{Complaint, Source};
use super::pem;
use super::tickets::Purpose;
use super::x509::Facts;
use crate::config::ForwardedCertificate;
use crate::exchange::{ClientCertificate, Identity};
use crate::plan::ClientAuth;

/// Which certificates of clients are taken.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    required: bool,
    forward: ForwardedCertificate,
    /// Of all that a verdict depends on. A session of another time is not resumed but judged anew.
    pub(super) purpose: Purpose,
}

impl Clients {
    /// Who the client of a handshake has proved to be. Of a full handshake rustls has checked `chain`
    /// already; one that comes out of a ticket is checked again, for time has gone by.
    ///
    /// # Errors
    /// Why it is not to be served.
    pub(super) fn identify(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        resumed: bool,
        now: UnixTime,
    ) -> Result<Identity, Error> {
        let Some((own, issuers)) = chain.and_then(<[_]>::split_first) else {
            return match self.required {
                true => Err(Error::NoCertificatesPresented),
                false => Ok(Identity::nobody()),
            };
        };
        if resumed {
            self.verifier.verify_client_cert(own, issuers, now)?;
        }
        let facts =
            Facts::of(own).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let fingerprint = HEXLOWER.encode(digest::digest(&SHA256, own).as_ref());
        Ok(Identity::of(
            &ClientCertificate {
                der: own,
                subject: &facts.subject,
                alternatives: &facts.alternatives,
                fingerprint: &fingerprint,
            },
            self.forward,
        ))
    }
}

impl Source for ClientAuth {
    type Value = Clients;

    fn paths(&self) -> Vec<PathBuf> {
        [Some(&self.ca), self.crl.as_ref()]
            .into_iter()
            .flatten()
            .map(|one| one.path.clone())
            .collect()
    }

    fn read(&self, provider: &Arc<CryptoProvider>) -> Result<Clients, Vec<Complaint>> {
        let of_ca = |what| vec![Complaint { at: self.ca.at.clone(), what }];
        let authorities = pem::read(&self.ca.path).map_err(of_ca)?;
        let mut purpose = digest::Context::new(&SHA256);
        purpose.update(if self.required { b"required" } else { b"optional" });
        purpose.update(digest::digest(&SHA256, &authorities).as_ref());
        let mut roots = RootCertStore::empty();
        for one in pem::certificates(&authorities, &self.ca.path).map_err(of_ca)? {
            roots.add(one).map_err(|error| {
                of_ca(format!("{} holds no authority: {error}", self.ca.path.display()))
            })?;
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let mut builder = if self.required { builder } else { builder.allow_unauthenticated() };
        if let Some(crl) = &self.crl {
            let of_crl = |what| vec![Complaint { at: crl.at.clone(), what }];
            let bytes = pem::read(&crl.path).map_err(of_crl)?;
            purpose.update(&bytes);
            builder = builder.with_crls(pem::revocation_lists(&bytes, &crl.path).map_err(of_crl)?);
        }
        let verifier = builder.build().map_err(|error| match &self.crl {
            Some(crl) => {
                let what = format!("{}: {error}", crl.path.display());
                vec![Complaint { at: crl.at.clone(), what }]
            }
            None => of_ca(format!("{}: {error}", self.ca.path.display())),
        })?;
        let mut digest = Purpose::default();
        digest.copy_from_slice(purpose.finish().as_ref());
        Ok(Clients { verifier, required: self.required, forward: self.forward, purpose: digest })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tokio_rustls::rustls::crypto::aws_lc_rs;

    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    /// Clients of one authority, and a certificate of it that ends with the year 2026.
    fn known(required: bool) -> (Clients, CertificateDer<'static>) {
        let (key, own) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
        let issuer = Issuer::new(params, key);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = builder.build().unwrap();
        let forward = ForwardedCertificate::Summary;
        let clients = Clients { verifier, required, forward, purpose: Purpose::default() };
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let certificate = params.signed_by(&own, &issuer).unwrap();
        (clients, certificate.der().clone())
    }

    #[test]
    fn a_session_is_not_resumed_past_the_end_of_its_certificate() {
        let (clients, certificate) = known(true);
        let chain = Some(std::slice::from_ref(&certificate));
        // 1 January 2027.
        let end = 1_798_761_600;
        assert!(clients.identify(chain, true, at(end - DAY)).is_ok());
        let late = clients.identify(chain, true, at(end + DAY)).unwrap_err();
        assert!(matches!(late, Error::InvalidCertificate(_)), "{late:?}");
    }

    #[test]
    fn a_session_without_a_certificate_opens_nothing_where_one_is_required() {
        let nobody = known(true).0.identify(None, true, at(0));
        assert!(matches!(nobody, Err(Error::NoCertificatesPresented)));
        assert!(known(false).0.identify(None, true, at(0)).is_ok());
        assert!(known(true).0.identify(Some(&[]), false, at(0)).is_err());
    }

    #[test]
    fn of_another_authority_no_session_is_resumed() {
        let ((clients, _), (_, stranger)) = (known(true), known(true));
        let chain = Some(std::slice::from_ref(&stranger));
        clients.identify(chain, true, at(1_798_761_600 - DAY)).unwrap_err();
    }
}
