//! Behind a TCP load balancer: the PROXY header names the client, for everything that comes after;
//! and nobody else's header is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::time::Duration;

use support::{Bowline, SWITCHING, Upstream, Wire, handshake, header, headers};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// 192.0.2.7:4711 to 198.51.100.1:443.
const TCP4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb];

fn version_2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    header.extend_from_slice(block);
    header
}

/// A listener behind balancers of `from`, with further listener keys and top-level YAML.
fn behind(upstream: &Upstream, from: &str, keys: &str, extra: &str) -> Bowline {
    Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0, proxy_protocol: {{ from: [ {from} ] }}{keys} }} ]\n\
         routes: [ {{ name: r, upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n{extra}\n",
        upstream.address
    ))
}

fn loopback(upstream: &Upstream) -> Bowline {
    behind(upstream, "127.0.0.0/8", "", "")
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test.example\r\n\r\n";

/// Answers one request at the upstream, and returns its head.
fn served(upstream: &Upstream, client: &mut Wire) -> String {
    let mut server = upstream.accept();
    let head = server.head();
    server.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(client.answer().status, 204);
    head
}

#[test]
fn the_upstream_is_told_the_client_that_the_header_names() {
    let upstream = Upstream::new();
    let bowline = loopback(&upstream);
    let six = {
        let mut block = vec![0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        block.extend([0; 16]);
        block.extend([0x12, 0x67, 0x01, 0xbb]);
        block
    };
    for (introduction, client) in [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(), "2001:db8::7"),
        (version_2(0x21, 0x11, &TCP4), "192.0.2.7"),
        (version_2(0x21, 0x21, &six), "2001:db8::7"),
        // The balancer itself.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2(0x20, 0x00, b""), "127.0.0.1"),
        (version_2(0x20, 0x11, &TCP4), "127.0.0.1"),
        (version_2(0x21, 0x00, b""), "127.0.0.1"),
    ] {
        let mut wire = bowline.client();
        wire.send([&introduction, GET.as_bytes()].concat());
        let head = served(&upstream, &mut wire);
        assert_eq!(headers(&head, "x-forwarded-for"), [client]);
        assert_eq!(headers(&head, "x-forwarded-proto"), ["http"]);
    }
    assert_eq!(bowline.metric("bowline_proxy_protocol_refused_total"), 0.0);
}

#[test]
fn a_header_may_come_byte_by_byte_and_ends_where_it_ends() {
    let upstream = Upstream::new();
    let bowline = loopback(&upstream);
    let extended = [&TCP4[..], b"\x04\x02\x00", &[0; 512]].concat();
    for introduction in [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n".to_vec(),
        version_2(0x21, 0x11, &TCP4),
        version_2(0x21, 0x11, &extended),
    ] {
        let mut wire = bowline.client();
        for part in introduction.chunks(if introduction.len() > 100 { 97 } else { 1 }) {
            wire.send(part);
            std::thread::yield_now();
        }
        wire.send(GET);
        assert_eq!(header(&served(&upstream, &mut wire), "x-forwarded-for"), Some("192.0.2.7"));
        // It introduces the connection, not a request.
        wire.send(GET);
        assert_eq!(header(&served(&upstream, &mut wire), "x-forwarded-for"), Some("192.0.2.7"));
    }
}

#[test]
fn a_tunnel_opens_with_frames_right_behind() {
    let upstream = Upstream::new();
    let bowline = loopback(&upstream);
    let mut client = bowline.client();
    client.send([&version_2(0x21, 0x11, &TCP4), handshake("/ws", "").as_bytes()].concat());
    let mut server = upstream.accept();
    assert_eq!(header(&server.head(), "x-forwarded-for"), Some("192.0.2.7"));
    server.send(SWITCHING);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.send("to the server");
    assert_eq!(server.exactly(13), b"to the server");
}

#[test]
fn what_is_no_header_closes_the_connection() {
    let upstream = Upstream::new();
    let bowline = loopback(&upstream);
    let wrong_sum = [&TCP4[..], b"\x03\x00\x04\x01\x02\x03\x04"].concat();
    let cases = [
        GET.as_bytes().to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 04711 443\r\n".to_vec(),
        b"PROXY TCP4 evil 198.51.100.1 4711 443\r\n".to_vec(),
        version_2(0x31, 0x11, &TCP4),
        version_2(0x22, 0x11, &TCP4),
        version_2(0x21, 0x77, &TCP4),
        version_2(0x21, 0x11, &TCP4[..4]),
        version_2(0x21, 0x11, &wrong_sum),
        version_2(0x21, 0x11, &vec![0; 60_000]),
    ];
    let mut refused = 0.0;
    for bytes in cases {
        let mut wire = bowline.client();
        wire.try_send(&bytes);
        wire.try_send(GET);
        assert!(wire.is_closed(), "{:?}", bytes.escape_ascii().to_string());
        refused += 1.0;
        bowline.wait_metric("bowline_proxy_protocol_refused_total", refused);
    }
    // Cut in the middle.
    let mut wire = bowline.client();
    wire.send("PROXY TCP4 192.");
    wire.finish();
    assert!(wire.is_closed());
    bowline.wait_metric("bowline_proxy_protocol_refused_total", refused + 1.0);
    // A health check that only connects is no fault.
    let mut wire = bowline.client();
    wire.finish();
    assert!(wire.is_closed());
    assert_eq!(bowline.metric("bowline_proxy_protocol_refused_total"), refused + 1.0);
    assert!(upstream.is_untouched());
}

#[test]
fn a_header_that_does_not_come_in_time_closes_the_connection() {
    let upstream = Upstream::new();
    let bowline = behind(&upstream, "127.0.0.0/8", ", header_timeout: 100ms", "");
    let mut wire = bowline.client();
    wire.send("PROXY ");
    assert!(wire.is_closed());
    bowline.wait_metric("bowline_proxy_protocol_refused_total", 1.0);
}

#[test]
fn from_anywhere_else_nothing_is_believed_and_nobody_served() {
    let upstream = Upstream::new();
    let bowline = behind(&upstream, "10.0.0.0/8", "", "");
    for bytes in [format!("PROXY TCP4 10.0.0.1 198.51.100.1 1 1\r\n{GET}"), GET.to_owned()] {
        let mut wire = bowline.client();
        wire.try_send(bytes);
        assert!(wire.is_closed());
    }
    bowline.wait_metric("bowline_proxy_protocol_refused_total", 2.0);
    assert!(upstream.is_untouched());
}

#[test]
fn guards_and_trust_look_at_the_client_that_the_header_names() {
    let upstream = Upstream::new();
    let keys = ", deny: [ 192.0.2.0/24 ]";
    let bowline = behind(&upstream, "127.0.0.1", keys, "trusted_proxies: [ 10.9.0.0/16 ]");
    let ask = |source: &str, fields: &str| {
        let mut wire = bowline.client();
        let get = format!("GET / HTTP/1.1\r\nHost: test.example\r\n{fields}\r\n");
        wire.send(format!("PROXY TCP4 {source} 198.51.100.1 4711 443\r\n{get}"));
        wire
    };
    assert_eq!(ask("192.0.2.7", "").answer().status, 403);
    // One that nobody trusts cannot say it is another.
    let mut wire = ask("198.51.100.7", "X-Forwarded-For: 192.0.2.7\r\n");
    assert_eq!(headers(&served(&upstream, &mut wire), "x-forwarded-for"), ["198.51.100.7"]);
    // One that is trusted is believed: the walk begins at the header's client.
    assert_eq!(ask("10.9.0.1", "X-Forwarded-For: 192.0.2.7\r\n").answer().status, 403);
    let mut wire = ask("10.9.0.1", "X-Forwarded-For: 203.0.113.9\r\n");
    assert_eq!(
        headers(&served(&upstream, &mut wire), "x-forwarded-for"),
        ["203.0.113.9, 10.9.0.1"]
    );
}

#[test]
fn whether_the_balancer_ended_tls_decides_which_origin_is_the_same() {
    let upstream = Upstream::new();
    let bowline = loopback(&upstream);
    let by_tls = |flags: u8| [&TCP4[..], &[0x20, 0, 5, flags, 0, 0, 0, 0]].concat();
    for (block, scheme, passes) in [
        // It has not said: either.
        (TCP4.to_vec(), "https", true),
        (TCP4.to_vec(), "http", true),
        (by_tls(1), "https", true),
        (by_tls(1), "http", false),
        (by_tls(0), "https", false),
        (by_tls(0), "http", true),
    ] {
        let mut client = bowline.client();
        let fields = format!("Origin: {scheme}://test.example\r\n");
        let introduction = version_2(0x21, 0x11, &block);
        client.send([&introduction, handshake("/ws", &fields).as_bytes()].concat());
        if passes {
            let mut server = upstream.accept();
            let proto = if block == by_tls(1) { "https" } else { "http" };
            assert_eq!(header(&server.head(), "x-forwarded-proto"), Some(proto));
            server.send(SWITCHING);
            assert!(client.head().starts_with("HTTP/1.1 101 "), "{block:?} {scheme}");
        } else {
            assert_eq!(client.answer().status, 403, "{block:?} {scheme}");
            assert!(upstream.is_untouched());
        }
    }
}

#[test]
fn a_drain_does_not_wait_for_who_has_not_said_whom_it_brings() {
    let upstream = Upstream::new();
    let mut bowline = loopback(&upstream);
    let mut wire = bowline.client();
    wire.send("PROXY ");
    bowline.wait_metric("bowline_connections", 1.0);
    bowline.drain();
    assert!(wire.is_closed());
    // Far less than the header's time or the drain's.
    assert!(bowline.join() < Duration::from_secs(10));
}

#[test]
fn nothing_is_said_before_the_header() {
    let upstream = Upstream::new();
    let bowline = loopback(&upstream);
    let mut wire = bowline.client();
    wire.is_silent(Duration::from_millis(50));
    wire.send("PROXY UNKNOWN\r\n");
    wire.is_silent(Duration::from_millis(50));
    wire.send(GET);
    served(&upstream, &mut wire);
}
