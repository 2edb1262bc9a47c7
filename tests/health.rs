//! Which endpoints get requests, over real sockets: checks that find one down and up again, ejections
//! for what clients' requests meet, panic, and what becomes of live WebSockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::{BOUND, Bowline, Upstream, Wire, handshake, nobody, wait_for};

/// What an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    /// All is well: 200 with a header and a body, or a 101 and pongs.
    Well,
    /// Says nothing.
    Hang,
    /// Another status.
    Status(u16),
    /// A 200 whose body lacks the text.
    WrongBody,
    /// A 200 whose header has another value.
    WrongHeader,
    /// Ends in the middle of the head.
    HalfHead,
    /// Ends in the middle of the body.
    HalfBody,
    /// What is no HTTP.
    Noise,
    /// A 101 for another key.
    WrongAccept,
    /// A 101 and then silence.
    NoPong,
    /// A 101 and then the end of the connection.
    Drop,
    /// A 101 and then a Close.
    Close,
}

/// An endpoint whose behaviour towards checks and towards clients can be changed while it runs.
#[derive(Clone)]
struct Endpoint {
    address: SocketAddr,
    checks: Arc<Mutex<Act>>,
    clients: Arc<Mutex<Act>>,
    checked: Arc<AtomicU32>,
    served: Arc<AtomicU32>,
}

impl Endpoint {
    fn new() -> Self {
        let (checks, clients) = (Arc::new(Mutex::new(Act::Well)), Arc::new(Mutex::new(Act::Well)));
        let (checked, served) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        let (check, client) = (Arc::clone(&checks), Arc::clone(&clients));
        let (count_check, count) = (Arc::clone(&checked), Arc::clone(&served));
        let address = Upstream::serving(move |mut wire| {
            let Some(head) = head(&mut wire) else { return };
            let (act, counter) = if head.contains("(health check)") {
                (*check.lock().unwrap(), &count_check)
            } else {
                (*client.lock().unwrap(), &count)
            };
            counter.fetch_add(1, Ordering::Relaxed);
            perform(act, &mut wire, &head);
        });
        Self { address, checks, clients, checked, served }
    }

    fn answers_checks(&self, act: Act) {
        *self.checks.lock().unwrap() = act;
    }

    fn answers_clients(&self, act: Act) {
        *self.clients.lock().unwrap() = act;
    }

    fn checked(&self) -> u32 {
        self.checked.load(Ordering::Relaxed)
    }

    fn served(&self) -> u32 {
        self.served.load(Ordering::Relaxed)
    }
}

/// A request's head; `None` when the peer left before it was whole.
fn head(wire: &mut Wire) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if !wire.has_more() {
            return None;
        }
        head.push(char::from(wire.exactly(1)[0]));
    }
    Some(head)
}

fn perform(act: Act, wire: &mut Wire, head: &str) {
    let key = support::header(head, "sec-websocket-key").map(str::to_owned);
    let switching = |key: &str| {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nX-Role: chat\r\n\r\n",
            accept_of(key)
        )
    };
    let plain =
        "HTTP/1.1 200 OK\r\nX-Role: chat\r\nContent-Length: 14\r\nConnection: close\r\n\r\n";
    match (act, key) {
        (Act::Well, Some(key)) => {
            wire.try_send(switching(&key));
            echo_pongs(wire);
        }
        (Act::NoPong, Some(key)) => {
            wire.try_send(switching(&key));
            wire.rest();
        }
        (Act::Drop, Some(key)) => said(wire, &switching(&key)),
        (Act::Close, Some(key)) => {
            wire.try_send([switching(&key).as_bytes(), b"\x88\x02\x03\xe9"].concat());
            wire.rest();
        }
        (Act::WrongAccept, Some(_)) => said(wire, &switching("another key")),
        (Act::Well, None) => said(wire, &format!("{plain}state is ready")),
        (Act::WrongBody, _) => said(wire, &format!("{plain}state is ruddy")),
        (Act::WrongHeader, _) => {
            said(wire, &(plain.replace("chat", "web") + "state is ready"));
        }
        (Act::HalfHead, _) => said(wire, "HTTP/1.1 200 OK\r\nX-Ro"),
        (Act::HalfBody, _) => said(wire, &format!("{plain}state is")),
        (Act::Noise, _) => said(wire, "SSH-2.0-OpenSSH_9.7\r\n\r\n"),
        (Act::Status(status), _) => {
            let line = format!("HTTP/1.1 {status} Other\r\nX-Role: chat\r\n");
            said(wire, &format!("{line}Content-Length: 0\r\nConnection: close\r\n\r\n"));
        }
        (Act::Hang | Act::NoPong | Act::Drop | Act::Close | Act::WrongAccept, _) => {
            wire.rest();
        }
    }
}

