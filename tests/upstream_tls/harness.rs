//! Servers with TLS that note what they see of each handshake, and the authorities behind them.

#![allow(unreachable_pub, reason = "a module of the test beside it")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};

use crate::support::BOUND;

/// A folder of certificates, gone when dropped, with the authority that has issued them: `ca.pem`.
pub struct Authority {
    pub folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(test: &str) -> Self {
        Self::called(test, test)
    }

    /// Another one may be called the same.
    pub fn called(test: &str, name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("bowline-upstream-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// Writes NAME.pem and NAME.key for `names`.
    pub fn issue(&self, file: &str, names: &[&str]) {
        self.issue_with(file, names, |_| {});
    }

    pub fn issue_with(&self, file: &str, names: &[&str], set: impl Fn(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        set(&mut params);
        let issued = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), issued.pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    /// What a server with NAME.pem needs.
    pub fn config(
        &self,
        file: &str,
        versions: &[&'static SupportedProtocolVersion],
        asks_clients: bool,
    ) -> ServerConfig {
        let cert = CertificateDer::from_pem_file(self.path(&format!("{file}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{file}.key"))).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap();
        let builder = if asks_clients {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(vec![cert], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

pub type Tls = StreamOwned<ServerConnection, TcpStream>;

/// What a server saw of one handshake.
#[derive(Clone, Debug)]
pub struct Seen {
    pub sni: Option<String>,
    pub alpn: Option<Vec<u8>>,
    pub resumed: bool,
    pub shown: Option<CertificateDer<'static>>,
}

/// A server with TLS.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Each connection is served in a thread of its own, once its handshake is done.
    pub fn new(config: ServerConfig, serve: impl Fn(Tls) + Send + Sync + 'static) -> Self {
        Self::behind(config, |_| {}, serve)
    }

    /// The same; `before` has the bare socket before the handshake.
    pub fn behind(
        config: ServerConfig,
        before: impl Fn(&mut TcpStream) + Send + Sync + 'static,
        serve: impl Fn(Tls) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (known, config) = (Arc::clone(&seen), Arc::new(config));
        let (before, serve) = (Arc::new(before), Arc::new(serve));
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let (known, before, serve) =
                    (Arc::clone(&known), Arc::clone(&before), Arc::clone(&serve));
                thread::spawn(move || {
                    stream.set_read_timeout(Some(BOUND)).unwrap();
                    before(&mut stream);
                    while session.is_handshaking() {
                        if session.complete_io(&mut stream).is_err() {
                            return;
                        }
                    }
                    let shown = session.peer_certificates().and_then(|chain| chain.first());
                    let seen = Seen {
                        sni: session.server_name().map(str::to_owned),
                        alpn: session.alpn_protocol().map(<[u8]>::to_vec),
                        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
                        shown: shown.map(|one| one.clone().into_owned()),
                    };
                    known.lock().unwrap().push(seen);
                    serve(StreamOwned::new(session, stream));
                });
            }
        });
        Self { address, seen }
    }

    /// One that answers every request with 200 and `ok`, as long as requests come.
    pub fn ok(config: ServerConfig) -> Self {
        Self::new(config, |mut tls| while answer(&mut tls, OK).is_some() {})
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Reads a head; `None` at the end of the connection.
pub fn head(tls: &mut Tls) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if tls.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Reads a request and answers it; the request's head.
pub fn answer(tls: &mut Tls, with: &str) -> Option<String> {
    let head = head(tls)?;
    tls.write_all(with.as_bytes()).ok()?;
    Some(head)
}

/// Whether the peer has said close_notify before its FIN.
pub fn ended_well(tls: &mut Tls) -> bool {
    match tls.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
        Err(error) => panic!("{error}"),
    }
}
