//! The upgrade over real sockets: what must be right, on both sides, before a tunnel begins (RFC
//! 6455 section 4), and what never becomes one. Every refusal also shows that no upstream was dialled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "threads of a test may wait, and read the real clock"
)]

mod support;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use support::{ACCEPT, Answer, Bowline, KEY, SWITCHING, Upstream, Wire};
use support::{config, handshake, header, headers, nobody, tunnel, wait_for};

/// How long a test watches for bytes that must not come.
const MOMENT: Duration = Duration::from_millis(50);

fn front(upstream: &Upstream) -> Bowline {
    Bowline::with(&config(&[upstream.address], ""))
}

/// A handshake out of its parts; the Host is added.
fn request(line: &str, fields: &[&str]) -> String {
    let mut text = format!("{line}\r\nHost: test.example\r\n");
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

/// Sends `bytes` and returns Bowline's own answer; nobody may have dialled.
fn refused(bowline: &Bowline, upstream: &Upstream, bytes: impl AsRef<[u8]>) -> Answer {
    let connects = bowline.metric("bowline_upstream_connects_total{upstream=\"up\"}");
    let mut client = bowline.client();
    client.send(bytes);
    let answer = client.answer();
    assert!(upstream.is_untouched(), "refused, yet the upstream was dialled: {}", answer.head);
    let now = bowline.metric("bowline_upstream_connects_total{upstream=\"up\"}");
    assert_eq!(now, connects, "refused, yet the upstream was dialled: {}", answer.head);
    answer
}

/// A handshake that the upstream answers with `bytes`: what the client gets. The upstream's
/// connection must end, and nothing of what the client says next may reach it.
fn answered_with(bytes: &str) -> Answer {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    client.send(handshake("/ws", ""));
    let mut server = upstream.accept();
    server.head();
    server.send(bytes);
    let answer = client.answer();
    client.try_send("\u{1}not http\r\n\r\n");
    assert_eq!(server.rest(), b"", "bytes crossed without a tunnel");
    assert!(upstream.is_untouched(), "an answer was retried: {bytes}");
    no_tunnel(&bowline);
    answer
}

/// As [`answered_with`], for a 101 that must not pass: 502, and both sides closed.
fn bad_switch(fields: &str) {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    client.send(handshake(
        "/ws",
        "Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
    ));
    let mut server = upstream.accept();
    server.head();
    server.send(format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n"));
    let answer = client.answer();
    assert_eq!(answer.status, 502, "{fields}");
    assert!(
        answer.header("proxy-status").unwrap().contains("error=http_upgrade_failed"),
        "{fields}: {}",
        answer.head
    );
    client.try_send("frame");
    assert_eq!(server.rest(), b"", "{fields}");
    assert!(client.is_closed(), "{fields}");
    assert!(upstream.is_untouched(), "a wrong 101 was retried: {fields}");
    no_tunnel(&bowline);
    bowline.wait_metric("bowline_failures_total{route=\"r\",cause=\"bad_upgrade\"}", 1.0);
    assert_eq!(bowline.metric("bowline_upgrades_total{route=\"r\",outcome=\"failed\"}"), 1.0);
}

/// No tunnel was, and nothing is held for one.
fn no_tunnel(bowline: &Bowline) {
    assert_eq!(bowline.metric("bowline_tunnels_opened_total{route=\"r\"}"), 0.0);
    assert_eq!(bowline.metric("bowline_upgrades_total{route=\"r\",outcome=\"accepted\"}"), 0.0);
    wait_for("no lease", || {
        let text = bowline.metrics.encode();
        let leases = text.lines().filter(|line| {
            line.starts_with("bowline_endpoint_tunnels{")
                || line.starts_with("bowline_endpoint_requests{")
        });
        leases.map(|line| line.rsplit(' ').next().unwrap()).all(|value| value == "0")
    });
}

// What passes.

#[test]
fn a_websocket_crosses() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    client.send(handshake("/ws?a=1", ""));
    let mut server = upstream.accept();
    let head = server.head();
    assert!(head.starts_with("GET /ws?a=1 HTTP/1.1\r\n"), "{head}");
    server.send(SWITCHING);
    let answer = client.head();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    client.send("ping");
    assert_eq!(server.exactly(4), b"ping");
    server.send("pong");
    assert_eq!(client.exactly(4), b"pong");
}

#[test]
fn what_a_handshake_says_beyond_the_upgrade_reaches_the_other_side_unchanged() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    client.send(handshake(
        "/ws",
        "Origin: http://test.example\r\nCookie: a=1; b=2\r\nAuthorization: Basic eDp5\r\n\
         Sec-WebSocket-Protocol: chat, superchat\r\n",
    ));
    let mut server = upstream.accept();
    let head = server.head();
    for (name, value) in [
        ("host", "test.example"),
        ("origin", "http://test.example"),
        ("cookie", "a=1; b=2"),
        ("authorization", "Basic eDp5"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat, superchat"),
        // Never ws or wss: frameworks build their origin checks on it (traefik#6388).
        ("x-forwarded-proto", "http"),
    ] {
        assert_eq!(headers(&head, name), [value], "{name} in {head}");
    }
    server.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: superchat\r\n\
         Set-Cookie: s=1\r\nSet-Cookie: t=2\r\nContent-Length: 7\r\n\r\nframes!"
    ));
    let head = client.head();
    assert_eq!(headers(&head, "upgrade").len(), 1, "{head}");
    assert_eq!(headers(&head, "connection"), ["Upgrade"], "{head}");
    assert_eq!(headers(&head, "sec-websocket-accept"), [ACCEPT], "{head}");
    assert_eq!(headers(&head, "sec-websocket-protocol"), ["superchat"], "{head}");
    assert_eq!(headers(&head, "set-cookie"), ["s=1", "t=2"], "{head}");
    assert!(headers(&head, "content-length").is_empty(), "a 101 has no body: {head}");
    assert_eq!(client.exactly(7), b"frames!");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Tunnel,
    Plain,
    Is400,
    Is426,
}

