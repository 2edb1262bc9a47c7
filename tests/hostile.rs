//! Bytes that were made to mean two things. Each is refused, or has exactly one meaning at an
//! upstream that records what it gets, and nothing of it is ever read as a second request.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "threads of a test may wait, and read the real clock"
)]

mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Bowline, KEY, Upstream, Wire, header, headers};

/// A request as an upstream that follows RFC 9112 to the letter reads it.
#[derive(Clone, Debug)]
struct Seen {
    head: String,
    body: String,
}

/// Reads requests strictly, records them, answers each with 200; anything odd is a panic text.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Seen>>>);

impl Recorder {
    fn start(&self) -> SocketAddr {
        let this = self.clone();
        Upstream::serving(move |wire| this.serve(wire))
    }

    fn serve(&self, mut wire: Wire) {
        while let Some(seen) = read_request(&mut wire) {
            self.0.lock().unwrap().push(seen);
            if !wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") {
                break;
            }
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }
}

fn read_request(wire: &mut Wire) -> Option<Seen> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(byte(wire)?);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let lengths = headers(&head, "content-length");
    let codings = headers(&head, "transfer-encoding");
    assert!(lengths.len() + codings.len() <= 1, "ambiguous framing: {head}");
    assert_eq!(headers(&head, "host").len(), 1, "{head}");
    let mut body = String::new();
    if let Some(length) = lengths.first() {
        assert!(length.bytes().all(|byte| byte.is_ascii_digit()), "{head}");
        for _ in 0..length.parse().unwrap() {
            body.push(char::from(byte(wire)?));
        }
    } else if !codings.is_empty() {
        assert_eq!(codings, ["chunked"]);
        loop {
            let size = line(wire)?;
            let size = usize::from_str_radix(&size, 16).unwrap();
            for _ in 0..size {
                body.push(char::from(byte(wire)?));
            }
            if size == 0 {
                while !line(wire)?.is_empty() {}
                break;
            }
            assert_eq!(line(wire)?, "");
        }
    }
    Some(Seen { head, body })
}

fn byte(wire: &mut Wire) -> Option<u8> {
    use std::io::Read;
    let mut byte = [0];
    matches!(wire.stream.read(&mut byte), Ok(1)).then_some(byte[0])
}

fn line(wire: &mut Wire) -> Option<String> {
    let mut line = String::new();
    while !line.ends_with("\r\n") {
        line.push(char::from(byte(wire)?));
    }
    Some(line.trim_end().to_owned())
}

/// Sends `bytes`, says FIN no earlier than the answers are in, and returns every status that came.
fn statuses(bowline: &Bowline, bytes: &[u8]) -> Vec<u16> {
    let mut client = bowline.client();
    client.try_send(bytes);
    client.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let rest = client.rest();
    let text = String::from_utf8_lossy(&rest);
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line[..3].parse().unwrap()).collect()
}

struct Stage {
    bowline: Bowline,
    recorder: Recorder,
}

impl Stage {
    fn new() -> Self {
        let recorder = Recorder::default();
        Self { bowline: Bowline::in_front_of(recorder.start()), recorder }
    }

    /// A refusal, a close, and an upstream that saw nothing of it.
    fn refused(&self, status: u16, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let before = self.recorder.seen().len();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        assert_eq!(statuses(&self.bowline, bytes), [status], "{shown:?}");
        assert_eq!(self.recorder.seen().len(), before, "{shown:?}");
    }

    /// Exactly one request at the upstream and a close behind it, whatever followed.
    fn one_meaning(&self, bytes: impl AsRef<[u8]>) -> Seen {
        let bytes = bytes.as_ref();
        let shown = String::from_utf8_lossy(bytes).into_owned();
        let before = self.recorder.seen().len();
        let statuses = statuses(&self.bowline, bytes);
        let seen = self.recorder.seen().split_off(before);
        assert_eq!(statuses.first(), Some(&200), "{shown:?}");
        assert!(statuses[1..].iter().all(|status| *status == 400), "{statuses:?} {shown:?}");
        assert_eq!(seen.len(), 1, "{seen:?} of {shown:?}");
        seen.into_iter().next().unwrap()
    }
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn get(extra: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{extra}\r\n")
}

fn post(framing: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n{body}")
}

#[test]
fn chunks_and_a_length_mean_chunks_alone_and_the_connection_closes() {
    let stage = Stage::new();
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n",
    ] {
        let request = post(framing, "3\r\nabc\r\n0\r\n\r\n");
        // hyper drops the length before anybody sees it; with its order turned it may keep one.
        let mut client = stage.bowline.client();
        client.send(format!("{request}{SMUGGLED}"));
        let status = client.answer().status;
        assert!(status == 200 || status == 400, "{status} {framing:?}");
        assert!(client.is_closed(), "{framing:?}");
        for seen in stage.recorder.seen() {
            assert_eq!(seen.body, "abc", "{framing:?}");
            assert!(!seen.head.contains("smuggled"));
            assert_eq!(header(&seen.head, "content-length"), None);
        }
    }
}

