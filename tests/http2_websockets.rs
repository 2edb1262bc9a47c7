//! WebSockets over HTTP/2 (RFC 8441): the handshake's two languages, both ends of a tunnel, and many of them
//! on one connection.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/http2.rs"]
mod client;
mod support;

use std::time::Duration;

use client::{Http2, Socket, request, websocket};
use data_encoding::BASE64;
use h2::Reason;
use h2::ext::Protocol;
use sha1::{Digest, Sha1};
use support::*;

const METERED: &str = "websocket: { frames: metered }";

fn serving(upstream: &Upstream, extra: &str) -> Bowline {
    Bowline::with(&h2c(&config(&[upstream.address], extra)))
}

fn h2c(yaml: &str) -> String {
    yaml.replacen("address: 127.0.0.1:0", "address: 127.0.0.1:0, http2: prior_knowledge", 1)
}

/// The 101 that is right for a handshake.
fn switching(head: &str) -> String {
    let key = header(head, "sec-websocket-key").unwrap();
    assert_eq!(BASE64.decode(key.as_bytes()).unwrap().len(), 16);
    let digest = Sha1::new()
        .chain_update(key.as_bytes())
        .chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    let accept = BASE64.encode(&digest);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    )
}

/// Opens a WebSocket: its client's end and its upstream's.
fn open(client: &mut Http2, upstream: &Upstream) -> (Socket, Wire) {
    let (response, send) = client.connect_websocket(websocket("/ws"));
    let mut server = upstream.accept();
    let head = server.head();
    server.send(switching(&head) + "\r\n");
    (client.socket(response, send), server)
}

/// Answers every handshake, and sends back what comes.
fn echo() -> std::net::SocketAddr {
    Upstream::serving(|mut wire| {
        let head = wire.head();
        wire.send(switching(&head) + "\r\n");
        loop {
            let bytes = wire.some();
            if bytes.is_empty() || !wire.try_send(bytes) {
                return;
            }
        }
    })
}

/// A client's frame, with a mask of zeros.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[0x80 | opcode, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

fn bare(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[0x80 | opcode, length], payload].concat()
}

/// A Close frame that a client of Bowline's, or its upstream, got: its code.
fn code_of(frame: &[u8]) -> u16 {
    assert_eq!(frame[0], 0x88, "{frame:?}");
    let (masks, at) =
        if frame[1] & 0x80 == 0 { ([0; 4], 2) } else { (frame[2..6].try_into().unwrap(), 6) };
    u16::from_be_bytes([frame[at] ^ masks[0], frame[at + 1] ^ masks[1]])
}

// E-1, E-2, E-3, E-5.
#[test]
fn an_extended_connect_becomes_an_upgrade_with_a_key_of_its_own() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, METERED);
    let mut client = Http2::connect(bowline.address);
    assert!(client.send.is_extended_connect_protocol_enabled());
    let mut keys = Vec::new();
    for _ in 0..2 {
        let mut asked = websocket("/ws?room=1");
        for (name, value) in [
            ("origin", "http://test.example"),
            ("sec-websocket-protocol", "chat, other"),
            ("sec-websocket-extensions", "permessage-deflate"),
            // Says nothing here.
            ("sec-websocket-key", KEY),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
        ] {
            asked.headers_mut().append(name, value.parse().unwrap());
        }
        let (_response, _send) = client.connect_websocket(asked);
        let head = upstream.accept().head();
        assert!(head.starts_with("GET /ws?room=1 HTTP/1.1\r\n"), "{head}");
        for (name, value) in [
            ("host", "test.example"),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("origin", "http://test.example"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "chat, other"),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("cookie", "a=1; b=2"),
            ("via", "2.0 bowline"),
        ] {
            assert_eq!(headers(&head, name), [value], "{name}");
        }
        assert!(!head.contains(":protocol") && header(&head, "content-length").is_none(), "{head}");
        keys.push(header(&head, "sec-websocket-key").unwrap().to_owned());
    }
    assert!(keys[0] != keys[1] && !keys.contains(&KEY.to_owned()), "{keys:?}");
}

