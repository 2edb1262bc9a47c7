//! TLS in front: certificates by name, Host against server name, ALPN, half-close, and mistakes
//! that are named before anything is served.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use support::{BOUND, Bowline, SWITCHING, Upstream, Wire, handshake, header};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};

/// A folder of certificates, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("bowline-tls-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Writes NAME.pem and NAME.key for `names`; returns the certificate.
    fn issue(&self, file: &str, names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let issued = rcgen::generate_simple_self_signed(names).unwrap();
        self.write(&format!("{file}.pem"), &issued.cert.pem());
        self.write(&format!("{file}.key"), &issued.signing_key.serialize_pem());
        issued.cert.der().clone()
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).unwrap();
    }

    fn entry(&self, file: &str) -> String {
        let path = self.0.join(file);
        format!("{{ cert: \"{0}.pem\", key: \"{0}.key\" }}", path.display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn serving(upstream: SocketAddr, certificates: &[String], tls: &str) -> Bowline {
    Bowline::with(&format!(
        "workers: 1\nlisteners:\n- {{ address: 127.0.0.1:0, tls: {{ certificates: [ {} ] {tls} }} }}\n\
         routes: [ {{ upstream: up }} ]\nupstreams: {{ up: {{ endpoints: [ \"{upstream}\" ] }} }}\n",
        certificates.join(", ")
    ))
}

/// Takes any certificate: which one it was is the test's to say.
#[derive(Debug)]
struct Anything;

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

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn try_connect(address: SocketAddr, name: &str, alpn: &[&str]) -> io::Result<Tls> {
    begin(TcpStream::connect(address).unwrap(), name, alpn)
}

/// A TLS handshake on a connection that is there.
fn begin(stream: TcpStream, name: &str, alpn: &[&str]) -> io::Result<Tls> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|one| one.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream.set_write_timeout(Some(BOUND)).unwrap();
    let mut tls = StreamOwned::new(connection, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

fn connect(address: SocketAddr, name: &str) -> Tls {
    try_connect(address, name, &["http/1.1"]).unwrap()
}

fn certificate(tls: &Tls) -> CertificateDer<'static> {
    tls.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

fn head(tls: &mut Tls) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        tls.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn status(tls: &mut Tls, host: &str) -> String {
    tls.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
    head(tls).split(' ').nth(1).unwrap().to_owned()
}

/// Answers every request with 204.
fn content() -> SocketAddr {
    Upstream::serving(|mut wire| {
        while wire.stream.peek(&mut [0]).is_ok_and(|count| count > 0) {
            wire.head();
            wire.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
    })
}

/// A tunnel over TLS.
fn tunnel(bowline: &Bowline, upstream: &Upstream) -> (Tls, Wire) {
    let mut client = connect(bowline.address, "test.example");
    client.write_all(handshake("/ws", "").as_bytes()).unwrap();
    let mut server = upstream.accept();
    let asked = server.head();
    assert_eq!(header(&asked, "x-forwarded-proto"), Some("https"));
    server.send(SWITCHING);
    assert!(head(&mut client).starts_with("HTTP/1.1 101 "));
    (client, server)
}

#[test]
fn a_websocket_crosses_over_tls() {
    let folder = Folder::new("crosses");
    folder.issue("a", &["test.example"]);
    let upstream = Upstream::new();
    let bowline = serving(upstream.address, &[folder.entry("a")], "");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    for number in 0..100 {
        let message = format!("message {number}");
        client.write_all(message.as_bytes()).unwrap();
        assert_eq!(server.exactly(message.len()), message.as_bytes());
        server.send(&message);
        let mut back = vec![0; message.len()];
        client.read_exact(&mut back).unwrap();
        assert_eq!(back, message.as_bytes());
    }
}

#[test]
fn frames_sent_ahead_and_right_behind_the_101_arrive_once() {
    let folder = Folder::new("ahead");
    folder.issue("a", &["test.example"]);
    let upstream = Upstream::new();
    let bowline = serving(upstream.address, &[folder.entry("a")], "");
    let mut client = connect(bowline.address, "test.example");
    client.write_all(format!("{}early", handshake("/", "")).as_bytes()).unwrap();
    let mut server = upstream.accept();
    server.head();
    server.send(format!("{SWITCHING}first"));
    assert!(head(&mut client).starts_with("HTTP/1.1 101 "));
    assert_eq!(server.exactly(5), b"early");
    let mut first = [0; 5];
    client.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first");
}

#[test]
fn large_messages_cross_both_ways_at_once() {
    const SIZE: usize = 16 << 20;
    let folder = Folder::new("large");
    folder.issue("a", &["test.example"]);
    let upstream = Upstream::new();
    let bowline = serving(upstream.address, &[folder.entry("a")], "");
    let (mut client, server) = tunnel(&bowline, &upstream);
    let echo = thread::spawn(move || {
        let mut wire = server.stream;
        let mut block = vec![0; 1 << 16];
        let mut left = SIZE;
        while left > 0 {
            let read = wire.read(&mut block).unwrap();
            wire.write_all(&block[..read]).unwrap();
            left -= read;
        }
    });
    let pattern: Vec<u8> = (0..1_000_003_usize).map(|at| (at % 251) as u8).collect();
    let byte = |at: usize| pattern[at % pattern.len()];
    let (mut sent, mut got) = (0, 0);
    let mut block = vec![0; 1 << 16];
    while got < SIZE {
        // No more than half a MiB under way, so that one thread can do both.
        if sent < SIZE && sent - got < 1 << 19 {
            let count = (1 << 16).min(SIZE - sent);
            let part: Vec<u8> = (sent..sent + count).map(byte).collect();
            client.write_all(&part).unwrap();
            sent += count;
            continue;
        }
        let read = client.read(&mut block).unwrap();
        assert!(read > 0);
        assert!(block[..read].iter().enumerate().all(|(at, got_byte)| *got_byte == byte(got + at)));
        got += read;
    }
    echo.join().unwrap();
}

#[test]
fn a_close_notify_closes_one_half_and_the_other_goes_on() {
    let folder = Folder::new("half");
    folder.issue("a", &["test.example"]);
    let upstream = Upstream::new();
    let bowline = serving(upstream.address, &[folder.entry("a")], "");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    client.write_all(b"last words").unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    assert_eq!(server.rest(), b"last words");
    server.send("still here");
    let mut back = [0; 10];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"still here");
    drop(server);
    assert_eq!(client.read(&mut back).unwrap(), 0, "a close_notify, not a cut");
}

#[test]
fn an_upstreams_fin_becomes_a_close_notify() {
    let folder = Folder::new("fin");
    folder.issue("a", &["test.example"]);
    let upstream = Upstream::new();
    let bowline = serving(upstream.address, &[folder.entry("a")], "");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    server.send("bye");
    server.finish();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"bye");
    client.write_all(b"and you").unwrap();
    assert_eq!(server.exactly(7), b"and you");
}

#[test]
fn a_sticky_cookie_is_secure_over_tls() {
    let folder = Folder::new("sticky");
    folder.issue("cert", &["a.example"]);
    let bowline = Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0, tls: {{ certificates: [ {} ] }} }} ]\n\
         routes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{}\" ], sticky: cookie }} }}\n",
        folder.entry("cert"),
        content()
    ));
    let mut tls = connect(bowline.address, "a.example");
    tls.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
    let head = head(&mut tls);
    let set = support::header(&head, "set-cookie").unwrap();
    assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{set}");
}

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
fn a_host_other_than_the_server_name_is_a_421() {
    let folder = Folder::new("misdirected");
    folder.issue("a", &["a.example", "b.example"]);
    let bowline = serving(content(), &[folder.entry("a")], "");
    for (name, host, wanted) in [
        ("a.example", "a.example", "204"),
        ("a.example", "A.Example:443", "204"),
        ("a.example", "a.example.", "204"),
        ("a.example", "b.example", "421"),
        ("a.example", "a.example.evil", "421"),
        ("a.example", "", "421"),
        // No server name, nothing to differ from.
        ("127.0.0.1", "b.example", "204"),
    ] {
        assert_eq!(status(&mut connect(bowline.address, name), host), wanted, "{name} {host:?}");
    }
    let mut client = connect(bowline.address, "a.example");
    client.write_all(b"GET https://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
    let head = head(&mut client);
    assert!(head.starts_with("HTTP/1.1 421 "), "{head}");
    assert!(header(&head, "proxy-status").is_some());
}

#[test]
fn a_host_other_than_the_server_name_may_be_allowed() {
    let folder = Folder::new("allowed");
    folder.issue("a", &["a.example"]);
    let bowline = serving(content(), &[folder.entry("a")], ", host_mismatch: allow");
    assert_eq!(status(&mut connect(bowline.address, "a.example"), "b.example"), "204");
}

#[test]
fn http_2_is_agreed_on_unless_the_listener_says_no() {
    let folder = Folder::new("alpn");
    folder.issue("a", &["a.example"]);
    let agreed = |bowline: &Bowline, alpn: &[&str]| {
        let tls = try_connect(bowline.address, "a.example", alpn)?;
        Ok::<_, io::Error>(tls.conn.alpn_protocol().map(<[u8]>::to_vec))
    };
    let both = serving(content(), &[folder.entry("a")], "");
    for alpn in [&["h2", "http/1.1"][..], &["http/1.1", "h2"], &["h2"]] {
        assert_eq!(agreed(&both, alpn).unwrap(), Some(b"h2".to_vec()));
    }
    let old = serving(content(), &[folder.entry("a")], "}, http2: false, limits: {");
    assert_eq!(agreed(&old, &["h2", "http/1.1"]).unwrap(), Some(b"http/1.1".to_vec()));
    assert!(agreed(&old, &["h2"]).is_err());
    for bowline in [both, old] {
        assert_eq!(agreed(&bowline, &["http/1.1"]).unwrap(), Some(b"http/1.1".to_vec()));
        assert_eq!(agreed(&bowline, &[]).unwrap(), None);
    }
}

#[test]
fn plain_text_to_a_tls_port_reaches_nobody() {
    let folder = Folder::new("plain");
    folder.issue("a", &["a.example"]);
    let upstream = Upstream::new();
    let bowline = serving(upstream.address, &[folder.entry("a")], "");
    let mut client = bowline.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let rest = client.rest();
    assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    assert!(upstream.is_untouched());
    bowline.wait_metric("bowline_tls_failures_total", 1.0);
}

#[test]
fn a_slow_handshake_is_ended() {
    let folder = Folder::new("slow");
    folder.issue("a", &["a.example"]);
    let bowline = serving(content(), &[folder.entry("a")], ", handshake_timeout: 200ms");
    assert!(bowline.client().is_closed());
    let mut client = bowline.client();
    client.send([0x16, 3, 1]);
    assert!(client.is_closed());
    bowline.wait_metric("bowline_tls_failures_total", 2.0);
}

#[test]
fn an_answer_that_broke_off_does_not_end_with_a_close_notify() {
    let folder = Folder::new("broken");
    folder.issue("a", &["a.example"]);
    let upstream = Upstream::new();
    let bowline = serving(upstream.address, &[folder.entry("a")], "");
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked", "X-None: 1"] {
        let mut client = connect(bowline.address, "a.example");
        client.write_all(b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").unwrap();
        let mut server = upstream.accept();
        server.head();
        server.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n3\r\nabc\r\n"));
        head(&mut client);
        server.reset();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).expect_err(framing);
    }
}

