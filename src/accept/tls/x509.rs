//! What a certificate says of itself, in the words that people and upstreams are told. The only file
//! that knows x509-cert; whether a certificate is valid is rustls's to say.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::accept) struct Facts {
    /// The names of hosts that it is for, in lower case.
    pub(super) names: Vec<String>,
    /// Unix time from which it is valid.
    pub(super) begins: u64,
    /// Unix time up to which it is valid.
    pub(super) expires: u64,
    /// Its subject as RFC 4514 writes it, in visible ASCII.
    pub(in crate::accept) subject: String,
    /// Its alternative names, `DNS:`, `URI:`, `email:` and `IP:`, with commas between them. Bytes that
    /// are no visible ASCII, commas and percent signs within one are written as `%2C`.
    pub(in crate::accept) alternatives: String,
}

impl Facts {
    /// # Errors
    /// Why it cannot be read.
    pub(in crate::accept) fn of(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let certificate = Certificate::from_der(certificate).map_err(|error| error.to_string())?;
        let body = certificate.tbs_certificate();
        let found = body.get_extension::<SubjectAltName>().map_err(|error| error.to_string())?;
        let alternatives = found.map(|(_, names)| names.0).unwrap_or_default();
        let names = alternatives.iter().filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
            _ => None,
        });
        let validity = body.validity();
        Ok(Self {
            names: names.collect(),
            begins: validity.not_before.to_unix_duration().as_secs(),
            expires: validity.not_after.to_unix_duration().as_secs(),
            subject: visible(&body.subject().to_string()),
            alternatives: list(&alternatives),
        })
    }
}

/// RFC 4514 section 2.4: any byte may be written as its two digits behind a backslash.
fn visible(subject: &str) -> String {
    escaped(subject, '\\', |byte| (b' '..=b'~').contains(&byte))
}

fn list(names: &[GeneralName]) -> String {
    let mut list = String::new();
    for name in names {
        let (kind, value) = match name {
            GeneralName::DnsName(name) => ("DNS", name.as_str().to_owned()),
            GeneralName::UniformResourceIdentifier(uri) => ("URI", uri.as_str().to_owned()),
            GeneralName::Rfc822Name(mail) => ("email", mail.as_str().to_owned()),
            GeneralName::IpAddress(bytes) => match address(bytes.as_bytes()) {
                Some(address) => ("IP", address),
                None => continue,
            },
            _ => continue,
        };
        if !list.is_empty() {
            list.push(',');
        }
        let plain = |byte| (b'!'..=b'~').contains(&byte) && byte != b',' && byte != b'%';
        // Writing to a String cannot fail.
        write!(list, "{kind}:{}", escaped(&value, '%', plain)).unwrap_or_default();
    }
    list
}

fn escaped(text: &str, sign: char, plain: impl Fn(u8) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) {
            safe.push(char::from(byte));
        } else {
            write!(safe, "{sign}{byte:02X}").unwrap_or_default();
        }
    }
    safe
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn facts(params: CertificateParams) -> Facts {
        let key = KeyPair::generate().unwrap();
        Facts::of(params.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn names_and_times_are_read() {
        let names = ["A.example".to_owned(), "*.b.example".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let facts = facts(params);
        assert_eq!(facts.names, ["a.example", "*.b.example"]);
        assert_eq!((facts.begins, facts.expires), (1_767_225_600, 1_798_761_600));
        assert_eq!(facts.alternatives, "DNS:A.example,DNS:*.b.example,IP:127.0.0.1");
    }

    #[test]
    fn nothing_in_a_name_can_look_like_a_second_one() {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "a,O=admin\r\nX: é");
        let uri = "spiffe://a/b,URI:spiffe://admin%0a";
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        let facts = facts(params);
        assert_eq!(facts.alternatives, "URI:spiffe://a/b%2CURI:spiffe://admin%250a");
        assert!(facts.subject.contains("a\\,O=admin"), "{}", facts.subject);
        assert!(
            facts.subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{}",
            facts.subject
        );
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for bytes in [&b""[..], b"\x30\x03\x02\x01\x01", b"garbage"] {
            assert!(Facts::of(&CertificateDer::from(bytes)).is_err());
        }
    }
}