#[test]
fn a_101_becomes_a_200_and_both_ends_talk() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, METERED);
    let mut client = Http2::connect(bowline.address);
    let mut asked = websocket("/ws");
    for (name, value) in [
        ("sec-websocket-protocol", "chat, other"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ] {
        asked.headers_mut().append(name, value.parse().unwrap());
    }
    let (response, send) = client.connect_websocket(asked);
    let mut server = upstream.accept();
    let head = server.head();
    // What stands right behind the 101 belongs to the tunnel.
    server.send(
        switching(&head)
            + "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
               Set-Cookie: c=3\r\nX-Own: kept\r\n\r\n\x01\x01h",
    );
    let mut socket = client.socket(response, send);
    for (name, value) in [
        ("sec-websocket-protocol", Some("chat")),
        ("sec-websocket-extensions", Some("permessage-deflate")),
        ("set-cookie", Some("c=3")),
        ("x-own", Some("kept")),
        ("sec-websocket-accept", None),
        ("connection", None),
        ("upgrade", None),
    ] {
        let got = socket.head.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(got, value, "{name}");
    }
    assert_eq!(socket.exactly(3), b"\x01\x01h");
    server.send(bare(0, b"i"));
    assert_eq!(socket.exactly(3), bare(0, b"i"));
    socket.send(&masked(1, b"up"));
    assert_eq!(server.exactly(8), masked(1, b"up"));
    assert_eq!(bowline.metric("bowline_http2_tunnels_total"), 1.0);
    assert_eq!(bowline.metric("bowline_tunnels{route=\"r\"}"), 1.0);
}

// E-2.
#[test]
fn an_extended_connect_that_breaks_a_rule_reaches_nobody() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, METERED);
    let mut client = Http2::connect(bowline.address);
    let mut other = websocket("/");
    other.extensions_mut().insert(Protocol::from_static("connect-udp"));
    let mut old = websocket("/");
    old.headers_mut().insert("sec-websocket-version", "8".parse().unwrap());
    let mut foreign = websocket("/");
    foreign.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    let mut offer = websocket("/");
    offer.headers_mut().insert("sec-websocket-protocol", "a b".parse().unwrap());
    for (asked, status, label) in [
        (other, 501, "protocol_unknown"),
        (old, 426, "upgrade_version"),
        (foreign, 403, "origin_refused"),
        (offer, 400, "bad_request"),
    ] {
        let (response, _send) = client.connect_websocket(asked);
        let reply = client.reply(response);
        assert_eq!(reply.status, status, "{label}");
        assert_eq!(reply.header("upgrade"), None);
        if status == 426 {
            assert_eq!(reply.header("sec-websocket-version"), Some("13"));
        }
    }
    assert!(upstream.is_untouched() && client.lives());
}

// E-3: other answers pass; a 2xx must not look like a tunnel.
#[test]
fn what_is_no_right_101_is_no_tunnel_whatever_its_status() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, METERED);
    let mut client = Http2::connect(bowline.address);
    let wrong = SWITCHING.to_owned();
    let unasked = |head: &str| switching(head) + "Sec-WebSocket-Protocol: unasked\r\n\r\n";
    for (answer, status, body) in [
        (None, 502, None),
        (
            Some(
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno",
            ),
            401,
            Some("no"),
        ),
        (Some("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), 503, Some("")),
        (Some("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"), 302, Some("")),
        (Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), 502, None),
        (Some("HTTP/1.1 204 No Content\r\n\r\n"), 502, None),
        (Some(&*wrong), 502, None),
    ] {
        let (response, mut send) = client.connect_websocket(websocket("/ws"));
        let mut server = upstream.accept();
        let head = server.head();
        server.send(answer.map_or_else(|| unasked(&head), str::to_owned));
        let reply = client.reply(response);
        assert_eq!(reply.status, status, "{answer:?}");
        if let Some(body) = body {
            assert_eq!(reply.text(), body);
        }
        // What the client sends behind it reaches nobody.
        send.send_data("more".into(), false).ok();
        assert!(server.is_closed());
    }
    assert!(client.lives());
    assert_eq!(bowline.metric("bowline_http2_tunnels_total"), 0.0);
}