#[test]
fn a_transfer_coding_other_than_chunked_is_refused() {
    let stage = Stage::new();
    let body = format!("3\r\nabc\r\n0\r\n\r\n{SMUGGLED}");
    for (status, coding) in [
        (501, "Transfer-Encoding: gzip, chunked\r\n"),
        (501, "Transfer-Encoding: chunked, chunked\r\n"),
        (501, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        (501, "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
        (501, "Transfer-Encoding: , chunked\r\n"),
        (400, "Transfer-Encoding: identity\r\n"),
        (400, "Transfer-Encoding: chunked, identity\r\n"),
        (400, "Transfer-Encoding: xchunked\r\n"),
        (400, "Transfer-Encoding: chunked;q=1\r\n"),
        (400, "Transfer-Encoding: \"chunked\"\r\n"),
        (400, "Transfer-Encoding:\r\n"),
        (400, "Transfer-Encoding : chunked\r\n"),
        (400, "Transfer-Encoding: \u{b}chunked\r\n"),
        (400, "Transfer-Encoding: chunked\0\r\n"),
        (400, " Transfer-Encoding: chunked\r\n"),
        (400, "X: a\r\n Transfer-Encoding: chunked\r\n"),
        (400, "X: a\rTransfer-Encoding: chunked\r\n"),
    ] {
        stage.refused(status, post(coding, &body));
    }
}

#[test]
fn a_transfer_coding_on_http_1_0_is_refused() {
    let stage = Stage::new();
    let request = "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    stage.refused(400, format!("{request}{SMUGGLED}"));
}

#[test]
fn a_length_that_is_not_one_number_is_refused() {
    let stage = Stage::new();
    for length in [
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5;\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: \u{665}\r\n",
        "Content-Length:\r\n",
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length:\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
        "Content-Length: 5\0\r\n",
    ] {
        stage.refused(400, post(length, &format!("abcde{SMUGGLED}")));
    }
    let huge =
        statuses(&stage.bowline, post("Content-Length: 18446744073709551615\r\n", "").as_bytes());
    assert!(matches!(huge[..], [400..=431]), "{huge:?}");
    assert!(stage.recorder.seen().is_empty());
}

#[test]
fn a_length_said_twice_or_with_space_around_it_is_one_length() {
    let stage = Stage::new();
    for length in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length:  5\r\n",
        "Content-Length: 5 \t\r\n",
        "Content-Length:5\r\n",
        "Content-Length: 05\r\n",
    ] {
        let request = post(&format!("Connection: close\r\n{length}"), &format!("abcde{SMUGGLED}"));
        let seen = stage.one_meaning(request);
        assert_eq!(seen.body, "abcde", "{length:?}");
    }
}

#[test]
fn bad_chunks_are_refused_and_never_look_whole() {
    for chunks in [
        "ffffffffffffffffff\r\nabc",
        "10000000000000000\r\nabc",
        "-3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
        "\r\n3\r\nabc\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
        "3;a=\nb\r\nabc\r\n0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX\n: 1\r\n\r\n",
    ] {
        let stage = Stage::new();
        let request = post("Transfer-Encoding: chunked\r\n", &format!("{chunks}{SMUGGLED}"));
        assert_eq!(statuses(&stage.bowline, request.as_bytes()), [400], "{chunks:?}");
        assert!(stage.recorder.seen().is_empty(), "{chunks:?}: {:?}", stage.recorder.seen());
    }
}

#[test]
fn chunk_extensions_are_dropped_and_too_many_refused() {
    let stage = Stage::new();
    let close = "Connection: close\r\nTransfer-Encoding: chunked\r\n";
    let seen = stage.one_meaning(post(close, "3;a=b;c=\"d\"\r\nabc\r\n0;e\r\n\r\n"));
    assert_eq!(seen.body, "abc");
    let flood = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(20_000));
    stage.refused(400, post(close, &flood));
}