#[test]
fn every_spelling_of_the_upgrade_headers_has_one_meaning() {
    use Expected::{Is400, Is426, Plain, Tunnel};
    const GET: &str = "GET /ws HTTP/1.1";
    const K: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    const V: &str = "Sec-WebSocket-Version: 13";
    const U: &str = "Upgrade: websocket";
    const C: &str = "Connection: Upgrade";
    let table: &[(&str, &[&str], Expected)] = &[
        (GET, &[U, C, K, V], Tunnel),
        (GET, &["upgrade: WEBSOCKET", "connection: UPGRADE", K, V], Tunnel),
        (GET, &["UPGRADE: WebSocket", "CONNECTION: upgrade", K, V], Tunnel),
        (GET, &["uPgRaDe: wEbSoCkEt", "cOnNeCtIoN: uPgRaDe", K, V], Tunnel),
        // Firefox (axum-reverse-proxy#38, plane#690, Kong#6625).
        (GET, &[U, "Connection: keep-alive, Upgrade", K, V], Tunnel),
        (GET, &[U, "Connection: Upgrade, keep-alive", K, V], Tunnel),
        (GET, &[U, "Connection: keep-alive,Upgrade", K, V], Tunnel),
        (GET, &[U, "Connection: keep-alive ,\tUpgrade\t", K, V], Tunnel),
        (GET, &[U, "Connection: keep-alive", C, K, V], Tunnel),
        (GET, &[U, C, "Connection: keep-alive", K, V], Tunnel),
        (GET, &[U, C, C, K, V], Tunnel),
        (GET, &[U, "Connection: Upgrade, upgrade", K, V], Tunnel),
        (GET, &[U, "Connection: ,, Upgrade ,", K, V], Tunnel),
        (GET, &[C, K, V, "Accept: */*", U], Tunnel),
        (GET, &["Upgrade:websocket", "Connection:Upgrade", K, V], Tunnel),
        (GET, &["Upgrade:   websocket  ", "Connection: \tUpgrade ", K, V], Tunnel),
        (GET, &[U, U, C, K, V], Tunnel),
        (GET, &["Upgrade: websocket, websocket", C, K, V], Tunnel),
        (GET, &["Upgrade: websocket, h2c", C, K, V], Tunnel),
        (GET, &["Upgrade: h2c, websocket", C, K, V], Tunnel),
        (GET, &["Upgrade: h2c", U, C, K, V], Tunnel),
        (GET, &["Upgrade: TLS/1.0,websocket,foo/2", C, K, V], Tunnel),
        (
            GET,
            &[
                "Upgrade: h2c, websocket",
                "Connection: Upgrade, HTTP2-Settings",
                "HTTP2-Settings: AAMAAABkAAQAAP__",
                K,
                V,
            ],
            Tunnel,
        ),
        (GET, &[U, C, K, V, "Content-Length: 0"], Tunnel),
        (GET, &[U, C, K, V, "Expect: 100-continue"], Tunnel),
        (
            GET,
            &[U, C, "SEC-WEBSOCKET-KEY:  dGhlIHNhbXBsZSBub25jZQ== ", "sec-websocket-version:13 "],
            Tunnel,
        ),
        // Attack 9 (Traefik CVE-2026-88008, h2csmuggler): no other protocol is ever forwarded.
        (
            GET,
            &[
                "Upgrade: h2c",
                "Connection: Upgrade, HTTP2-Settings",
                "HTTP2-Settings: AAMAAABkAAQAAP__",
            ],
            Plain,
        ),
        (GET, &["Upgrade: h2c", C, "HTTP2-Settings: AAMAAABkAAQAAP__"], Plain),
        (GET, &["Upgrade: h2c", C, K, V], Plain),
        (GET, &["Upgrade: TLS/1.0", C], Plain),
        (GET, &["Upgrade: TLS/1.0", "Upgrade: h2c", C], Plain),
        (GET, &["Upgrade: websockets", C, K, V], Plain),
        (GET, &["Upgrade: web socket", C, K, V], Plain),
        (GET, &["Upgrade: \"websocket\"", C, K, V], Plain),
        (GET, &["Upgrade: websocket/13", C, K, V], Plain),
        (GET, &["Upgrade: ", C], Plain),
        // RFC 9110 section 7.8: without the connection option, Upgrade is to be ignored.
        (GET, &[U], Plain),
        (GET, &[U, "Connection: keep-alive"], Plain),
        (GET, &[C], Plain),
        (GET, &[K, V], Plain),
        ("GET /ws HTTP/1.0", &[U, C, K, V], Plain),
        ("POST /ws HTTP/1.0", &[U, C, K, V, "Content-Length: 0"], Plain),
        // WS-1: a handshake with a piece missing.
        (GET, &[U, K, V], Is400),
        (GET, &[U, "Connection: keep-alive", K, V], Is400),
        (GET, &[U, "Connection: Upgrade-Insecure-Requests", K, V], Is400),
        (GET, &[U, "Connection: \"Upgrade\"", K, V], Is400),
        (GET, &[C, K, V], Is400),
        (GET, &[U, C, V], Is400),
        ("POST /ws HTTP/1.1", &[U, C, K, V], Is400),
        ("PUT /ws HTTP/1.1", &[U, C, K, V], Is400),
        ("get /ws HTTP/1.1", &[U, C, K, V], Is400),
        (GET, &[U, C, K, K, V], Is400),
        (GET, &[U, C, K, V, "Host: other.example"], Is400),
        (GET, &["Upgrade : websocket", C, K, V], Is400),
        (GET, &[U, "Connection: keep-alive,\r\n Upgrade", K, V], Is400),
        (GET, &[U, C, K, "Sec-WebSocket-Version: 12"], Is426),
        (GET, &[U, C, K], Is426),
    ];
    assert!(table.len() >= 40);
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    for (line, fields, expected) in table {
        let shown = format!("{line} {fields:?}");
        let bytes = request(line, fields);
        match expected {
            Tunnel => tunnels(&bowline, &upstream, &bytes, &shown),
            Plain => goes_on_as_plain_http(&bowline, &upstream, &bytes, &shown),
            Is400 => assert_eq!(refused(&bowline, &upstream, bytes).status, 400, "{shown}"),
            Is426 => assert_eq!(refused(&bowline, &upstream, bytes).status, 426, "{shown}"),
        }
    }
    let tunnels = table.iter().filter(|row| row.2 == Tunnel).count();
    bowline.wait_metric("bowline_tunnels_opened_total{route=\"r\"}", tunnels as f64);
    bowline.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
}

