//! The PROXY header that upstreams get: who it names, what stands behind it, and that a connection which
//! names a client serves nobody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::net::{IpAddr, SocketAddr};

use support::process::Process;
use support::{
    Bowline, SWITCHING, Upstream, Wire, handshake, header, headers, nobody, node, wait_for,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn bowline(version: &str, upstream: SocketAddr, settings: &str, extra: &str) -> Bowline {
    Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{upstream}\" ], proxy_protocol: {version}, {settings} }} }}\n\
         {extra}\n"
    ))
}

/// What a header says: source and destination, or nobody.
type Said = Option<(SocketAddr, SocketAddr)>;

/// The line that an upstream got, and not a byte behind it.
fn line(wire: &mut Wire) -> Said {
    let line = wire.until("\r\n");
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    if words == ["PROXY", "UNKNOWN"] {
        return None;
    }
    let [proxy, family, source, destination, from, to] = words[..] else { panic!("{line}") };
    let end = |ip: &str, port: &str| -> SocketAddr {
        let ip: IpAddr = ip.parse().unwrap();
        assert_eq!((proxy, family), ("PROXY", if ip.is_ipv4() { "TCP4" } else { "TCP6" }));
        SocketAddr::new(ip, port.parse().unwrap())
    };
    Some((end(source, from), end(destination, to)))
}

/// The same of version 2, by the specification and not by Bowline's own parser.
fn bytes(wire: &mut Wire) -> Said {
    assert_eq!(wire.exactly(12), SIGNATURE);
    let fixed = wire.exactly(4);
    let block = wire.exactly(usize::from(u16::from_be_bytes([fixed[2], fixed[3]])));
    if fixed[0] == 0x20 {
        assert!(block.is_empty());
        return None;
    }
    assert_eq!(fixed[0], 0x21);
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    let (source, destination): (IpAddr, IpAddr) = match (fixed[1], block.len()) {
        (0x11, 12) => {
            let ip = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&block[at..at + 4]).unwrap());
            (ip(0), ip(4))
        }
        (0x21, 36) => {
            let ip = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&block[at..at + 16]).unwrap());
            (ip(0), ip(16))
        }
        other => panic!("{other:x?}"),
    };
    let ports = block.len() - 4;
    Some((SocketAddr::new(source, port(ports)), SocketAddr::new(destination, port(ports + 2))))
}

/// Reads a header.
type Read = fn(&mut Wire) -> Said;

const VERSIONS: [(&str, Read); 2] = [("v1", line), ("v2", bytes)];

#[test]
fn a_request_comes_behind_the_name_of_its_client_and_on_a_connection_of_its_own() {
    for (version, read) in VERSIONS {
        let upstream = Upstream::new();
        let bowline = bowline(version, upstream.address, "", "");
        let mut client = bowline.client();
        let ends = Some((client.stream.local_addr().unwrap(), bowline.address));
        for _ in 0..3 {
            client.send(GET);
            let mut server = upstream.accept();
            assert_eq!(read(&mut server), ends, "{version}");
            assert!(server.head().starts_with("GET / HTTP/1.1\r\n"));
            server.send(OK);
            assert_eq!(client.answer().text(), "ok");
            assert!(server.is_closed(), "the next request may be somebody else's");
        }
        assert_eq!(bowline.metric("bowline_upstream_reused_total{upstream=\"up\"}"), 0.0);
    }
}

#[test]
fn a_body_follows_its_head_behind_the_header() {
    for (version, read) in VERSIONS {
        let upstream = Upstream::new();
        let bowline = bowline(version, upstream.address, "", "");
        let mut client = bowline.client();
        let body = "x".repeat(300_000);
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let mut server = upstream.accept();
        assert!(read(&mut server).is_some());
        assert!(server.head().starts_with("POST / HTTP/1.1\r\n"));
        assert_eq!(server.exactly(body.len()), body.as_bytes());
        server.send(OK);
        assert_eq!(client.answer().text(), "ok");
    }
}

