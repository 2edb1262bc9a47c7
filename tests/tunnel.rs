//! The life of a tunnel over real sockets: how bytes and ends cross it, what it costs when one
//! side stalls, and how a drain ends it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "threads of a test may wait, and read the real clock"
)]

mod support;

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use support::{Bowline, SWITCHING, Upstream, Wire};
use support::{config, handshake, headers, tunnel};

/// How long a test watches for bytes that must not come.
const MOMENT: Duration = Duration::from_millis(50);

fn front(upstream: &Upstream, extra: &str) -> Bowline {
    Bowline::with(&config(&[upstream.address], extra))
}

/// Waits until the one tunnel has ended as it should, and nothing is counted twice or held.
fn ended(bowline: &Bowline, upstream: &Upstream, reason: &str, closer: &str) {
    counted(bowline, reason, closer);
    released(bowline, upstream);
}

/// The one tunnel has ended once, in one way. All that can be seen after Bowline has ended too.
fn counted(bowline: &Bowline, reason: &str, closer: &str) {
    let series = format!(
        "bowline_tunnels_ended_total{{route=\"r\",reason=\"{reason}\",closer=\"{closer}\"}}"
    );
    support::wait_for(&format!("{reason} by {closer}, not {}", ends(bowline)), || {
        bowline.metric(&series) == 1.0
    });
    bowline.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
    bowline.wait_metric("bowline_connections", 0.0);
    let text = bowline.metrics.encode();
    let all = text.lines().filter(|line| line.starts_with("bowline_tunnels_ended_total{"));
    let sum: f64 = all.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    assert_eq!(sum, 1.0, "counted more than once: {}", ends(bowline));
}

/// Every gauge that a tunnel moved is back.
fn released(bowline: &Bowline, upstream: &Upstream) {
    let endpoint = upstream.address;
    for gauge in ["tunnels", "requests"] {
        let series = format!("bowline_endpoint_{gauge}{{upstream=\"up\",endpoint=\"{endpoint}\"}}");
        assert!(bowline.metrics.encode().contains(&series), "no series {series}");
        bowline.wait_metric(&series, 0.0);
    }
    bowline.wait_metric("bowline_connections", 0.0);
}

fn ends(bowline: &Bowline) -> String {
    let text = bowline.metrics.encode();
    let lines = text
        .lines()
        .filter(|line| line.starts_with("bowline_tunnels_ended_total{") && !line.ends_with(" 0"));
    lines.collect::<Vec<_>>().join("\n")
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 251 + at) as u8).collect()
}

// Ends.

#[test]
fn a_slow_10_mib_reply_after_the_clients_fin_arrives_whole() {
    // tuic#139, neon#6720: who ends all when one side ends truncates.
    let upstream = Upstream::new();
    let bowline = front(&upstream, "timeouts: { half_close: 5s }");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    client.send("the question");
    client.finish();
    assert_eq!(server.rest(), b"the question", "the FIN did not cross");
    let reply = pattern(10 << 20);
    let sent = reply.clone();
    let answering = thread::spawn(move || {
        for part in sent.chunks(1 << 20) {
            server.send(part);
            thread::sleep(Duration::from_millis(10));
        }
    });
    assert!(client.rest() == reply, "the reply was cut or changed");
    answering.join().unwrap();
    ended(&bowline, &upstream, "closed", "client");
    let delivered = "bowline_tunnel_bytes_total{route=\"r\",direction=\"to_client\"}";
    assert_eq!(bowline.metric(delivered), (10 << 20) as f64);
}

#[test]
fn ten_mib_after_the_upstreams_fin_arrive_whole() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "timeouts: { half_close: 5s }");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    server.send("goodbye");
    server.finish();
    assert_eq!(client.rest(), b"goodbye", "the FIN did not cross");
    let bytes = pattern(10 << 20);
    let sent = bytes.clone();
    let sending = thread::spawn(move || client.send(sent));
    assert!(server.rest() == bytes, "the rest was cut or changed");
    sending.join().unwrap();
    ended(&bowline, &upstream, "closed", "upstream");
}

#[test]
fn a_half_close_lasts_as_long_as_bytes_come() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "timeouts: { half_close: 2s }");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    client.finish();
    assert_eq!(server.rest(), b"");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        server.send(".");
        assert_eq!(client.exactly(1), b".");
        thread::sleep(Duration::from_millis(200));
    }
    drop(server);
    assert!(client.is_closed());
    ended(&bowline, &upstream, "closed", "client");
}

