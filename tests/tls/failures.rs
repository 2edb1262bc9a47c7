//! Handshakes that come to nothing, each told apart; and odd ones that do not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::harness::{Folder, anonymous, content, serving, shake, status, try_connect};
use crate::support::{BOUND, Bowline, Upstream, header};

fn failed(bowline: &Bowline, cause: &str, count: f64) {
    bowline.wait_metric(&format!("bowline_tls_failures_total{{cause=\"{cause}\"}}"), count);
}

#[test]
fn who_speaks_plain_http_is_told_so_and_reaches_nobody() {
    let folder = Folder::new("plain");
    folder.issue("a", &["a.example"]);
    let upstream = Upstream::new();
    let bowline = serving(upstream.address, &[folder.entry("a")], "");
    for request in [
        "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 70000\r\n\r\n",
        "G",
    ] {
        let mut client = bowline.client();
        client.send(request);
        let answer = client.answer();
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("this port speaks TLS"), "{}", answer.text());
        assert!(header(&answer.head, "proxy-status").is_some());
        assert_eq!(header(&answer.head, "connection"), Some("close"));
        assert!(client.is_closed());
    }
    assert!(upstream.is_untouched());
    failed(&bowline, "plaintext", 3.0);
}

#[test]
fn garbage_is_not_answered() {
    let folder = Folder::new("garbage");
    folder.issue("a", &["a.example"]);
    let upstream = Upstream::new();
    let bowline = serving(upstream.address, &[folder.entry("a")], "");
    // Another protocol, an SSLv2 hello, a record of another type, a record that is too long, a
    // handshake message that is none.
    for bytes in [
        &b"\x00\x01\x02\x03\x04\x05\x06\x07"[..],
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
        b"\x17\x03\x03\x00\x02ab",
        b"\x16\x03\x01\xff\xff\x01\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
    ] {
        let mut client = bowline.client();
        client.send(bytes);
        let rest = client.rest();
        assert!(!rest.starts_with(b"HTTP"), "{bytes:?} {rest:?}");
    }
    assert!(upstream.is_untouched());
    failed(&bowline, "malformed", 5.0);
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
    failed(&bowline, "timeout", 2.0);
}

#[test]
fn who_leaves_in_the_middle_is_counted_as_that() {
    let folder = Folder::new("leaves");
    folder.issue("a", &["a.example"]);
    let bowline = serving(content(), &[folder.entry("a")], "");
    drop(bowline.client());
    let mut client = bowline.client();
    client.send([0x16, 3, 1]);
    client.finish();
    assert!(!client.rest().starts_with(b"HTTP"));
    failed(&bowline, "closed", 2.0);
}

#[test]
fn a_client_that_does_not_trust_the_certificate_says_so() {
    let folder = Folder::new("distrust");
    folder.issue("a", &["a.example"]);
    let bowline = serving(content(), &[folder.entry("a")], "");
    let roots = RootCertStore::empty();
    let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(bowline.address).unwrap();
    shake(stream, &Arc::new(config), "a.example").expect_err("nobody vouches for it");
    failed(&bowline, "alert", 1.0);
}

#[test]
fn a_client_that_speaks_only_what_is_not_spoken_here_has_nothing_in_common() {
    let folder = Folder::new("nothing");
    folder.issue("a", &["a.example"]);
    let bowline = serving(content(), &[folder.entry("a")], "");
    try_connect(bowline.address, "a.example", &["h3"]).expect_err("no h3");
    failed(&bowline, "nothing_in_common", 1.0);
}

#[test]
fn a_hello_in_pieces_is_read_however_it_was_cut() {
    let folder = Folder::new("pieces");
    folder.issue("a", &["a.example"]);
    let bowline = serving(content(), &[folder.entry("a")], "");
    let name = ServerName::try_from("a.example").unwrap();
    for (in_record, in_packet) in [(usize::MAX, 1), (1, usize::MAX), (7, 3), (100, 1)] {
        let mut connection = ClientConnection::new(anonymous(), name.clone()).unwrap();
        let mut hello = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut hello).unwrap();
        }
        // RFC 8446 section 5.1: a message may be cut into records anywhere.
        let cut: Vec<u8> = hello[5..]
            .chunks(in_record.min(hello.len()))
            .flat_map(|part| {
                [&hello[..3], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat()
            })
            .collect();
        let mut stream = TcpStream::connect(bowline.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        cut.chunks(in_packet.min(cut.len())).for_each(|part| stream.write_all(part).unwrap());
        let mut tls = StreamOwned::new(connection, stream);
        assert_eq!(status(&mut tls, "a.example"), "204", "{in_record} {in_packet}");
    }
    let mut rest = [0];
    let mut untouched = bowline.client();
    untouched.send([0x16]);
    untouched.finish();
    assert!(untouched.stream.read(&mut rest).is_ok(), "closed, and Bowline lives");
}