/// Says all there is to say, to a peer that may be gone.
fn said(wire: &mut Wire, text: &str) {
    wire.try_send(text);
}

/// Answers pings with what they hold, until a Close or the end.
fn echo_pongs(wire: &mut Wire) {
    // However long its client is silent: hundreds of these are opened one after another.
    wire.stream.set_read_timeout(None).unwrap();
    loop {
        if !wire.has_more() {
            return;
        }
        let head = wire.exactly(2);
        let length = usize::from(head[1] & 0x7f);
        let (mask, mut payload) = (wire.exactly(4), wire.exactly(length));
        for (at, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[at % 4];
        }
        let first = if head[0] == 0x89 { 0x8a } else { head[0] };
        wire.try_send([&[first, head[1] & 0x7f][..], &payload].concat());
        if first == 0x88 {
            return;
        }
    }
}

fn accept_of(key: &str) -> String {
    tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes())
}

/// One worker and one route to `up`, whose endpoints take turns.
fn bowline(endpoints: &[SocketAddr], health: &str) -> Bowline {
    let endpoints: Vec<String> = endpoints.iter().map(|one| format!("\"{one}\"")).collect();
    Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
         routes: [ {{ name: r, upstream: up, timeouts: {{ handshake: 1s, response: 1s }} }} ]\n\
         upstreams:\n  up:\n    balance: round_robin\n    endpoints: [ {} ]\n    health: {health}\n",
        endpoints.join(", ")
    ))
}

fn up(endpoint: SocketAddr) -> String {
    format!("bowline_endpoint_up{{upstream=\"up\",endpoint=\"{endpoint}\"}}")
}

/// Waits for an endpoint to be down; a series that is not there yet reads as 0 too.
fn wait_down(bowline: &Bowline, endpoint: SocketAddr) {
    let down = format!("{} 0", up(endpoint));
    wait_for(&down, || bowline.metrics.encode().lines().any(|line| line == down));
}

fn ejections(endpoint: SocketAddr) -> String {
    format!("bowline_endpoint_ejections_total{{upstream=\"up\",endpoint=\"{endpoint}\"}}")
}

fn results(result: &str) -> String {
    format!("bowline_health_checks_total{{upstream=\"up\",result=\"{result}\"}}")
}

const PANIC: &str = "bowline_upstream_panic{upstream=\"up\"}";

/// The status of a plain request.
fn get(bowline: &Bowline) -> u16 {
    let mut client = bowline.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    client.answer().status
}

/// One endpoint that does `act` when checked, beside one that is well: the first is found down for the
/// reason `result`, gets no request, and is found up again once it is well.
fn is_found_down(act: Act, result: &str, check: &str) {
    let (ill, well) = (Endpoint::new(), Endpoint::new());
    ill.answers_checks(act);
    let times = "interval: 250ms, rise: 2, fall: 2";
    let health = format!("{{ active: {{ {check}, {times} }}, passive: {{ failures: 0 }} }}");
    let bowline = bowline(&[ill.address, well.address], &health);
    wait_down(&bowline, ill.address);
    assert!(bowline.metric(&results(result)) >= 2.0, "{act:?}: {}", bowline.metrics.encode());
    assert_eq!(bowline.metric(&up(well.address)), 1.0, "{act:?}");
    let before = ill.served();
    for _ in 0..6 {
        assert_eq!(get(&bowline), 200);
    }
    assert_eq!((ill.served() - before, bowline.metric(PANIC)), (0, 0.0), "{act:?}");
    ill.answers_checks(Act::Well);
    bowline.wait_metric(&up(ill.address), 1.0);
    for _ in 0..2 {
        assert_eq!(get(&bowline), 200);
    }
    assert!(ill.served() > before, "{act:?}");
}

#[test]
fn an_http_check_finds_an_endpoint_down_and_up_again() {
    let check = "path: /healthz, header: { x-role: chat }, body: ready";
    for (act, result) in [
        (Act::Hang, "timeout"),
        (Act::Status(500), "status"),
        (Act::Status(301), "status"),
        (Act::WrongBody, "body"),
        (Act::WrongHeader, "header"),
        (Act::HalfHead, "answer"),
        (Act::HalfBody, "answer"),
        (Act::Noise, "answer"),
    ] {
        is_found_down(act, result, check);
    }
}

