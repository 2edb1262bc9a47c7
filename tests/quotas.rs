//! Who asks for too much, over real sockets: what it is told, whom else it concerns, and when its
//! sockets count no longer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

mod support;

use std::fs;
use std::net::SocketAddr;

use support::process::Process;
use support::{Answer, Bowline, SWITCHING, Upstream, Wire, handshake, node, wait_for};

/// Two workers, one route `r` with these keys, and clients that say themselves who they are; `extra`
/// is further top-level YAML.
fn yaml(upstream: SocketAddr, keys: &str, extra: &str) -> String {
    format!(
        "workers: 2\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\ntrusted_proxies: [ 127.0.0.1 ]\n\
         routes: [ {{ name: r, upstream: up{keys} }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{upstream}\" ] }} }}\n{extra}\n"
    )
}

/// The answer to a request with these fields, on a connection of its own.
fn get(address: SocketAddr, fields: &str) -> Answer {
    let mut client = Wire::connect(address);
    client.send(format!("GET /?k=v HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n"));
    client.answer()
}

fn from(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n")
}

/// Asserts that `count` requests with these fields pass and the next does not.
fn passes(bowline: &Bowline, fields: &str, count: usize) {
    for _ in 0..count {
        assert_eq!(get(bowline.address, fields).status, 200, "{fields}");
    }
    assert_eq!(get(bowline.address, fields).status, 429, "{fields}");
}

/// Opens a WebSocket with these fields: both ends of it.
fn open(address: SocketAddr, upstream: &Upstream, fields: &str) -> (Wire, Wire) {
    let mut client = Wire::connect(address);
    client.send(handshake("/ws", fields));
    let mut server = upstream.accept();
    server.head();
    server.send(SWITCHING);
    assert!(client.head().starts_with("HTTP/1.1 101 "), "{fields}");
    (client, server)
}

/// The answer to a handshake that is refused.
fn refused(address: SocketAddr, fields: &str) -> Answer {
    let mut client = Wire::connect(address);
    client.send(handshake("/ws", fields));
    let answer = client.answer();
    assert_eq!(answer.status, 429, "{fields}: {}", answer.head);
    assert!(client.is_closed());
    answer
}

#[test]
fn each_address_has_its_own_count_and_who_is_over_is_told_when_to_come_back() {
    let bowline =
        Bowline::with(&yaml(node("up"), "", "quotas: [ { requests: 12/h, burst: 15m } ]"));
    passes(&bowline, &from("192.0.2.1"), 3);
    let answer = get(bowline.address, &from("192.0.2.1"));
    assert_eq!(answer.status, 429);
    let said = "quotas: too many requests per client_ip";
    assert_eq!(
        answer.header("proxy-status"),
        Some(format!("bowline; error=http_request_denied; details=\"{said}\"").as_str())
    );
    let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    // One comes back every five minutes; spread up to twice that. The test may have taken a while.
    assert!((200..=600).contains(&after), "{after}");
    assert!(answer.text().contains(said), "{}", answer.text());
    // Others do not notice. A /64 is one of them.
    passes(&bowline, &from("192.0.2.2"), 3);
    passes(&bowline, &from("2001:db8:0:1::1"), 3);
    assert_eq!(get(bowline.address, &from("2001:db8:0:1:a:b:c:d")).status, 429);
    passes(&bowline, &from("2001:db8:0:2::1"), 3);
    bowline.wait_metric("bowline_failures_total{route=\"r\",cause=\"rate_limited\"}", 6.0);
}

#[test]
fn a_refused_request_leaves_its_connection_open() {
    let bowline = Bowline::with(&yaml(node("up"), "", "quotas: [ { requests: 1/h } ]"));
    let mut client = bowline.client();
    for status in [200, 429, 429] {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().status, status);
    }
}

#[test]
fn keys_are_counted_by_their_value_on_their_route() {
    let keys = ", quotas: [ { per: { header: X-Key }, requests: 2/h, burst: 1h }, \
                { per: { cookie: s }, requests: 1/h }, { per: { query: q }, requests: 1/h } ]";
    let bowline = Bowline::with(&yaml(node("up"), keys, ""));
    passes(&bowline, "X-Key: a\r\n", 2);
    passes(&bowline, "X-Key: b\r\n", 2);
    passes(&bowline, "Cookie: t=1; s=one\r\n", 1);
    passes(&bowline, "Cookie: s=two\r\n", 1);
    for _ in 0..10 {
        assert_eq!(get(bowline.address, "").status, 200, "who has no key is not counted");
    }
}

#[test]
fn who_is_over_its_own_takes_nothing_from_all() {
    let bowline = Bowline::with(&yaml(
        node("up"),
        ", quotas: [ { requests: 1/h } ]",
        "quotas: [ { per: all, requests: 4/h, burst: 1h, except: [ 10.0.0.0/8 ] } ]",
    ));
    for _ in 0..10 {
        get(bowline.address, &from("192.0.2.1"));
    }
    for client in ["192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        passes(&bowline, &from(client), 1);
    }
    let answer = get(bowline.address, &from("192.0.2.5"));
    assert!(answer.text().contains("too many requests for all"), "{}", answer.text());
    passes(&bowline, &from("10.0.0.1"), 1);
}