#[test]
fn where_no_route_bridges_it_is_not_offered_and_where_one_does_the_others_say_501() {
    let upstream = Upstream::new();
    let off = "websocket: { frames: opaque, bridge: false }";
    let bowline = serving(&upstream, off);
    let client = Http2::connect(bowline.address);
    assert!(!client.send.is_extended_connect_protocol_enabled());
    let yaml = h2c(&config(&[upstream.address], off)).replace(
        "routes: [",
        "routes: [ { match: { path: /on }, upstream: up, websocket: { bridge: true } },",
    );
    let bowline = Bowline::with(&yaml);
    let mut client = Http2::connect(bowline.address);
    assert!(client.send.is_extended_connect_protocol_enabled());
    let (response, _send) = client.connect_websocket(websocket("/off"));
    assert_eq!(client.reply(response).status, 501);
    assert!(upstream.is_untouched());
    let (response, send) = client.connect_websocket(websocket("/on"));
    let mut server = upstream.accept();
    let head = server.head();
    server.send(switching(&head) + "\r\n");
    client.socket(response, send);
}

#[test]
fn what_a_client_sends_ahead_waits_for_the_101_within_its_window() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let (response, mut send) = client.connect_websocket(websocket("/ws"));
    let mut early = (0..100_000_u32).flat_map(u32::to_be_bytes).collect::<Vec<u8>>();
    send.send_data(early.clone().into(), false).unwrap();
    let mut server = upstream.accept();
    let head = server.head();
    server.is_silent(Duration::from_millis(100));
    server.send(switching(&head) + "\r\n");
    let mut socket = client.socket(response, send);
    socket.push(b"last");
    early.extend(b"last");
    assert!(server.exactly(early.len()) == early);
}

// E-6, E-7, all directions; the tunnel carries bytes, so nobody is told by a Close.
#[test]
fn a_fin_is_an_end_of_stream_both_ways_and_each_half_lives_for_itself() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let (mut socket, mut server) = open(&mut client, &upstream);
    socket.send(b"ask");
    socket.finish();
    assert_eq!(server.rest(), b"ask");
    server.send("answer");
    assert_eq!(socket.exactly(6), b"answer");
    drop(server);
    assert_eq!(socket.rest(), b"");
    let (mut socket, mut server) = open(&mut client, &upstream);
    server.send("bye");
    server.finish();
    assert_eq!(socket.rest(), b"bye");
    socket.send(b"still");
    assert_eq!(server.exactly(5), b"still");
    socket.finish();
    assert!(server.is_closed());
    bowline.wait_metric("bowline_http2_streams", 0.0);
    assert!(client.lives());
}

#[test]
fn a_reset_is_a_reset_both_ways() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let (mut socket, server) = open(&mut client, &upstream);
    let (mut sibling, mut other) = open(&mut client, &upstream);
    server.reset();
    assert_eq!(socket.reason(), Reason::CANCEL);
    let (mut socket, mut server) = open(&mut client, &upstream);
    socket.reset(Reason::CANCEL);
    let mut byte = [0];
    let read = std::io::Read::read(&mut server.stream, &mut byte);
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let labels = "route=\"r\",reason=\"error\"";
    bowline.wait_metric(&format!("bowline_tunnels_ended_total{{{labels},closer=\"client\"}}"), 1.0);
    bowline
        .wait_metric(&format!("bowline_tunnels_ended_total{{{labels},closer=\"upstream\"}}"), 1.0);
    // Nobody else heard of it.
    sibling.send(b"x");
    assert_eq!(other.exactly(1), b"x");
}

