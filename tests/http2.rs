//! HTTP/2 with clients: requests, and what their fields become on the way to an upstream of HTTP/1.1.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/http2.rs"]
mod client;
mod support;

use bytes::Bytes;
use client::{Http2, request};
use h2::Reason;
use http::{HeaderMap, HeaderValue};
use support::*;

/// One worker, one route, HTTP/2 by prior knowledge.
fn serving(upstream: &Upstream, extra: &str) -> Bowline {
    Bowline::with(&h2c(&config(&[upstream.address], extra)))
}

fn h2c(yaml: &str) -> String {
    yaml.replacen("address: 127.0.0.1:0", "address: 127.0.0.1:0, http2: prior_knowledge", 1)
}

#[test]
fn a_request_becomes_one_of_http_1_1_and_its_answer_comes_back() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let mut asked = request("GET", "/a/b?c=d");
    for crumb in ["a=1", "b=2; c=3", "d=4"] {
        asked.headers_mut().append("cookie", crumb.parse().unwrap());
    }
    asked.headers_mut().insert("x-own", "kept".parse().unwrap());
    let (response, _) = client.begin(asked, true);
    let mut server = upstream.accept();
    let head = server.head();
    assert!(head.starts_with("GET /a/b?c=d HTTP/1.1\r\n"), "{head}");
    assert_eq!(headers(&head, "host"), ["test.example"]);
    assert_eq!(headers(&head, "cookie"), ["a=1; b=2; c=3; d=4"]);
    assert_eq!(headers(&head, "via"), ["2.0 bowline"]);
    assert_eq!(headers(&head, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(headers(&head, "x-forwarded-proto"), ["http"]);
    assert_eq!(headers(&head, "x-own"), ["kept"]);
    assert_eq!(headers(&head, "content-length"), [""; 0]);
    assert_eq!(headers(&head, "transfer-encoding"), [""; 0]);
    server.send(
        "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
         Keep-Alive: timeout=5\r\nX-End: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    let reply = client.reply(response);
    assert_eq!((reply.status, reply.text().as_str()), (201, "hello"));
    assert_eq!(reply.header("x-end"), Some("1"));
    assert!(reply.header("date").is_some());
    for gone in ["connection", "x-hop", "keep-alive", "transfer-encoding"] {
        assert_eq!(reply.header(gone), None, "{gone}");
    }
}

#[test]
fn many_requests_share_a_connection_and_none_waits_for_another() {
    let upstream = Upstream::serving(|mut wire| {
        while wire.has_more() {
            let head = wire.head();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            if path == "/slow" {
                wire.has_more();
                return;
            }
            let length = path.len();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}"));
        }
    });
    let bowline = Bowline::with(&h2c(&config(&[upstream], "")));
    let mut client = Http2::connect(bowline.address);
    let (_slow, _) = client.begin(request("GET", "/slow"), true);
    let answers: Vec<_> = (0..100)
        .map(|number| client.begin(request("GET", &format!("/{number}")), true).0)
        .collect();
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(client.reply(answer).text(), format!("/{number}"));
    }
    bowline.wait_metric("bowline_http2_connections", 1.0);
    bowline.wait_metric("bowline_http2_streams", 1.0);
    assert_eq!(bowline.metric("bowline_connections"), 1.0);
    drop(client);
    bowline.wait_metric("bowline_http2_connections", 0.0);
    bowline.wait_metric("bowline_http2_streams", 0.0);
    bowline.wait_metric("bowline_connections", 0.0);
}

#[test]
fn a_body_streams_up_with_its_trailers_and_down_with_the_upstreams() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let mut asked = request("POST", "/");
    asked.headers_mut().insert("te", "trailers".parse().unwrap());
    let (response, mut body) = client.begin(asked, false);
    body.send_data("one".into(), false).unwrap();
    let mut server = upstream.accept();
    let head = server.head();
    assert_eq!(headers(&head, "transfer-encoding"), ["chunked"]);
    assert_eq!(headers(&head, "te"), ["trailers"]);
    assert_eq!(server.until("one\r\n"), "3\r\none\r\n");
    body.send_data("two".into(), false).unwrap();
    assert_eq!(server.until("two\r\n"), "3\r\ntwo\r\n");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("6"));
    trailers.insert("host", HeaderValue::from_static("evil.example"));
    body.send_trailers(trailers).unwrap();
    assert_eq!(server.until("\r\n\r\n"), "0\r\nx-sum: 6\r\n\r\n");
    server.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Done\r\n\r\n2\r\nok\r\n0\r\nX-Done: yes\r\n\r\n",
    );
    let reply = client.reply(response);
    assert_eq!(reply.text(), "ok");
    assert_eq!(reply.trailers.unwrap()["x-done"], "yes");
}