#[test]
fn a_clients_fin_that_nobody_answers_is_reaped() {
    // tokio#3876, tokio#4556: CLOSE_WAIT for ever.
    let upstream = Upstream::new();
    let bowline = front(&upstream, "timeouts: { half_close: 300ms }");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    let began = Instant::now();
    client.finish();
    assert_eq!(server.rest(), b"");
    assert!(client.is_closed());
    assert!(began.elapsed() >= Duration::from_millis(300), "reaped too early");
    ended(&bowline, &upstream, "half_close", "client");
}

#[test]
fn an_upstreams_fin_that_nobody_answers_is_reaped() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "timeouts: { half_close: 300ms }");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    let began = Instant::now();
    server.finish();
    assert_eq!(client.rest(), b"");
    assert!(server.is_closed());
    assert!(began.elapsed() >= Duration::from_millis(300), "reaped too early");
    ended(&bowline, &upstream, "half_close", "upstream");
}

#[test]
fn a_fin_that_came_before_the_101_is_passed_on_behind_it() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let mut client = bowline.client();
    client.send(handshake("/ws", "") + "all I have to say");
    client.finish();
    let mut server = upstream.accept();
    server.head();
    server.send(SWITCHING);
    assert_eq!(server.rest(), b"all I have to say");
    server.send("understood");
    drop(server);
    client.head();
    assert_eq!(client.rest(), b"understood");
    ended(&bowline, &upstream, "closed", "client");
}

#[test]
fn a_fin_behind_the_101_in_one_packet_ends_the_tunnel_whole() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let mut client = bowline.client();
    client.send(handshake("/ws", ""));
    let mut server = upstream.accept();
    server.head();
    server.send(SWITCHING.to_owned() + "last words");
    drop(server);
    client.head();
    assert_eq!(client.rest(), b"last words");
    drop(client);
    ended(&bowline, &upstream, "closed", "upstream");
}

#[test]
fn both_sides_closing_is_the_ordinary_end() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let (client, mut server) = tunnel(&bowline, &upstream);
    drop(client);
    assert!(server.is_closed());
    drop(server);
    ended(&bowline, &upstream, "closed", "client");
}

#[test]
fn a_clients_reset_ends_both_sides_and_every_count() {
    // hyper-reverse-proxy: a reset was a panic.
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    // In the middle of a frame.
    client.send([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]);
    server.exactly(14);
    client.reset();
    assert_eq!(server.rest(), b"");
    ended(&bowline, &upstream, "error", "client");
}

#[test]
fn an_upstreams_reset_ends_both_sides_and_every_count() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    server.send([0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]);
    client.exactly(14);
    server.reset();
    assert_eq!(client.rest(), b"");
    ended(&bowline, &upstream, "error", "upstream");
}

#[test]
fn a_reset_while_the_other_side_is_stalled_ends_the_tunnel() {
    for client_resets in [true, false] {
        let upstream = Upstream::new();
        let bowline = front(&upstream, "");
        let (mut client, mut server) = tunnel(&bowline, &upstream);
        if client_resets {
            send_until_blocked(&mut client);
            client.reset();
            server.rest();
            ended(&bowline, &upstream, "error", "client");
        } else {
            send_until_blocked(&mut server);
            server.reset();
            client.rest();
            ended(&bowline, &upstream, "error", "upstream");
        }
    }
}

#[test]
fn a_receiver_that_resets_ends_a_tunnel_that_was_blocked_on_it() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let (mut client, server) = tunnel(&bowline, &upstream);
    send_until_blocked(&mut client);
    server.reset();
    client.rest();
    ended(&bowline, &upstream, "error", "upstream");
}

// Backpressure.

/// Sends until nothing more is taken for a while; how much was taken.
fn send_until_blocked(wire: &mut Wire) -> usize {
    const MOST: usize = 256 << 20;
    let part = pattern(64 << 10);
    wire.stream.set_write_timeout(Some(Duration::from_millis(700))).unwrap();
    let mut sent = 0;
    while sent < MOST {
        match wire.stream.write(&part[sent % part.len()..]) {
            Ok(taken) => sent += taken,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                wire.stream.set_write_timeout(Some(support::BOUND)).unwrap();
                return sent;
            }
            Err(error) => panic!("{error} after {sent} bytes"),
        }
    }
    panic!("took {MOST} bytes that nobody reads");
}