#[test]
fn a_connection_that_breaks_off_resets_all_its_tunnels() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let (_one, mut first) = open(&mut client, &upstream);
    let (_two, mut second) = open(&mut client, &upstream);
    drop(client);
    for server in [&mut first, &mut second] {
        let read = std::io::Read::read(&mut server.stream, &mut [0]);
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
    bowline.wait_metric("bowline_connections", 0.0);
    bowline.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
}

// E-7: browsers remember a server that resets, and go back to HTTP/1.1.
#[test]
fn a_proper_close_ends_with_an_end_of_stream_whoever_begins_it() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, METERED);
    let mut client = Http2::connect(bowline.address);
    let code = 1000_u16.to_be_bytes();
    let (mut socket, mut server) = open(&mut client, &upstream);
    socket.send(&masked(8, &code));
    assert_eq!(code_of(&server.exactly(8)), 1000);
    server.send(bare(8, &code));
    drop(server);
    assert_eq!(code_of(&socket.exactly(4)), 1000);
    assert_eq!(socket.rest(), b"");
    socket.finish();
    let (mut socket, mut server) = open(&mut client, &upstream);
    server.send(bare(8, &code));
    assert_eq!(code_of(&socket.exactly(4)), 1000);
    socket.send(&masked(8, &code));
    assert_eq!(code_of(&server.exactly(8)), 1000);
    drop(server);
    assert_eq!(socket.rest(), b"");
    socket.finish();
    bowline.wait_metric("bowline_http2_streams", 0.0);
    bowline.wait_metric("bowline_tunnel_close_codes_total{route=\"r\",code=\"1000\"}", 2.0);
    assert!(client.lives());
}

// What Chromium does: its Close and its END_STREAM come together, and it waits for the server's for two seconds.
#[test]
fn a_close_with_the_end_of_the_stream_right_behind_it_is_answered_at_once() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, METERED);
    let mut client = Http2::connect(bowline.address);
    let (mut socket, mut server) = open(&mut client, &upstream);
    let code = 1000_u16.to_be_bytes();
    socket.push_last(&masked(8, &code));
    assert_eq!(code_of(&server.exactly(8)), 1000);
    server.send(bare(8, &code));
    assert_eq!(code_of(&socket.rest()), 1000);
    // The upstream's own end is not waited for.
    bowline.wait_metric("bowline_tunnel_close_codes_total{route=\"r\",code=\"1000\"}", 1.0);
    bowline.wait_metric("bowline_http2_streams", 0.0);
}

#[test]
fn an_upstream_that_vanishes_is_told_by_a_close_and_an_end_of_stream() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, METERED);
    let mut client = Http2::connect(bowline.address);
    let (mut socket, server) = open(&mut client, &upstream);
    server.reset();
    let close = socket.exactly(4);
    assert_eq!(code_of(&close), 1014);
    socket.send(&masked(8, &close[2..4]));
    socket.rest();
    socket.finish();
    bowline.wait_metric("bowline_http2_streams", 0.0);
    // And an upstream hears of a client.
    let (mut socket, mut server) = open(&mut client, &upstream);
    socket.reset(Reason::CANCEL);
    assert_eq!(code_of(&server.some()), 1001);
}

#[test]
fn frames_are_judged_and_measured_as_on_http_1_1() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "websocket: { max_message: 100B }");
    let mut client = Http2::connect(bowline.address);
    for (wrong, code) in [(masked(1, &[b'x'; 101]), 1009), (bare(1, b"not masked"), 1002)] {
        let (mut socket, mut server) = open(&mut client, &upstream);
        socket.send(&wrong);
        let close = server.some();
        assert_eq!(close[0], 0x88);
        server.send(bare(8, &1000_u16.to_be_bytes()));
        drop(server);
        assert_eq!(code_of(&socket.rest()), code);
    }
}

