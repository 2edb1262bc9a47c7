//! Certificates of clients: who is let in, and what upstreams and the access log are told.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;

use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::harness::{Authority, Folder, anonymous, ask, connect, head, mirror, serving, shake};
use crate::support::process::Process;
use crate::support::{Bowline, SWITCHING, Upstream, handshake, header, wait_for};

const REFUSED: &str = "bowline_tls_failures_total{cause=\"client_certificate\"}";

/// A listener that asks for certificates of `authority`.
fn asking(folder: &Folder, authority: &Authority, upstream: SocketAddr, more: &str) -> Bowline {
    folder.issue("server", &["a.example"]);
    folder.write("ca.pem", &authority.pem());
    let ca = folder.0.join("ca.pem");
    let client_auth = format!(", client_auth: {{ ca: \"{}\"{more} }}", ca.display());
    serving(upstream, &[folder.entry("server")], &client_auth)
}

/// The value of a field that the upstream was sent.
fn seen<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let fields = header(head, "x-seen").unwrap().split('|');
    let fields = fields.filter_map(|field| field.split_once(": "));
    fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

#[test]
fn where_a_certificate_is_required_only_one_of_the_authority_opens() {
    let folder = Folder::new("required");
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let bowline = asking(&folder, &ours, mirror(), "");
    let (robot, stranger) = (ours.client("robot", 1), theirs.client("robot", 1));
    for (versions, at) in [(&[&TLS12], 1.0), (&[&TLS13], 2.0)] {
        let asked = ask(bowline.address, &robot.shown_in(versions), "a.example").unwrap();
        assert!(asked.head.starts_with("HTTP/1.1 204 "), "{}", asked.head);
        ask(bowline.address, &stranger.shown_in(versions), "a.example").expect_err("a stranger");
        ask(bowline.address, &anonymous(), "a.example").expect_err("nobody");
        bowline.wait_metric(REFUSED, 2.0 * at);
    }
}

#[test]
fn where_a_certificate_is_optional_a_wrong_one_is_still_refused() {
    let folder = Folder::new("optional");
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let bowline = asking(&folder, &ours, mirror(), ", mode: optional");
    let robot = ours.client("robot", 1).shown();
    let known = ask(bowline.address, &robot, "a.example").unwrap().head;
    assert_eq!(seen(&known, "x-client-cert-subject").len(), 1);
    let unknown = ask(bowline.address, &anonymous(), "a.example").unwrap().head;
    assert!(!unknown.to_ascii_lowercase().contains("client-cert"), "{unknown}");
    let stranger = theirs.client("robot", 1).shown();
    ask(bowline.address, &stranger, "a.example").expect_err("a stranger");
    bowline.wait_metric(REFUSED, 1.0);
}

#[test]
fn upstreams_learn_who_it_is_in_the_way_that_is_configured() {
    let folder = Folder::new("told");
    let authority = Authority::new("ours");
    let robot = authority.client("robot", 1);
    let whole = format!(":{}:", data_encoding::BASE64.encode(&robot.certificate));
    for (forward, summary, certificate) in [
        ("", true, false),
        (", forward: certificate", false, true),
        (", forward: both", true, true),
        (", forward: none", false, false),
    ] {
        let bowline = asking(&folder, &authority, mirror(), forward);
        let head = ask(bowline.address, &robot.shown(), "a.example").unwrap().head;
        let told = |name: &str| seen(&head, name);
        let expected: &[&str] = if certificate { &[&whole] } else { &[] };
        assert_eq!(told("client-cert"), expected, "{forward}");
        assert_eq!(told("x-client-cert-subject").is_empty(), !summary, "{forward}");
        if summary {
            assert_eq!(told("x-client-cert-subject"), ["CN=robot,O=Robots\\, Inc."]);
            assert_eq!(told("x-client-cert-san"), ["DNS:robot.clients.example"]);
            let fingerprint = told("x-client-cert-fingerprint");
            assert_eq!(fingerprint.len(), 1);
            assert_eq!(fingerprint[0].len(), 64);
        }
    }
}

#[test]
fn what_a_client_says_of_its_certificate_reaches_nobody() {
    let forged = "Client-Cert: :Zm9yZ2Vk:\r\nClient-Cert-Chain: :Zm9yZ2Vk:\r\n\
        X-Client-Cert-Subject: CN=admin\r\nX_Client_Cert_San: DNS:forged\r\n\
        x-client.cert-fingerprint: forged\r\n";
    let folder = Folder::new("forged");
    let authority = Authority::new("ours");
    let upstream = Upstream::new();
    let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{forged}\r\n");
    let upgrade = handshake("/ws", forged).replace("test.example", "a.example");
    for request in [request, upgrade] {
        let told = |mut server: crate::support::Wire| {
            let head = server.head();
            server.send("HTTP/1.1 204 No Content\r\n\r\n");
            assert!(!head.contains("forged") && !head.contains("Zm9yZ2Vk"), "{head}");
            assert!(!head.contains("CN=admin"), "{head}");
            head.to_ascii_lowercase().matches("cert").count()
        };
        let plain = Bowline::in_front_of(upstream.address);
        let mut bare = plain.client();
        bare.send(&request);
        assert_eq!(told(upstream.accept()), 0);
        folder.issue("server", &["a.example"]);
        let tls = serving(upstream.address, &[folder.entry("server")], "");
        let mut client = connect(tls.address, "a.example");
        client.write_all(request.as_bytes()).unwrap();
        assert_eq!(told(upstream.accept()), 0);
        // Where it is asked for, its own certificate is told and nothing beside it.
        let asking = asking(&folder, &authority, upstream.address, ", mode: optional");
        let stream = std::net::TcpStream::connect(asking.address).unwrap();
        let robot = authority.client("robot", 1).shown();
        let mut client = shake(stream, &robot, "a.example").unwrap();
        client.write_all(request.as_bytes()).unwrap();
        assert_eq!(told(upstream.accept()), 3);
        let mut client = connect(asking.address, "a.example");
        client.write_all(request.as_bytes()).unwrap();
        assert_eq!(told(upstream.accept()), 0);
    }
}