#[test]
fn a_websocket_check_finds_an_endpoint_down_and_up_again() {
    let check = "type: websocket, path: /ws, header: { x-role: chat }";
    for (act, result) in [
        (Act::Hang, "timeout"),
        (Act::Status(200), "status"),
        (Act::Status(503), "status"),
        (Act::HalfHead, "answer"),
        (Act::WrongAccept, "upgrade"),
        (Act::Drop, "pong"),
        (Act::Close, "pong"),
    ] {
        is_found_down(act, result, check);
    }
}

#[test]
fn a_websocket_check_that_gets_no_pong_fails_by_its_timeout() {
    let endpoint = Endpoint::new();
    endpoint.answers_checks(Act::NoPong);
    let check = "{ active: { type: websocket, interval: 60ms, timeout: 40ms, fall: 2 } }";
    let bowline = bowline(&[endpoint.address], check);
    wait_down(&bowline, endpoint.address);
    assert!(bowline.metric(&results("timeout")) >= 2.0);
}

#[test]
fn a_check_asks_what_the_configuration_says() {
    let upstream = Upstream::new();
    let send = "send: { origin: 'https://chat.example', user-agent: probe }";
    let bowline = bowline(
        &[upstream.address],
        &format!(
            "{{ active: {{ path: '/up?deep=1', host: chat.example, {send}, interval: 1h }} }}"
        ),
    );
    let mut asked = upstream.accept();
    let head = asked.head();
    assert!(head.starts_with("GET /up?deep=1 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "chat.example"),
        ("connection", "close"),
        ("origin", "https://chat.example"),
        ("user-agent", "probe"),
    ] {
        assert_eq!(support::headers(&head, name), [value], "{head}");
    }
    asked.send("HTTP/1.1 204 No Content\r\n\r\n");
    bowline.wait_metric(&results("passed"), 1.0);
    assert!(asked.is_closed());
}

#[test]
fn a_tcp_check_finds_a_port_that_nobody_listens_on_and_its_return() {
    let (gone, well) = (nobody(), Endpoint::new());
    let check = "{ active: { type: tcp, interval: 20ms, rise: 1, fall: 2 } }";
    let bowline = bowline(&[gone, well.address], check);
    wait_down(&bowline, gone);
    assert!(bowline.metric(&results("connect")) >= 2.0);
    assert_eq!(bowline.metric("bowline_upstream_connect_failures_total{upstream=\"up\"}"), 0.0);
    let _back = TcpListener::bind(gone).unwrap();
    bowline.wait_metric(&up(gone), 1.0);
}

#[test]
fn checks_come_no_more_often_than_the_interval_however_they_end() {
    const INTERVAL: Duration = Duration::from_millis(50);
    for act in [Act::Well, Act::Hang, Act::Noise] {
        let endpoint = Endpoint::new();
        endpoint.answers_checks(act);
        let check = "{ active: { interval: 50ms, timeout: 30ms } }";
        let _bowline = bowline(&[endpoint.address], check);
        wait_for("the first check", || endpoint.checked() > 0);
        // At least so long ago did the first begin.
        let (began, before) = (Instant::now(), endpoint.checked());
        wait_for("more checks", || endpoint.checked() >= before + 12);
        assert!(began.elapsed() + INTERVAL >= INTERVAL * 12, "{act:?}: {:?}", began.elapsed());
    }
}

#[test]
fn an_endpoint_that_flaps_faster_than_rise_and_fall_stays_up() {
    let checks = Arc::new(AtomicU32::new(0));
    let asked = Arc::clone(&checks);
    let address = Upstream::serving(move |mut wire| {
        let Some(head) = head(&mut wire) else { return };
        let even = asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        perform(if even { Act::Status(503) } else { Act::Well }, &mut wire, &head);
    });
    let bowline = bowline(&[address], "{ active: { interval: 300ms, rise: 2, fall: 2 } }");
    bowline.wait_metric(&up(address), 1.0);
    wait_for("some checks", || {
        assert_eq!(bowline.metric(&up(address)), 1.0);
        bowline.metric(&results("status")) >= 6.0
    });
}

#[test]
fn an_endpoint_that_refuses_is_ejected_no_client_sees_it_and_it_is_tried_again() {
    let (gone, well) = (nobody(), Endpoint::new());
    let health = "{ passive: { failures: 3, eject: 1s } }";
    let bowline = bowline(&[gone, well.address], health);
    for _ in 0..10 {
        assert_eq!(get(&bowline), 200);
    }
    assert_eq!((bowline.metric(&up(gone)), bowline.metric(&ejections(gone))), (0.0, 1.0));
    let failures = "bowline_upstream_connect_failures_total{upstream=\"up\"}";
    assert_eq!(bowline.metric(failures), 3.0, "it is left alone");
    // A single further failure, and it is out for longer.
    wait_for("a second ejection", || {
        assert_eq!(get(&bowline), 200);
        bowline.metric(&ejections(gone)) == 2.0
    });
    assert_eq!(bowline.metric(failures), 4.0);
    let back = Upstream::serving_at(gone, |mut wire| {
        if head(&mut wire).is_some() {
            wire.try_send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
    });
    wait_for("its return", || get(&bowline) == 204);
    assert_eq!((back, bowline.metric(&up(gone))), (gone, 1.0));
    assert_eq!(bowline.metric(&ejections(gone)), 2.0);
}

#[test]
fn upgrades_that_fail_eject_and_the_statuses_that_speak_of_the_server() {
    for (act, ejects) in [
        (Act::Status(503), true),
        (Act::Status(500), false),
        (Act::Status(403), false),
        (Act::WrongAccept, true),
        (Act::HalfHead, true),
        (Act::Noise, true),
    ] {
        let (ill, well) = (Endpoint::new(), Endpoint::new());
        ill.answers_clients(act);
        let bowline =
            bowline(&[ill.address, well.address], "{ passive: { failures: 2, eject: 1h } }");
        for _ in 0..8 {
            let mut client = bowline.client();
            client.send(handshake("/ws", ""));
            client.head();
        }
        assert_eq!(bowline.metric(&ejections(ill.address)) == 1.0, ejects, "{act:?}");
        assert_eq!(bowline.metric(&ejections(well.address)), 0.0);
        assert_eq!(ill.served(), if ejects { 2 } else { 4 }, "{act:?}");
    }
}

#[test]
fn plain_requests_that_get_no_answer_eject() {
    let (ill, well) = (Endpoint::new(), Endpoint::new());
    ill.answers_clients(Act::Hang);
    let bowline = bowline(&[ill.address, well.address], "{ passive: { failures: 2, eject: 1h } }");
    let statuses: Vec<u16> = (0..6).map(|_| get(&bowline)).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 504).count(), 2, "{statuses:?}");
    assert_eq!(bowline.metric(&ejections(ill.address)), 1.0);
}