fn tunnels(bowline: &Bowline, upstream: &Upstream, bytes: &str, shown: &str) {
    let mut client = bowline.client();
    client.send(bytes);
    let mut server = upstream.accept();
    let head = server.head();
    // Exactly one of each, both ways: Chrome refuses two (h2o#1467).
    assert_eq!(headers(&head, "upgrade"), ["websocket"], "{shown}: {head}");
    assert_eq!(headers(&head, "connection"), ["Upgrade"], "{shown}: {head}");
    for gone in ["http2-settings", "expect", "content-length", "transfer-encoding", "keep-alive"] {
        assert!(headers(&head, gone).is_empty(), "{shown}: {head}");
    }
    server.send(SWITCHING);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{shown}: {head}");
    assert_eq!(headers(&head, "upgrade"), ["websocket"], "{shown}: {head}");
    assert_eq!(headers(&head, "connection"), ["Upgrade"], "{shown}: {head}");
    client.send("a");
    assert_eq!(server.exactly(1), b"a", "{shown}");
    server.send("b");
    assert_eq!(client.exactly(1), b"b", "{shown}");
}

fn goes_on_as_plain_http(bowline: &Bowline, upstream: &Upstream, bytes: &str, shown: &str) {
    let mut client = bowline.client();
    client.send(bytes);
    let mut server = upstream.accept();
    let head = server.head();
    for gone in ["upgrade", "http2-settings"] {
        assert!(headers(&head, gone).is_empty(), "{shown}: {head}");
    }
    let options = headers(&head, "connection").join(",").to_ascii_lowercase();
    assert!(!options.contains("upgrade"), "{shown}: {head}");
    server.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nplain");
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.body), (200, &b"plain"[..]), "{shown}");
    assert!(answer.header("upgrade").is_none(), "{shown}: {}", answer.head);
}

#[test]
fn a_client_that_says_close_beside_upgrade_gets_its_tunnel() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    client.send(handshake("/ws", "").replace("Connection: Upgrade", "Connection: close, Upgrade"));
    let mut server = upstream.accept();
    let head = server.head();
    assert_eq!(headers(&head, "connection"), ["Upgrade"], "{head}");
    server.send(SWITCHING);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(headers(&head, "upgrade"), ["websocket"], "{head}");
    // hyper adds the `close` that was asked for; it is still one line.
    let [options] = headers(&head, "connection")[..] else { panic!("{head}") };
    assert!(options.starts_with("Upgrade"), "{head}");
    client.send("a");
    assert_eq!(server.exactly(1), b"a");
}

// WS-1.

#[test]
fn a_handshake_without_a_host_or_with_two_is_refused() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let whole = handshake("/ws", "");
    let none = whole.replace("Host: test.example\r\n", "");
    assert_eq!(refused(&bowline, &upstream, none).status, 400);
    let two = whole.replace("Host:", "Host: test.example\r\nHost:");
    assert_eq!(refused(&bowline, &upstream, two).status, 400);
    no_tunnel(&bowline);
}

// WS-2, attack 4.

#[test]
fn a_key_that_is_not_sixteen_bytes_in_base64_is_refused() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    for bad in [
        "",
        " ",
        "=",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub24=",
        "dGhlIHNhbXBsZSBub25jZTE=",
        "dGhlIHNhbXBsZSBub25jZTEyMw==",
        "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25j!Q==",
        "\"dGhlIHNhbXBsZSBub25jZQ==\"",
        "=GhlIHNhbXBsZSBub25jZQ==",
        "\u{fc}GhlIHNhbXBsZSBub25jZQ==",
    ] {
        let answer = refused(&bowline, &upstream, handshake("/ws", "").replace(KEY, bad));
        assert_eq!(answer.status, 400, "{bad:?}");
        assert!(answer.text().contains("Sec-WebSocket-Key"), "{bad:?}: {}", answer.text());
    }
    no_tunnel(&bowline);
}

#[test]
fn two_keys_are_refused_even_when_they_are_equal() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    for second in [KEY, "AQIDBAUGBwgJCgsMDQ4PEA==", ""] {
        let two = handshake("/ws", &format!("Sec-WebSocket-Key: {second}\r\n"));
        assert_eq!(refused(&bowline, &upstream, two).status, 400, "{second}");
    }
}

#[test]
fn any_sixteen_bytes_are_a_key_and_get_their_own_accept() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    for (key, accept) in [
        ("AAAAAAAAAAAAAAAAAAAAAA==", "ICX+Yqv66kxgM0FcWaLWlFLwTAI="),
        ("AQIDBAUGBwgJCgsMDQ4PEA==", "C/0nmHhBztSRGR1CwL6Tf4ZjwpY="),
    ] {
        let mut client = bowline.client();
        client.send(handshake("/ws", "").replace(KEY, key));
        let mut server = upstream.accept();
        server.head();
        server.send(SWITCHING.replace(ACCEPT, accept));
        assert!(client.head().starts_with("HTTP/1.1 101 "), "{key}");
    }
}

