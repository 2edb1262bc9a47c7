//! Certificates for tests, and clients that say exactly what they took.

#![allow(unreachable_pub, reason = "a module of the test beside it")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber,
};
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, ConfigBuilder, DigitallySignedStruct, Error,
    HandshakeKind, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};

use crate::support::{BOUND, Bowline, Upstream};

/// A folder of certificates, gone when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(test: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("bowline-tls-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Writes NAME.pem and NAME.key for `names`; returns the certificate.
    pub fn issue(&self, file: &str, names: &[&str]) -> CertificateDer<'static> {
        self.issue_with(file, names, &KeyPair::generate().unwrap())
    }

    /// The same with a key of the test's choice.
    pub fn issue_with(&self, file: &str, names: &[&str], key: &KeyPair) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let issued = CertificateParams::new(names).unwrap().self_signed(key).unwrap();
        self.write(&format!("{file}.pem"), &issued.pem());
        self.write(&format!("{file}.key"), &key.serialize_pem());
        issued.der().clone()
    }

    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).unwrap();
    }

    pub fn entry(&self, file: &str) -> String {
        let path = self.0.join(file);
        format!("{{ cert: \"{0}.pem\", key: \"{0}.key\" }}", path.display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub fn serving(upstream: SocketAddr, certificates: &[String], tls: &str) -> Bowline {
    Bowline::with(&format!(
        "workers: 1\nlisteners:\n- {{ address: 127.0.0.1:0, tls: {{ certificates: [ {} ] {tls} }} }}\n\
         routes: [ {{ upstream: up }} ]\nupstreams: {{ up: {{ endpoints: [ \"{upstream}\" ] }} }}\n",
        certificates.join(", ")
    ))
}

/// Takes any certificate: which one it was is the test's to say.
#[derive(Debug)]
pub struct Anything;

impl ServerCertVerifier for Anything {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

pub fn try_connect(address: SocketAddr, name: &str, alpn: &[&str]) -> io::Result<Tls> {
    begin(TcpStream::connect(address).unwrap(), name, alpn)
}

/// A TLS handshake on a connection that is there.
pub fn begin(stream: TcpStream, name: &str, alpn: &[&str]) -> io::Result<Tls> {
    let mut config = trusting().with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|one| one.as_bytes().to_vec()).collect();
    shake(stream, &Arc::new(config), name)
}

/// A client that takes any certificate.
pub fn trusting() -> ConfigBuilder<ClientConfig, WantsClientCert> {
    trusting_in(ALL_VERSIONS)
}

/// The same, in some versions only.
pub fn trusting_in(
    versions: &[&'static SupportedProtocolVersion],
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
}

/// A TLS handshake as `config` has it.
pub fn shake(stream: TcpStream, config: &Arc<ClientConfig>, name: &str) -> io::Result<Tls> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream.set_write_timeout(Some(BOUND)).unwrap();
    let mut tls = StreamOwned::new(connection, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

/// A request over a fresh connection: the answer's head, or why there is none. A server that refuses
/// a client of TLS 1.3 says so only behind the client's handshake.
pub fn ask(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> io::Result<Asked> {
    let mut tls = shake(TcpStream::connect(address).unwrap(), config, name)?;
    write!(tls, "GET / HTTP/1.1\r\nHost: {name}\r\n\r\n")?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        tls.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let resumed = tls.conn.handshake_kind() == Some(HandshakeKind::Resumed);
    Ok(Asked { head: String::from_utf8(head).unwrap(), resumed, certificate: certificate(&tls) })
}

/// What came of a request.
#[derive(Debug)]
pub struct Asked {
    pub head: String,
    pub resumed: bool,
    pub certificate: CertificateDer<'static>,
}

pub fn connect(address: SocketAddr, name: &str) -> Tls {
    try_connect(address, name, &["http/1.1"]).unwrap()
}

pub fn certificate(tls: &Tls) -> CertificateDer<'static> {
    tls.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

pub fn head(tls: &mut Tls) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        tls.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

pub fn status(tls: &mut Tls, host: &str) -> String {
    tls.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
    head(tls).split(' ').nth(1).unwrap().to_owned()
}

/// Answers every request with 204.
pub fn content() -> SocketAddr {
    Upstream::serving(|mut wire| {
        while wire.stream.peek(&mut [0]).is_ok_and(|count| count > 0) {
            wire.head();
            wire.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
    })
}

/// Answers every request with 204 and, in `X-Seen`, the fields that it came with.
pub fn mirror() -> SocketAddr {
    Upstream::serving(|mut wire| {
        while wire.has_more() {
            let head = wire.head();
            let seen = head.trim_end().replace("\r\n", "|");
            wire.send(format!("HTTP/1.1 204 No Content\r\nX-Seen: {seen}|\r\n\r\n"));
        }
    })
}

/// An authority of clients' certificates.
pub struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The certificate of a client with a serial number; its chain and key.
    pub fn client(&self, name: &str, serial: u64) -> Shown {
        let mut params = CertificateParams::new([format!("{name}.clients.example")]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Robots, Inc.");
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        Shown { certificate: certificate.der().clone(), key }
    }

    /// Its revocation list.
    pub fn revokes(&self, serials: &[u64]) -> String {
        let time = rcgen::date_time_ymd(2026, 1, 1);
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: time,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: time,
            next_update: rcgen::date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// What a client shows.
pub struct Shown {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
}

impl Shown {
    /// A client that shows it.
    pub fn shown(&self) -> Arc<ClientConfig> {
        self.shown_in(ALL_VERSIONS)
    }

    /// The same, in some versions only.
    pub fn shown_in(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let chain = vec![self.certificate.clone()];
        let config = trusting_in(versions).with_client_auth_cert(chain, self.key.clone_key());
        Arc::new(config.unwrap())
    }
}

/// A client that shows nothing.
pub fn anonymous() -> Arc<ClientConfig> {
    Arc::new(trusting().with_no_client_auth())
}