#[test]
fn a_trusted_proxy_speaks_for_its_clients_but_not_where_they_are_asked_here() {
    let folder = Folder::new("trusted");
    let authority = Authority::new("ours");
    folder.issue("server", &["a.example"]);
    folder.write("ca.pem", &authority.pem());
    let upstream = mirror();
    let asks = format!(
        ", client_auth: {{ mode: optional, ca: \"{}\" }}",
        folder.0.join("ca.pem").display()
    );
    for (more, expected) in [("", 1), (asks.as_str(), 0)] {
        let bowline = Bowline::with(&format!(
            "workers: 1\ntrusted_proxies: [ 127.0.0.1 ]\nlisteners:\n- address: 127.0.0.1:0\n  \
             tls: {{ certificates: [ {} ]{more} }}\nroutes: [ {{ upstream: up }} ]\n\
             upstreams: {{ up: {{ endpoints: [ \"{upstream}\" ] }} }}\n",
            folder.entry("server")
        ));
        let mut client = connect(bowline.address, "a.example");
        let request = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Client-Cert-Subject: CN=far\r\n\r\n";
        client.write_all(request.as_bytes()).unwrap();
        assert_eq!(seen(&head(&mut client), "x-client-cert-subject").len(), expected);
    }
}

#[test]
fn a_revoked_certificate_opens_nothing() {
    let folder = Folder::new("revoked");
    let authority = Authority::new("ours");
    folder.write("crl.pem", &authority.revokes(&[2]));
    let crl = format!(", crl: \"{}\"", folder.0.join("crl.pem").display());
    let bowline = asking(&folder, &authority, mirror(), &crl);
    let (good, bad) = (authority.client("good", 1), authority.client("bad", 2));
    ask(bowline.address, &good.shown(), "a.example").unwrap();
    ask(bowline.address, &bad.shown(), "a.example").expect_err("it is revoked");
    bowline.wait_metric(REFUSED, 1.0);
}

#[test]
fn the_access_log_names_the_subject_of_requests_and_tunnels() {
    let folder = Folder::new("access");
    let authority = Authority::new("ours");
    folder.issue("server", &["a.example"]);
    folder.write("ca.pem", &authority.pem());
    let upstream = Upstream::new();
    let yaml = format!(
        "workers: 1\nlisteners:\n- address: 127.0.0.1:0\n  \
         tls: {{ certificates: [ {} ], client_auth: {{ ca: \"{}\" }} }}\n\
         routes: [ {{ upstream: up }} ]\nupstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n",
        folder.entry("server"),
        folder.0.join("ca.pem").display(),
        upstream.address
    );
    let process = Process::start("tls-access", &yaml, None);
    let robot = authority.client("robot", 1).shown();
    let begin =
        || shake(std::net::TcpStream::connect(process.address).unwrap(), &robot, "a.example");
    let mut plain = begin().unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 204 No Content\r\n\r\n");
    head(&mut plain);
    let mut tunnel = begin().unwrap();
    let upgrade = handshake("/ws", "").replace("test.example", "a.example");
    tunnel.write_all(upgrade.as_bytes()).unwrap();
    let mut server = match upstream.try_accept() {
        Some(server) => server,
        // Over the connection that is kept, or a fresh one.
        None => upstream.accept(),
    };
    server.head();
    server.send(SWITCHING);
    head(&mut tunnel);
    let subject = "certificate=\"CN=robot,O=Robots\\\\, Inc.\"";
    wait_for("both lines", || process.accessed().matches(subject).count() == 2);
}

#[test]
fn authorities_and_lists_that_are_wrong_are_named() {
    let folder = Folder::new("wrong-ca");
    let authority = Authority::new("ours");
    folder.issue("server", &["a.example"]);
    folder.write("ca.pem", &authority.pem());
    folder.write("crl.pem", &authority.revokes(&[]));
    folder.write("prose.pem", "prose\n");
    folder.write("junk.pem", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    for (ca, crl, named) in [
        ("ca.pem", "crl.pem", ""),
        ("none.pem", "crl.pem", "cannot read"),
        ("prose.pem", "crl.pem", "holds no certificate"),
        ("ca.pem", "none.pem", "cannot read"),
        ("ca.pem", "prose.pem", "holds no revocation list"),
        ("ca.pem", "junk.pem", "junk.pem"),
    ] {
        let file = folder.0.join("config.yaml");
        let yaml = format!(
            "listeners:\n- address: 127.0.0.1:0\n  tls:\n    certificates: [ {} ]\n    \
             client_auth:\n      ca: {ca}\n      crl: {crl}\n\
             routes: [ {{ upstream: up }} ]\nupstreams: {{ up: {{ builtin: echo }} }}\n",
            folder.entry("server")
        );
        fs::write(&file, yaml).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_bowline"))
            .arg("check")
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let line = if ca == "ca.pem" { "config.yaml:7:" } else { "config.yaml:6:" };
        assert_eq!(output.status.code(), Some(if named.is_empty() { 0 } else { 64 }), "{said}");
        assert!(named.is_empty() || (said.contains(line) && said.contains(named)), "{said}");
    }
}
