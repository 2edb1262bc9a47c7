//! Bugs that users reported against other proxies, each as a test named after its symptom. Those
//! of the handshake and of the tunnel's life are in upgrade.rs and tunnel.rs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "threads of a test may wait, and read the real clock"
)]

mod support;

use std::fs::{self};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::process::Process;
use support::{ACCEPT, BOUND, Bowline, KEY, OPAQUE, SWITCHING, Upstream, Wire};
use support::{config, handshake, tunnel, wait_for};

/// Fails its test when a worker panicked: a task's panic is caught and would pass unseen.
struct NoPanics;

static PANICS: AtomicUsize = AtomicUsize::new(0);

impl NoPanics {
    fn watch() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if thread::current().name().is_some_and(|name| name.starts_with("worker-")) {
                    PANICS.fetch_add(1, Ordering::Relaxed);
                }
                before(info);
            }));
        });
        Self
    }
}

impl Drop for NoPanics {
    fn drop(&mut self) {
        if !thread::panicking() {
            assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a worker panicked");
        }
    }
}

/// A second of a loop that spins is a second of CPU, or a good part of it on a busy machine.
const IDLE_CPU: Duration = Duration::from_millis(200);
const WATCH: Duration = Duration::from_millis(1500);

fn front(upstream: &Upstream, extra: &str) -> Bowline {
    Bowline::with(&config(&[upstream.address], extra))
}

// pingora#255, envoy#20062: tunnels died after 15 or 30 s, by a timeout meant for requests.
#[test]
fn a_quiet_tunnel_outlives_every_timeout_of_requests() {
    let upstream = Upstream::new();
    let yaml = config(
        &[upstream.address],
        "timeouts: { connect: 300ms, handshake: 300ms, response: 300ms, body: 300ms, half_close: 300ms }",
    )
    .replace("address: 127.0.0.1:0", "address: 127.0.0.1:0, header_timeout: 300ms");
    let bowline = Bowline::with(&yaml);
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    client.is_silent(Duration::from_secs(2));
    client.send("still");
    assert_eq!(server.exactly(5), b"still");
    server.send("here");
    assert_eq!(client.exactly(4), b"here");
}

// nginx#1505, envoy's route timeout: the same for an answer that streams, as SSE does.
#[test]
fn a_quiet_event_stream_outlives_the_response_timeout() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "timeouts: { response: 300ms, body: 300ms }");
    let mut client = bowline.client();
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    client.is_silent(Duration::from_secs(1));
    server.send("data: 1\n\n");
    client.until("data: 1\n\n");
}

/// A drain begun at each step of an upgrade.
const MOMENTS: [fn(&mut Bowline, &Upstream); 7] = [
    |bowline, _| {
        let _idle = bowline.client();
        bowline.drain();
    },
    |bowline, _| {
        let mut client = bowline.client();
        client.send("GET /ws HTTP/1.1\r\nUpgr");
        bowline.drain();
        client.try_send("ade: websocket\r\n\r\n");
        client.rest();
    },
    |bowline, upstream| {
        let mut client = bowline.client();
        client.send(handshake("/ws", "") + "early");
        let mut server = upstream.accept();
        bowline.drain();
        server.head();
        server.try_send(SWITCHING);
        client.rest();
    },
    |bowline, upstream| {
        let mut client = bowline.client();
        client.send(handshake("/ws", ""));
        let mut server = upstream.accept();
        server.head();
        server.send(SWITCHING);
        bowline.drain();
        client.rest();
    },
    |bowline, upstream| {
        let (mut client, mut server) = tunnel(bowline, upstream);
        client.send("in flight");
        bowline.drain();
        server.rest();
        client.rest();
    },
    |bowline, upstream| {
        let (mut client, mut server) = tunnel(bowline, upstream);
        client.finish();
        bowline.drain();
        server.rest();
        client.rest();
    },
    |bowline, upstream| {
        let mut client = bowline.client();
        client.send(handshake("/ws", ""));
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nn");
        bowline.drain();
        server.try_send("o!\n");
        client.rest();
    },
];