// WS-3, attack 3.

#[test]
fn a_version_other_than_13_is_told_the_right_one_and_no_upstream_is_asked() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let version = "Sec-WebSocket-Version: 13\r\n";
    for wrong in [
        "",
        "Sec-WebSocket-Version: 12\r\n",
        "Sec-WebSocket-Version: 0\r\n",
        "Sec-WebSocket-Version: 8\r\n",
        "Sec-WebSocket-Version: 1777\r\n",
        "Sec-WebSocket-Version: 013\r\n",
        "Sec-WebSocket-Version: +13\r\n",
        "Sec-WebSocket-Version: \r\n",
        "Sec-WebSocket-Version: 13, 8\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n",
    ] {
        let answer = refused(&bowline, &upstream, handshake("/ws", "").replace(version, wrong));
        assert_eq!(answer.status, 426, "{wrong:?}");
        assert_eq!(headers(&answer.head, "sec-websocket-version"), ["13"], "{wrong:?}");
        assert_eq!(headers(&answer.head, "upgrade"), ["websocket"], "{wrong:?}");
    }
    no_tunnel(&bowline);
}

#[test]
fn an_upstreams_own_426_is_passed_on_and_is_no_tunnel() {
    let answer = answered_with(
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
         Sec-WebSocket-Version: 8, 7\r\nContent-Length: 4\r\n\r\nv8!\n",
    );
    assert_eq!(answer.status, 426);
    assert_eq!(answer.header("sec-websocket-version"), Some("8, 7"));
    // RFC 9110 section 15.5.22: a 426 without Upgrade is not one.
    assert_eq!(headers(&answer.head, "upgrade"), ["websocket"], "{}", answer.head);
    assert_eq!(answer.text(), "v8!\n");
}

// WS-4, attacks 5 and 6.

#[test]
fn a_101_whose_accept_does_not_answer_the_key_is_a_502() {
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    for accept in [
        String::new(),
        "Sec-WebSocket-Accept: \r\n".to_owned(),
        "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n".to_owned(),
        format!("Sec-WebSocket-Accept: {KEY}\r\n"),
        format!("Sec-WebSocket-Accept: {}\r\n", ACCEPT.to_ascii_lowercase()),
        format!("Sec-WebSocket-Accept: {}\r\n", ACCEPT.to_ascii_uppercase()),
        format!("Sec-WebSocket-Accept: {ACCEPT}, {ACCEPT}\r\n"),
        format!("Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Accept: {ACCEPT}\r\n"),
        format!("Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Accept: x\r\n"),
        format!("Sec-WebSocket-Accept: \"{ACCEPT}\"\r\n"),
    ] {
        bad_switch(&format!("{upgrade}{accept}"));
    }
}

#[test]
fn a_101_that_does_not_switch_to_websocket_is_a_502() {
    let accept = format!("Sec-WebSocket-Accept: {ACCEPT}\r\n");
    for fields in [
        "",
        "Connection: Upgrade\r\n",
        "Upgrade: websocket\r\n",
        "Upgrade: websocket\r\nConnection: keep-alive\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade\r\n",
        "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n",
        "Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n",
        "Upgrade: websocket\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n",
        "Upgrade: websocket/13\r\nConnection: Upgrade\r\n",
        "Upgrade: \r\nConnection: Upgrade\r\n",
    ] {
        bad_switch(&format!("{fields}{accept}"));
    }
}

#[test]
fn a_101_that_nobody_asked_for_is_a_502_and_its_connection_is_never_used_again() {
    // nginx#1771, nghttp2#2867.
    for method in ["GET", "POST"] {
        let upstream = Upstream::new();
        let bowline = front(&upstream);
        let mut client = bowline.client();
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
        let mut server = upstream.accept();
        server.head();
        server.send(SWITCHING);
        let answer = client.answer();
        assert_eq!(answer.status, 502);
        assert!(answer.header("proxy-status").unwrap().contains("http_upgrade_failed"));
        client.try_send("frame");
        assert_eq!(server.rest(), b"");
        assert!(client.is_closed());
        no_tunnel(&bowline);
        let mut next = bowline.client();
        next.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(next.answer().status, 204);
    }
}

// WS-5, attacks 19 and 20.

#[test]
fn a_101_that_selects_what_was_not_offered_is_a_502() {
    let good =
        format!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n");
    for selected in [
        "Sec-WebSocket-Protocol: mqtt\r\n",
        "Sec-WebSocket-Protocol: CHAT\r\n",
        "Sec-WebSocket-Protocol: \r\n",
        "Sec-WebSocket-Protocol: chat, superchat\r\n",
        "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n",
        "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: superchat\r\n",
        "Sec-WebSocket-Extensions: x-webkit-deflate-frame\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate, foo\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
        "Sec-WebSocket-Extensions: ;\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; =\r\n",
    ] {
        bad_switch(&format!("{good}{selected}"));
    }
}

#[test]
fn a_101_may_select_one_subprotocol_and_some_extensions_of_the_offer_or_none() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    for selected in [
        "",
        "Sec-WebSocket-Protocol: superchat\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
        "Sec-WebSocket-Extensions: bar, permessage-deflate\r\nSec-WebSocket-Protocol: chat\r\n",
    ] {
        let mut client = bowline.client();
        client.send(handshake(
            "/ws",
            "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: superchat\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, bar\r\n",
        ));
        let mut server = upstream.accept();
        server.head();
        server.send(
            SWITCHING
                .replace("Upgrade: websocket\r\n", &format!("Upgrade: websocket\r\n{selected}")),
        );
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{selected}: {head}");
        for line in selected.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            assert_eq!(headers(&head, name), [value], "{head}");
        }
    }
}

