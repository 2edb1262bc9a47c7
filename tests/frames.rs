//! Frames as they cross: counted, judged, ended with a Close that both sides can understand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests read the real clock")]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::{ACCEPT, Bowline, Upstream, Wire, config, handshake, tunnel};

/// A client's frame, masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    framed(first, 0x80, &[0; 4], payload)
}

/// An upstream's frame.
fn bare(first: u8, payload: &[u8]) -> Vec<u8> {
    framed(first, 0, &[], payload)
}

fn framed(first: u8, bit: u8, key: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        short @ ..126 => vec![bit | u8::try_from(short).unwrap()],
        long => [&[bit | 126][..], &u16::try_from(long).unwrap().to_be_bytes()].concat(),
    };
    [&[first][..], &length, key, payload].concat()
}

/// The next frame: its first byte and its payload, unmasked.
fn frame(wire: &mut Wire) -> (u8, Vec<u8>) {
    let header = wire.exactly(2);
    let length = match header[1] & 0x7f {
        126 => u16::from_be_bytes(wire.exactly(2).try_into().unwrap()).into(),
        short @ ..126 => usize::from(short),
        _ => panic!("a long frame"),
    };
    let key = if header[1] & 0x80 == 0 { vec![0; 4] } else { wire.exactly(4) };
    let payload = wire.exactly(length);
    (header[0], payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect())
}

/// The code of the Close that comes next.
fn close_code(wire: &mut Wire) -> u16 {
    let (first, payload) = frame(wire);
    assert_eq!(first, 0x88, "{payload:?}");
    u16::from_be_bytes([payload[0], payload[1]])
}

fn front(upstream: &Upstream, websocket: &str) -> Bowline {
    let quiet = "heartbeat: { interval: off }, ";
    let quiet = if websocket.contains("heartbeat") { "" } else { quiet };
    metered(upstream.address, &format!("{quiet}{websocket}"))
}

fn metered(upstream: SocketAddr, websocket: &str) -> Bowline {
    Bowline::with(&config(&[upstream], &format!("websocket: {{ {websocket} }}")))
}

#[test]
fn messages_are_counted_and_the_code_of_the_first_close_stands_for_the_end() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    let said = [masked(0x01, b"hel"), masked(0x89, b"?"), masked(0x80, b"lo")].concat();
    client.send(&said);
    assert_eq!(server.exactly(said.len()), said);
    server.send(bare(0x82, &[1; 1000]));
    assert_eq!(frame(&mut client), (0x82, vec![1; 1000]));
    client.send(masked(0x88, &4321_u16.to_be_bytes()));
    assert_eq!(close_code(&mut server), 4321);
    server.send(bare(0x88, &4321_u16.to_be_bytes()));
    server.finish();
    assert_eq!(close_code(&mut client), 4321);
    client.finish();
    let messages = |direction| {
        format!("bowline_tunnel_messages_total{{route=\"r\",direction=\"{direction}\"}}")
    };
    bowline.wait_metric(&messages("to_upstream"), 1.0);
    bowline.wait_metric(&messages("to_client"), 1.0);
    bowline.wait_metric("bowline_tunnel_close_codes_total{route=\"r\",code=\"4xxx\"}", 1.0);
    let ended = "bowline_tunnels_ended_total{route=\"r\",reason=\"closed\",closer=\"client\"}";
    bowline.wait_metric(ended, 1.0);
}

#[test]
fn a_client_that_breaks_the_protocol_gets_1002_and_its_upstream_1001() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    for bad in [bare(0x81, b"unmasked"), masked(0x83, b"?"), masked(0xc1, b"?"), masked(0x80, b"?")]
    {
        let (mut client, mut server) = tunnel(&bowline, &upstream);
        client.send([masked(0x81, b"fine"), bad].concat());
        assert_eq!(frame(&mut server), (0x81, b"fine".to_vec()));
        assert_eq!(close_code(&mut server), 1001);
        server.send(bare(0x88, &1001_u16.to_be_bytes()));
        assert_eq!(close_code(&mut client), 1002);
        assert_eq!(client.rest(), b"", "a FIN behind the Close");
        client.finish();
        assert_eq!(server.rest(), b"");
    }
    let ended = "bowline_tunnels_ended_total{route=\"r\",reason=\"protocol\",closer=\"bowline\"}";
    bowline.wait_metric(ended, 4.0);
}

