//! Where the connections to upstreams come from, and what happens when the ports there are all taken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use support::network::Network;
use support::process::Process;
use support::{Bowline, SWITCHING, Upstream, Wire, handshake, wait_for};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
const NO_PORT: &str = "bowline_upstream_no_port_total{upstream=\"up\"}";
const MISSING: &str = "bowline_upstream_source_missing_total{upstream=\"up\"}";

fn bowline(endpoint: &str, settings: &str) -> Bowline {
    Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{endpoint}\" ], {settings} }} }}\n"
    ))
}

/// Where so many requests, each on a connection of its own, come from.
fn sources(bowline: &Bowline, upstream: &Upstream, requests: usize) -> Vec<String> {
    let mut client = bowline.client();
    let request = |_| {
        client.send(GET);
        let mut server = upstream.accept();
        server.head();
        server.send(OK);
        assert_eq!(client.answer().status, 200);
        server.stream.peer_addr().unwrap().ip().to_string()
    };
    (0..requests).map(request).collect()
}

#[test]
fn connections_come_from_the_addresses_in_turn() {
    let upstream = Upstream::new();
    let settings = "source_addresses: [ 127.0.0.5, \"::1\", 127.0.0.6, 127.0.0.7 ]";
    let bowline = bowline(&upstream.address.to_string(), settings);
    let seen = sources(&bowline, &upstream, 6);
    let turn = ["127.0.0.5", "127.0.0.6", "127.0.0.7"];
    assert_eq!(seen, [turn, turn].concat());
}

#[test]
fn a_name_is_reached_from_the_addresses_too() {
    let upstream = Upstream::new();
    let endpoint = format!("localhost:{}", upstream.address.port());
    let bowline = bowline(&endpoint, "source_addresses: [ 127.0.0.5 ]");
    assert_eq!(sources(&bowline, &upstream, 2), ["127.0.0.5"; 2]);
}

#[test]
fn where_no_address_is_of_the_family_the_kernel_chooses() {
    let upstream = Upstream::new();
    let bowline = bowline(&upstream.address.to_string(), "source_addresses: [ \"2001:db8::1\" ]");
    assert_eq!(sources(&bowline, &upstream, 2), ["127.0.0.1"; 2]);
    assert_eq!(bowline.metric(MISSING), 0.0);
}

#[test]
fn checks_come_from_the_addresses_too() {
    let upstream = Upstream::new();
    let settings = "source_addresses: [ 127.0.0.5 ], health: { active: { interval: 50ms } }";
    let bowline = bowline(&upstream.address.to_string(), settings);
    let mut check = upstream.accept();
    assert!(check.head().contains("health check"));
    assert_eq!(check.stream.peer_addr().unwrap().ip().to_string(), "127.0.0.5");
    drop(bowline);
}

#[test]
fn an_address_that_this_machine_does_not_have_is_passed_over_and_counted() {
    let upstream = Upstream::new();
    // RFC 5737: nobody's.
    let settings = "source_addresses: [ 192.0.2.77, 127.0.0.5 ]";
    let bowline = bowline(&upstream.address.to_string(), settings);
    assert_eq!(sources(&bowline, &upstream, 6), ["127.0.0.5"; 6]);
    // Its turn came half of the time.
    assert_eq!((bowline.metric(MISSING), bowline.metric(NO_PORT)), (3.0, 0.0));
}

#[test]
fn what_is_wrong_with_an_address_is_told_once_a_second() {
    let upstream = Upstream::new();
    let yaml = format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{}\" ], source_addresses: [ 192.0.2.77 ] }} }}\n",
        upstream.address
    );
    let bowline = Process::start("missing_source", &yaml, None);
    let began = Instant::now();
    let mut client = bowline.client();
    for _ in 0..20 {
        client.send(GET);
        assert_eq!(client.answer().status, 502);
    }
    let mut lines = Vec::new();
    wait_for("the line", || {
        let logged = bowline.logged();
        let told = logged.lines().filter(|line| line.contains("cannot send from a source address"));
        lines = told.map(str::to_owned).collect();
        !lines.is_empty()
    });
    let most = began.elapsed().as_secs() as usize + 1;
    assert!(lines.len() <= most, "{lines:?}");
    for said in ["upstream=\"up\"", &format!("endpoint=\"{}\"", upstream.address), "192.0.2.77"] {
        assert!(lines[0].contains(said), "{said} is not in {}", lines[0]);
    }
    assert!(lines[0].contains("take it out of `source_addresses`"), "{}", lines[0]);
}

