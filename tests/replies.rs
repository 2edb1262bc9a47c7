//! What Bowline says itself: short, in the client's preferred form, with the reason in
//! Proxy-Status (RFC 9209), and so that the client can read it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "threads of a test may wait, and read the real clock"
)]

mod support;

use std::time::Duration;

use support::{Answer, Bowline, Upstream, Wire, handshake, nobody};

/// Short times and small sizes, and an upstream that never answers.
fn impatient(endpoint: impl std::fmt::Display) -> Bowline {
    Bowline::with(&format!(
        "workers: 1\n\
         listeners: [ {{ address: 127.0.0.1:0, header_timeout: 300ms, limits: {{ uri: 1KiB, headers: 8KiB }} }} ]\n\
         timeouts: {{ connect: 300ms, handshake: 300ms, response: 300ms, body: 300ms }}\n\
         routes:\n- {{ match: {{ host: a.example }}, upstream: up, max_body: 10B }}\n\
         - {{ match: {{ host: b.example }}, upstream: up }}\n\
         upstreams: {{ up: {{ endpoints: [ \"{endpoint}\" ] }} }}\n"
    ))
}

fn mute() -> std::net::SocketAddr {
    Upstream::serving(|mut wire| drop(wire.rest()))
}

fn told(bowline: &Bowline, request: &str) -> (Answer, Wire) {
    let mut client = bowline.client();
    client.send(request);
    (client.answer(), client)
}

/// Every answer of Bowline's own is like this.
fn is_our_own(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.status, status, "{}", answer.head);
    let proxy_status = answer.header("proxy-status").expect(&answer.head);
    assert!(proxy_status.starts_with(&format!("bowline; error={error}")), "{proxy_status}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let text = answer.text();
    assert!(text.starts_with(&status.to_string()) && text.len() < 200, "{text}");
}

#[test]
fn every_error_is_our_own_reply_with_its_reason() {
    let bowline = impatient(mute());
    let get = |host: &str, target: &str, extra: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n")
    };
    let upgrade = handshake("/", "").replace("test.example", "a.example");
    let table = [
        (400, "http_request_error", get("a.example", "/", "Host: b\r\n")),
        (400, "http_request_error", "hello\r\n\r\n".to_owned()),
        (404, "destination_not_found", get("nobody.example", "/", "")),
        (405, "http_request_denied", "TRACE / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_owned()),
        (408, "http_request_error", "GET / HTTP/1.1\r\nHost: a.ex".to_owned()),
        (408, "http_request_error", "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nab".to_owned()),
        (413, "http_request_denied", "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 11\r\n\r\n".to_owned()),
        (413, "http_request_denied", "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nabcdefghijk\r\n".to_owned()),
        (414, "http_request_denied", get("a.example", &format!("/{}", "a".repeat(2000)), "")),
        (414, "http_request_denied", get("a.example", &format!("/{}", "a".repeat(15000)), "")),
        (417, "http_request_denied", get("a.example", "/", "Expect: the-unexpected\r\n")),
        (426, "http_request_error", upgrade.replace("Version: 13", "Version: 8")),
        (431, "http_request_denied", get("a.example", "/", &format!("X: {}\r\n", "a".repeat(9000)))),
        (431, "http_request_denied", get("a.example", "/", &"X: 1\r\n".repeat(101))),
        (431, "http_request_denied", get("a.example", "/", &format!("X: {}\r\n", "a".repeat(40000)))),
        (501, "http_request_error", "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_owned()),
        (504, "http_response_timeout", get("a.example", "/", "")),
        (504, "http_response_timeout", upgrade),
        (508, "proxy_loop_detected", get("a.example", "/", &"Via: 1.1 bowline\r\n".repeat(9))),
    ];
    for (status, error, request) in table {
        let (answer, _) = told(&bowline, &request);
        is_our_own(&answer, status, error);
    }
}

#[test]
fn an_upstream_that_is_not_there_or_not_http_is_a_502_that_says_which() {
    let get = "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n";
    is_our_own(&told(&impatient(nobody()), get).0, 502, "connection_refused");
    let closing = Upstream::serving(|mut wire| drop(wire.head()));
    is_our_own(&told(&impatient(closing), get).0, 502, "connection_terminated");
    let babbling = Upstream::serving(|mut wire| {
        wire.head();
        wire.send("SSH-2.0-OpenSSH\r\n\r\n");
        wire.rest();
    });
    is_our_own(&told(&impatient(babbling), get).0, 502, "http_protocol_error");
}

#[test]
fn a_name_that_does_not_resolve_is_a_502() {
    let bowline = impatient("no-such-name.invalid:80");
    let (answer, _) = told(&bowline, "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert!(matches!(answer.status, 502 | 504), "{}", answer.head);
    assert!(answer.header("proxy-status").is_some());
}

#[test]
fn an_upgrade_while_draining_is_a_503_with_retry_after() {
    let upstream = Upstream::new();
    let mut bowline = Bowline::in_front_of(upstream.address);
    let mut client = bowline.client();
    let upgrade = handshake("/", "");
    // Half a head keeps the connection from closing at once.
    client.send(&upgrade[..20]);
    bowline.wait_metric("bowline_accepted_total", 1.0);
    let mut idle = bowline.client();
    idle.send(upgrade.replace("Version: 13", "Version: 8"));
    assert_eq!(idle.answer().status, 426);
    bowline.drain();
    assert!(idle.is_closed(), "the drain has begun");
    client.send(&upgrade[20..]);
    let answer = client.answer();
    is_our_own(&answer, 503, "http_request_denied");
    assert!(answer.header("retry-after").is_some());
    assert!(client.is_closed());
    assert!(upstream.is_untouched());
}

#[test]
fn a_426_names_the_version_that_works() {
    let bowline = impatient(mute());
    let request = handshake("/", "")
        .replace("test.example", "a.example")
        .replace("Version: 13", "Version: 7");
    let (answer, _) = told(&bowline, &request);
    assert_eq!(answer.status, 426);
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
}

#[test]
fn the_form_follows_accept() {
    let bowline = impatient(mute());
    for (accept, content_type, begins) in [
        ("*/*", "text/plain; charset=utf-8", "404 Not Found"),
        ("application/json", "application/json", "{"),
        (
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/html; charset=utf-8",
            "<!doctype html>",
        ),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: x.example\r\nAccept: {accept}\r\n\r\n");
        let (answer, _) = told(&bowline, &request);
        assert_eq!(answer.status, 404);
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert!(answer.text().starts_with(begins), "{}", answer.text());
    }
}

#[test]
fn an_answer_to_head_is_our_own_without_its_body() {
    let bowline = impatient(mute());
    let mut client = bowline.client();
    client.send("HEAD / HTTP/1.1\r\nHost: x.example\r\nConnection: close\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 404 "));
    assert!(client.is_closed());
}

#[test]
fn a_client_can_go_on_after_an_error_that_leaves_the_framing_sound() {
    let bowline = impatient(mute());
    let mut client = bowline.client();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: x.example\r\n\r\n");
        assert_eq!(client.answer().status, 404);
    }
}

