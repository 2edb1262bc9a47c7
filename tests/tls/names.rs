//! Which certificate a client gets, and with which key, version and key exchange.

use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, NamedGroup, ProtocolVersion, SignatureScheme,
};

use super::harness::{
    Anything, Folder, Tls, anonymous, ask, certificate, connect, content, serving, shake,
    trusting_in, try_connect,
};
use crate::support::Bowline;

#[test]
fn the_server_name_picks_the_certificate_and_a_stranger_gets_the_first() {
    let folder = Folder::new("names");
    let first = folder.issue("a", &["a.example"]);
    let second = folder.issue("b", &["b.example", "*.wild.example"]);
    let bowline = serving(content(), &[folder.entry("a"), folder.entry("b")], "");
    for (name, wanted) in [
        ("a.example", &first),
        ("b.example", &second),
        ("B.Example", &second),
        ("x.wild.example", &second),
        ("x.y.wild.example", &first),
        ("stranger.example", &first),
        ("127.0.0.1", &first),
    ] {
        assert_eq!(&certificate(&connect(bowline.address, name)), wanted, "{name}");
    }
}

#[test]
fn with_strict_names_only_who_asks_for_one_that_is_there_is_served() {
    let folder = Folder::new("strict");
    let first = folder.issue("a", &["a.example", "*.wild.example"]);
    let bowline = serving(content(), &[folder.entry("a")], ", strict_sni: true");
    for name in ["a.example", "A.example", "x.wild.example"] {
        assert_eq!(certificate(&connect(bowline.address, name)), first, "{name}");
    }
    // An address is not asked for by name.
    for name in ["b.example", "wild.example", "x.y.wild.example", "127.0.0.1"] {
        try_connect(bowline.address, name, &[]).expect_err(name);
    }
    bowline.wait_metric("bowline_tls_failures_total{cause=\"unknown_name\"}", 4.0);
}

/// A client that can check signatures of these schemes only.
#[derive(Debug)]
struct Checking(Vec<SignatureScheme>);

impl ServerCertVerifier for Checking {
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
        Anything.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Anything.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

#[test]
fn of_two_for_one_name_a_client_gets_the_one_whose_signature_it_knows() {
    let folder = Folder::new("algorithms");
    let rsa_key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let rsa = folder.issue_with("rsa", &["a.example"], &rsa_key);
    let ecdsa = folder.issue("ecdsa", &["a.example"]);
    // RSA is the first one, and served to nobody who can do better.
    let bowline = serving(content(), &[folder.entry("rsa"), folder.entry("ecdsa")], "");
    let (of_rsa, of_ecdsa) = (
        [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256],
        [SignatureScheme::ECDSA_NISTP256_SHA256],
    );
    let both = [&of_rsa[..], &of_ecdsa].concat();
    for version in [&TLS12, &TLS13] {
        for (schemes, wanted) in [(&of_rsa[..], &rsa), (&of_ecdsa, &ecdsa), (&both, &ecdsa)] {
            for name in ["a.example", "127.0.0.1"] {
                let mut config = trusting_in(&[version]).with_no_client_auth();
                config.dangerous().set_certificate_verifier(Arc::new(Checking(schemes.to_vec())));
                let stream = TcpStream::connect(bowline.address).unwrap();
                let tls = shake(stream, &Arc::new(config), name).unwrap();
                assert_eq!(&certificate(&tls), wanted, "{version:?} {schemes:?} {name}");
            }
        }
    }
}

#[test]
fn keys_are_read_in_every_form_that_tools_write() {
    let folder = Folder::new("forms");
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    folder.issue_with("rsa", &["rsa.example"], &rsa);
    folder.issue("ecdsa", &["ecdsa.example"]);
    for (name, form) in [("rsa", "RSA PRIVATE KEY"), ("ecdsa", "EC PRIVATE KEY")] {
        let key = folder.0.join(format!("{name}.key"));
        let pkcs8 = std::fs::read_to_string(&key).unwrap();
        assert!(pkcs8.contains("-----BEGIN PRIVATE KEY-----"), "{pkcs8}");
        let bowline = serving(content(), &[folder.entry(name)], "");
        connect(bowline.address, "a.example");
        let traditional =
            Command::new("openssl").args(["pkey", "-traditional", "-in"]).arg(&key).output();
        let traditional = String::from_utf8(traditional.unwrap().stdout).unwrap();
        assert!(traditional.contains(form), "{traditional}");
        std::fs::write(&key, traditional).unwrap();
        let bowline = serving(content(), &[folder.entry(name)], "");
        connect(bowline.address, "a.example");
    }
}

#[test]
fn an_older_version_than_the_least_is_not_spoken() {
    let folder = Folder::new("versions");
    folder.issue("a", &["a.example"]);
    let client = |version| Arc::new(trusting_in(&[version]).with_no_client_auth());
    let speaks = |bowline: &Bowline, config: &Arc<ClientConfig>| {
        let stream = TcpStream::connect(bowline.address).unwrap();
        shake(stream, config, "a.example").ok().and_then(|tls: Tls| tls.conn.protocol_version())
    };
    let (old, new) = (client(&TLS12), client(&TLS13));
    let default = serving(content(), &[folder.entry("a")], "");
    assert_eq!(speaks(&default, &old), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(speaks(&default, &new), Some(ProtocolVersion::TLSv1_3));
    default.wait_metric("bowline_tls_handshakes_total{version=\"1.2\",resumed=\"false\"}", 1.0);
    let strict = serving(content(), &[folder.entry("a")], ", min_version: 1.3");
    assert_eq!(speaks(&strict, &old), None);
    assert_eq!(speaks(&strict, &new), Some(ProtocolVersion::TLSv1_3));
    strict.wait_metric("bowline_tls_failures_total{cause=\"nothing_in_common\"}", 1.0);
}

#[test]
fn keys_are_agreed_on_in_a_way_that_no_quantum_computer_undoes() {
    let folder = Folder::new("quantum");
    folder.issue("a", &["a.example"]);
    let bowline = serving(content(), &[folder.entry("a")], "");
    // In the order of browsers, which is not that of rustls without its feature.
    let mut provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.sort_by_key(|group| group.name() != NamedGroup::X25519MLKEM768);
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    let stream = TcpStream::connect(bowline.address).unwrap();
    let tls = shake(stream, &Arc::new(config), "a.example").unwrap();
    let group = tls.conn.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
}

#[test]
fn localhost_is_served_with_a_certificate_of_bowlines_own() {
    let bowline = Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0, tls: {{ self_signed: true }} }} ]\n\
         routes: [ {{ upstream: up }} ]\nupstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n",
        content()
    ));
    let first = ask(bowline.address, &anonymous(), "localhost").unwrap();
    let second = ask(bowline.address, &anonymous(), "127.0.0.1").unwrap();
    assert!(first.head.starts_with("HTTP/1.1 204 "), "{}", first.head);
    assert_eq!(first.certificate, second.certificate);
    let expiry = bowline.metric("bowline_tls_certificate_expiry_seconds{file=\"self_signed\"}");
    assert!(expiry > 1.7e9, "{expiry}");
}
