//! Plain HTTP through Bowline, head and framing: what crosses, what ends here, and what either
//! side may be that is not HTTP/1.1 with a length. RFC 9110 sections 7 to 10, RFC 9112.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "threads of a test may wait, and read the real clock"
)]

mod support;

use std::time::{Duration, Instant};

use support::{Bowline, Upstream, Wire, header, headers};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn pair() -> (Bowline, Upstream) {
    let upstream = Upstream::new();
    (Bowline::in_front_of(upstream.address), upstream)
}

fn get(path: &str, extra: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test.example\r\n{extra}\r\n")
}

/// Sends a request and returns the head that the upstream got, both sides still open.
fn ask(bowline: &Bowline, upstream: &Upstream, request: &str) -> (Wire, Wire, String) {
    let mut client = bowline.client();
    client.send(request);
    let mut server = upstream.accept();
    let head = server.head();
    (client, server, head)
}

/// The head that answers `request` when the upstream says `answer`.
fn answered(
    bowline: &Bowline,
    upstream: &Upstream,
    request: &str,
    answer: &str,
) -> (Wire, Wire, String) {
    let (mut client, mut server, _) = ask(bowline, upstream, request);
    server.send(answer);
    let head = client.head();
    (client, server, head)
}

#[test]
fn the_fields_of_one_hop_end_here() {
    let (bowline, upstream) = pair();
    let (_, _, head) = ask(
        &bowline,
        &upstream,
        &get(
            "/",
            "Connection: keep-alive, X-Hop\r\nConnection: x-second\r\nX-Hop: 1\r\nX-Second: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\nProxy-Authorization: Basic eDp5\r\nX-Kept: 1\r\n",
        ),
    );
    for name in [
        "connection",
        "x-hop",
        "x-second",
        "keep-alive",
        "proxy-connection",
        "te",
        "upgrade",
        "http2-settings",
        "proxy-authorization",
        "transfer-encoding",
    ] {
        assert_eq!(header(&head, name), None, "{name} in {head}");
    }
    assert_eq!(header(&head, "x-kept"), Some("1"));
}

#[test]
fn the_fields_of_one_hop_end_here_on_the_way_back() {
    let (bowline, upstream) = pair();
    let (_, _, head) = answered(
        &bowline,
        &upstream,
        &get("/", ""),
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nTE: trailers\r\n\
         X-Kept: 1\r\nContent-Length: 0\r\n\r\n",
    );
    for name in [
        "connection",
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "upgrade",
        "te",
    ] {
        assert_eq!(header(&head, name), None, "{name} in {head}");
    }
    assert_eq!(header(&head, "x-kept"), Some("1"));
}

#[test]
fn a_connection_that_names_a_field_of_the_whole_way_is_refused() {
    let (bowline, upstream) = pair();
    for name in [
        "Host",
        "Content-Length",
        "Cookie",
        "Authorization",
        "Origin",
        "Expect",
        "Via",
        "Forwarded",
        "Sec-WebSocket-Key",
    ] {
        let mut client = bowline.client();
        client.send(get("/", &format!("Connection: close, {name}\r\n")));
        assert_eq!(client.answer().status, 400, "{name}");
        assert!(client.is_closed());
    }
    assert!(upstream.is_untouched());
}