#[test]
fn an_endpoint_that_drops_its_websockets_at_once_is_ejected() {
    let (ill, well) = (Endpoint::new(), Endpoint::new());
    ill.answers_clients(Act::Drop);
    let health = "{ passive: { failures: 3, eject: 1h } }\nwebsocket: { frames: metered }";
    let bowline = bowline(&[ill.address, well.address], health);
    wait_for("its ejection", || {
        let mut client = bowline.client();
        client.send(handshake("/ws", ""));
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        bowline.metric(&ejections(ill.address)) == 1.0
    });
    assert_eq!((bowline.metric(&up(ill.address)), bowline.metric(&up(well.address))), (0.0, 1.0));
}

#[test]
fn an_only_endpoint_keeps_its_requests_whatever_it_answers() {
    let endpoint = Endpoint::new();
    endpoint.answers_clients(Act::Status(503));
    let bowline = bowline(&[endpoint.address], "{ passive: { failures: 1 } }");
    for _ in 0..20 {
        assert_eq!(get(&bowline), 503);
    }
    assert_eq!((endpoint.served(), bowline.metric(&up(endpoint.address))), (20, 1.0));
}

#[test]
fn no_more_than_the_share_is_ejected_and_the_rest_goes_on() {
    let endpoints: Vec<Endpoint> = (0..4).map(|_| Endpoint::new()).collect();
    let addresses: Vec<SocketAddr> = endpoints.iter().map(|one| one.address).collect();
    for endpoint in &endpoints {
        endpoint.answers_clients(Act::Status(502));
    }
    let bowline = bowline(&addresses, "{ passive: { failures: 1, eject: 1h, max_ejected: 50% } }");
    for _ in 0..20 {
        assert_eq!(get(&bowline), 502);
    }
    let down = addresses.iter().filter(|one| bowline.metric(&up(**one)) == 0.0).count();
    assert_eq!((down, bowline.metric(PANIC)), (2, 0.0));
}