#[test]
fn an_address_from_which_an_endpoint_cannot_be_reached_is_passed_over() {
    // From a loopback address to another machine; the rest of the way does not matter.
    let bowline = bowline("192.0.2.77:9", "source_addresses: [ 127.0.0.5 ]");
    let mut client = bowline.client();
    client.send(GET);
    assert_eq!(client.answer().status, 502);
    // Where there is no way to it at all, the kernel says that first.
    let any = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    if any.connect("192.0.2.77:9").is_ok() {
        assert!(bowline.metric(MISSING) >= 1.0);
    }
}

#[test]
fn that_no_address_is_here_is_not_held_against_the_endpoint() {
    let upstream = Upstream::new();
    let bowline = Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{}\", \"127.0.0.1:9\" ], \
         source_addresses: [ 192.0.2.77 ], health: {{ passive: {{ failures: 1 }} }} }} }}\n",
        upstream.address
    ));
    let mut client = bowline.client();
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(client.answer().status, 502);
    }
    assert!(bowline.metric(MISSING) >= 6.0);
    let page = bowline.metrics.encode();
    assert!(!page.contains("bowline_endpoint_ejections_total{"), "{page}");
    assert!(upstream.is_untouched());
}

/// Ports of each source address within [`narrow`].
const PORTS: usize = 10;

/// A network of so few ports that they can be used up.
fn narrow(network: &Network) {
    network.within(|| {
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009").unwrap();
    });
}

/// Opens a WebSocket on a client's connection; `None` when it is refused.
fn open(client: &mut Wire, upstream: &Upstream) -> Option<Wire> {
    client.send(handshake("/ws", ""));
    let mut server = None;
    wait_for("a dial or a refusal", || {
        server = upstream.try_accept();
        client.stream.set_nonblocking(true).unwrap();
        let refused = client.stream.peek(&mut [0]).is_ok();
        client.stream.set_nonblocking(false).unwrap();
        server.is_some() || refused
    });
    let Some(mut server) = server else {
        assert_eq!(client.answer().status, 502);
        return None;
    };
    server.head();
    server.send(SWITCHING);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    Some(server)
}

#[test]
#[ignore = "makes a network namespace: takes root and iproute2; ./test runs it where it can"]
fn two_source_addresses_carry_twice_as_many_sockets_as_the_ports_of_one() {
    for (settings, expected, told) in [
        ("", &[("127.0.0.1", PORTS)][..], "set `source_addresses`"),
        (
            "source_addresses: [ 127.0.0.2, 127.0.0.3 ]",
            &[("127.0.0.2", PORTS), ("127.0.0.3", PORTS)][..],
            "add another one to `source_addresses`",
        ),
    ] {
        let network = Network::new();
        let (bowline, upstream, mut clients) = network.within(|| {
            let upstream = Upstream::new();
            let yaml = format!(
                "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
                 routes: [ {{ upstream: up }} ]\nadmin: {{ address: 127.0.0.1:0 }}\n\
                 websocket: {{ frames: opaque }}\n\
                 upstreams: {{ up: {{ endpoints: [ \"{}\" ], {settings} }} }}\n",
                upstream.address
            );
            let bowline = Process::start("source_addresses", &yaml, None);
            // While there are ports for them.
            let clients: Vec<Wire> = (0..3 * PORTS).map(|_| bowline.client()).collect();
            (bowline, upstream, clients)
        });
        narrow(&network);
        let mut held: Vec<Wire> = Vec::new();
        while let Some(server) = open(&mut clients[held.len()], &upstream) {
            held.push(server);
        }
        let mut from = BTreeMap::new();
        for server in &held {
            let source = server.stream.peer_addr().unwrap().ip().to_string();
            *from.entry(source).or_default() += 1;
        }
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(source, ports)| ((*source).to_owned(), *ports)).collect();
        assert_eq!(from, expected);
        let counted = network.within(|| bowline.metric(NO_PORT));
        assert!(counted >= expected.len() as f64, "each source by itself: {counted}");
        let logged = bowline.logged();
        assert!(logged.contains(told), "{logged}");
        assert!(logged.contains(&format!("endpoint=\"{}\"", upstream.address)), "{logged}");
        // A port that is free again is used again. A reset, since half of a tunnel may stay open.
        held.pop().unwrap().reset();
        wait_for("a free port", || open(&mut clients[held.len() + 1], &upstream).is_some());
    }
}