#[test]
fn trailers_without_end_are_refused() {
    let stage = Stage::new();
    let flood = format!("3\r\nabc\r\n0\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    stage.refused(400, post("Transfer-Encoding: chunked\r\n", &flood));
}

#[test]
fn a_head_that_is_not_http_1_1_is_refused() {
    let stage = Stage::new();
    for bytes in [
        "GET /\r\nHost: a\r\n\r\n",
        "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/11\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GE\0T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tfolded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\rHost: a\r\r",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        "\0\0\0\0",
    ] {
        stage.refused(400, bytes);
    }
}

#[test]
fn bare_line_feeds_are_refused_or_mean_one_request() {
    for bytes in [
        "GET / HTTP/1.1\nHost: a\nConnection: close\n\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\nConnection: close\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\n".to_owned(),
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: y\nContent-Length: {}\r\n\r\n{SMUGGLED}",
            SMUGGLED.len()
        ),
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\n\r\n{SMUGGLED}",
            SMUGGLED.len()
        ),
    ] {
        let stage = Stage::new();
        let statuses = statuses(&stage.bowline, bytes.as_bytes());
        assert!(statuses == [200] || statuses == [400], "{statuses:?} {bytes:?}");
        let seen = stage.recorder.seen();
        assert_eq!(seen.len(), usize::from(statuses == [200]), "{bytes:?}");
        for seen in seen {
            assert!(!seen.head.contains("smuggled"), "{bytes:?}");
            assert!(!seen.head.replace("\r\n", "").contains(['\r', '\n']), "{seen:?}");
        }
    }
}

#[test]
fn a_host_that_is_missing_doubled_or_no_host_is_refused() {
    let stage = Stage::new();
    for host in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a b\r\n",
        "Host: a, b\r\n",
        "Host: a/b\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
        "Host: a\\b\r\n",
        "Host: user@a\r\n",
        "Host: user:pass@a\r\n",
        "Host: http://a\r\n",
        "Host: a:b\r\n",
        "Host: a:80:80\r\n",
        "Host: a:99999\r\n",
        "Host: a:-1\r\n",
        "Host: :80\r\n",
        "Host: [::1\r\n",
        "Host: ::1\r\n",
        "Host: [::1]x\r\n",
        "Host: \u{e9}.example\r\n",
        "Host: a\t.example\r\n",
        "Host: <script>\r\n",
        "Host: a\"b\r\n",
    ] {
        stage.refused(400, format!("GET / HTTP/1.1\r\n{host}\r\n"));
    }
}

#[test]
fn a_host_like_any_other_reaches_the_upstream_as_it_came() {
    let stage = Stage::new();
    for host in ["a", "A.Example", "a.example.", "a:8080", "[::1]", "[::1]:80", "127.0.0.1", "a_b"]
    {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(header(&stage.one_meaning(request).head, "host"), Some(host));
    }
}

#[test]
fn absolute_form_names_the_host_and_becomes_origin_form() {
    let stage = Stage::new();
    for (target, host, line) in [
        ("http://a/p?q", "a", "GET /p?q HTTP/1.1"),
        ("http://a", "a", "GET / HTTP/1.1"),
        ("http://a?q", "a", "GET /?q HTTP/1.1"),
        ("HTTP://a/", "a", "GET / HTTP/1.1"),
        ("http://other.example:81/p", "other.example:81", "GET /p HTTP/1.1"),
        ("https://a/p", "a", "GET /p HTTP/1.1"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let seen = stage.one_meaning(request);
        assert!(seen.head.starts_with(&format!("{line}\r\n")), "{}", seen.head);
        assert_eq!(header(&seen.head, "host"), Some(host));
        assert_eq!(header(&seen.head, "x-forwarded-host"), Some(host));
        assert_eq!(header(&seen.head, "x-forwarded-proto"), Some("http"), "{target}");
    }
}

#[test]
fn a_target_that_is_neither_a_path_nor_an_http_url_is_refused() {
    let stage = Stage::new();
    for target in [
        "ftp://a/",
        "file:///etc/passwd",
        "ws://a/",
        "a",
        "a:80",
        "*",
        "http://",
        "http:///p",
        "http://user@a/",
        "http://u:p@a/",
        "http://a:b/",
        "//",
        "javascript:alert(1)",
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        if target == "//" {
            // A path like any other, and no authority.
            assert!(stage.one_meaning(bytes).head.starts_with("GET / HTTP/1.1\r\n"));
            continue;
        }
        stage.refused(400, bytes);
    }
    stage.refused(400, "GET http://b/ HTTP/1.1\r\n\r\n");
    stage.refused(400, "GET http://b/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
}

#[test]
fn a_head_over_its_limits_is_refused() {
    let stage = Stage::new();
    stage.refused(431, get(&format!("X: {}\r\n", "a".repeat(100 << 10))));
    stage.refused(431, get(&format!("X: {}\r\n", "a".repeat(300 << 10))));
    stage.refused(431, get(&"X: 1\r\n".repeat(101)));
    stage.refused(431, get(&format!("{}: 1\r\n", "X".repeat(100 << 10))));
    stage.refused(414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(20 << 10)));
    let flood =
        statuses(&stage.bowline, "GET / HTTP/1.1\r\nHost: a\r\nX: ".repeat(50_000).as_bytes());
    assert!(matches!(flood[..], [400 | 431]), "{flood:?}");
    let ok = get(&format!("Connection: close\r\n{}", "X: 1\r\n".repeat(90)));
    assert_eq!(headers(&stage.one_meaning(ok).head, "x").len(), 90);
}

#[test]
fn a_request_behind_a_request_with_a_body_is_the_next_request() {
    let stage = Stage::new();
    let requests = format!(
        "{}{}",
        post("Content-Length: 3\r\n", "abc"),
        post("Connection: close\r\nTransfer-Encoding: chunked\r\n", "3\r\ndef\r\n0\r\n\r\n")
    );
    assert_eq!(statuses(&stage.bowline, requests.as_bytes()), [200, 200]);
    let bodies: Vec<String> = stage.recorder.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, ["abc", "def"]);
}