#[test]
fn with_every_endpoint_down_all_get_requests_unless_that_is_switched_off() {
    for (panic, status) in [("", 200), (", panic: 0%", 503)] {
        let endpoints = [Endpoint::new(), Endpoint::new()];
        for endpoint in &endpoints {
            endpoint.answers_checks(Act::Status(500));
        }
        let check = format!("{{ active: {{ interval: 20ms, rise: 1, fall: 1 }}{panic} }}");
        let addresses = endpoints.each_ref().map(|one| one.address);
        let bowline = bowline(&addresses, &check);
        for address in addresses {
            wait_down(&bowline, address);
        }
        bowline.wait_metric(PANIC, f64::from(u8::from(panic.is_empty())));
        for _ in 0..4 {
            assert_eq!(get(&bowline), status);
        }
        for endpoint in &endpoints {
            assert_eq!(endpoint.served(), if panic.is_empty() { 2 } else { 0 });
            endpoint.answers_checks(Act::Well);
        }
        bowline.wait_metric(PANIC, 0.0);
        wait_for("an endpoint", || get(&bowline) == 200);
    }
}

#[test]
fn a_backup_that_is_up_serves_however_many_others_are_down() {
    let spare = Endpoint::new();
    let dead: Vec<_> = (0..4).map(|_| support::nobody()).collect();
    let mut endpoints: Vec<_> = dead.iter().map(|one| format!("\"{one}\"")).collect();
    endpoints.push(format!("{{ address: \"{}\", backup: true }}", spare.address));
    let bowline = Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ name: r, upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ {} ],\n  \
         health: {{ active: {{ interval: 20ms, rise: 1, fall: 1 }} }} }} }}\n",
        endpoints.join(", ")
    ));
    for address in dead {
        wait_down(&bowline, address);
    }
    for _ in 0..10 {
        assert_eq!(get(&bowline), 200);
    }
    assert_eq!(spare.served(), 10);
    bowline.wait_metric(PANIC, 0.0);
}

/// Two endpoints with `each` WebSockets, the first of which goes down; then the clients of both.
fn down_with_sockets(each: usize, health: &str) -> (Bowline, [Vec<Wire>; 2], [Endpoint; 2]) {
    let endpoints = [Endpoint::new(), Endpoint::new()];
    let addresses = endpoints.each_ref().map(|one| one.address);
    let yaml = format!(
        "workers: 2\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
         routes: [ {{ name: r, upstream: up }} ]\n\
         upstreams:\n  up:\n    balance: round_robin\n    endpoints: [ \"{}\", \"{}\" ]\n\
         \x20   health: {health}\n\
         drain: {{ spread: 1s }}\nwebsocket: {{ frames: metered }}\n",
        addresses[0], addresses[1],
    );
    let bowline = Bowline::with(&yaml);
    let mut clients = [Vec::new(), Vec::new()];
    for _ in 0..2 * each {
        let before = endpoints[0].served();
        let mut client = bowline.client();
        client.send(handshake("/ws", ""));
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        clients[usize::from(endpoints[0].served() == before)].push(client);
    }
    assert_eq!((clients[0].len(), clients[1].len()), (each, each));
    endpoints[0].answers_checks(Act::Status(503));
    wait_down(&bowline, addresses[0]);
    (bowline, clients, endpoints)
}

/// A ping with its answer, as a client sends it.
fn is_alive(client: &mut Wire) -> bool {
    client.send([0x89, 0x81, 0, 0, 0, 0, b'?']);
    client.exactly(3) == [0x8a, 1, b'?']
}

#[test]
fn sockets_of_what_is_down_are_told_to_come_back_at_a_pace_and_others_feel_nothing() {
    const EACH: usize = 200;
    let health = "{ active: { interval: 200ms, rise: 1, fall: 3 }, on_down: drain }";
    let (bowline, [drained, mut kept], endpoints) = down_with_sockets(EACH, health);
    let told: Vec<_> = drained
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                let head = client.exactly(2);
                let told = Instant::now();
                let close = client.exactly(usize::from(head[1]));
                assert_eq!((head[0], &close[..2]), (0x88, &1012_u16.to_be_bytes()[..]));
                client.send([&[0x88, 0x82, 0, 0, 0, 0][..], &1012_u16.to_be_bytes()].concat());
                assert!(client.is_closed());
                told
            })
        })
        .collect();
    let mut told: Vec<Instant> = told.into_iter().map(|one| one.join().unwrap()).collect();
    told.sort();
    let took = told[EACH - 1] - told[0];
    assert!(took > Duration::from_millis(800) && took < Duration::from_secs(3), "{took:?}");
    let middle = told[EACH / 2] - told[0];
    assert!(middle > took / 4 && middle < took * 3 / 4, "{middle:?} of {took:?}");
    let ended = "bowline_tunnels_ended_total{route=\"r\",reason=\"drain\",closer=\"bowline\"}";
    bowline.wait_metric(ended, EACH as f64);
    assert!(kept.iter_mut().all(is_alive));
    assert_eq!(bowline.metric("bowline_tunnels{route=\"r\"}"), EACH as f64);
    // Once it is back, so are its WebSockets, and nobody tells them anything.
    endpoints[0].answers_checks(Act::Well);
    bowline.wait_metric(&up(endpoints[0].address), 1.0);
    let before = endpoints[0].served();
    let mut back: Vec<Wire> = (0..4)
        .map(|_| {
            let mut client = bowline.client();
            client.send(handshake("/ws", ""));
            assert!(client.head().starts_with("HTTP/1.1 101 "));
            client
        })
        .collect();
    assert_eq!(endpoints[0].served() - before, 2);
    assert!(back.iter_mut().all(is_alive));
}

