//! Certificates that Bowline makes itself, for trying things out: `self_signed: true` and `bowline
//! cert`. The only file that knows rcgen.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

/// What `localhost` is called.
pub const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Clocks differ; a certificate is valid from a day ago.
const SKEW: Duration = DAY;

/// Browsers take no longer ones.
const VALID: Duration = DAY.saturating_mul(397);

/// An authority may be trusted by hand, which nobody wants to do every year.
const AUTHORITY_VALID: Duration = DAY.saturating_mul(3650);

/// A certificate and its key, both in PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key, in PKCS#8.
    pub key: String,
}

/// A fresh authority.
pub struct Authority {
    own: Issued,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one, at `now`.
    ///
    /// # Errors
    /// When there are no random numbers to be had.
    pub fn new(now: SystemTime) -> Result<Self, String> {
        let mut params = params(&[], "Bowline development CA", now, AUTHORITY_VALID)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
        let own = Issued { certificate: certificate.pem(), key: key.serialize_pem() };
        Ok(Self { own, issuer: Issuer::new(params, key) })
    }

    /// Its own certificate and key.
    pub fn own(&self) -> &Issued {
        &self.own
    }

    /// A server's certificate for `names`, hosts and addresses.
    ///
    /// # Errors
    /// A name that cannot stand in a certificate.
    pub fn server(&self, names: &[String], now: SystemTime) -> Result<Issued, String> {
        let called = names.first().map_or("localhost", String::as_str);
        let params = params(names, called, now, VALID)?;
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The certificate of a client that is called `name`.
    ///
    /// # Errors
    /// A name that cannot stand in a certificate.
    pub fn client(&self, name: &str, now: SystemTime) -> Result<Issued, String> {
        self.issue(params(&[], name, now, VALID)?, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<Issued, String> {
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let certificate =
            params.signed_by(&key, &self.issuer).map_err(|error| error.to_string())?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

fn params(
    names: &[String],
    called: &str,
    now: SystemTime,
    valid: Duration,
) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::new(names).map_err(|error| error.to_string())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, called);
    let from = now.checked_sub(SKEW).unwrap_or(now);
    let until = now.checked_add(valid).unwrap_or(now);
    params.not_before = from.into();
    params.not_after = until.into();
    Ok(params)
}