#[test]
fn trailers_do_not_go_to_a_client_that_has_not_said_that_it_takes_them() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let (response, _) = client.begin(request("GET", "/"), true);
    let mut server = upstream.accept();
    server.head();
    server.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Done: yes\r\n\r\n",
    );
    let reply = client.reply(response);
    assert_eq!((reply.text().as_str(), reply.trailers), ("ok", None));
}

#[test]
fn a_length_goes_on_as_a_length() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let mut asked = request("PUT", "/");
    asked.headers_mut().insert("content-length", "5".parse().unwrap());
    let (response, mut body) = client.begin(asked, false);
    body.send_data("hello".into(), true).unwrap();
    let mut server = upstream.accept();
    let head = server.head();
    assert_eq!(headers(&head, "content-length"), ["5"]);
    assert_eq!(headers(&head, "transfer-encoding"), [""; 0]);
    assert_eq!(server.exactly(5), b"hello");
    server.send("HTTP/1.1 204 No Content\r\n\r\n");
    let reply = client.reply(response);
    assert_eq!((reply.status, reply.header("content-length")), (204, None));
}

#[test]
fn a_head_has_the_length_of_what_it_does_not_get() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let (response, _) = client.begin(request("HEAD", "/"), true);
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
    let reply = client.reply(response);
    assert_eq!((reply.header("content-length"), reply.text().as_str()), (Some("12345"), ""));
}

#[test]
fn a_client_that_expects_100_gets_it_when_the_upstream_wants_the_body() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let mut asked = request("POST", "/");
    asked.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let (mut response, mut body) = client.begin(asked, false);
    let mut server = upstream.accept();
    assert_eq!(headers(&server.head(), "expect"), ["100-continue"]);
    server.send("HTTP/1.1 100 Continue\r\n\r\n");
    let interim = client.wait(std::future::poll_fn(|cx| response.poll_informational(cx)));
    assert_eq!(interim.unwrap().unwrap().status(), 100);
    body.send_data("body".into(), true).unwrap();
    server.until("4\r\nbody\r\n0\r\n\r\n");
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.reply(response).status, 200);
}

#[test]
fn what_breaks_a_rule_is_refused_on_its_stream_and_the_connection_goes_on() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let mut other_host = request("GET", "/");
    other_host.headers_mut().insert("host", "other.example".parse().unwrap());
    let mut two_hosts = request("GET", "/");
    two_hosts.headers_mut().append("host", "test.example".parse().unwrap());
    two_hosts.headers_mut().append("host", "test.example".parse().unwrap());
    let mut large = request("GET", "/");
    large.headers_mut().insert("x-large", "x".repeat(70_000).parse().unwrap());
    let plain_connect = {
        let mut asked = request("CONNECT", "/");
        *asked.uri_mut() = "test.example:443".parse().unwrap();
        asked
    };
    for (asked, status) in [
        (other_host, 400),
        (two_hosts, 400),
        (large, 431),
        (request("GET", &format!("/{}", "x".repeat(20_000))), 414),
        (request("TRACE", "/"), 405),
        (plain_connect, 405),
        (request("GET", "/..%2f"), 400),
    ] {
        let shown = format!("{} {}", asked.method(), asked.uri().path())
            .chars()
            .take(40)
            .collect::<String>();
        let reply = client.ask(asked);
        assert_eq!(reply.status, status, "{shown}");
        assert_eq!(reply.header("connection"), None);
        assert!(reply.header("proxy-status").is_some());
        let length = reply.header("content-length").unwrap();
        assert_eq!(length, reply.body.len().to_string());
    }
    assert!(upstream.is_untouched() && client.lives());
}

#[test]
fn an_early_answer_ends_the_stream_and_lets_the_client_stop() {
    let upstream = Upstream::new();
    let bowline = Bowline::with(&h2c(&config(&[upstream.address], "")
        .replace("upstream: up }", "upstream: up, max_body: 1KiB }")));
    let mut client = Http2::connect(bowline.address);
    let mut asked = request("POST", "/");
    asked.headers_mut().insert("content-length", "100000".parse().unwrap());
    let (response, mut body) = client.begin(asked, false);
    let reply = client.reply(response);
    assert_eq!(reply.status, 413);
    // RFC 9113 section 8.1: a reset that is no error.
    let reason = client.wait(std::future::poll_fn(|cx| body.poll_reset(cx)));
    assert_eq!(reason.unwrap(), Reason::NO_ERROR);
    assert!(client.lives());
}

#[test]
fn an_answer_that_breaks_off_is_a_reset_and_not_an_end() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let (response, _) = client.begin(request("GET", "/"), true);
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    let response = client.wait(response).unwrap();
    let mut body = response.into_body();
    assert_eq!(client.wait(body.data()).unwrap().unwrap(), "half");
    drop(server);
    let error = client.wait(body.data()).unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    assert!(client.lives());
}