#[test]
fn sockets_of_what_is_down_stay_unless_it_says_otherwise() {
    let health = "{ active: { interval: 200ms, fall: 3 } }";
    let (bowline, mut clients, endpoints) = down_with_sockets(4, health);
    let checks = endpoints[0].checked();
    wait_for("some more checks", || endpoints[0].checked() > checks + 3);
    assert!(clients.iter_mut().flatten().all(is_alive));
    assert_eq!(bowline.metric("bowline_tunnels{route=\"r\"}"), 8.0);
}

#[test]
fn an_ejection_ends_no_socket() {
    let health = "{ passive: { failures: 1, eject: 1h }, on_down: drain }";
    let endpoints = [Endpoint::new(), Endpoint::new()];
    let addresses = endpoints.each_ref().map(|one| one.address);
    let health = format!("{health}\nwebsocket: {{ frames: metered }}");
    let bowline = bowline(&addresses, &health);
    let mut clients: Vec<Wire> = (0..4).map(|_| bowline.client()).collect();
    for client in &mut clients {
        client.send(handshake("/ws", ""));
        client.head();
    }
    endpoints[0].answers_clients(Act::Status(503));
    wait_for("an ejection", || {
        get(&bowline);
        bowline.metric(&ejections(addresses[0])) == 1.0
    });
    assert!(clients.iter_mut().all(is_alive));
}

#[test]
fn a_socket_that_opens_while_its_endpoint_goes_down_is_told_too() {
    let (slow, well) = (Upstream::new(), Endpoint::new());
    let addresses = [slow.address, well.address];
    let health = "{ active: { interval: 100ms, fall: 3 }, on_down: drain }\n\
                  websocket: { frames: metered }";
    let bowline = bowline(&addresses, health);
    // It gets the first turn, and is checked meanwhile, in vain.
    let mut client = bowline.client();
    client.send(handshake("/ws", ""));
    let deadline = Instant::now() + BOUND;
    let mut server = loop {
        assert!(Instant::now() < deadline, "no handshake");
        let mut wire = slow.accept();
        if let Some(head) = head(&mut wire)
            && head.contains("/ws")
        {
            break wire;
        }
    };
    wait_down(&bowline, slow.address);
    server.send(support::SWITCHING);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    let close = client.exactly(4);
    assert_eq!((close[0], &close[2..]), (0x88, &1012_u16.to_be_bytes()[..]));
}

#[test]
fn checks_end_with_the_process() {
    let endpoint = Endpoint::new();
    let mut bowline = bowline(&[endpoint.address], "{ active: { interval: 20ms } }");
    wait_for("a check", || endpoint.checked() > 0);
    bowline.drain();
    bowline.join();
    let before = endpoint.checked();
    thread::sleep(Duration::from_millis(100));
    // One may have been under way.
    assert!(endpoint.checked() <= before + 1);
}