/// Small kernel buffers at the ends of the test, so that what is taken is what Bowline holds.
fn small_buffers(wire: &Wire) {
    let socket = socket2::SockRef::from(&wire.stream);
    socket.set_send_buffer_size(32 << 10).unwrap();
    socket.set_recv_buffer_size(32 << 10).unwrap();
}

/// Bowline's own share is one read of 128 KiB; the rest is the kernel's, 4 MiB to send and what it
/// grew to receive.
const FEW_MIB: usize = 24 << 20;

#[test]
fn a_stalled_upstream_stalls_the_client_and_then_gets_every_byte() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    small_buffers(&client);
    small_buffers(&server);
    let sent = send_until_blocked(&mut client);
    assert!(sent < FEW_MIB, "{sent} bytes were taken for a reader that is stalled");
    // The other direction, and other tunnels of the worker, do not care.
    server.send("still here");
    assert_eq!(client.exactly(10), b"still here");
    let (mut other, mut end) = tunnel(&bowline, &upstream);
    other.send("me too");
    assert_eq!(end.exactly(6), b"me too");
    drop((other, end));
    client.finish();
    let got = server.rest();
    assert_eq!(got.len(), sent);
    let part = pattern(64 << 10);
    assert!(got.chunks(part.len()).all(|chunk| chunk == &part[..chunk.len()]), "bytes changed");
}

#[test]
fn a_stalled_client_stalls_the_upstream_and_then_gets_every_byte() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    small_buffers(&client);
    small_buffers(&server);
    let sent = send_until_blocked(&mut server);
    assert!(sent < FEW_MIB, "{sent} bytes were taken for a reader that is stalled");
    client.send("still here");
    assert_eq!(server.exactly(10), b"still here");
    server.finish();
    let got = client.rest();
    assert_eq!(got.len(), sent);
    let part = pattern(64 << 10);
    assert!(got.chunks(part.len()).all(|chunk| chunk == &part[..chunk.len()]), "bytes changed");
}

#[test]
fn both_directions_full_at_once_do_not_lock_up() {
    const SIZE: usize = 16 << 20;
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    let send = |wire: &Wire| {
        let mut wire = Wire::new(wire.stream.try_clone().unwrap());
        thread::spawn(move || {
            wire.send(pattern(SIZE));
            wire.finish();
        })
    };
    let (up, down) = (send(&client), send(&server));
    let at_server = thread::spawn(move || server.rest());
    assert!(client.rest() == pattern(SIZE));
    assert!(at_server.join().unwrap() == pattern(SIZE));
    up.join().unwrap();
    down.join().unwrap();
    drop(client);
    bowline.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
    released(&bowline, &upstream);
}

// Time.

#[test]
fn a_tunnel_without_a_byte_for_its_idle_time_is_ended() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "timeouts: { idle: 300ms }");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    let began = Instant::now();
    assert!(client.is_closed());
    assert!(server.is_closed());
    assert!(began.elapsed() >= Duration::from_millis(250), "ended too early");
    ended(&bowline, &upstream, "idle", "bowline");
}

#[test]
fn a_byte_in_either_direction_keeps_a_tunnel_from_being_idle() {
    for from_client in [true, false] {
        let upstream = Upstream::new();
        let bowline = front(&upstream, "timeouts: { idle: 1500ms }");
        let (mut client, mut server) = tunnel(&bowline, &upstream);
        let (from, to) =
            if from_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(2500) {
            from.send(".");
            assert_eq!(to.exactly(1), b".");
            thread::sleep(Duration::from_millis(200));
        }
    }
}

#[test]
fn a_two_byte_frame_arrives_at_once() {
    // pingora PR#870: small frames sat in a buffer. Nagle with delayed ACKs would be 40 ms.
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        // In two writes each, which is what Nagle holds back.
        client.send([0x89]);
        client.send([0x80]);
        server.exactly(2);
        server.send([0x8a]);
        server.send([0x00]);
        client.exactly(2);
        took.push(began.elapsed());
    }
    took.sort_unstable();
    // The median, so that a busy machine is no failure.
    assert!(took[100] < Duration::from_millis(10), "{:?}", took[100]);
}