#[test]
fn a_101_with_a_protocol_or_an_extension_that_nobody_offered_is_a_502() {
    for selected in ["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate"]
    {
        let upgrade = format!("Upgrade: websocket\r\n{selected}\r\n");
        let answer = answered_with(&SWITCHING.replace("Upgrade: websocket\r\n", &upgrade));
        assert_eq!(answer.status, 502, "{selected}");
    }
}

#[test]
fn hostile_subprotocols_never_reach_an_upstream() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let many = |count: usize| (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>().join(",");
    for (bad, statuses) in [
        ("chat\r\n superchat".to_owned(), &[400][..]),
        ("chat\rX-Injected: 1".to_owned(), &[400]),
        ("chat\0".to_owned(), &[400]),
        ("chat\u{7f}".to_owned(), &[400]),
        ("chat\u{1}".to_owned(), &[400]),
        ("chat, chat".to_owned(), &[400]),
        ("chat\r\nSec-WebSocket-Protocol: chat".to_owned(), &[400]),
        ("a b".to_owned(), &[400]),
        ("a;b".to_owned(), &[400]),
        ("\"chat\"".to_owned(), &[400]),
        ("ch\u{e9}t".to_owned(), &[400]),
        (many(5_000), &[400]),
        // Over the limit of the whole head.
        (many(10_000), &[400, 431]),
        ("a".repeat(64 * 1024), &[400, 431]),
    ] {
        let shown: String = bad.chars().take(40).collect();
        let began = Instant::now();
        let bytes = handshake("/ws", &format!("Sec-WebSocket-Protocol: {bad}\r\n"));
        let answer = refused(&bowline, &upstream, bytes);
        assert!(statuses.contains(&answer.status), "{shown:?}: {}", answer.head);
        assert!(answer.header("x-injected").is_none(), "{shown:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "{shown:?} keeps a worker busy");
    }
    no_tunnel(&bowline);
}

#[test]
fn a_bare_lf_in_a_subprotocol_is_refused_or_ends_its_line_for_everybody() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    client.send(handshake("/ws", "Sec-WebSocket-Protocol: chat\nX-Injected: 1\r\n"));
    let mut server = None;
    let mut answered = false;
    client.stream.set_nonblocking(true).unwrap();
    wait_for("an answer or a dial", || {
        server = upstream.try_accept();
        answered = client.stream.peek(&mut [0]).is_ok();
        server.is_some() || answered
    });
    client.stream.set_nonblocking(false).unwrap();
    match server {
        Some(mut server) => {
            let head = server.head();
            assert!(!head.replace("\r\n", "").contains('\n'), "{head:?}");
        }
        None => assert_eq!(client.answer().status, 400),
    }
}

// WS-6, attacks 2 and 13.

#[test]
fn any_answer_but_a_101_is_passed_on_as_the_plain_answer_that_it_is() {
    for status in [200, 204, 302, 400, 401, 403, 404, 426, 500, 503] {
        for fields in ["", "Upgrade: websocket\r\nConnection: Upgrade\r\n"] {
            let fields = format!("{fields}Sec-WebSocket-Accept: {ACCEPT}\r\nX-From: up\r\n");
            let (length, body) =
                if status == 204 { ("", "") } else { ("Content-Length: 6\r\n", "body!\n") };
            let bytes = format!("HTTP/1.1 {status} Some Reason\r\n{fields}{length}\r\n{body}");
            let answer = answered_with(&bytes);
            assert_eq!(answer.status, status);
            assert_eq!(answer.text(), body, "{status}");
            assert_eq!(answer.header("x-from"), Some("up"), "{status}");
            if status != 426 {
                assert!(answer.header("upgrade").is_none(), "{status}: {}", answer.head);
            }
        }
    }
}

#[test]
fn a_declined_upgrade_leaves_the_clients_connection_usable_and_the_upstreams_out_of_the_pool() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    for framing in [
        "Content-Length: 4\r\n\r\nno!\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nno!\n\r\n0\r\n\r\n",
    ] {
        client.send(handshake("/ws", ""));
        let mut server = upstream.accept();
        server.head();
        server.send(format!("HTTP/1.1 403 Forbidden\r\n{framing}"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str()), (403, "no!\n"));
        assert_eq!(server.rest(), b"", "kept after a declined upgrade");
        // On the same connection: a plain request, which must come on a fresh upstream connection.
        client.send("GET /page HTTP/1.1\r\nHost: test.example\r\n\r\n");
        let mut server = upstream.accept();
        assert!(server.head().starts_with("GET /page "));
        server.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.answer().text(), "ok");
    }
    // And at last the upgrade that is not declined.
    client.send(handshake("/ws", ""));
    let mut server = upstream.accept();
    server.head();
    server.send(SWITCHING);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(bowline.metric("bowline_upgrades_total{route=\"r\",outcome=\"declined\"}"), 2.0);
}

#[test]
fn a_declining_answer_that_breaks_off_does_not_look_whole() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    client.send(handshake("/ws", ""));
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nhalf");
    drop(server);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert!(client.rest().len() < 100);
    no_tunnel(&bowline);
}

// Y-4: hyper keeps the socket of a declined upgrade ready to be handed over.

#[test]
fn a_declined_upgrade_whose_connection_then_ends_is_no_tunnel() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    for reset in [false, true] {
        let mut client = bowline.client();
        client.send(handshake("/ws", ""));
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.answer().status, 403);
        if reset {
            client.reset();
        } else {
            client.send("left over");
            client.finish();
            client.rest();
        }
        assert_eq!(server.rest(), b"");
        bowline.wait_metric("bowline_connections", 0.0);
        no_tunnel(&bowline);
    }
    assert_eq!(bowline.metric("bowline_upgrades_total{route=\"r\",outcome=\"declined\"}"), 2.0);
}

// WS-7, attack 20.