#[test]
fn an_upstream_that_breaks_the_protocol_gets_1002_and_its_client_1014() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    server.send(masked(0x81, b"masked"));
    assert_eq!(close_code(&mut client), 1014);
    client.send(masked(0x88, &1014_u16.to_be_bytes()));
    assert_eq!(close_code(&mut server), 1002);
    assert_eq!(server.rest(), b"");
    server.finish();
    assert_eq!(client.rest(), b"");
}

#[test]
fn what_is_too_large_ends_with_1009_and_does_not_pass() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "max_frame: 1000, max_message: 1500");
    let whole = masked(0x02, &[1; 1000]);
    for (passes, bad) in
        [(&[][..], masked(0x82, &[1; 1001])), (&whole[..], masked(0x80, &[1; 501]))]
    {
        let (mut client, mut server) = tunnel(&bowline, &upstream);
        client.send([passes, &bad].concat());
        assert_eq!(server.exactly(passes.len()), passes);
        assert_eq!(close_code(&mut server), 1001);
        server.send(bare(0x88, &1001_u16.to_be_bytes()));
        assert_eq!(close_code(&mut client), 1009);
        client.finish();
        assert_eq!((client.rest(), server.rest()), (vec![], vec![]));
    }
    bowline.wait_metric("bowline_tunnel_close_codes_total{route=\"r\",code=\"1009\"}", 2.0);
}

#[test]
fn what_was_agreed_on_decides_what_a_reserved_bit_means() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    for (answer, passes) in [(offer, true), ("", false)] {
        let mut client = bowline.client();
        client.send(handshake("/ws", offer));
        let mut server = upstream.accept();
        server.head();
        server.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\n{answer}\r\n"
        ));
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        client.send(masked(0xc2, b"compressed"));
        if passes {
            assert_eq!(frame(&mut server), (0xc2, b"compressed".to_vec()));
        } else {
            assert_eq!(close_code(&mut server), 1001);
        }
    }
}

#[test]
fn frames_that_are_not_looked_at_are_bytes() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "frames: opaque");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    client.send("no frame at all");
    assert_eq!(server.exactly(15), b"no frame at all");
    server.finish();
    assert_eq!(client.rest(), b"");
}

#[test]
fn tolerance_lets_everything_pass_but_what_is_too_large() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "strict: false, max_frame: 100");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    let odd = [bare(0x81, b"unmasked"), masked(0xf3, b"?"), masked(0x80, b"?")].concat();
    client.send(&odd);
    assert_eq!(server.exactly(odd.len()), odd);
    client.send(masked(0x81, &[0; 101]));
    assert_eq!(close_code(&mut server), 1001);
}

#[test]
fn a_thousand_clients_of_an_endpoint_that_dies_hear_1014() {
    const SOCKETS: usize = 1000;
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    let (clients, servers): (Vec<_>, Vec<_>) =
        (0..SOCKETS).map(|_| tunnel(&bowline, &upstream)).unzip();
    // Half end as a process does that is killed, half as one whose machine resets.
    for (number, server) in servers.into_iter().enumerate() {
        if number % 2 == 0 { drop(server) } else { server.reset() }
    }
    for mut client in clients {
        assert_eq!(close_code(&mut client), 1014);
        client.send(masked(0x88, &1014_u16.to_be_bytes()));
        assert_eq!(client.rest(), b"");
    }
    bowline.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
    let codes = "bowline_tunnel_close_codes_total{route=\"r\",code=\"1014\"}";
    bowline.wait_metric(codes, SOCKETS as f64);
}

#[test]
fn an_upstream_hears_that_its_client_is_gone() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    for reset in [false, true] {
        let (client, mut server) = tunnel(&bowline, &upstream);
        if reset {
            client.reset()
        } else {
            drop(client)
        }
        assert_eq!(close_code(&mut server), 1001);
        server.try_send(bare(0x88, &1001_u16.to_be_bytes()));
        assert_eq!(server.rest(), b"");
    }
}

#[test]
fn quiet_sides_are_asked_and_their_answers_end_here() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "heartbeat: { interval: 50ms, timeout: 5s }");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    for _ in 0..5 {
        let (first, tag) = frame(&mut client);
        assert_eq!((first, tag.len()), (0x89, 8));
        client.send(masked(0x8a, &tag));
        let (first, tag) = frame(&mut server);
        assert_eq!((first, tag.len()), (0x89, 8));
        server.send(bare(0x8a, &tag));
    }
    // A pong that nobody asked for is the other side's.
    client.send(masked(0x8a, b"unasked"));
    loop {
        match frame(&mut server) {
            (0x89, tag) => server.send(bare(0x8a, &tag)),
            other => break assert_eq!(other, (0x8a, b"unasked".to_vec())),
        }
    }
    let trips = |side| format!("bowline_tunnel_ping_seconds_count{{route=\"r\",side=\"{side}\"}}");
    for side in ["client", "upstream"] {
        support::wait_for("round trips", || bowline.metric(&trips(side)) >= 5.0);
    }
}