// Many.

#[test]
fn five_hundred_tunnels_echo_at_once_and_leave_nothing() {
    const TUNNELS: usize = 500;
    rlimit::increase_nofile_limit(8_192).unwrap();
    let echo = Upstream::serving(|mut wire| {
        wire.head();
        wire.send(SWITCHING);
        loop {
            let bytes = wire.some();
            if bytes.is_empty() || !wire.try_send(&bytes) {
                break;
            }
        }
    });
    let bowline = Bowline::with(&config(&[echo], "").replace("workers: 1", "workers: 2"));
    let mut clients: Vec<Wire> = (0..TUNNELS).map(|_| bowline.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(handshake("/ws", "") + &format!("{n:04}"));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        assert!(client.head().starts_with("HTTP/1.1 101 "), "{n}");
        assert_eq!(client.exactly(4), format!("{n:04}").as_bytes());
    }
    bowline.wait_metric("bowline_tunnels{route=\"r\"}", TUNNELS as f64);
    let series = format!("bowline_endpoint_tunnels{{upstream=\"up\",endpoint=\"{echo}\"}}");
    assert_eq!(bowline.metric(&series), TUNNELS as f64);
    for round in 0..5 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(format!("{n:04}-{round}").repeat(100));
        }
        for (n, client) in clients.iter_mut().enumerate() {
            let expected = format!("{n:04}-{round}").repeat(100);
            assert_eq!(client.exactly(expected.len()), expected.as_bytes(), "another's bytes");
        }
    }
    drop(clients);
    bowline.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
    bowline.wait_metric(&series, 0.0);
    bowline.wait_metric("bowline_connections", 0.0);
}

#[test]
fn a_tunnel_through_two_bowlines_is_a_tunnel() {
    // linkerd2#8891: the upgrade was lost at the second hop.
    let upstream = Upstream::new();
    let inner = front(&upstream, "");
    let outer = Bowline::with(&config(&[inner.address], ""));
    let mut client = outer.client();
    client.send(handshake("/ws", "") + "early");
    let mut server = upstream.accept();
    let head = server.head();
    assert_eq!(headers(&head, "upgrade"), ["websocket"], "{head}");
    assert_eq!(headers(&head, "connection"), ["Upgrade"], "{head}");
    assert_eq!(headers(&head, "via").join(", "), "1.1 bowline, 1.1 bowline", "{head}");
    server.is_silent(MOMENT);
    server.send(SWITCHING.to_owned() + "first");
    let head = client.head();
    assert_eq!(headers(&head, "upgrade"), ["websocket"], "{head}");
    assert_eq!(headers(&head, "connection"), ["Upgrade"], "{head}");
    assert_eq!(client.exactly(5), b"first");
    assert_eq!(server.exactly(5), b"early");
    client.finish();
    assert_eq!(server.rest(), b"");
    server.send("last");
    drop(server);
    assert_eq!(client.rest(), b"last");
    ended(&inner, &upstream, "closed", "client");
    outer.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
}

// Drain.

#[test]
fn a_drain_lets_a_request_in_flight_finish() {
    let upstream = Upstream::new();
    let mut bowline = front(&upstream, "drain: { timeout: 8s }");
    let mut client = bowline.client();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    bowline.drain();
    refuses_connections(&bowline);
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfin");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    server.send("ished");
    assert_eq!(client.exactly(8), b"finished");
    assert!(client.is_closed(), "kept alive while draining");
    assert!(bowline.join() < Duration::from_secs(6), "waited although nothing was left");
}

#[test]
fn a_drain_closes_idle_keep_alive_connections_at_once() {
    let upstream = Upstream::new();
    let mut bowline = front(&upstream, "drain: { timeout: 8s }");
    let mut fresh = bowline.client();
    let mut used = bowline.client();
    used.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(used.answer().status, 204);
    bowline.wait_metric("bowline_connections", 2.0);
    bowline.drain();
    assert!(used.is_closed());
    assert!(fresh.is_closed());
    assert_eq!(server.rest(), b"", "an idle upstream connection was kept");
    assert!(bowline.join() < Duration::from_secs(6));
}