#[test]
fn a_heartbeat_asks_a_client_and_ends_one_that_is_silent() {
    let upstream = Upstream::new();
    let beat = "websocket: { heartbeat: { interval: 200ms, timeout: 2s, upstream: false } }";
    let bowline = serving(&upstream, beat);
    let mut client = Http2::connect(bowline.address);
    let (mut socket, mut server) = open(&mut client, &upstream);
    let ping = socket.exactly(2);
    assert_eq!(ping[0], 0x89);
    let payload = socket.exactly(ping[1].into());
    socket.send(&masked(10, &payload));
    let ping = socket.exactly(2);
    assert_eq!(ping[0], 0x89, "another one");
    assert_eq!(code_of(&server.some()), 1001);
    bowline.wait_metric(
        "bowline_tunnels_ended_total{route=\"r\",reason=\"heartbeat\",closer=\"bowline\"}",
        1.0,
    );
}

#[test]
fn fifty_sockets_share_a_connection_and_a_stalled_one_starves_nobody() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(64 << 10).initial_connection_window_size(8 << 20);
    let mut client = Http2::with(bowline.address, &builder);
    let mut pairs: Vec<_> = (0..50).map(|_| open(&mut client, &upstream)).collect();
    // Both ways: an upstream that reads nothing, and a client that does not.
    let (mut up, deaf) = pairs.pop().unwrap();
    let (_unread, mut talks) = pairs.pop().unwrap();
    up.push(&vec![0; 64 << 20]);
    let flood = std::thread::spawn(move || while talks.try_send([0; 65536]) {});
    for round in 0..20_u8 {
        for (socket, server) in &mut pairs {
            socket.send(&[round; 3000]);
            assert_eq!(server.exactly(3000), [round; 3000]);
            server.send([round; 3000]);
            assert_eq!(socket.exactly(3000), [round; 3000]);
        }
    }
    assert_eq!(bowline.metric("bowline_tunnels{route=\"r\"}"), 50.0);
    assert_eq!(bowline.metric("bowline_connections"), 1.0);
    drop((deaf, client, pairs));
    drop(bowline);
    flood.join().unwrap();
}

#[test]
fn tens_of_thousands_of_small_messages_are_no_flood() {
    let bowline = Bowline::with(&h2c(&config(&[echo()], "")));
    let mut client = Http2::connect(bowline.address);
    let mut sockets: Vec<_> = (0..4)
        .map(|_| {
            let (response, send) = client.connect_websocket(websocket("/ws"));
            client.socket(response, send)
        })
        .collect();
    for _ in 0..5 {
        for socket in &mut sockets {
            for _ in 0..2_000 {
                socket.push(b"x");
            }
        }
        for socket in &mut sockets {
            assert_eq!(socket.exactly(2_000), [b'x'; 2_000]);
        }
    }
    assert!(client.lives());
}

#[test]
fn small_messages_that_wait_are_no_flood_either() {
    let upstream = Upstream::new();
    let yaml = h2c(&config(&[upstream.address], OPAQUE)).replace(
        "routes: [",
        "routes: [ { match: { path: /slow }, upstream: up, websocket: { client_rate: { bytes: 1KiB } } },",
    );
    let bowline = Bowline::with(&yaml);
    let mut client = Http2::connect(bowline.address);
    let (mut sibling, mut other) = open(&mut client, &upstream);
    // One that is read slowly, and one that waits for its 101.
    let (response, send) = client.connect_websocket(websocket("/slow"));
    let mut server = upstream.accept();
    let head = server.head();
    server.send(switching(&head) + "\r\n");
    let mut slow = client.socket(response, send);
    let (_response, mut early) = client.connect_websocket(websocket("/ws"));
    let mut unanswered = upstream.accept();
    unanswered.head();
    for _ in 0..20_000 {
        slow.push(b"x");
        early.send_data("x".into(), false).unwrap();
    }
    // Behind all of them.
    sibling.send(b"y");
    assert_eq!(other.exactly(1), b"y");
    assert_eq!(server.exactly(1500), [b'x'; 1500]);
    assert!(client.lives());
    assert_eq!(bowline.metric("bowline_tunnels_opened_total{route=\"r\"}"), 1.0);
}