#[test]
fn what_bowline_sets_cannot_be_struck_out_by_connection() {
    let (bowline, upstream) = pair();
    let (_, _, head) = ask(
        &bowline,
        &upstream,
        &get("/", "Connection: X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host\r\n"),
    );
    assert_eq!(header(&head, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header(&head, "x-forwarded-proto"), Some("http"));
    assert_eq!(header(&head, "x-forwarded-host"), Some("test.example"));
}

#[test]
fn an_upgrade_that_connection_does_not_name_is_a_plain_request() {
    let (bowline, upstream) = pair();
    let (mut client, mut server, head) =
        ask(&bowline, &upstream, &get("/", "Upgrade: websocket\r\n"));
    assert_eq!(header(&head, "upgrade"), None);
    server.send(OK);
    assert_eq!(client.answer().status, 200);
}

#[test]
fn an_upgrade_to_anything_else_is_a_plain_request() {
    for token in ["h2c", "TLS/1.0", "HTTP/2.0", "foo, bar"] {
        let (bowline, upstream) = pair();
        let extra = format!(
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {token}\r\nHTTP2-Settings: AA\r\n"
        );
        let (mut client, mut server, head) = ask(&bowline, &upstream, &get("/", &extra));
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(header(&head, name), None, "{token}: {head}");
        }
        server.send(OK);
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn an_upgrade_on_http_1_0_is_a_plain_request() {
    let (bowline, upstream) = pair();
    let request = "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (mut client, mut server, head) = ask(&bowline, &upstream, request);
    assert_eq!(header(&head, "upgrade"), None);
    server.send(OK);
    assert_eq!(client.answer().status, 200);
    assert!(client.is_closed());
}

#[test]
fn a_101_that_nobody_asked_for_is_a_502_and_its_connection_is_gone() {
    let (bowline, upstream) = pair();
    let (mut client, mut server, head) =
        answered(&bowline, &upstream, &get("/", ""), support::SWITCHING);
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!(header(&head, "upgrade"), None);
    assert!(header(&head, "proxy-status").unwrap().contains("http_upgrade_failed"));
    server.try_send("not a tunnel");
    assert!(server.is_closed());
    let rest = String::from_utf8(client.rest()).unwrap();
    assert!(!rest.contains("not a tunnel"), "{rest}");
}

#[test]
fn trace_and_connect_go_nowhere() {
    let (bowline, upstream) = pair();
    for request in [
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    ] {
        let mut client = bowline.client();
        client.send(request);
        let answer = client.answer();
        assert_eq!(answer.status, 405, "{request}");
        assert!(answer.header("allow").unwrap().contains("GET"));
        assert!(client.is_closed());
    }
    assert!(upstream.is_untouched());
}

#[test]
fn options_without_a_hop_left_is_answered_here_and_loses_one_otherwise() {
    let (bowline, upstream) = pair();
    let mut client = bowline.client();
    let options =
        |hops: &str| format!("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: {hops}\r\n\r\n");
    client.send(options("0"));
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.header("allow").unwrap().contains("OPTIONS"));
    assert!(upstream.is_untouched());
    client.send(options("7"));
    let mut server = upstream.accept();
    let head = server.head();
    assert!(head.starts_with("OPTIONS * HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(&head, "max-forwards"), Some("6"));
    server.send(OK);
    assert_eq!(client.answer().status, 200);
    client.send(get("/", "Max-Forwards: 0\r\n"));
    assert_eq!(header(&server.head(), "max-forwards"), Some("0"), "other methods ignore it");
}

#[test]
fn trailers_reach_an_upstream_without_what_frames_routes_or_authenticates() {
    let (bowline, upstream) = pair();
    let (mut client, mut server, head) = ask(
        &bowline,
        &upstream,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: X-Named\r\n\
         Trailer: X-Sum, X-Named, Host, Content-Length, Authorization\r\n\r\n",
    );
    assert_eq!(header(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(header(&head, "x-sum"), None);
    client.send("3\r\nabc\r\n0\r\nX-Sum: 7\r\nX-Named: 1\r\nHost: evil\r\nContent-Length: 9\r\nAuthorization: x\r\n\r\n");
    let body = server.until("\r\n\r\n").to_lowercase();
    assert!(body.contains("x-sum: 7\r\n"), "{body}");
    for name in ["x-named", "host", "content-length", "authorization"] {
        assert!(!body.contains(name), "{name} in {body}");
    }
    server.send(OK);
    assert_eq!(client.answer().status, 200);
}

#[test]
fn trailers_reach_only_a_client_that_takes_them() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Set-Cookie\r\n\
                  Connection: X-Named\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nX-Named: 1\r\nSet-Cookie: a=b\r\n\r\n";
    let (bowline, upstream) = pair();
    let (mut client, mut server, head) =
        ask(&bowline, &upstream, &get("/", "TE: trailers\r\nConnection: TE\r\n"));
    assert_eq!(header(&head, "te"), Some("trailers"));
    server.send(answer);
    let head = client.head();
    assert_eq!(header(&head, "x-sum"), None, "never merged into the head");
    let body = client.until("\r\n\r\n").to_lowercase();
    assert!(body.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{body}");

    // Trailers end an answer like any other: its connection is used again.
    let mut client = bowline.client();
    client.send(get("/", ""));
    assert_eq!(header(&server.head(), "te"), None);
    server.send(answer);
    client.head();
    assert_eq!(client.until("0\r\n\r\n"), "3\r\nabc\r\n0\r\n\r\n");
}

const EXPECT: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";

#[test]
fn an_upstreams_100_becomes_the_clients_100_and_not_before() {
    let (bowline, upstream) = pair();
    let (mut client, mut server, head) = ask(&bowline, &upstream, EXPECT);
    assert_eq!(header(&head, "expect"), Some("100-continue"));
    client.is_silent(Duration::from_millis(200));
    server.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    assert_eq!(server.exactly(3), b"abc");
    server.send(OK);
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_417_passes_back_without_the_body() {
    let (bowline, upstream) = pair();
    let (mut client, mut server, _) = ask(&bowline, &upstream, EXPECT);
    server.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().as_str()), (417, "no"));
    assert!(client.is_closed(), "who knows whether the body still comes");
    assert!(server.is_closed(), "an upstream that was promised a body is not used again");
}

#[test]
fn an_upstream_that_never_says_100_gets_the_body_all_the_same() {
    let (bowline, upstream) = pair();
    let (mut client, mut server, _) = ask(&bowline, &upstream, EXPECT);
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    assert_eq!(server.exactly(3), b"abc");
    server.send(OK);
    assert_eq!(client.answer().status, 200);
}

#[test]
fn an_unknown_expectation_is_a_417() {
    let (bowline, upstream) = pair();
    for expect in
        ["Expect: 200-ok", "Expect: 100-continue\r\nExpect: other", "Expect: 100-continue, x"]
    {
        let mut client = bowline.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{expect}\r\nContent-Length: 3\r\n\r\n"));
        assert_eq!(client.answer().status, 417, "{expect}");
        assert!(client.is_closed());
    }
    assert!(upstream.is_untouched());
}

#[test]
fn http_1_0_cannot_expect() {
    let (bowline, upstream) = pair();
    let request =
        "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc";
    let (mut client, mut server, head) = ask(&bowline, &upstream, request);
    assert_eq!(header(&head, "expect"), None);
    assert_eq!(server.exactly(3), b"abc");
    server.send(OK);
    assert_eq!(client.answer().status, 200);
}

#[test]
fn an_interim_answer_does_not_stand_for_the_answer() {
    let (bowline, upstream) = pair();
    let (_, _, head) = answered(
        &bowline,
        &upstream,
        &get("/", ""),
        &format!(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n{OK}"
        ),
    );
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(header(&head, "link"), None);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (bowline, upstream) = pair();
    let mut client = bowline.client();
    client.send(format!("{}{}{}", get("/1", ""), get("/2", ""), get("/3", "")));
    let mut server = upstream.accept();
    for number in 1..=3 {
        assert!(server.head().starts_with(&format!("GET /{number} ")));
        server.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"));
        assert_eq!(client.answer().text(), number.to_string());
    }
}

#[test]
fn an_answer_to_head_has_its_length_and_no_body() {
    let (bowline, upstream) = pair();
    let (mut client, mut server, head) =
        ask(&bowline, &upstream, "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(head.starts_with("HEAD /a "));
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
    assert_eq!(header(&client.head(), "content-length"), Some("12345"));
    client.send(get("/b", ""));
    assert!(server.head().starts_with("GET /b "), "the upstream connection is in step");
    server.send(OK);
    assert_eq!(client.answer().text(), "ok", "the client connection is in step");
}

#[test]
fn an_answer_that_can_have_no_body_has_none() {
    for (answer, length) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", None),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", None),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Some("5")),
    ] {
        let (bowline, upstream) = pair();
        let (mut client, mut server, _) = ask(&bowline, &upstream, &get("/a", ""));
        server.send(answer);
        let head = client.head();
        assert!(head.starts_with(&answer[..12]), "{head}");
        assert_eq!(header(&head, "transfer-encoding"), None, "{head}");
        let told = header(&head, "content-length");
        assert!(told.is_none() || told == length, "{head}");
        client.send(get("/b", ""));
        assert!(server.head().starts_with("GET /b "), "{answer}");
        server.send(OK);
        assert_eq!(client.answer().text(), "ok");
    }
}

#[test]
fn a_chunked_answer_stays_chunked_and_its_extensions_end_here() {
    let (bowline, upstream) = pair();
    let (mut client, _server, head) = answered(
        &bowline,
        &upstream,
        &get("/", ""),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
    );
    assert_eq!(headers(&head, "transfer-encoding"), ["chunked"]);
    assert_eq!(header(&head, "content-length"), None);
    assert_eq!(client.until("0\r\n\r\n"), "3\r\nabc\r\n0\r\n\r\n");
}

#[test]
fn an_answer_that_ends_with_its_connection_is_chunked_to_http_1_1() {
    let (bowline, upstream) = pair();
    let (mut client, server, head) =
        answered(&bowline, &upstream, &get("/", ""), "HTTP/1.1 200 OK\r\n\r\nall of it");
    assert_eq!(header(&head, "transfer-encoding"), Some("chunked"));
    drop(server);
    assert!(client.until("0\r\n\r\n").contains("all of it"));
    client.send(get("/", ""));
    client.is_silent(Duration::from_millis(50));
}

#[test]
fn an_http_1_0_upstream_is_understood_and_told_1_1() {
    let (bowline, upstream) = pair();
    let (mut client, mut server, head) = ask(&bowline, &upstream, &get("/", ""));
    assert!(head.starts_with("GET / HTTP/1.1\r\n"));
    server.send("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold");
    let answer = client.answer();
    assert!(answer.head.starts_with("HTTP/1.1 200 "), "{}", answer.head);
    assert_eq!(answer.text(), "old");
    assert!(server.is_closed(), "HTTP/1.0 without keep-alive ends");
    client.send(get("/", ""));
    upstream.accept().head();
}

#[test]
fn an_http_1_0_client_gets_no_chunks_and_a_close() {
    let (bowline, upstream) = pair();
    let (mut client, mut server, head) = ask(&bowline, &upstream, "GET / HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    assert_eq!(headers(&head, "host").len(), 1, "HTTP/1.1 has a Host, be it empty: {head}");
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let answer = client.head();
    assert_eq!(header(&answer, "transfer-encoding"), None, "{answer}");
    assert_eq!(client.rest(), b"abc");
}

#[test]
fn an_http_1_0_client_may_ask_for_keep_alive() {
    let (bowline, upstream) = pair();
    let request = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    let (mut client, mut server, _) = ask(&bowline, &upstream, request);
    server.send(OK);
    let answer = client.answer();
    assert_eq!(answer.header("connection"), Some("keep-alive"), "{}", answer.head);
    client.send(request);
    server.head();
    server.send(OK);
    assert_eq!(client.answer().status, 200);
}

#[test]
fn connection_close_is_each_hops_own() {
    let (bowline, upstream) = pair();
    let (mut client, mut server, head) =
        ask(&bowline, &upstream, &get("/", "Connection: close\r\n"));
    assert_eq!(header(&head, "connection"), None);
    server.send(OK);
    assert_eq!(client.answer().header("connection"), Some("close"));
    assert!(client.is_closed());
    let mut client = bowline.client();
    client.send(get("/again", ""));
    assert!(server.head().starts_with("GET /again "), "the upstream connection lives on");
    server.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().header("connection"), None, "the client connection lives on");
    client.send(get("/third", ""));
    assert!(upstream.accept().head().starts_with("GET /third "));
}

#[test]
fn a_body_without_length_crosses_whatever_the_method() {
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "POST", "PURGE"] {
        let (bowline, upstream) = pair();
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        );
        let (_client, mut server, head) = ask(&bowline, &upstream, &request);
        assert_eq!(header(&head, "transfer-encoding"), Some("chunked"), "{method}");
        assert_eq!(server.until("0\r\n\r\n"), "3\r\nabc\r\n0\r\n\r\n", "{method}");
    }
}