#[test]
fn an_upgrade_that_comes_during_a_drain_is_a_503_with_retry_after() {
    let upstream = Upstream::new();
    let mut bowline = front(&upstream, "drain: { timeout: 8s }");
    let mut client = bowline.client();
    let bytes = handshake("/ws", "");
    let (first, second) = bytes.split_at(40);
    client.send(first);
    // The worker has read the half head once it has served somebody who came later.
    let mut other = bowline.client();
    other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(other.answer().status, 204);
    bowline.drain();
    assert!(other.is_closed());
    client.send(second);
    let answer = client.answer();
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some(), "{}", answer.head);
    assert!(client.is_closed());
    assert!(upstream.is_untouched());
    assert_eq!(bowline.metric("bowline_upgrades_total{route=\"r\",outcome=\"refused\"}"), 1.0);
    assert!(bowline.join() < Duration::from_secs(6));
}

#[test]
fn a_drain_lets_a_tunnel_live_until_the_deadline_and_then_cuts_it() {
    // axum-server#40, axum#3831: drains that do not know of tunnels.
    let upstream = Upstream::new();
    let mut bowline = front(&upstream, "drain: { timeout: 1500ms }");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    let began = Instant::now();
    bowline.drain();
    refuses_connections(&bowline);
    client.send("still");
    assert_eq!(server.exactly(5), b"still");
    server.send("here");
    assert_eq!(client.exactly(4), b"here");
    assert_eq!(client.rest(), b"");
    assert_eq!(server.rest(), b"");
    assert!(began.elapsed() >= Duration::from_millis(1400), "cut after {:?}", began.elapsed());
    bowline.join();
    counted(&bowline, "drain", "bowline");
}

#[test]
fn a_drain_ends_with_the_last_tunnel() {
    let upstream = Upstream::new();
    let mut bowline = front(&upstream, "drain: { timeout: 60s }");
    let (client, server) = tunnel(&bowline, &upstream);
    bowline.drain();
    refuses_connections(&bowline);
    drop(client);
    drop(server);
    assert!(bowline.join() < Duration::from_secs(10));
    counted(&bowline, "closed", "client");
}

#[test]
fn a_second_signal_ends_at_once() {
    let upstream = Upstream::new();
    let mut bowline = front(&upstream, "drain: { timeout: 60s }");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    let mut waiting = bowline.client();
    waiting.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut mute = upstream.accept();
    mute.head();
    bowline.drain();
    refuses_connections(&bowline);
    bowline.kill();
    assert!(bowline.join() < Duration::from_secs(10));
    assert_eq!(client.rest(), b"");
    assert_eq!(server.rest(), b"");
    assert_eq!(mute.rest(), b"");
    waiting.rest();
    counted(&bowline, "drain", "bowline");
}

#[test]
fn an_upgrade_in_flight_when_the_drain_begins_is_ended_with_it() {
    // deno#35105: born after the drain had looked around, it was never told.
    let upstream = Upstream::new();
    let mut bowline = front(&upstream, "drain: { timeout: 1500ms }");
    let mut client = bowline.client();
    client.send(handshake("/ws", ""));
    let mut server = upstream.accept();
    server.head();
    bowline.drain();
    refuses_connections(&bowline);
    server.send(SWITCHING);
    let head = client.head();
    // A tunnel as any other, or 503; never a 101 that says close (Y-9).
    if head.starts_with("HTTP/1.1 101 ") {
        assert_eq!(headers(&head, "connection"), ["Upgrade"], "{head}");
    } else {
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(headers(&head, "retry-after").len() == 1, "{head}");
    }
    client.rest();
    assert_eq!(server.rest(), b"");
    assert!(bowline.join() < Duration::from_secs(8));
    bowline.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
    bowline.wait_metric("bowline_connections", 0.0);
}

#[test]
fn a_stalled_tunnel_is_cut_at_the_deadline_too() {
    let upstream = Upstream::new();
    let mut bowline = front(&upstream, "drain: { timeout: 100ms }");
    let (mut client, server) = tunnel(&bowline, &upstream);
    send_until_blocked(&mut client);
    bowline.drain();
    assert!(bowline.join() < Duration::from_secs(8));
    counted(&bowline, "drain", "bowline");
    drop(server);
}

/// The drain has begun once nobody accepts.
fn refuses_connections(bowline: &Bowline) {
    support::wait_for("the listener to close", || {
        std::net::TcpStream::connect(bowline.address).is_err()
    });
}