#[test]
fn upgrades_count_apart_from_requests() {
    let upstream = Upstream::new();
    let bowline = Bowline::with(&yaml(
        upstream.address,
        ", quotas: [ { requests: 1/h, upgrades: 2/h, burst: 1h } ]",
        "",
    ));
    let _one = open(bowline.address, &upstream, "");
    let _two = open(bowline.address, &upstream, "");
    let answer = refused(bowline.address, "");
    assert!(answer.text().contains("too many upgrades per client_ip"), "{}", answer.text());
    assert!(upstream.is_untouched());
    bowline.wait_metric("bowline_upgrades_total{route=\"r\",outcome=\"refused\"}", 1.0);
    let mut client = bowline.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 429);
}

/// An upstream that opens every WebSocket, but those for /no. What it is sent then says how it ends.
fn opening() -> SocketAddr {
    Upstream::serving(|mut wire| {
        if wire.head().starts_with("GET /no ") {
            wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        wire.send(SWITCHING);
        if wire.some() == b"reset" {
            wire.reset();
        }
    })
}

/// What becomes of a handshake: the client's end, and the head of the answer.
fn asked(bowline: &Bowline, path: &str, fields: &str) -> (Wire, String) {
    let mut client = bowline.client();
    client.send(handshake(path, fields));
    let head = client.head();
    (client, head)
}

/// A WebSocket, as soon as there is a place for it.
fn seated(bowline: &Bowline, what: &str) -> Wire {
    let mut seated = None;
    wait_for(what, || {
        let (client, head) = asked(bowline, "/ws", "");
        seated = head.starts_with("HTTP/1.1 101 ").then_some(client);
        seated.is_some() || !head.starts_with("HTTP/1.1 429 ")
    });
    seated.expect(what)
}

#[test]
fn a_socket_counts_until_its_tunnel_has_ended_in_whatever_way() {
    let mut bowline = Bowline::with(&yaml(
        opening(),
        ", quotas: [ { sockets: 2 } ]",
        "quotas: [ { per: all, sockets: 3 } ]",
    ));
    let _one = seated(&bowline, "the first place");
    let mut other = seated(&bowline, "the second place");
    let answer = refused(bowline.address, "");
    assert!(answer.text().contains("too many sockets per client_ip"), "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    other.reset();
    other = seated(&bowline, "a place after the client's reset");
    refused(bowline.address, "");
    drop(other);
    other = seated(&bowline, "a place after the client's end");
    refused(bowline.address, "");
    other.send("reset");
    other = seated(&bowline, "a place after the upstream's reset");
    refused(bowline.address, "");
    other.send("end");
    other.finish();
    other = seated(&bowline, "a place after the upstream's end");
    refused(bowline.address, "");
    // Somebody else's, and then all are taken.
    let (_third, head) = asked(&bowline, "/ws", &from("192.0.2.9"));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let answer = refused(bowline.address, &from("192.0.2.10"));
    assert!(answer.text().contains("too many sockets for all"), "{}", answer.text());
    // A drain ends them and waits for nobody's place.
    bowline.kill();
    bowline.join();
    drop(other);
}

#[test]
fn a_handshake_that_is_declined_gives_its_place_back() {
    let bowline = Bowline::with(&yaml(opening(), ", quotas: [ { sockets: 1 } ]", ""));
    for _ in 0..3 {
        wait_for("a place to be declined in", || {
            let (_, head) = asked(&bowline, "/no", "");
            assert!(!head.starts_with("HTTP/1.1 101 "), "{head}");
            head.starts_with("HTTP/1.1 403 ")
        });
    }
    let _one = seated(&bowline, "the place");
    refused(bowline.address, "");
}

#[test]
fn a_reload_keeps_the_counts_of_what_stays() {
    let upstream = Upstream::new();
    let admin = "admin: { address: 127.0.0.1:0 }\nwebsocket: { frames: opaque }";
    let text = |keys: &str| yaml(upstream.address, keys, admin);
    let file = std::env::temp_dir().join(format!("bowline-quotas-{}.yaml", std::process::id()));
    fs::write(&file, text(", quotas: [ { upgrades: 3/h, sockets: 2, burst: 1h } ]")).unwrap();
    let process = Process::start_with("quotas", &file, None);
    let address = process.address;
    let reload = |keys: &str, generation: f64| {
        fs::write(&file, text(keys)).unwrap();
        process.signal("HUP");
        wait_for("the reload", || {
            process.metric("bowline_config_reloads_total{result=\"done\"}") >= generation
        });
    };
    let one = open(address, &upstream, "");
    let _two = open(address, &upstream, "");
    // The same, and a further one.
    reload(", quotas: [ { per: all, sockets: 9 }, { upgrades: 3/h, sockets: 2, burst: 1h } ]", 1.0);
    assert!(refused(address, "").text().contains("too many sockets per client_ip"));
    // More sockets, and the same rate: one more, and the rate is used up.
    reload(", quotas: [ { upgrades: 3/h, sockets: 9, burst: 1h } ]", 2.0);
    let _three = open(address, &upstream, "");
    assert!(refused(address, "").text().contains("too many upgrades per client_ip"));
    // Fewer sockets: nobody is thrown out.
    reload(", quotas: [ { sockets: 1 } ]", 3.0);
    assert!(refused(address, "").text().contains("too many sockets per client_ip"));
    let (mut client, mut server) = one;
    client.send(b"up");
    assert_eq!(server.exactly(2), b"up");
    // None at all.
    reload("", 4.0);
    open(address, &upstream, "");
    fs::remove_file(&file).ok();
}