#[test]
fn a_websocket_comes_behind_the_name_of_its_client() {
    for (version, read) in VERSIONS {
        let upstream = Upstream::new();
        let bowline = bowline(version, upstream.address, "", "");
        let mut client = bowline.client();
        client.send(handshake("/ws", ""));
        let mut server = upstream.accept();
        let ends = (client.stream.local_addr().unwrap(), bowline.address);
        assert_eq!(read(&mut server), Some(ends), "{version}");
        assert!(server.head().starts_with("GET /ws HTTP/1.1\r\n"));
        server.send(SWITCHING);
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        client.send("to the server");
        assert_eq!(server.exactly(13), b"to the server");
        server.send("to the client");
        assert_eq!(client.exactly(13), b"to the client");
    }
}

#[test]
fn an_endpoint_that_is_asked_in_place_of_a_dead_one_hears_the_name_once() {
    for (version, read) in VERSIONS {
        let upstream = Upstream::new();
        let dead = nobody();
        let yaml = format!(
            "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
             routes: [ {{ upstream: up }} ]\nupstreams: {{ up: {{ balance: round_robin, \
             endpoints: [ \"{dead}\", \"{}\" ], proxy_protocol: {version} }} }}\n",
            upstream.address
        );
        let bowline = Bowline::with(&yaml);
        for request in [GET.to_owned(), handshake("/", ""), GET.to_owned(), handshake("/", "")] {
            let mut client = bowline.client();
            client.send(request);
            let mut server = upstream.accept();
            let source = read(&mut server).unwrap().0;
            assert_eq!(source, client.stream.local_addr().unwrap());
            assert!(server.head().starts_with("GET / HTTP/1.1\r\n"));
        }
    }
}

#[test]
fn behind_a_trusted_proxy_it_is_the_client_that_the_proxy_names() {
    let trusting = "trusted_proxies: [ 127.0.0.0/8 ]";
    for (version, read) in VERSIONS {
        let upstream = Upstream::new();
        let bowline = bowline(version, upstream.address, "", trusting);
        for (said, source) in [
            ("X-Forwarded-For: 203.0.113.9", "203.0.113.9:0"),
            ("X-Forwarded-For: 2001:db8::9", "[2001:db8::9]:0"),
            ("Forwarded: for=\"[2001:db8::9]:4711\"", "[2001:db8::9]:4711"),
            ("X-Nothing: 1", "127.0.0.1:0"),
        ] {
            let mut client = bowline.client();
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{said}\r\n\r\n"));
            let (from, to) = read(&mut upstream.accept()).unwrap();
            assert_eq!(from, source.parse().unwrap(), "{said}");
            // One family for both ends.
            assert_eq!(to.is_ipv6(), from.is_ipv6());
            assert_eq!(to.ip().to_canonical(), bowline.address.ip());
            assert_eq!(to.port(), bowline.address.port());
        }
    }
}

#[test]
fn nobody_else_names_a_client() {
    let upstream = Upstream::new();
    let bowline = bowline("v2", upstream.address, "", "");
    let mut client = bowline.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n");
    let (from, _) = bytes(&mut upstream.accept()).unwrap();
    assert_eq!(from, client.stream.local_addr().unwrap());
}

#[test]
fn what_a_balancer_in_front_says_goes_on() {
    for (version, read) in VERSIONS {
        let upstream = Upstream::new();
        let bowline = Bowline::with(&format!(
            "workers: 1\n\
             listeners: [ {{ address: 127.0.0.1:0, proxy_protocol: {{ from: [ 127.0.0.1 ] }} }} ]\n\
             routes: [ {{ upstream: up }} ]\n\
             upstreams: {{ up: {{ endpoints: [ \"{}\" ], proxy_protocol: {version} }} }}\n",
            upstream.address
        ));
        for (header, source, destination) in [
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n",
                "192.0.2.7:4711",
                "198.51.100.1:443",
            ),
            (
                "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n",
                "[2001:db8::7]:4711",
                "[2001:db8::1]:443",
            ),
        ] {
            let mut client = bowline.client();
            client.send(format!("{header}{GET}"));
            let ends = (source.parse().unwrap(), destination.parse().unwrap());
            assert_eq!(read(&mut upstream.accept()), Some(ends));
        }
        // The balancer's own connection is its own.
        let mut client = bowline.client();
        client.send(format!("PROXY UNKNOWN\r\n{GET}"));
        let ends = (client.stream.local_addr().unwrap(), bowline.address);
        assert_eq!(read(&mut upstream.accept()), Some(ends));
    }
}

#[test]
fn one_bowline_behind_another_knows_the_client() {
    let upstream = Upstream::new();
    let behind = Bowline::with(&format!(
        "workers: 1\n\
         listeners: [ {{ address: 127.0.0.1:0, proxy_protocol: {{ from: [ 127.0.0.1 ] }} }} ]\n\
         routes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n",
        upstream.address
    ));
    for (version, _) in VERSIONS {
        let front =
            bowline(version, behind.address, "", "trusted_proxies: [ 127.0.0.0/8 ]\nvia: front");
        let mut client = front.client();
        client.send(handshake("/ws", "X-Forwarded-For: 203.0.113.9\r\n"));
        let mut server = upstream.accept();
        let head = server.head();
        // What the front says in fields is not believed of a stranger; what it says before them is.
        assert_eq!(headers(&head, "x-forwarded-for"), ["203.0.113.9"], "{head}");
        server.send(SWITCHING);
        assert!(client.head().starts_with("HTTP/1.1 101 "));
    }
}

#[test]
fn checks_say_that_they_are_for_nobody() {
    for (version, read) in VERSIONS {
        for kind in ["http", "tcp", "websocket"] {
            let upstream = Upstream::new();
            let health = format!("health: {{ active: {{ type: {kind}, interval: 50ms }} }}");
            let bowline = bowline(version, upstream.address, &health, "");
            let mut check = upstream.accept();
            assert_eq!(read(&mut check), None, "{version} {kind}");
            if kind == "tcp" {
                assert!(check.is_closed());
            } else {
                let head = check.head();
                assert!(header(&head, "user-agent").unwrap().ends_with("(health check)"), "{head}");
            }
            drop(bowline);
        }
    }
}

#[test]
fn a_kept_connection_is_left_alone_once_a_reload_asks_for_names() {
    let upstream = Upstream::new();
    // On an address of this process's own: nobody else takes the port meanwhile.
    let own = std::net::Ipv4Addr::new(127, 9, std::process::id() as u8, 1);
    let listener = std::net::TcpListener::bind((own, 0)).unwrap().local_addr().unwrap();
    let yaml = |setting: &str| {
        format!(
            "workers: 1\nlisteners: [ {{ address: \"{listener}\" }} ]\n\
             routes: [ {{ upstream: up }} ]\n\
             upstreams: {{ up: {{ endpoints: [ \"{}\" ], {setting} }} }}\n",
            upstream.address
        )
    };
    let bowline = Process::start("names", &yaml(""), None);
    let mut client = bowline.client();
    client.send(GET);
    let mut kept = upstream.accept();
    kept.head();
    kept.send(OK);
    assert_eq!(client.answer().text(), "ok");
    std::fs::write(&bowline.file, yaml("proxy_protocol: v2")).unwrap();
    bowline.signal("HUP");
    wait_for("the reload", || bowline.logged().contains("configuration reloaded"));
    client.send(GET);
    let mut server = upstream.accept();
    // It came before anybody wanted to know what it reached: that is what the listener says.
    assert_eq!(bytes(&mut server), Some((client.stream.local_addr().unwrap(), listener)));
    server.head();
    server.send(OK);
    assert_eq!(client.answer().text(), "ok");
    drop(bowline);
    assert!(kept.is_closed(), "nothing more was said on it");
}

#[test]
fn without_the_setting_nothing_stands_before_a_request() {
    let address = node("plain");
    let bowline = Bowline::in_front_of(address);
    let mut client = bowline.client();
    client.send(GET);
    assert_eq!(client.answer().text(), "plain");
}
