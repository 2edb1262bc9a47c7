//! TLS in front: Host against server name, ALPN, half-close, and mistakes that are named before
//! anything is served; by theme in tls/.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

#[path = "tls/clients.rs"]
mod clients;
#[path = "tls/failures.rs"]
mod failures;
#[path = "tls/harness.rs"]
mod harness;
#[path = "tls/making.rs"]
mod making;
#[path = "tls/names.rs"]
mod names;
#[path = "tls/renewal.rs"]
mod renewal;
#[path = "tls/sessions.rs"]
mod sessions;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use harness::{Folder, Tls, begin, connect, content, head, serving, status, try_connect};
use support::{BOUND, Bowline, SWITCHING, Upstream, Wire, handshake, header};

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