#[test]
fn extension_lines_keep_their_order_and_content() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    let lines = ["foo", "bar; baz=2; q=\"x\"", "permessage-deflate; client_max_window_bits"];
    let offered = lines.map(|line| format!("Sec-WebSocket-Extensions: {line}\r\n")).concat();
    client.send(handshake("/ws", &offered));
    let mut server = upstream.accept();
    let head = server.head();
    assert_eq!(headers(&head, "sec-websocket-extensions").join(", "), lines.join(", "), "{head}");
    server.send(SWITCHING.replace(
        "Upgrade: websocket\r\n",
        "Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate, foo\r\n",
    ));
    let head = client.head();
    assert_eq!(headers(&head, "sec-websocket-extensions"), ["permessage-deflate, foo"], "{head}");
}

#[test]
fn a_malformed_extension_list_is_refused() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    for bad in [
        ";",
        "=",
        "foo;",
        "foo; =1",
        "foo; a=",
        "foo; a=\"",
        "foo; a=\"b c\"",
        "foo; a=\"b,c\"",
        "foo bar",
        "foo; a b",
        "f\u{f6}o",
        "foo\r\n bar",
        "foo\r\nSec-WebSocket-Extensions: ;",
    ] {
        let bytes = handshake("/ws", &format!("Sec-WebSocket-Extensions: {bad}\r\n"));
        assert_eq!(refused(&bowline, &upstream, bytes).status, 400, "{bad:?}");
    }
    no_tunnel(&bowline);
}

// WS-8, attack 1.

#[test]
fn frames_sent_with_the_handshake_wait_for_the_101_and_arrive_once() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    client.send(handshake("/ws", "") + "early");
    let mut server = upstream.accept();
    server.head();
    assert!(server.ahead.is_empty(), "ahead of the 101: {:?}", server.ahead);
    server.is_silent(MOMENT);
    client.send(" and late");
    server.is_silent(MOMENT);
    server.send(SWITCHING);
    assert_eq!(server.exactly(14), b"early and late");
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.finish();
    assert_eq!(server.rest(), b"", "delivered twice");
}

#[test]
fn early_frames_beyond_every_buffer_wait_with_the_client_and_lose_nothing() {
    const SIZE: usize = 8 << 20;
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    client.send(handshake("/ws", ""));
    let mut server = upstream.accept();
    server.head();
    let mut sender = Wire::new(client.stream.try_clone().unwrap());
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at / 7) as u8).collect();
    let expected = bytes.clone();
    let sending = thread::spawn(move || {
        sender.send(bytes);
        sender.finish();
    });
    server.is_silent(MOMENT);
    server.send(SWITCHING);
    assert!(server.rest() == expected, "early bytes were lost, doubled or reordered");
    sending.join().unwrap();
    assert!(client.head().starts_with("HTTP/1.1 101 "));
}

#[test]
fn a_101_with_frames_in_the_same_packet_begins_a_whole_tunnel_a_thousand_times() {
    // pingora#946: an answer as fast as the request ended the tunnel at once.
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    for round in 0..1_000 {
        let (early, first) = (format!("early-{round};"), format!("first-{round};"));
        let mut client = bowline.client();
        client.send(handshake("/ws", "") + &early);
        let mut server = upstream.accept();
        server.head();
        assert!(server.ahead.is_empty(), "{round}");
        server.send(SWITCHING.to_owned() + &first);
        assert!(client.head().starts_with("HTTP/1.1 101 "), "{round}");
        assert_eq!(client.exactly(first.len()), first.as_bytes(), "{round}");
        assert_eq!(server.exactly(early.len()), early.as_bytes(), "{round}");
        client.send("a");
        assert_eq!(server.exactly(1), b"a", "{round}");
        // Resets leave no TIME_WAIT behind: the ports are other tests' too.
        client.reset();
        server.reset();
    }
    bowline.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
    assert_eq!(bowline.metric("bowline_tunnels_opened_total{route=\"r\"}"), 1_000.0);
}

#[test]
fn a_handshake_in_single_bytes_is_a_handshake() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    for byte in handshake("/ws", "").as_bytes() {
        client.send([*byte]);
    }
    let mut server = upstream.accept();
    server.head();
    for byte in SWITCHING.as_bytes() {
        server.send([*byte]);
    }
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.send("x");
    assert_eq!(server.exactly(1), b"x");
}

#[test]
fn a_request_behind_a_handshake_is_frames_after_a_101() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    let behind = "GET /admin HTTP/1.1\r\nHost: test.example\r\n\r\n";
    client.send(handshake("/ws", "") + behind);
    let mut server = upstream.accept();
    server.head();
    server.is_silent(MOMENT);
    server.send(SWITCHING);
    assert_eq!(server.exactly(behind.len()), behind.as_bytes());
}

/// `/ws` goes to the upstream, nothing else goes anywhere.
fn only_ws(upstream: &Upstream) -> Bowline {
    Bowline::with(
        &config(&[upstream.address], "")
            .replace("{ name: r,", "{ name: r, match: { path_exact: /ws },"),
    )
}

#[test]
fn a_request_behind_a_declined_handshake_is_judged_by_itself_or_never_read() {
    // Pingora CVE-2026-2833: it went to the upstream as it was.
    for declined in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 403 Forbidden\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno",
    ] {
        let upstream = Upstream::new();
        let bowline = only_ws(&upstream);
        let mut client = bowline.client();
        client.send(handshake("/ws", "") + "GET /admin HTTP/1.1\r\nHost: test.example\r\n\r\n");
        let mut server = upstream.accept();
        server.head();
        server.is_silent(MOMENT);
        server.send(declined);
        assert!(matches!(client.answer().status, 200 | 403));
        assert_eq!(server.rest(), b"", "the second request went to the upstream raw");
        judged_or_closed(&mut client);
        assert!(upstream.is_untouched());
        no_tunnel(&bowline);
    }
}