#[test]
fn a_body_on_get_is_never_the_next_request() {
    let stage = Stage::new();
    for framing in [
        format!("Content-Length: {}\r\nConnection: close\r\n\r\n{SMUGGLED}", SMUGGLED.len()),
        format!(
            "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n",
            SMUGGLED.len()
        ),
    ] {
        for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
            let before = stage.recorder.seen().len();
            let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n{framing}");
            assert_eq!(statuses(&stage.bowline, request.as_bytes()), [200], "{request}");
            let seen = stage.recorder.seen().split_off(before);
            assert_eq!(seen.len(), 1, "{seen:?}");
            assert_eq!(seen[0].body, SMUGGLED, "{method}");
        }
    }
}

fn upgrade(extra: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    )
}

#[test]
fn a_request_behind_an_upgrade_that_was_declined_is_never_forwarded() {
    let stage = Stage::new();
    // The recorder answers 200: declined. Bytes sent ahead were meant for a tunnel.
    let seen = stage.one_meaning(format!("{}{SMUGGLED}", upgrade("")));
    assert!(!seen.head.contains("smuggled"));
}

#[test]
fn a_request_behind_an_upgrade_that_bowline_refused_is_never_forwarded() {
    let stage = Stage::new();
    for bad in [
        upgrade("").replace("Version: 13", "Version: 8"),
        upgrade("Sec-WebSocket-Key: x\r\n"),
        upgrade("Content-Length: 36\r\n"),
        upgrade("Transfer-Encoding: chunked\r\n"),
    ] {
        let statuses = statuses(&stage.bowline, format!("{bad}{SMUGGLED}").as_bytes());
        assert!(matches!(statuses[..], [400 | 426] | [426, 400]), "{statuses:?} {bad}");
    }
    assert!(stage.recorder.seen().is_empty());
}

#[test]
fn a_request_after_an_upgrade_that_was_declined_is_a_request() {
    let stage = Stage::new();
    let mut client = stage.bowline.client();
    client.send(upgrade(""));
    assert_eq!(client.answer().status, 200);
    client.send(get(""));
    assert_eq!(client.answer().status, 200);
    assert_eq!(stage.recorder.seen().len(), 2);
}

#[test]
fn a_request_behind_an_upgrade_that_was_granted_is_tunnel_data() {
    let upstream = Upstream::new();
    let bowline = Bowline::in_front_of(upstream.address);
    let mut client = bowline.client();
    client.send(format!("{}{SMUGGLED}", upgrade("")));
    let mut server = upstream.accept();
    assert!(server.head().contains("sec-websocket-key"));
    server.is_silent(Duration::from_millis(100));
    server.send(support::SWITCHING);
    assert_eq!(server.exactly(SMUGGLED.len()), SMUGGLED.as_bytes());
    assert!(upstream.is_untouched());
}

#[test]
fn one_byte_at_a_time_means_the_same() {
    let stage = Stage::new();
    let mut client = stage.bowline.client();
    let request = post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n");
    for byte in request.bytes() {
        client.send([byte]);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(client.answer().status, 200);
    assert_eq!(stage.recorder.seen()[0].body, "abc");
}

#[test]
fn empty_lines_before_a_request_are_passed_over() {
    let stage = Stage::new();
    let seen = stage.one_meaning(format!("\r\n\r\n{}", get("Connection: close\r\n")));
    assert!(seen.head.starts_with("GET / HTTP/1.1\r\n"));
}