#[test]
fn a_client_that_still_sends_reads_its_413_whole() {
    let bowline = impatient(mute());
    for _ in 0..10 {
        let mut client = bowline.client();
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 900000\r\n\r\n");
        // A close with this unread would be a reset that overtakes the answer (H-10).
        client.send(vec![b'x'; 900_000]);
        let answer = client.answer();
        is_our_own(&answer, 413, "http_request_denied");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed());
    }
}

#[test]
fn a_client_that_says_nothing_is_closed_without_a_word() {
    let bowline = impatient(mute());
    assert!(bowline.client().is_closed());
    let mut client = bowline.client();
    client.send("GET / HTTP/1.1\r\nHost: x.example\r\n\r\n");
    assert_eq!(client.answer().status, 404);
    assert!(client.is_closed(), "between requests too");
}

#[test]
fn a_head_that_comes_byte_by_byte_for_too_long_is_a_408() {
    let bowline = impatient(mute());
    let mut client = bowline.client();
    for byte in b"GET / HTTP/1.1\r\nHost: x.example\r\nX-Slow: very very slow".iter() {
        if !client.try_send([*byte]) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    is_our_own(&client.answer(), 408, "http_request_error");
    assert!(client.is_closed());
}

#[test]
fn a_head_that_comes_byte_by_byte_in_time_is_a_request_like_any_other() {
    let upstream = Upstream::new();
    let bowline = Bowline::in_front_of(upstream.address);
    let mut client = bowline.client();
    for byte in b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n".iter() {
        client.send([*byte]);
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut server = upstream.accept();
    assert!(server.head().starts_with("GET /slow HTTP/1.1\r\n"));
    server.send("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(client.answer().status, 204);
}

#[test]
fn a_reply_never_repeats_what_the_client_sent() {
    let bowline = impatient(mute());
    for request in [
        "GET /<script>alert(1)</script> HTTP/1.1\r\nHost: x.example\r\nAccept: text/html\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x.example\r\nAccept: text/html\r\nConnection: host<script>\r\n\r\n",
    ] {
        let (answer, _) = told(&bowline, request);
        assert!(!answer.text().contains("<script>"), "{}", answer.text());
    }
}
