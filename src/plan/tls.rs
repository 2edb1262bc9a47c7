//! TLS on a listener, as files that are yet to be read.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{
    self, At, ClientAuthMode, Count, ForwardedCertificate, HostMismatch, Mistakes, TlsVersion,
};

/// TLS on a listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificates; the first serves clients whose name matches none. Empty when `self_signed`.
    pub certificates: Vec<CertificateFiles>,
    /// It is served with a certificate that Bowline makes itself.
    pub self_signed: bool,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whether a client whose name matches none, or that sends none, is refused.
    pub strict_sni: bool,
    /// The keys of session tickets; `None` for the process's own.
    pub ticket_keys: Option<NamedFile>,
    /// Certificates of clients; `None` when nobody is asked for one.
    pub client_auth: Option<ClientAuth>,
    /// For the TLS handshake to finish.
    pub handshake_timeout: Duration,
    /// How many handshakes may be under way; `None` for any number.
    pub max_handshakes: Option<NonZeroU32>,
    /// Whether HTTP/2 is offered (ALPN), as the listener says.
    pub http2: bool,
    /// Whether a Host other than the TLS server name is refused with 421.
    pub refuse_host_mismatch: bool,
}

/// A certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM chain, leaf first.
    pub cert: PathBuf,
    /// PEM key.
    pub key: PathBuf,
    /// Where it stands in the configuration.
    pub at: At,
}

/// A file, and where in the configuration it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Where its name stands.
    pub at: At,
}

/// Which certificates clients show.
#[derive(Clone, Debug)]
pub struct ClientAuth {
    /// Whether a client without one is refused.
    pub required: bool,
    /// The authorities, in PEM.
    pub ca: NamedFile,
    /// What they have revoked, in PEM.
    pub crl: Option<NamedFile>,
    /// What upstreams are told.
    pub forward: ForwardedCertificate,
}

impl Tls {
    pub(super) fn build(
        written: &config::Tls,
        folder: &Path,
        at: &At,
        mistakes: &mut Mistakes,
    ) -> Self {
        let named = |file: &Option<String>, at: At| {
            file.as_ref().map(|file| NamedFile { path: folder.join(file), at })
        };
        let self_signed = written.self_signed.is_some_and(|on| on.0);
        if self_signed && !written.certificates.is_empty() {
            mistakes.add(
                &at.key("self_signed"),
                "`self_signed` and `certificates` exclude each other: keep one",
            );
        }
        if !self_signed && written.certificates.is_empty() {
            mistakes.add(
                at,
                "tls needs `certificates: [ { cert: chain.pem, key: key.pem } ]`, or to try it on this machine `self_signed: true`",
            );
        }
        let certificates = written.certificates.iter().enumerate();
        let certificates = certificates.filter_map(|(index, one)| {
            certificate(one, folder, at.key("certificates").index(index), mistakes)
        });
        Self {
            certificates: certificates.collect(),
            self_signed,
            min_version: written.min_version.unwrap_or_default(),
            strict_sni: written.strict_sni.is_some_and(|on| on.0),
            ticket_keys: named(&written.ticket_keys_file, at.key("ticket_keys_file")),
            client_auth: written.client_auth.as_ref().and_then(|written| {
                let at = at.key("client_auth");
                let Some(ca) = named(&written.ca, at.key("ca")) else {
                    mistakes.add(
                        &at,
                        "whose certificates are believed? Write `ca`: the PEM file with the authorities",
                    );
                    return None;
                };
                Some(ClientAuth {
                    required: written.mode.unwrap_or_default() == ClientAuthMode::Required,
                    ca,
                    crl: named(&written.crl, at.key("crl")),
                    forward: written.forward.unwrap_or_default(),
                })
            }),
            handshake_timeout: written.handshake_timeout.map_or(Duration::from_secs(10), |t| t.0),
            max_handshakes: max_handshakes(written.max_handshakes, at, mistakes),
            http2: true,
            refuse_host_mismatch: written.host_mismatch != Some(HostMismatch::Allow),
        }
    }
}

