//! What was wrong with a handshake, and how to mend it.

use std::io;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// A handshake that came to nothing.
#[derive(Debug, thiserror::Error)]
#[error("TLS: {0}")]
pub(super) struct Failed(String);

/// Whether a dial failed for its TLS handshake.
pub fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Failed>())
}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        Self::new(io::ErrorKind::InvalidData, failed)
    }
}

impl Failed {
    /// What `error` says of the handshake with `name`.
    pub(super) fn of(error: &io::Error, name: &ServerName<'_>) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        Self(match tls {
            Some(error) => told(error, &name.to_str()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                "it closed the connection during the handshake: does it speak TLS at this port?"
                    .to_owned()
            }
            None => format!("{error} during the handshake"),
        })
    }

    /// It took too long.
    pub(super) fn slow(time: Duration) -> Self {
        Self(format!("the handshake was not done within {time:?} (`tls.handshake_timeout`)"))
    }

    /// Nobody has said how.
    pub(super) fn unsaid() -> Self {
        Self(
            "an endpoint of a list wants it, and its upstream has no `tls`: write `tls: {}`"
                .to_owned(),
        )
    }
}

fn told(error: &Error, name: &str) -> String {
    use CertificateError as Bad;
    match error {
        Error::InvalidCertificate(Bad::UnknownIssuer) => format!(
            "the certificate shown for {name} is of an unknown issuer: write `tls: {{ ca: file.pem }}` with \
             that issuer, or with a self-signed certificate itself"
        ),
        Error::InvalidCertificate(Bad::BadSignature) => format!(
            "the certificate shown for {name} is signed with another key than that of its issuer in `tls.ca`: was \
             the issuer replaced, under the same name? Write the new one there"
        ),
        Error::InvalidCertificate(Bad::NotValidForNameContext { presented, .. }) => format!(
            "the certificate is not for {name} but for {}: write one of these as `tls: {{ server_name: NAME }}`, \
             or have it issued for {name} as well",
            shown(presented),
        ),
        Error::InvalidCertificate(Bad::NotValidForName) => format!(
            "the certificate is not for {name}: write the name that it is for as `tls: {{ server_name: NAME }}`"
        ),
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => format!(
            "the certificate shown for {name} has expired ({error}): renew it there, or look at this machine's clock"
        ),
        Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => format!(
            "the certificate shown for {name} is not valid yet ({error}): look at the clocks of both machines"
        ),
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::HandshakeFailure
            | AlertDescription::AccessDenied,
        ) => format!(
            "it refused the handshake ({error}): it may want a certificate (`tls.cert`, `tls.key`), or another one"
        ),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => format!(
            "it knows no {name} ({error}): write the name that it knows as `tls: {{ server_name: NAME }}`"
        ),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what it answers is no TLS: is it meant to be `http://`?".to_owned()
        }
        error => error.to_string(),
    }
}

/// The names of a certificate, out of `DnsName("a")` and `IpAddress(b)`.
fn shown(names: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
        inner.trim_end_matches(')').trim_matches('"').to_owned()
    };
    let names: Vec<_> = names.iter().map(bare).collect();
    if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_mend() {
        use CertificateError as Bad;
        let told = |error: Error| {
            let name = ServerName::try_from("web.internal").unwrap();
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            let failed = io::Error::from(Failed::of(&error, &name));
            assert!(is_tls(&failed) && !is_tls(&error));
            failed.to_string()
        };
        for (error, words) in [
            (Error::InvalidCertificate(Bad::UnknownIssuer), ["unknown issuer", "ca: file.pem"]),
            (Error::InvalidCertificate(Bad::BadSignature), ["another key", "tls.ca"]),
            (Error::InvalidCertificate(Bad::NotValidForName), ["web.internal", "server_name"]),
            (Error::InvalidCertificate(Bad::Expired), ["expired", "renew"]),
            (Error::InvalidCertificate(Bad::NotValidYet), ["not valid yet", "clocks"]),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), ["refused", "tls.cert"]),
            (Error::AlertReceived(AlertDescription::UnrecognisedName), ["knows no", "server_name"]),
            (InvalidMessage::InvalidContentType.into(), ["no TLS", "http://"]),
        ] {
            let told = told(error);
            assert!(words.iter().all(|word| told.contains(word)), "{told}");
        }
    }

    #[test]
    fn the_names_of_a_certificate_are_told_as_they_would_be_written() {
        let names = ["DnsName(\"*.a.example\")".to_owned(), "IpAddress(::1)".to_owned()];
        assert_eq!(shown(&names), "*.a.example, ::1");
        assert_eq!(shown(&[]), "no name at all");
    }

    #[test]
    fn what_the_network_says_is_told_as_the_handshakes() {
        let name = ServerName::try_from("web.internal").unwrap();
        let failed = Failed::of(&io::ErrorKind::ConnectionReset.into(), &name);
        assert!(failed.to_string().ends_with("during the handshake"), "{failed}");
        let failed = Failed::of(&io::ErrorKind::UnexpectedEof.into(), &name);
        assert!(failed.to_string().contains("does it speak TLS"), "{failed}");
    }
}