#[test]
fn a_request_behind_a_refused_handshake_is_judged_by_itself_or_never_read() {
    // Attack 18, kemalcr/kemal#767.
    let upstream = Upstream::new();
    let bowline = only_ws(&upstream);
    let whole =
        handshake("/ws", "").replace("Connection: Upgrade", "Connection: keep-alive, Upgrade");
    for (bytes, status) in [
        (whole.replace("Version: 13", "Version: 12"), 426),
        (whole.replace(KEY, "short"), 400),
        (whole.replace("GET /ws", "GET /other"), 404),
    ] {
        let mut client = bowline.client();
        client.send(bytes + "GET /admin HTTP/1.1\r\nHost: test.example\r\n\r\n");
        assert_eq!(client.answer().status, status);
        judged_or_closed(&mut client);
        assert!(upstream.is_untouched());
    }
    no_tunnel(&bowline);
}

/// What came behind a handshake may be frames: it gets no answer, or a last one (H-11). A request
/// that was read gets its own, and no route takes this one.
fn judged_or_closed(client: &mut Wire) {
    client.finish();
    let rest = String::from_utf8_lossy(&client.rest()).into_owned();
    let last = rest.starts_with("HTTP/1.1 400 ") && header(&rest, "connection") == Some("close");
    assert!(rest.is_empty() || last || rest.starts_with("HTTP/1.1 404 "), "{rest}");
    assert!(rest.matches("HTTP/1.1 ").count() <= 1, "{rest}");
}

// Attack 8.

#[test]
fn a_handshake_with_a_body_is_refused() {
    // Envoy CVE-2026-73548, nghttpx CVE-2026-58055.
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let body = "GET /admin HTTP/1.1\r\nHost: a\r\n";
    for (fields, body) in [
        (format!("Content-Length: {}\r\n", body.len()), body.to_owned()),
        ("Content-Length: 1\r\n".to_owned(), "x".to_owned()),
        ("Content-Length: 30\r\n".to_owned(), String::new()),
        (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        ),
        ("Transfer-Encoding: chunked\r\n".to_owned(), "0\r\n\r\n".to_owned()),
        ("Content-Length: 5\r\nExpect: 100-continue\r\n".to_owned(), String::new()),
    ] {
        for method in ["GET", "POST"] {
            let head = handshake("/ws", &fields).replacen("GET", method, 1);
            let answer = refused(&bowline, &upstream, head + &body);
            assert_eq!(answer.status, 400, "{method} {fields}");
            assert_eq!(answer.header("connection"), Some("close"), "{method} {fields}");
        }
    }
    no_tunnel(&bowline);
}

// Attack 15.

#[test]
fn what_connection_nominates_is_removed_but_never_what_bowline_sets() {
    // Envoy PR#44525, Traefik CVE-2021-32813 and CVE-2024-45410.
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let mut client = bowline.client();
    client.send(
        handshake("/ws", "X-Auth-User: admin\r\nX-Forwarded-For: 6.6.6.6\r\nX-Kept: 1\r\n").replace(
            "Connection: Upgrade",
            "Connection: Upgrade, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Auth-User",
        ),
    );
    let mut server = upstream.accept();
    let head = server.head();
    assert_eq!(headers(&head, "connection"), ["Upgrade"], "{head}");
    assert_eq!(headers(&head, "upgrade"), ["websocket"], "{head}");
    assert_eq!(headers(&head, "x-forwarded-for"), ["127.0.0.1"], "{head}");
    assert_eq!(headers(&head, "x-forwarded-proto"), ["http"], "{head}");
    assert_eq!(headers(&head, "x-forwarded-host"), ["test.example"], "{head}");
    assert!(headers(&head, "x-auth-user").is_empty(), "{head}");
    assert_eq!(headers(&head, "x-kept"), ["1"], "{head}");
}

#[test]
fn a_connection_that_nominates_what_the_handshake_stands_on_is_refused() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    for name in ["Host", "Sec-WebSocket-Key", "sec-websocket-version", "Origin", "Cookie"] {
        let options = format!("Connection: Upgrade, {name}");
        let bytes = handshake("/ws", "Cookie: a=1\r\nOrigin: http://test.example\r\n")
            .replace("Connection: Upgrade", &options);
        assert_eq!(refused(&bowline, &upstream, bytes).status, 400, "{name}");
    }
    no_tunnel(&bowline);
}

// Retries and deadlines.

#[test]
fn an_endpoint_that_refuses_is_passed_over() {
    let upstream = Upstream::new();
    let bowline = Bowline::with(&config(&[nobody(), upstream.address], ""));
    // The balancer starts at either.
    for _ in 0..4 {
        let (mut client, mut server) = tunnel(&bowline, &upstream);
        client.send("x");
        assert_eq!(server.exactly(1), b"x");
    }
    let retries = bowline.metric("bowline_upstream_retries_total{upstream=\"up\"}");
    assert!(retries >= 1.0);
    let failures = bowline.metric("bowline_upstream_connect_failures_total{upstream=\"up\"}");
    assert_eq!(failures, retries);
}

#[test]
fn an_endpoint_that_closes_before_an_answer_is_passed_over() {
    let closes: [fn(Wire); 4] = [
        drop,
        |mut wire| drop(wire.head()),
        |mut wire| {
            wire.head();
            wire.send("HTTP/1.1 101 Switching Proto");
        },
        |mut wire| {
            wire.head();
            wire.reset();
        },
    ];
    for close in closes {
        let bad = Upstream::serving(close);
        let upstream = Upstream::new();
        let bowline = Bowline::with(&config(&[bad, upstream.address], ""));
        for _ in 0..4 {
            let (mut client, mut server) = tunnel(&bowline, &upstream);
            client.send("x");
            assert_eq!(server.exactly(1), b"x");
        }
        assert!(bowline.metric("bowline_upstream_retries_total{upstream=\"up\"}") >= 1.0);
    }
}