fn max_handshakes(written: Option<Count>, at: &At, mistakes: &mut Mistakes) -> Option<NonZeroU32> {
    let most = written.map(|count| NonZeroU32::new(count.0));
    if most == Some(None) {
        mistakes.add(
            &at.key("max_handshakes"),
            "nobody could ever come in: give at least one, or leave the key out",
        );
    }
    most.flatten()
}

fn certificate(
    written: &config::Certificate,
    folder: &Path,
    at: At,
    mistakes: &mut Mistakes,
) -> Option<CertificateFiles> {
    match (&written.cert, &written.key) {
        (Some(cert), Some(key)) => {
            Some(CertificateFiles { cert: folder.join(cert), key: folder.join(key), at })
        }
        (None, _) => {
            mistakes.add(&at, "this certificate needs `cert`: the PEM file with the chain");
            None
        }
        (_, None) => {
            mistakes.add(&at, "this certificate needs `key`: the PEM file with its key");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(tls: &str) -> (Tls, String) {
        let yaml = format!("listeners:\n- address: '[::]:443'\n  tls: {tls}\n");
        let (config, mut mistakes) = config::parse("file", &yaml, &|_| None);
        let written = config.listeners[0].tls.as_ref().unwrap();
        let at = At::root().key("listeners").index(0).key("tls");
        let tls = Tls::build(written, Path::new("/etc/bowline"), &at, &mut mistakes);
        (tls, mistakes.to_string())
    }

    #[test]
    fn tls_files_are_found_from_the_folder_of_the_configuration() {
        let (tls, mistakes) = planned(
            "{ certificates: [ { cert: a.pem, key: /keys/a.key } ], ticket_keys_file: t, \
             client_auth: { ca: ca.pem, crl: /crl.pem } }",
        );
        assert_eq!(mistakes, "");
        assert_eq!(tls.certificates[0].cert, Path::new("/etc/bowline/a.pem"));
        assert_eq!(tls.certificates[0].key, Path::new("/keys/a.key"));
        assert_eq!(tls.ticket_keys.unwrap().path, Path::new("/etc/bowline/t"));
        let clients = tls.client_auth.unwrap();
        assert_eq!(clients.ca.path, Path::new("/etc/bowline/ca.pem"));
        assert_eq!(clients.crl.unwrap().path, Path::new("/crl.pem"));
    }

    #[test]
    fn what_is_not_written_has_its_documented_default() {
        let (tls, mistakes) =
            planned("{ certificates: [ { cert: a, key: b } ], client_auth: { ca: c } }");
        assert_eq!(mistakes, "");
        assert_eq!(tls.handshake_timeout, Duration::from_secs(10));
        assert!(tls.refuse_host_mismatch && !tls.strict_sni && !tls.self_signed);
        assert!(tls.ticket_keys.is_none());
        assert_eq!(tls.min_version, TlsVersion::Tls12);
        let clients = tls.client_auth.unwrap();
        assert!(clients.required && clients.crl.is_none());
        assert_eq!(clients.forward, ForwardedCertificate::Summary);
    }

    #[test]
    fn a_version_is_read_as_a_number_and_as_a_text() {
        for (written, version) in
            [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13), ("'1.3'", TlsVersion::Tls13)]
        {
            let (tls, mistakes) =
                planned(&format!("{{ self_signed: true, min_version: {written} }}"));
            assert_eq!((tls.min_version, mistakes.as_str()), (version, ""));
        }
        for written in ["1.1", "1", "TLSv1.2"] {
            let (_, mistakes) =
                planned(&format!("{{ self_signed: true, min_version: {written} }}"));
            assert!(mistakes.contains("write `1.2` or `1.3`"), "{written}: {mistakes}");
        }
    }

    #[test]
    fn what_excludes_each_other_or_is_missing_is_told() {
        for (tls, told) in [
            ("{ self_signed: true, certificates: [ { cert: a, key: b } ] }", "exclude each other"),
            ("{ self_signed: false }", "tls needs `certificates"),
            ("{ self_signed: true, client_auth: {} }", "whose certificates are believed?"),
        ] {
            let (_, mistakes) = planned(tls);
            assert!(mistakes.contains(told), "{tls}: {mistakes}");
        }
    }
}