// hyper#3616, #3621, #3627: panics when a connection was told to shut down, or polled again, around
// an upgrade.
#[test]
fn a_drain_at_any_moment_of_an_upgrade_panics_nowhere() {
    let _watch = NoPanics::watch();
    for moment in MOMENTS {
        for _ in 0..5 {
            let upstream = Upstream::new();
            let mut bowline = front(&upstream, "drain: { timeout: 50ms }");
            moment(&mut bowline, &upstream);
            bowline.drain();
            assert!(bowline.join() < BOUND);
        }
    }
}

// hyper#4085, #4086: a client that ended its half in the middle of a body made the server spin.
#[test]
fn an_upload_whose_client_half_closed_costs_no_cpu() {
    let upstream = Upstream::new();
    let process = Process::start("half_closed_upload", &config(&[upstream.address], ""), None);
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        // Before the answer, and while it streams.
        for begun in [false, true] {
            let mut client = process.client();
            client.send(format!("POST /up HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n5\r\nhello\r\n"));
            let mut server = upstream.accept();
            server.head();
            if begun {
                server.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
                client.head();
            }
            client.finish();
            let spent = process.cpu_over(WATCH);
            assert!(spent < IDLE_CPU, "{spent:?} of CPU, {framing}, answer begun: {begun}");
        }
    }
}

// tokio#3876: a half-closed tunnel must wait, not poll.
#[test]
fn half_closed_and_stalled_tunnels_cost_no_cpu() {
    let upstream = Upstream::new();
    let process = Process::start("half_closed_tunnel", &config(&[upstream.address], ""), None);
    let open = || {
        let mut client = process.client();
        client.send(handshake("/ws", ""));
        let mut server = upstream.accept();
        server.head();
        server.send(SWITCHING);
        client.head();
        (client, server)
    };
    let (mut one, _server) = open();
    one.finish();
    let (_client, mut two) = open();
    two.finish();
    let (mut three, _stalled) = open();
    three.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while three.try_send([0; 65536]) {}
    let spent = process.cpu_over(WATCH);
    assert!(spent < IDLE_CPU, "{spent:?} of CPU");
}

// hyper-util#74: connections of a pool cannot upgrade, and one that did must not go back.
#[test]
fn an_upgrade_never_takes_or_leaves_a_pooled_connection() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let mut client = bowline.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut pooled = upstream.accept();
    pooled.head();
    pooled.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(client.answer().status, 204);
    let (socket, end) = tunnel(&bowline, &upstream);
    drop(socket);
    drop(end);
    bowline.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
    client.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(pooled.head().starts_with("GET /again "), "the pooled connection was not used again");
    assert!(upstream.is_untouched());
}