#[test]
fn a_client_that_does_not_answer_is_given_up_in_time() {
    let upstream = Upstream::new();
    let bowline =
        front(&upstream, "heartbeat: { interval: 200ms, timeout: 300ms, upstream: false }");
    let (_silent, mut server) = tunnel(&bowline, &upstream);
    let began = Instant::now();
    assert_eq!(close_code(&mut server), 1001);
    let after = began.elapsed();
    assert!(after >= Duration::from_millis(450) && after < Duration::from_secs(5), "{after:?}");
    server.send(bare(0x88, &1001_u16.to_be_bytes()));
    assert_eq!(server.rest(), b"");
    let ended = "bowline_tunnels_ended_total{route=\"r\",reason=\"heartbeat\",closer=\"bowline\"}";
    bowline.wait_metric(ended, 1.0);
}

/// Autobahn's 6.5.2, dribbled and pinged, had one pong too many.
#[test]
fn an_answer_to_a_ping_ends_here_even_when_no_more_pings_can_go_out() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "heartbeat: { interval: 50ms, timeout: 5s, client: false }");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    let (first, tag) = frame(&mut server);
    assert_eq!(first, 0x89);
    client.send(masked(0x88, &1000_u16.to_be_bytes()));
    assert_eq!(close_code(&mut server), 1000);
    // Its answer is under way for longer than an interval, and the next ping finds no place behind a Close.
    let pong = bare(0x8a, &tag);
    server.send(&pong[..4]);
    server.is_silent(Duration::from_millis(200));
    server.send(&pong[4..]);
    server.send(bare(0x88, &1000_u16.to_be_bytes()));
    assert_eq!(close_code(&mut client), 1000);
}

#[test]
fn the_last_words_of_an_upstream_arrive_though_it_resets_a_client_that_still_talks() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "");
    for _ in 0..200 {
        let (mut client, mut server) = tunnel(&bowline, &upstream);
        let mut sender = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            // Until nobody takes it any more.
            let message = masked(0x82, &[7; 100]);
            while std::io::Write::write_all(&mut sender, &message).is_ok() {}
        });
        server.exactly(1000);
        server.send(bare(0x88, &[&4000_u16.to_be_bytes()[..], b"moved"].concat()));
        // With bytes unread that is a reset.
        drop(server);
        let (first, payload) = frame(&mut client);
        assert_eq!(
            (first, &payload[..]),
            (0x88, &[&4000_u16.to_be_bytes()[..], b"moved"].concat()[..])
        );
        client.stream.shutdown(std::net::Shutdown::Both).ok();
        sending.join().unwrap();
    }
    bowline.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
}

#[test]
fn a_client_over_its_rate_is_slowed_down_or_ended_and_both_are_counted() {
    let upstream = Upstream::new();
    let bowline = front(&upstream, "client_rate: { messages: 50, burst: 100ms }");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    let began = Instant::now();
    for number in 0..20 {
        client.send(masked(0x82, &[number; 100]));
    }
    for number in 0..20 {
        assert_eq!(frame(&mut server), (0x82, vec![number; 100]));
    }
    // Six at once, then one each 20 ms.
    assert!(began.elapsed() >= Duration::from_millis(260), "{:?}", began.elapsed());
    let pauses =
        bowline.metric("bowline_tunnel_pauses_total{route=\"r\",direction=\"to_upstream\"}");
    assert!(pauses >= 1.0, "{pauses}");
    let sizes = |bound: &str| {
        let labels = format!("route=\"r\",direction=\"to_upstream\",le=\"{bound}\"");
        bowline.metric(&format!("bowline_tunnel_message_bytes_bucket{{{labels}}}"))
    };
    assert_eq!((sizes("64"), sizes("256")), (0.0, 20.0));

    let bowline =
        front(&upstream, "client_rate: { bytes: 1KiB, limit: close }, close_timeout: 100ms");
    let (mut client, mut server) = tunnel(&bowline, &upstream);
    client.send(masked(0x82, &[1; 2000]));
    assert_eq!(close_code(&mut client), 1008);
    while frame(&mut server).0 != 0x88 {}
    bowline.wait_metric(
        "bowline_tunnels_ended_total{route=\"r\",reason=\"rate\",closer=\"bowline\"}",
        1.0,
    );
}