#[test]
fn a_drain_closes_the_tunnels_first_and_says_goaway_behind_them() {
    let upstream = Upstream::new();
    let mut bowline =
        serving(&upstream, "websocket: { frames: metered }\ndrain: { spread: 1ms, timeout: 20s }");
    let mut client = Http2::connect(bowline.address);
    let (mut socket, mut server) = open(&mut client, &upstream);
    bowline.drain();
    let close = socket.exactly(2);
    let reason = socket.exactly(close[1].into());
    assert_eq!(u16::from_be_bytes([reason[0], reason[1]]), 1012);
    // No GOAWAY yet: the connection takes requests, and no new WebSocket.
    let (response, _send) = client.connect_websocket(websocket("/ws"));
    assert_eq!(client.reply(response).status, 503);
    assert!(client.lives());
    socket.send(&masked(8, &reason[..2]));
    assert_eq!(code_of(&server.some()), 1012);
    server.send(bare(8, &reason[..2]));
    drop(server);
    assert_eq!(socket.rest(), b"");
    socket.finish();
    client.end().unwrap();
    bowline.join();
}

#[test]
fn over_tls_it_is_agreed_on_and_the_upstream_hears_of_https() {
    use std::sync::Arc;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("http2_tls");
    std::fs::create_dir_all(&folder).unwrap();
    let issued = rcgen::generate_simple_self_signed(["test.example".to_owned()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let upstream = Upstream::new();
    let tls = format!(
        "address: 127.0.0.1:0, tls: {{ certificates: [ {{ cert: {}, key: {} }} ] }}",
        cert.display(),
        key.display()
    );
    let yaml = config(&[upstream.address], METERED).replacen("address: 127.0.0.1:0", &tls, 1);
    let bowline = Bowline::with(&yaml);
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let address = bowline.address;
    let mut client = Http2::over(h2::client::Builder::new(), async move {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("test.example").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    });
    let mut asked = websocket("/ws");
    *asked.uri_mut() = "https://test.example/ws".parse().unwrap();
    asked.headers_mut().insert("origin", "https://test.example".parse().unwrap());
    let (response, send) = client.connect_websocket(asked);
    let mut server = upstream.accept();
    let head = server.head();
    assert_eq!(headers(&head, "x-forwarded-proto"), ["https"]);
    server.send(switching(&head) + "\r\n");
    let mut socket = client.socket(response, send);
    socket.send(&masked(1, &[b'x'; 100]));
    assert_eq!(server.exactly(106).len(), 106);
    // Another host than the one that the connection was opened for (RFC 9110 section 15.5.20).
    let mut other = request("GET", "/");
    *other.uri_mut() = "https://other.example/".parse().unwrap();
    assert_eq!(client.ask(other).status, 421);
    server.send(bare(1, b"still here"));
    assert_eq!(socket.exactly(12), bare(1, b"still here"));
}

#[test]
fn a_client_may_go_back_to_plain_requests_beside_its_sockets() {
    let bowline = Bowline::with(&h2c(&config(&[echo()], "")));
    let mut client = Http2::connect(bowline.address);
    let (response, send) = client.connect_websocket(websocket("/ws"));
    let mut socket = client.socket(response, send);
    socket.send(b"ping");
    assert_eq!(socket.exactly(4), b"ping");
    let mut trace = request("TRACE", "/");
    trace.headers_mut().insert("x-a", "b".parse().unwrap());
    assert_eq!(client.ask(trace).status, 405);
    socket.send(b"pong");
    assert_eq!(socket.exactly(4), b"pong");
}