#[test]
fn an_error_over_tls_is_read_whole_and_ends_cleanly() {
    let folder = Folder::new("error");
    folder.issue("a", &["a.example"]);
    let bowline = serving(content(), &[folder.entry("a")], "");
    let mut client = connect(bowline.address, "a.example");
    client.write_all(b"nonsense\r\n\r\n").unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 400 "), "{rest}");
    assert!(header(&rest, "proxy-status").is_some());
}

/// What `bowline check` says of a listener with these files.
fn check(folder: &Path, cert: &str, key: &str) -> (Option<i32>, String) {
    let file = folder.join("config.yaml");
    let yaml = format!(
        "listeners:\n- address: 127.0.0.1:8443\n  tls:\n    certificates:\n    - {{ cert: {cert}, key: {key} }}\n\
         routes: [ {{ upstream: up }} ]\nupstreams: {{ up: {{ builtin: echo }} }}\n"
    );
    std::fs::write(&file, yaml).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_bowline")).arg("check").arg(&file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn files_that_are_wrong_are_named_when_the_configuration_is_checked() {
    let folder = Folder::new("check");
    folder.issue("a", &["a.example"]);
    folder.issue("b", &["b.example"]);
    folder.write("empty.pem", "");
    folder.write("prose.pem", "this is not PEM\n");
    folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
    folder.write("junk.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let (code, said) = check(&folder.0, "a.pem", "a.key");
    assert_eq!(code, Some(0), "{said}");
    for (cert, key, named) in [
        ("a.pem", "b.key", ["a.pem", "b.key"]),
        ("none.pem", "a.key", ["none.pem", "cannot read"]),
        ("a.pem", "none.key", ["none.key", "cannot read"]),
        ("empty.pem", "a.key", ["empty.pem", "no certificate"]),
        ("prose.pem", "a.key", ["prose.pem", "no certificate"]),
        ("broken.pem", "a.key", ["broken.pem", "PEM"]),
        ("junk.pem", "a.key", ["junk.pem", ""]),
        ("a.pem", "empty.pem", ["empty.pem", "no private key"]),
        ("a.pem", "a.pem", ["a.pem", "no private key"]),
        ("a.key", "a.key", ["a.key", "no certificate"]),
    ] {
        let (code, said) = check(&folder.0, cert, key);
        assert_eq!(code, Some(64), "{cert} {key}: {said}");
        assert!(said.contains("config.yaml:5:"), "{said}");
        assert!(named.iter().all(|part| said.contains(part)), "{cert} {key}: {said}");
    }
}

#[test]
fn idle_tls_connections_close_with_a_close_notify_when_bowline_drains() {
    let folder = Folder::new("drain");
    folder.issue("a", &["a.example"]);
    let mut bowline = serving(content(), &[folder.entry("a")], "");
    let mut client = connect(bowline.address, "a.example");
    assert_eq!(status(&mut client, "a.example"), "204");
    bowline.drain();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    client.conn.send_close_notify();
    client.flush().ok();
    drop(client);
    assert!(bowline.join() < BOUND + Duration::from_secs(1));
}

#[test]
fn a_proxy_header_stands_before_the_handshake_and_the_page_must_be_of_https() {
    let folder = Folder::new("proxied");
    folder.issue("a", &["a.example"]);
    let upstream = Upstream::new();
    let bowline = Bowline::with(&format!(
        "workers: 1\nlisteners:\n- address: 127.0.0.1:0\n  proxy_protocol: {{ from: [ 127.0.0.1 ] }}\n  \
         tls: {{ certificates: [ {} ] }}\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n",
        folder.entry("a"),
        upstream.address
    ));
    for (scheme, passes) in [("https", true), ("http", false)] {
        let mut stream = TcpStream::connect(bowline.address).unwrap();
        stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n").unwrap();
        let mut tls = begin(stream, "a.example", &[]).unwrap();
        let fields = format!("Origin: {scheme}://a.example\r\n");
        let request = handshake("/ws", &fields).replace("test.example", "a.example");
        tls.write_all(request.as_bytes()).unwrap();
        if passes {
            let mut server = upstream.accept();
            let head = server.head();
            assert_eq!(header(&head, "x-forwarded-for"), Some("192.0.2.7"));
            assert_eq!(header(&head, "x-forwarded-proto"), Some("https"));
            server.send(SWITCHING);
        }
        let mut status = [0; 12];
        tls.read_exact(&mut status).unwrap();
        let expected: &[u8] = if passes { b"HTTP/1.1 101" } else { b"HTTP/1.1 403" };
        assert_eq!(status, expected, "{scheme}");
    }
    assert!(upstream.is_untouched());
}