#[test]
fn the_head_crosses_as_it_came() {
    let (bowline, upstream) = pair();
    let path = "/a%2Fb//c/../d;x=1?q=%20&q=+&r[]=%C3%A9";
    let (mut client, mut server, head) = ask(
        &bowline,
        &upstream,
        &get(path, "X-Two: 1\r\nX-Two: 2\r\nX-Empty:\r\nX-Utf8: \u{e9}\r\nCookie: a=b; c=d\r\n"),
    );
    // The path in its one form, and nothing else touched.
    let path = "/a%2Fb/d;x=1?q=%20&q=+&r[]=%C3%A9";
    assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{head}");
    assert_eq!(headers(&head, "host"), ["test.example"]);
    assert_eq!(headers(&head, "x-two"), ["1", "2"]);
    assert_eq!(headers(&head, "x-empty"), [""]);
    assert_eq!(headers(&head, "x-utf8"), ["\u{e9}"]);
    assert_eq!(headers(&head, "cookie"), ["a=b; c=d"]);
    assert_eq!(headers(&head, "content-length").len(), 0, "no body, no length: {head}");
    server.send("HTTP/1.1 299 Rather Odd\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nDate: then\r\nServer: s\r\nContent-Length: 0\r\n\r\n");
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 299 Rather Odd\r\n"), "{head}");
    assert_eq!(headers(&head, "set-cookie"), ["a", "b"]);
    assert_eq!(headers(&head, "date"), ["then"]);
    assert_eq!(headers(&head, "server"), ["s"]);
}

#[test]
fn an_upstream_that_has_no_connection_left_is_not_asked_twice_for_a_post() {
    let (bowline, upstream) = pair();
    let (mut client, server, _) =
        ask(&bowline, &upstream, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    drop(server);
    assert_eq!(client.answer().status, 502);
    assert!(upstream.is_untouched());
}

#[test]
fn a_long_upload_is_not_a_slow_upstream() {
    let upstream = Upstream::new();
    let bowline = Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\ntimeouts: {{ response: 400ms }}\n\
         routes: [ {{ upstream: up }} ]\nupstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n",
        upstream.address
    ));
    let mut client = bowline.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    let began = Instant::now();
    for _ in 0..10 {
        client.send("a");
        assert_eq!(server.exactly(1), b"a");
        std::thread::sleep(Duration::from_millis(80));
    }
    assert!(began.elapsed() > Duration::from_millis(700));
    server.send(OK);
    assert_eq!(client.answer().status, 200);
}
