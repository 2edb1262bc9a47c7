//! Bodies in motion: unbuffered both ways, held back by a slow other side, cancelled by a client
//! that leaves, and never whole when their sender died.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "threads of a test may wait, and read the real clock"
)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use support::{BOUND, Bowline, Upstream, Wire, config};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const WHOLE: usize = 64 << 20;
/// What kernels on both hops may hold (two sockets each, autotuned) and Bowline on top: far less
/// than the whole, far more than a page.
const HELD: usize = 32 << 20;

fn pair() -> (Bowline, Upstream) {
    let upstream = Upstream::new();
    (Bowline::in_front_of(upstream.address), upstream)
}

fn begun(bowline: &Bowline, upstream: &Upstream, request: &str) -> (Wire, Wire) {
    let mut client = bowline.client();
    client.send(request);
    let mut server = upstream.accept();
    server.head();
    (client, server)
}

/// Writes until the other side takes no more for a while; returns how much went.
fn fill(stream: &mut TcpStream, block: &[u8], most: usize) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    while sent < most {
        match stream.write(&block[..block.len().min(most - sent)]) {
            Ok(wrote) => sent += wrote,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => panic!("{error} after {sent} bytes"),
        }
    }
    stream.set_write_timeout(Some(BOUND)).unwrap();
    sent
}