#[test]
fn an_upgrade_that_every_endpoint_refuses_is_a_502_that_says_so() {
    let bowline = Bowline::with(&config(&[nobody(), nobody()], ""));
    let mut client = bowline.client();
    client.send(handshake("/ws", ""));
    let answer = client.answer();
    assert_eq!(answer.status, 502);
    assert!(answer.header("proxy-status").unwrap().contains("error=connection_refused"));
    assert_eq!(bowline.metric("bowline_upstream_connect_failures_total{upstream=\"up\"}"), 2.0);
    no_tunnel(&bowline);
}

#[test]
fn nothing_is_retried_once_a_101_is_there() {
    // Wrong, right and closed at once, right and reset: one endpoint each, the other untouched.
    let wrong = SWITCHING.replace(ACCEPT, "wrong");
    for (answer, status, reset) in
        [(&*wrong, 502, false), (SWITCHING, 101, false), (SWITCHING, 101, true)]
    {
        let (one, other) = (Upstream::new(), Upstream::new());
        let bowline = Bowline::with(&config(&[one.address, other.address], ""));
        let mut client = bowline.client();
        client.send(handshake("/ws", ""));
        let mut dialled = None;
        wait_for("a dial", || {
            dialled = one.try_accept().or_else(|| other.try_accept());
            dialled.is_some()
        });
        let mut server = dialled.unwrap();
        server.head();
        server.send(answer);
        let head = client.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        if reset {
            server.reset();
        } else {
            drop(server);
        }
        client.rest();
        assert!(one.is_untouched() && other.is_untouched(), "retried after {answer}");
        assert_eq!(bowline.metric("bowline_upstream_retries_total{upstream=\"up\"}"), 0.0);
    }
}

#[test]
fn an_upstream_that_never_answers_the_handshake_is_a_504_in_time() {
    // envoy#41068.
    for begun in ["", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: webs"] {
        let upstream = Upstream::new();
        let yaml = config(&[upstream.address], "timeouts: { handshake: 300ms }");
        let bowline = Bowline::with(&yaml);
        let mut client = bowline.client();
        let began = Instant::now();
        // Early frames keep hyper from seeing a client that leaves; the deadline is our own.
        client.send(handshake("/ws", "") + "early");
        let mut server = upstream.accept();
        server.head();
        server.send(begun);
        let answer = client.answer();
        assert_eq!(answer.status, 504);
        assert!(began.elapsed() >= Duration::from_millis(300));
        assert!(answer.header("proxy-status").unwrap().contains("error=http_response_timeout"));
        assert_eq!(server.rest(), b"");
        assert!(upstream.is_untouched(), "a handshake that timed out was sent again");
        no_tunnel(&bowline);
    }
}

#[test]
fn an_endpoint_that_does_not_take_the_connection_is_a_504_in_time() {
    let full = FullBacklog::new();
    let bowline = Bowline::with(&config(&[full.address], "timeouts: { connect: 200ms }"));
    let mut client = bowline.client();
    let began = Instant::now();
    client.send(handshake("/ws", ""));
    let answer = client.answer();
    assert_eq!(answer.status, 504);
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert!(answer.header("proxy-status").unwrap().contains("error=connection_timeout"));
    no_tunnel(&bowline);
}

#[test]
fn an_endpoint_that_does_not_take_the_connection_is_passed_over() {
    let full = FullBacklog::new();
    let upstream = Upstream::new();
    let endpoints = [full.address, upstream.address];
    let bowline = Bowline::with(&config(&endpoints, "timeouts: { connect: 200ms }"));
    for _ in 0..3 {
        tunnel(&bowline, &upstream);
    }
}

/// A listener whose queue is full: further SYNs are dropped, so a connect hangs.
struct FullBacklog {
    address: SocketAddr,
    _listener: socket2::Socket,
    _queued: Vec<socket2::Socket>,
}

impl FullBacklog {
    fn new() -> Self {
        use socket2::{Domain, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let hangs =
                socket.connect_timeout(&address.into(), Duration::from_millis(300)).is_err();
            queued.push(socket);
            if hangs {
                return Self { address, _listener: listener, _queued: queued };
            }
        }
    }
}

#[test]
fn a_client_that_leaves_during_the_handshake_takes_the_upstream_connection_with_it() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    for reset in [false, true] {
        let mut client = bowline.client();
        client.send(handshake("/ws", ""));
        let mut server = upstream.accept();
        server.head();
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        assert_eq!(server.rest(), b"");
        bowline.wait_metric("bowline_connections", 0.0);
        no_tunnel(&bowline);
    }
}

#[test]
fn a_client_that_leaves_as_its_101_arrives_leaves_nothing_behind() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    for _ in 0..50 {
        let mut client = bowline.client();
        client.send(handshake("/ws", "") + "early");
        let mut server = upstream.accept();
        server.head();
        client.reset();
        server.try_send(SWITCHING);
        server.rest();
    }
    bowline.wait_metric("bowline_connections", 0.0);
    bowline.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
    let endpoint = upstream.address;
    let series = format!("bowline_endpoint_tunnels{{upstream=\"up\",endpoint=\"{endpoint}\"}}");
    bowline.wait_metric(&series, 0.0);
}

#[test]
fn bowlines_own_refusals_name_the_reason() {
    let upstream = Upstream::new();
    let bowline = front(&upstream);
    let bytes = handshake("/ws", "Accept: application/json\r\n").replace(KEY, "x");
    let answer = refused(&bowline, &upstream, bytes);
    assert_eq!(header(&answer.head, "content-type"), Some("application/json"));
    assert!(answer.text().contains("\"error\":\"bad_request\""), "{}", answer.text());
    assert!(answer.header("proxy-status").unwrap().contains("Sec-WebSocket-Key"));
    bowline.wait_metric("bowline_failures_total{route=\"\",cause=\"bad_request\"}", 1.0);
}