// sozu#594, ae8c66d, 5f884551: gauges leaked where an upgrade did not go as it should.
#[test]
fn every_gauge_is_back_at_zero_after_thousands_of_mixed_outcomes() {
    const ROUNDS: usize = 400;
    const CLIENTS: usize = 2;
    let _watch = NoPanics::watch();
    let address = Upstream::serving(mixed_upstream);
    let yaml = config(&[address], "timeouts: { handshake: 5s }")
        .replace("workers: 1", "workers: 2")
        .replace("{ name: r,", "{ name: r, match: { path: /r },");
    let bowline = Bowline::with(&yaml);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let address = bowline.address;
            thread::spawn(move || {
                for _ in 0..ROUNDS {
                    mixed_clients(address);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    let series =
        |name: &str| format!("bowline_endpoint_{name}{{upstream=\"up\",endpoint=\"{address}\"}}");
    // A client that reset at once may still wait to be accepted.
    let rounds = (ROUNDS * CLIENTS) as f64;
    bowline.wait_metric("bowline_accepted_total", 13.0 * rounds);
    for gauge in [
        "bowline_connections".to_owned(),
        "bowline_tunnels{route=\"r\"}".to_owned(),
        series("tunnels"),
        series("requests"),
    ] {
        bowline.wait_metric(&gauge, 0.0);
    }
    let text = bowline.metrics.encode();
    assert!(text.contains(&series("tunnels")) && text.contains(&series("requests")), "{text}");
    let sum = |start: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(start));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    let opened = sum("bowline_tunnels_opened_total{");
    assert_eq!(opened, sum("bowline_tunnels_ended_total{"));
    assert!(opened >= 4.0 * rounds, "{opened}");
    // 400 and 426 are refused before a route is known and never count as an upgrade of one.
    assert_eq!(sum("bowline_upgrades_total{route=\"r\",outcome=\"declined\"}"), rounds);
    assert!(sum("bowline_upgrades_total{route=\"r\",outcome=\"failed\"}") >= rounds);
}

/// An upstream that does what the path says.
fn mixed_upstream(mut wire: Wire) {
    loop {
        let bytes = wire.some();
        if bytes.is_empty() {
            return;
        }
        let mut head = String::from_utf8_lossy(&bytes).into_owned();
        while !head.contains("\r\n\r\n") {
            head.push_str(&String::from_utf8_lossy(&wire.some()));
        }
        match head.split(' ').nth(1).unwrap_or_default() {
            "/r/echo" => {
                wire.try_send(SWITCHING);
                loop {
                    let bytes = wire.some();
                    if bytes.is_empty() || !wire.try_send(bytes) {
                        return;
                    }
                }
            }
            "/r/reset" => {
                wire.try_send(SWITCHING);
                wire.some();
                return wire.reset();
            }
            "/r/close" => {
                wire.try_send(SWITCHING.to_owned() + "bye");
                return;
            }
            "/r/declined" => {
                wire.try_send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
            }
            "/r/wrong" => {
                wire.try_send(SWITCHING.replace(ACCEPT, KEY));
            }
            "/r/lost" => return,
            "/r/mute" => {
                wire.rest();
                return;
            }
            "/r/half" => {
                wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
                return;
            }
            _ => {
                wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
    }
}

/// One of each of 13 outcomes. Most end in a reset, which leaves no port waiting.
fn mixed_clients(address: SocketAddr) {
    let ask = |bytes: String| {
        let mut client = Wire::connect(address);
        client.send(bytes);
        client
    };
    let is = |client: &mut Wire, status: &str| {
        let head = client.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    };
    let mut client = ask(handshake("/r/echo", "") + "early");
    is(&mut client, "101");
    assert_eq!(client.exactly(5), b"early");
    client.finish();
    client.rest();
    let mut client = ask(handshake("/r/echo", ""));
    is(&mut client, "101");
    client.send("frame");
    client.reset();
    let mut client = ask(handshake("/r/reset", "") + "now");
    is(&mut client, "101");
    client.rest();
    let mut client = ask(handshake("/r/close", ""));
    is(&mut client, "101");
    assert_eq!(client.rest(), b"bye");
    client.reset();
    for (path, status) in [("/r/declined", "403"), ("/r/wrong", "502"), ("/r/lost", "502")] {
        let mut client = ask(handshake(path, ""));
        is(&mut client, status);
        client.reset();
    }
    ask(handshake("/r/mute", "")).reset();
    let mut client = ask(handshake("/r/echo", "").replace(KEY, "x"));
    is(&mut client, "400");
    client.reset();
    let mut client = ask(handshake("/nowhere", ""));
    is(&mut client, "404");
    client.reset();
    let mut client = ask("GET /r/plain HTTP/1.1\r\nHost: a\r\n\r\n".to_owned());
    assert_eq!(client.answer().text(), "ok");
    client.reset();
    let mut client = ask("GET /r/half HTTP/1.1\r\nHost: a\r\n\r\n".to_owned());
    is(&mut client, "200");
    assert!(client.rest().len() < 100);
    ask("POST /r/plain HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf".to_owned()).reset();
}

// nchan#145, as far as it goes without reloads: no thread is left over, none spins.
#[test]
fn an_idle_process_costs_no_cpu_and_keeps_its_threads() {
    let upstream = Upstream::new();
    let process = Process::start("idle", &config(&[upstream.address], ""), None);
    let before = process.threads();
    for _ in 0..200 {
        let mut client = process.client();
        client.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        if let Some(mut server) = upstream.try_accept() {
            server.try_send("HTTP/1.1 204 No Content\r\n\r\n");
        }
        client.reset();
    }
    assert_eq!(process.threads(), before);
    let spent = process.cpu_over(WATCH);
    assert!(spent < IDLE_CPU, "{spent:?} of CPU");
}

// hyper-reverse-proxy: a header byte that is not ASCII was a remote panic, and so was a reset.
#[test]
fn bytes_that_are_not_ascii_in_any_header_panic_nowhere() {
    let _watch = NoPanics::watch();
    let address = Upstream::serving(mixed_upstream);
    let bowline = Bowline::with(&config(&[address], ""));
    for name in [
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Origin",
        "Host",
        "Via",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "Accept",
        "TE",
        "Trailer",
        "Expect",
        "Content-Length",
        "Transfer-Encoding",
        "Max-Forwards",
        "Cookie",
        "Referer",
        "User-Agent",
        "Keep-Alive",
        "HTTP2-Settings",
    ] {
        for value in
            [&b"\xff"[..], b"\x80,\xfe", b"upgrade,\xff", b"websocket;\xe4=\xf6", b"\"\xff", b"\t"]
        {
            for whole in [true, false] {
                let mut bytes = if whole {
                    handshake("/r/declined", "").trim_end().to_owned() + "\r\n"
                } else {
                    "GET /\u{e4}?\u{f6} HTTP/1.1\r\nHost: a\r\n".to_owned()
                }
                .into_bytes();
                bytes.extend_from_slice(name.as_bytes());
                bytes.extend_from_slice(b": ");
                bytes.extend_from_slice(value);
                bytes.extend_from_slice(b"\r\n\r\n");
                let mut client = bowline.client();
                client.send(bytes);
                // Any answer will do; a panic would close without one.
                let head = client.head();
                assert!(head.starts_with("HTTP/1.1 "), "{name} {value:?}: {head}");
                client.reset();
            }
        }
    }
    bowline.wait_metric("bowline_connections", 0.0);
}

#[test]
fn bytes_that_are_not_ascii_in_an_upstreams_101_panic_nowhere() {
    let _watch = NoPanics::watch();
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    for name in [
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Set-Cookie",
        "Server",
    ] {
        let mut client = bowline.client();
        client.send(handshake("/ws", ""));
        let mut server = upstream.accept();
        server.head();
        let mut bytes = SWITCHING.trim_end().as_bytes().to_vec();
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": \xff\x80,\r\n\r\n");
        server.send(bytes);
        let head = client.head();
        let fine = if matches!(name, "Set-Cookie" | "Server") { "101" } else { "502" };
        // Connection keeps its good line; the bad one names nothing.
        let fine = if name == "Connection" || name == "Upgrade" { "" } else { fine };
        assert!(head.starts_with(&format!("HTTP/1.1 {fine}")), "{name}: {head}");
        client.reset();
        server.reset();
    }
}

// rpxy: its limit of clients forgot every connection that had become a tunnel.
#[test]
fn tunnels_count_against_the_limit_of_connections() {
    let upstream = Upstream::new();
    let yaml = config(&[upstream.address], "")
        .replace("workers: 1", "workers: 2")
        .replace("address: 127.0.0.1:0", "address: 127.0.0.1:0, limits: { connections: 3 }");
    let bowline = Bowline::with(&yaml);
    // Whichever worker the kernel picks: a worker that only waits must not hold a place.
    let mut tunnels: Vec<_> = (0..3).map(|_| tunnel(&bowline, &upstream)).collect();
    for _ in 0..8 {
        let mut one_too_many = bowline.client();
        one_too_many.try_send(handshake("/ws", ""));
        assert_eq!(one_too_many.rest(), b"", "served beyond the limit");
    }
    bowline.wait_metric("bowline_over_limit_total", 8.0);
    assert!(upstream.is_untouched());
    for (client, server) in &mut tunnels {
        client.send("x");
        assert_eq!(server.exactly(1), b"x");
    }
    // One that ends makes room for one.
    drop(tunnels.pop());
    bowline.wait_metric("bowline_connections", 2.0);
    tunnels.push(tunnel(&bowline, &upstream));
    let mut again = bowline.client();
    again.try_send(handshake("/ws", ""));
    assert_eq!(again.rest(), b"");
}

#[test]
fn a_limit_of_one_serves_one_client_after_another_on_any_worker() {
    let upstream = Upstream::new();
    let yaml = config(&[upstream.address], "")
        .replace("workers: 1", "workers: 4")
        .replace("address: 127.0.0.1:0", "address: 127.0.0.1:0, limits: { connections: 1 }");
    let bowline = Bowline::with(&yaml);
    for _ in 0..30 {
        let (client, server) = tunnel(&bowline, &upstream);
        client.reset();
        drop(server);
        bowline.wait_metric("bowline_connections", 0.0);
    }
}

// rpxy, tokio#3529, bun#32705, payjoin#1608: out of descriptors, accept ended, span or slept for ever.
#[test]
fn out_of_descriptors_existing_tunnels_live_and_accepting_goes_on_afterwards() {
    let upstream = Upstream::new();
    let process = Process::start("emfile", &config(&[upstream.address], OPAQUE), Some(64));
    let mut client = process.client();
    client.send(handshake("/ws", ""));
    let mut server = upstream.accept();
    server.head();
    server.send(SWITCHING);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    let crowd: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(process.address).unwrap()).collect();
    wait_for("a line about it", || process.logged().contains("cannot accept"));
    let began = Instant::now();
    let before = process.logged().matches("cannot accept").count();
    let spent = process.cpu_over(Duration::from_secs(3));
    let lines = process.logged().matches("cannot accept").count() - before;
    assert!(spent < Duration::from_millis(400), "{spent:?} of CPU while it cannot accept");
    let most = began.elapsed().as_secs() as usize + 1;
    assert!((1..=most).contains(&lines), "{lines} lines in {:?}", began.elapsed());
    client.send("still");
    assert_eq!(server.exactly(5), b"still");
    drop(crowd);
    // The longest pause is a second.
    let mut later = process.client();
    later.send(handshake("/ws", ""));
    let mut end = upstream.accept();
    end.head();
    end.send(SWITCHING);
    assert!(later.head().starts_with("HTTP/1.1 101 "));
    client.send("x");
    assert_eq!(server.exactly(1), b"x");
}

// The dial needs a descriptor as well: an answer, not a hang, and the next one works.
#[test]
fn out_of_descriptors_for_the_dial_is_an_answer_and_passes() {
    let upstream = Upstream::new();
    let process = Process::start("emfile_dial", &config(&[upstream.address], ""), Some(64));
    let mut crowd = Vec::new();
    // Connections take places until none is left; the one that was accepted last asks.
    while !process.logged().contains("cannot accept") && crowd.len() < 200 {
        crowd.push(process.client());
        thread::sleep(Duration::from_millis(5));
    }
    let mut first = crowd.swap_remove(0);
    first.send(handshake("/ws", ""));
    let head = first.head();
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    drop(crowd);
    let mut upgraded = None;
    wait_for("an upgrade after the crowd", || {
        let mut client = process.client();
        client.send(handshake("/ws", ""));
        let mut server = None;
        wait_for("a dial or an answer", || {
            server = upstream.try_accept();
            server.is_some() || {
                client.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                client.stream.peek(&mut [0]).is_ok()
            }
        });
        upgraded = server;
        upgraded.is_some()
    });
}

// Start9#3775, h2o#3470, sshx#122, neon#6335: h2 was offered without extended CONNECT, and Firefox
// lost its sockets.
#[test]
fn a_client_that_gets_h2_hears_first_of_all_that_it_may_open_websockets() {
    use std::io::{Read, Write};
    use std::sync::Arc;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("known_bugs_tls");
    fs::create_dir_all(&folder).unwrap();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["test.example".to_owned()]).unwrap();
    let (cert_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&cert_file, cert.pem()).unwrap();
    fs::write(&key_file, signing_key.serialize_pem()).unwrap();
    let upstream = Upstream::new();
    let tls = format!(
        "address: 127.0.0.1:0, tls: {{ certificates: [ {{ cert: {}, key: {} }} ] }}",
        cert_file.display(),
        key_file.display()
    );
    let bowline =
        Bowline::with(&config(&[upstream.address], "").replace("address: 127.0.0.1:0", &tls));
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("test.example").unwrap();
    let mut session = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut wire = bowline.client();
    while session.is_handshaking() {
        session.complete_io(&mut wire.stream).unwrap();
    }
    assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
    let mut tls = tokio_rustls::rustls::StreamOwned::new(session, wire.stream);
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut head = [0; 9];
    tls.read_exact(&mut head).unwrap();
    assert_eq!((head[3], head[4]), (4, 0), "SETTINGS come first");
    let mut settings = vec![0; head[2].into()];
    tls.read_exact(&mut settings).unwrap();
    // SETTINGS_ENABLE_CONNECT_PROTOCOL = 1 (RFC 8441 section 3).
    assert!(settings.chunks(6).any(|one| one == [0, 8, 0, 0, 0, 1]), "{settings:?}");
}