/// Reads `count` bytes and checks that they are `byte`.
fn drink(wire: &mut Wire, count: usize, byte: u8) {
    let mut block = vec![0; 1 << 16];
    let ahead = std::mem::take(&mut wire.ahead);
    assert!(ahead.iter().all(|got| *got == byte));
    let mut got = ahead.len();
    while got < count {
        let want = block.len().min(count - got);
        let read = wire.stream.read(&mut block[..want]).unwrap();
        assert!(read > 0, "ended after {got} of {count}");
        assert!(block[..read].iter().all(|got| *got == byte));
        got += read;
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn an_upload_of_64_mib_waits_for_a_slow_upstream_and_arrives_whole() {
    let (bowline, upstream) = pair();
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {WHOLE}\r\n\r\n");
    let (mut client, mut server) = begun(&bowline, &upstream, &request);
    let block = vec![b'u'; 1 << 16];
    let before = resident();
    let sent = fill(&mut client.stream, &block, WHOLE);
    assert!(sent < HELD, "{sent} bytes went to an upstream that reads nothing");
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes held");
    let mut rest = client.stream.try_clone().unwrap();
    let writer = thread::spawn(move || {
        let mut left = WHOLE - sent;
        while left > 0 {
            let count = block.len().min(left);
            rest.write_all(&block[..count]).unwrap();
            left -= count;
        }
    });
    drink(&mut server, WHOLE, b'u');
    writer.join().unwrap();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_download_of_64_mib_waits_for_a_slow_client_and_arrives_whole() {
    let (bowline, upstream) = pair();
    let (mut client, mut server) = begun(&bowline, &upstream, GET);
    server.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {WHOLE}\r\n\r\n"));
    let block = vec![b'd'; 1 << 16];
    let before = resident();
    let sent = fill(&mut server.stream, &block, WHOLE);
    assert!(sent < HELD, "{sent} bytes went to a client that reads nothing");
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes held");
    let mut rest = server.stream.try_clone().unwrap();
    let writer = thread::spawn(move || {
        let mut left = WHOLE - sent;
        while left > 0 {
            let count = block.len().min(left);
            rest.write_all(&block[..count]).unwrap();
            left -= count;
        }
    });
    client.head();
    drink(&mut client, WHOLE, b'd');
    writer.join().unwrap();
    client.send(GET);
    assert!(server.head().starts_with("GET "), "both connections are in step");
}

#[test]
fn a_chunked_upload_waits_and_arrives_whole() {
    let (bowline, upstream) = pair();
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut client, mut server) = begun(&bowline, &upstream, request);
    let chunk = format!("10000\r\n{}\r\n", "c".repeat(0x10000));
    let mut rest = client.stream.try_clone().unwrap();
    let writer = thread::spawn(move || {
        for _ in 0..WHOLE / 0x10000 {
            rest.write_all(chunk.as_bytes()).unwrap();
        }
        rest.write_all(b"0\r\n\r\n").unwrap();
    });
    let mut body = 0;
    loop {
        let size = usize::from_str_radix(server.until("\r\n").trim(), 16).unwrap();
        server.exactly(size);
        server.exactly(2);
        body += size;
        if size == 0 {
            break;
        }
    }
    assert_eq!(body, WHOLE);
    writer.join().unwrap();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn server_sent_events_arrive_one_by_one() {
    let (bowline, upstream) = pair();
    let (mut client, mut server) = begun(&bowline, &upstream, GET);
    server.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert!(client.head().contains("text/event-stream"), "the head does not wait for the body");
    for number in 0..50 {
        let event = format!("data: {number}\n\n");
        server.send(format!("{:x}\r\n{event}\r\n", event.len()));
        let chunk = client.until("\n\n\r\n");
        assert!(chunk.ends_with(&format!("\r\n{event}\r\n")) && chunk.len() < 20, "{chunk}");
    }
    server.send("0\r\n\r\n");
    client.until("0\r\n\r\n");
}

#[test]
fn events_without_framing_arrive_one_by_one() {
    let (bowline, upstream) = pair();
    let (mut client, mut server) = begun(&bowline, &upstream, "GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    server.send("HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    client.head();
    for number in 0..20 {
        server.send(format!("data: {number}\n\n"));
        assert_eq!(client.until("\n\n"), format!("data: {number}\n\n"));
    }
}

#[test]
fn a_long_poll_is_answered_when_its_upstream_answers() {
    let (bowline, upstream) = pair();
    let (mut client, mut server) = begun(&bowline, &upstream, GET);
    client.is_silent(Duration::from_millis(300));
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    client.head();
    client.is_silent(Duration::from_millis(100));
    server.send("news");
    assert_eq!(client.exactly(4), b"news");
}

#[test]
fn an_upload_arrives_piece_by_piece_while_the_answer_streams() {
    let (bowline, upstream) = pair();
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut client, mut server) = begun(&bowline, &upstream, request);
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.head();
    for _ in 0..20 {
        client.send("4\r\nping\r\n");
        assert_eq!(server.exactly(9), b"4\r\nping\r\n");
        server.send("4\r\npong\r\n");
        assert_eq!(client.exactly(9), b"4\r\npong\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(server.exactly(5), b"0\r\n\r\n");
    server.send("0\r\n\r\n");
    assert_eq!(client.exactly(5), b"0\r\n\r\n");
}

/// The upstream of a client that left sees the close soon, and nothing that ends a body.
fn is_cancelled(server: &mut Wire) {
    let began = Instant::now();
    let rest = server.rest();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a broken upload looks whole");
}

#[test]
fn a_client_that_leaves_before_the_answer_cancels_the_request() {
    for by_reset in [false, true] {
        let (bowline, upstream) = pair();
        let (client, mut server) = begun(&bowline, &upstream, GET);
        if by_reset {
            client.reset()
        } else {
            drop(client)
        }
        is_cancelled(&mut server);
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_the_answer_cancels_the_request() {
    for by_reset in [false, true] {
        let (bowline, upstream) = pair();
        let (mut client, mut server) = begun(&bowline, &upstream, GET);
        server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        client.until("abc\r\n");
        if by_reset {
            client.reset()
        } else {
            drop(client)
        }
        is_cancelled(&mut server);
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_cancels_the_request() {
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        for by_reset in [false, true] {
            let (bowline, upstream) = pair();
            let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n3\r\nabc\r\n");
            let (client, mut server) = begun(&bowline, &upstream, &request);
            assert_eq!(server.exactly(8), b"3\r\nabc\r\n");
            if by_reset {
                client.reset()
            } else {
                drop(client)
            }
            is_cancelled(&mut server);
        }
    }
}

#[test]
fn a_client_that_leaves_with_a_pipelined_request_behind_it_is_noticed_with_the_answer() {
    let (bowline, upstream) = pair();
    let (client, mut server) = begun(&bowline, &upstream, &GET.repeat(2));
    client.reset();
    // Unread bytes hide the close from hyper: it stops reading while it holds some.
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    server.is_silent(Duration::from_millis(300));
}

/// What a client reads until the end, and whether the end was a reset.
fn to_the_end(client: &mut Wire) -> (Vec<u8>, bool) {
    let mut all = std::mem::take(&mut client.ahead);
    let mut block = [0; 4096];
    loop {
        match client.stream.read(&mut block) {
            Ok(0) => return (all, false),
            Ok(read) => all.extend_from_slice(&block[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (all, true),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_upstream_that_dies_within_a_length_does_not_look_whole() {
    for version in ["1.1", "1.0"] {
        let (bowline, upstream) = pair();
        let request = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
        let (mut client, mut server) = begun(&bowline, &upstream, &request);
        server.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        client.until("abc");
        drop(server);
        let (rest, reset) = to_the_end(&mut client);
        assert!(rest.is_empty() && reset, "HTTP/{version}: {rest:?}, reset: {reset}");
    }
}

#[test]
fn an_upstream_that_dies_between_chunks_does_not_look_whole() {
    for (version, by_reset) in [("1.1", false), ("1.0", false), ("1.1", true), ("1.0", true)] {
        let (bowline, upstream) = pair();
        let request = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
        let (mut client, mut server) = begun(&bowline, &upstream, &request);
        server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        client.until("abc");
        if by_reset {
            server.reset()
        } else {
            drop(server)
        }
        let (rest, reset) = to_the_end(&mut client);
        assert!(!rest.ends_with(b"0\r\n\r\n"), "HTTP/{version}: {rest:?}");
        assert!(reset, "HTTP/{version}");
    }
}

#[test]
fn an_upstream_that_is_reset_before_its_close_delimited_end_does_not_look_whole() {
    for version in ["1.1", "1.0"] {
        let (bowline, upstream) = pair();
        let request = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
        let (mut client, mut server) = begun(&bowline, &upstream, &request);
        server.send("HTTP/1.1 200 OK\r\n\r\nabc");
        client.until("abc");
        server.reset();
        let (rest, reset) = to_the_end(&mut client);
        assert!(!rest.ends_with(b"0\r\n\r\n"), "HTTP/{version}: {rest:?}");
        assert!(reset, "HTTP/{version}");
    }
}

#[test]
fn a_close_delimited_answer_that_ends_properly_is_whole() {
    let (bowline, upstream) = pair();
    let (mut client, mut server) = begun(&bowline, &upstream, "GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    server.send("HTTP/1.1 200 OK\r\n\r\nabc");
    drop(server);
    client.head();
    assert_eq!(to_the_end(&mut client), (b"abc".to_vec(), false));
}

#[test]
fn a_broken_upload_does_not_look_whole_to_the_upstream() {
    let (bowline, upstream) = pair();
    let (mut client, mut server) = begun(
        &bowline,
        &upstream,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    assert_eq!(server.exactly(8), b"3\r\nabc\r\n");
    client.finish();
    is_cancelled(&mut server);
}

#[test]
fn an_answer_that_comes_before_the_body_is_whole_however_slowly_it_is_read() {
    const ANSWER: usize = 6 << 20;
    let upstream = Upstream::serving(|mut wire| {
        wire.head();
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {ANSWER}\r\nConnection: close\r\n\r\n"
        ));
        wire.try_send(vec![b'x'; ANSWER]);
        wire.rest();
    });
    let bowline = Bowline::in_front_of(upstream);
    let mut client = bowline.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n");
    client.send(vec![b'y'; 1000]);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut got = 0;
    while got < ANSWER {
        let step = 200_000.min(ANSWER - got);
        client.exactly(step);
        got += step;
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_client_that_resets_within_its_body_lets_go_of_an_answer_that_has_begun() {
    let (bowline, upstream) = pair();
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nxyz";
    let (mut client, mut server) = begun(&bowline, &upstream, request);
    server.exactly(3);
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.until("abc\r\n");
    client.reset();
    assert_eq!(server.rest(), b"");
    bowline.wait_metric("bowline_connections", 0.0);
}

#[test]
fn a_client_that_falls_silent_within_its_body_gets_no_whole_answer() {
    let upstream = Upstream::new();
    let bowline = Bowline::with(&config(&[upstream.address], "timeouts: { body: 300ms }"));
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nxyz";
    let (mut client, mut server) = begun(&bowline, &upstream, request);
    server.exactly(3);
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.until("abc\r\n");
    // Bowline breaks the request off; what the upstream says then is no answer to it.
    assert_eq!(server.rest(), b"");
    server.try_send("0\r\n\r\n");
    let (rest, reset) = to_the_end(&mut client);
    assert!(reset && rest.is_empty(), "{rest:?}");
}

#[test]
fn an_upload_ends_with_an_answer_behind_which_nobody_listens() {
    let (bowline, upstream) = pair();
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nxyz";
    let (mut client, mut server) = begun(&bowline, &upstream, request);
    server.exactly(3);
    server.send("HTTP/1.1 413 X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    server.finish();
    assert!(client.head().starts_with("HTTP/1.1 413 "));
    assert_eq!(client.exactly(2), b"no");
    // The client goes on without reading; nothing of it is carried any further.
    while client.try_send([0; 65536]) {}
    server.rest();
    bowline.wait_metric("bowline_connections", 0.0);
}

#[test]
fn what_a_client_sends_on_never_reaches_an_upstream_that_switched_unasked() {
    let (bowline, upstream) = pair();
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nxyz";
    let (mut client, mut server) = begun(&bowline, &upstream, request);
    server.exactly(3);
    server.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 502 "));
    client.try_send("behind the 101");
    assert_eq!(server.rest(), b"");
}
