//! Upstreams that answer what no upstream should: a 502, or one clean meaning; and a connection
//! that said such a thing is never used again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use support::{Bowline, Upstream, Wire, header, headers};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Stage {
    upstream: Upstream,
    bowline: Bowline,
}

impl Stage {
    fn new() -> Self {
        let upstream = Upstream::new();
        let bowline = Bowline::in_front_of(upstream.address);
        Self { upstream, bowline }
    }

    /// The client and the upstream's end after `answer` was given to a GET.
    fn given(&self, answer: impl AsRef<[u8]>) -> (Wire, Wire) {
        let mut client = self.bowline.client();
        client.send(GET);
        let mut server = self.upstream.accept();
        server.head();
        server.try_send(answer);
        (client, server)
    }

    /// A 502 with its reason, a closed connection, and a fresh one for the next request.
    fn is_a_502(&self, answer: impl AsRef<[u8]>) {
        let answer = answer.as_ref();
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(120)]).into_owned();
        let (mut client, mut server) = self.given(answer);
        let told = client.answer();
        assert_eq!(told.status, 502, "{shown:?}");
        let why = told.header("proxy-status").unwrap();
        assert!(
            why.contains("http_protocol_error") || why.contains("connection_terminated"),
            "{why}"
        );
        server.rest();
        self.next_is_fresh();
    }

    fn next_is_fresh(&self) {
        let mut client = self.bowline.client();
        client.send(GET);
        let mut fresh = self.upstream.accept();
        fresh.head();
        fresh.send(OK);
        assert_eq!(client.answer().text(), "ok");
        // Not one for the pool of the next case.
        drop(fresh);
    }
}

#[test]
fn what_is_not_http_is_a_502() {
    for answer in [
        "",
        "hello\n",
        "<html>an answer of HTTP/0.9</html>",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "\r\n\r\nhello",
        "\u{15}\u{3}\u{1}\0\u{2}\u{2}\n",
    ] {
        let stage = Stage::new();
        let (mut client, mut server) = stage.given(answer);
        server.finish();
        assert_eq!(client.answer().status, 502, "{answer:?}");
        server.rest();
    }
}

#[test]
fn bad_fields_are_a_502() {
    let stage = Stage::new();
    for fields in [
        "X: a\r\n folded: b\r\n",
        "X: a\r\n\tb\r\n",
        " X: a\r\n",
        "X : a\r\n",
        "X a\r\n",
        ": a\r\n",
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        "X\u{e9}: a\r\n",
    ] {
        stage.is_a_502(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"));
    }
}

#[test]
fn framing_that_could_be_read_two_ways_is_a_502() {
    let stage = Stage::new();
    for framing in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2, 3\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: -2\r\n",
        "Content-Length: 0x2\r\n",
        "Content-Length: 2 2\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        stage.is_a_502(format!("HTTP/1.1 200 OK\r\n{framing}\r\n2\r\nok\r\n0\r\n\r\n"));
    }
    stage.is_a_502("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
}

#[test]
fn a_length_said_twice_is_one_length() {
    for length in ["Content-Length: 2\r\nContent-Length: 2\r\n", "Content-Length: 2, 2\r\n"] {
        let stage = Stage::new();
        let (mut client, _server) = stage.given(format!("HTTP/1.1 200 OK\r\n{length}\r\nok"));
        let answer = client.answer();
        assert_eq!(headers(&answer.head, "content-length"), ["2"], "{length:?}");
        assert_eq!(answer.text(), "ok");
    }
}

#[test]
fn a_bad_length_on_an_answer_without_body_is_a_502() {
    let stage = Stage::new();
    let mut client = stage.bowline.client();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut server = stage.upstream.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: x\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 502 "));
    server.rest();
}

#[test]
fn bad_chunks_never_look_whole() {
    for chunks in [
        "ffffffffffffffffff\r\nabc",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "g\r\n",
    ] {
        let stage = Stage::new();
        let (mut client, mut server) =
            stage.given(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
        let rest = client.rest();
        let text = String::from_utf8_lossy(&rest);
        assert!(
            !text.ends_with("0\r\n\r\n") || text.starts_with("HTTP/1.1 502"),
            "{chunks:?}: {text}"
        );
        server.rest();
        stage.next_is_fresh();
    }
}

#[test]
fn interim_answers_however_many_do_not_become_the_answer() {
    let stage = Stage::new();
    for interim in ["100 Continue", "102 Processing", "103 Early Hints", "199 Odd"] {
        let flood = format!("HTTP/1.1 {interim}\r\nLink: </a>\r\n\r\n").repeat(5000);
        let (mut client, server) = stage.given(format!("{flood}{OK}"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{interim}");
        assert_eq!(answer.header("link"), None);
        drop(server);
    }
}

#[test]
fn a_flood_of_fields_is_a_502() {
    let stage = Stage::new();
    stage.is_a_502(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101)));
    stage.is_a_502(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(1 << 20)));
    let endless = "HTTP/1.1 200 OK\r\nX: ".to_owned() + &"y".repeat(1 << 20);
    stage.is_a_502(endless);
}

#[test]
fn what_follows_an_answer_is_not_the_next_answer() {
    for garbage in ["garbage", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged", "\r\n"] {
        let stage = Stage::new();
        let (mut client, mut server) = stage.given(format!("{OK}{garbage}"));
        assert_eq!(client.answer().text(), "ok");
        server.rest();
        client.send(GET);
        let mut fresh = stage.upstream.accept();
        fresh.head();
        fresh.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine");
        assert_eq!(client.answer().text(), "mine", "{garbage:?}");
    }
}

#[test]
fn a_body_where_none_can_be_is_not_the_next_answer() {
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nforged"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\nforged"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let stage = Stage::new();
        let mut client = stage.bowline.client();
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let mut server = stage.upstream.accept();
        server.head();
        server.send(answer);
        let head = client.head();
        assert!(head.starts_with(&answer[..12]), "{head}");
        server.rest();
        client.send(GET);
        let mut fresh = stage.upstream.accept();
        fresh.head();
        fresh.send(OK);
        assert_eq!(client.answer().text(), "ok", "{method} {answer:?}");
    }
}

#[test]
fn an_answer_before_the_question_answers_nobody() {
    let upstream = Upstream::serving(|mut wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
        wire.rest();
    });
    let bowline = Bowline::in_front_of(upstream);
    // It may come before or after the request is out; either way it is never two answers.
    let mut client = bowline.client();
    client.send(GET);
    let answer = client.answer();
    assert!(answer.status == 200 || answer.status == 502, "{}", answer.head);
    assert_eq!(headers(&answer.head, "content-length").len(), 1);
    assert_eq!(header(&answer.head, "transfer-encoding"), None);
}