#[test]
fn a_request_that_its_client_gives_up_frees_its_upstream() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let (response, mut body) = client.begin(request("GET", "/"), true);
    let mut server = upstream.accept();
    server.head();
    body.send_reset(Reason::CANCEL);
    assert!(server.is_closed());
    drop(response);
    // One that is being answered too.
    let (response, mut body) = client.begin(request("GET", "/"), true);
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    client.wait(response).unwrap();
    body.send_reset(Reason::CANCEL);
    assert!(server.is_closed());
    bowline.wait_metric("bowline_http2_streams", 0.0);
    bowline.wait_metric(
        &format!("bowline_endpoint_requests{{upstream=\"up\",endpoint=\"{}\"}}", upstream.address),
        0.0,
    );
}

#[test]
fn a_client_that_takes_nothing_of_an_answer_loses_that_stream_only() {
    let upstream = Upstream::serving(|mut wire| {
        let head = wire.head();
        if head.starts_with("GET /endless ") {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
            while wire.try_send([0; 65536]) {}
            return;
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    let bowline = Bowline::with(&h2c(&config(&[upstream], "timeouts: { body: 200ms }")));
    let mut client = Http2::connect(bowline.address);
    let (stalled, _) = client.begin(request("GET", "/endless"), true);
    let mut stalled = client.wait(stalled).unwrap().into_body();
    let reason = client.wait(async {
        loop {
            // Read, and no window given back.
            match stalled.data().await.expect("a reset, not an end") {
                Ok(_) => {}
                Err(error) => return error.reason(),
            }
        }
    });
    assert_eq!(reason, Some(Reason::CANCEL));
    // The connection's window is used up by what was not taken, but for the rest that it has.
    assert_eq!(bowline.metric("bowline_http2_faults_total{fault=\"stalled\"}"), 1.0);
    drop(stalled);
    assert_eq!(client.get("/").text(), "ok");
}

#[test]
fn one_port_has_both_versions() {
    let upstream = node("one");
    let bowline = Bowline::with(&h2c(&config(&[upstream], "")));
    let mut old = bowline.client();
    for piece in ["P", "OST / HTTP/1.1\r\nHost: test.example\r\nContent-", "Length: 0\r\n\r\n"] {
        old.send(piece);
    }
    assert_eq!(old.answer().text(), "one");
    assert_eq!(Http2::connect(bowline.address).get("/").text(), "one");
    let mut socket = bowline.client();
    socket.send(handshake("/", ""));
    assert!(socket.head().starts_with("HTTP/1.1 101 "));
}

#[test]
fn http_2_is_nobodys_guess_where_a_listener_does_not_say_it() {
    let upstream = Upstream::new();
    let bowline = Bowline::with(&config(&[upstream.address], ""));
    let mut client = bowline.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let answer = client.rest();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    assert!(upstream.is_untouched());
}

#[test]
fn a_connection_without_streams_ends_after_the_header_timeout_with_a_goaway() {
    let upstream = node("one");
    let yaml = h2c(&config(&[upstream], ""));
    let bowline = Bowline::with(&yaml.replace("http2:", "header_timeout: 200ms, http2:"));
    let mut client = Http2::connect(bowline.address);
    assert_eq!(client.get("/").text(), "one");
    client.end().unwrap();
    bowline.wait_metric("bowline_connections", 0.0);
    // Nor does one live that never says anything, or only the preface.
    for said in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut silent = bowline.client();
        silent.send(said);
        silent.rest();
    }
    bowline.wait_metric("bowline_connections", 0.0);
    let text = bowline.metrics.encode();
    assert!(!text.contains("bowline_http2_faults_total{"), "{text}");
}

#[test]
fn a_drain_lets_requests_end_and_then_says_goaway() {
    let upstream = Upstream::new();
    let mut bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let (response, _) = client.begin(request("GET", "/"), true);
    let mut server = upstream.accept();
    server.head();
    bowline.drain();
    wait_for("the GOAWAY", || {
        let mut send = client.send.clone();
        client.wait(async { std::future::poll_fn(|cx| send.poll_ready(cx)).await }).is_err()
            || send.send_request(request("GET", "/late"), true).is_err()
    });
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply(response).text(), "ok");
    client.end().unwrap();
    bowline.join();
}

#[test]
fn small_pieces_of_a_body_that_wait_for_the_upstream_are_no_flood() {
    let upstream = Upstream::new();
    let bowline = serving(&upstream, "");
    let mut client = Http2::connect(bowline.address);
    let (response, mut body) = client.begin(request("POST", "/"), false);
    let mut server = upstream.accept();
    server.head();
    // All that the stream's window takes, and more behind it.
    for _ in 0..70_000 {
        body.send_data(Bytes::from_static(b"x"), false).unwrap();
    }
    let mut got = 0;
    while got < 70_000 {
        let size = server.until("\r\n");
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        server.exactly(size + 2);
        got += size;
    }
    body.send_data(Bytes::new(), true).unwrap();
    server.until("0\r\n\r\n");
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.reply(response).text(), "ok");
    assert!(client.lives());
}
