//! Who a client has proved to be by its certificate, as upstreams and the access log are told. Made
//! once a connection; what a client claims about itself in these fields never passes.

use std::sync::Arc;

use data_encoding::BASE64;
use http::header::{HeaderName, HeaderValue};

use crate::config::ForwardedCertificate;

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
const SAN: HeaderName = HeaderName::from_static("x-client-cert-san");
const FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");

/// A client's certificate, verified.
#[derive(Clone, Copy, Debug)]
pub struct ClientCertificate<'a> {
    /// As it came.
    pub der: &'a [u8],
    /// Its subject in visible ASCII.
    pub subject: &'a str,
    /// Its alternative names in visible ASCII; empty when it has none.
    pub alternatives: &'a str,
    /// SHA-256 of it, in hexadecimal digits.
    pub fingerprint: &'a str,
}

/// Who a client has proved to be.
#[derive(Debug)]
pub struct Identity {
    fields: Vec<(HeaderName, HeaderValue)>,
    subject: Option<Arc<str>>,
}

impl Identity {
    /// A client that was asked for a certificate and has shown none.
    pub fn nobody() -> Self {
        Self { fields: Vec::new(), subject: None }
    }

    /// The client with `certificate`, of which upstreams are told what `forward` says.
    pub fn of(certificate: &ClientCertificate<'_>, forward: ForwardedCertificate) -> Self {
        let (summary, whole) = match forward {
            ForwardedCertificate::Summary => (true, false),
            ForwardedCertificate::Certificate => (false, true),
            ForwardedCertificate::Both => (true, true),
            ForwardedCertificate::None => (false, false),
        };
        let mut fields = Vec::new();
        let mut field = |name, value: &str| {
            // An application must be able to tell what is not there from what is empty.
            if let Some(value) = HeaderValue::from_str(value).ok().filter(|one| !one.is_empty()) {
                fields.push((name, value));
            }
        };
        if summary {
            field(SUBJECT, certificate.subject);
            field(SAN, certificate.alternatives);
            field(FINGERPRINT, certificate.fingerprint);
        }
        if whole {
            // RFC 9440 section 2.2: a byte sequence of RFC 8941 section 3.3.5.
            field(CLIENT_CERT, &format!(":{}:", BASE64.encode(certificate.der)));
        }
        Self { fields, subject: Some(certificate.subject.into()) }
    }

    /// What upstreams are told.
    pub(super) fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + '_ {
        self.fields.iter().cloned()
    }

    /// Its subject, if it has shown a certificate.
    pub(super) fn subject(&self) -> Option<&Arc<str>> {
        self.subject.as_ref()
    }
}

/// Whether a field, by its name in lower case, says who the client is by its certificate: `Client-Cert`
/// and `Client-Cert-Chain` (RFC 9440), `X-Client-Cert-…`, and the spellings that frameworks take for
/// them (`X_Client_Cert_Subject`).
pub(super) fn claims_certificate(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    let name = match name {
        [b'x', b'-' | b'_' | b'.', rest @ ..] => rest,
        name => name,
    };
    let family = b"client-cert";
    name.len() >= family.len()
        && name.iter().zip(family).all(|(byte, wanted)| match *wanted {
            b'-' => matches!(byte, b'-' | b'_' | b'.'),
            wanted => *byte == wanted,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: ClientCertificate<'_> =
        ClientCertificate { der: b"der", subject: "CN=a", alternatives: "", fingerprint: "00ff" };

    fn told(forward: ForwardedCertificate) -> Vec<String> {
        let identity = Identity::of(&SHOWN, forward);
        assert_eq!(identity.subject().map(|subject| &**subject), Some("CN=a"));
        let line = |(name, value): (HeaderName, HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        identity.fields().map(line).collect()
    }

    #[test]
    fn upstreams_are_told_what_is_configured() {
        let summary = ["x-client-cert-subject: CN=a", "x-client-cert-fingerprint: 00ff"];
        let whole = "client-cert: :ZGVy:";
        assert_eq!(told(ForwardedCertificate::Summary), summary);
        assert_eq!(told(ForwardedCertificate::Certificate), [whole]);
        assert_eq!(told(ForwardedCertificate::Both), [summary[0], summary[1], whole]);
        assert!(told(ForwardedCertificate::None).is_empty());
    }

    #[test]
    fn who_shows_nothing_is_nobody() {
        let nobody = Identity::nobody();
        assert!(nobody.subject().is_none() && nobody.fields().next().is_none());
    }

    #[test]
    fn every_spelling_of_a_claim_is_known() {
        let claims = |name: &str| claims_certificate(&HeaderName::try_from(name).unwrap());
        for name in [
            "client-cert",
            "client-cert-chain",
            "client_cert",
            "x-client-cert-subject",
            "x_client_cert_subject",
            "x.client-cert.san",
            "x-client-certificate",
        ] {
            assert!(claims(name), "{name}");
        }
        for name in ["client", "x-client", "x-client-ip", "clients-cert", "accept", "x-cert"] {
            assert!(!claims(name), "{name}");
        }
    }
}
