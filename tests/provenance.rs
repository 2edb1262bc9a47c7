//! Who the request came from, as an upstream is told: X-Forwarded-*, Forwarded (RFC 7239), Via,
//! and that nobody who is not trusted can forge it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use support::{Bowline, Upstream, Wire, handshake, header, headers, nobody, wait_for};

fn proxy(upstream: &Upstream, extra: &str) -> Bowline {
    Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n{extra}\n",
        upstream.address
    ))
}

/// The head that an upstream gets for a GET with `extra` header lines.
fn told(config: &str, extra: &str) -> String {
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, config);
    let mut client = bowline.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: test.example\r\n{extra}\r\n"));
    upstream.accept().head()
}

const TRUSTING: &str = "trusted_proxies: [ 127.0.0.0/8, 10.0.0.0/8 ]";

#[test]
fn an_upstream_is_told_who_asked_and_how() {
    let head = told("", "");
    assert_eq!(headers(&head, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(headers(&head, "x-forwarded-proto"), ["http"]);
    assert_eq!(headers(&head, "x-forwarded-host"), ["test.example"]);
    assert_eq!(headers(&head, "forwarded"), ["for=127.0.0.1;proto=http;host=\"test.example\""]);
    assert_eq!(headers(&head, "via"), ["1.1 bowline"]);
}

#[test]
fn what_a_stranger_says_of_itself_is_dropped_in_every_spelling() {
    for name in [
        "X-Forwarded-For",
        "x-forwarded-for",
        "X_Forwarded_For",
        "X-Forwarded_For",
        "X.Forwarded.For",
        "X-Forwarded-Proto",
        "X_Forwarded_Proto",
        "X-Forwarded-Host",
        "X_FORWARDED_HOST",
        "X-Forwarded-Port",
        "X-Forwarded-Server",
        "X-Forwarded-Prefix",
        "X-Forwarded-Ssl",
        "X-Forwarded-Scheme",
        "X-Forwarded",
        "Forwarded",
        "X-Real-IP",
        "X_Real_IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
    ] {
        let head = told("", &format!("{name}: 6.6.6.6\r\n{name}: 6.6.6.6\r\n"));
        assert!(!head.contains("6.6.6.6"), "{name}: {head}");
    }
}

#[test]
fn what_only_looks_like_it_crosses() {
    let head = told("", "Forwarded-Letter: 1\r\nX-Forward: 2\r\nX-Really: 3\r\n");
    for (name, value) in [("forwarded-letter", "1"), ("x-forward", "2"), ("x-really", "3")] {
        assert_eq!(header(&head, name), Some(value));
    }
}

#[test]
fn a_trusted_proxy_is_believed_and_added_to() {
    let head = told(
        TRUSTING,
        "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n\
         Forwarded: for=203.0.113.9;proto=https\r\n",
    );
    assert_eq!(headers(&head, "x-forwarded-for"), ["203.0.113.9, 127.0.0.1"]);
    assert_eq!(headers(&head, "x-forwarded-proto"), ["https"]);
    assert_eq!(headers(&head, "x-forwarded-host"), ["shop.example"]);
    assert_eq!(
        headers(&head, "forwarded"),
        ["for=203.0.113.9;proto=https, for=127.0.0.1;proto=http;host=\"test.example\""]
    );
}

#[test]
fn several_lines_of_a_trusted_proxy_are_one_list() {
    let head = told(TRUSTING, "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2, 3.3.3.3\r\n");
    assert_eq!(headers(&head, "x-forwarded-for"), ["1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1"]);
}

#[test]
fn which_fields_are_told_is_a_choice() {
    for (kind, x, rfc7239) in [
        ("both", true, true),
        ("x_forwarded", true, false),
        ("rfc7239", false, true),
        ("none", false, false),
    ] {
        let forged = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";
        let head = told(&format!("forwarded: {kind}"), forged);
        for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"] {
            assert_eq!(header(&head, name).is_some(), x, "{kind}: {head}");
        }
        assert_eq!(header(&head, "forwarded").is_some(), rfc7239, "{kind}: {head}");
        assert!(!head.contains("6.6.6.6"), "{kind}: {head}");
    }
}

#[test]
fn an_ipv6_client_is_quoted_and_bracketed_where_it_must_be() {
    let upstream = Upstream::new();
    let bowline = Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: \"[::1]:0\" }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{}\" ] }} }}\n",
        upstream.address
    ));
    let mut client = bowline.client();
    client.send("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n");
    let head = upstream.accept().head();
    assert_eq!(headers(&head, "x-forwarded-for"), ["::1"]);
    assert_eq!(headers(&head, "forwarded"), ["for=\"[::1]\";proto=http;host=\"[::1]:80\""]);
}

#[test]
fn an_upgrade_is_told_the_same_and_its_proto_is_http() {
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, "");
    let mut client = bowline.client();
    client.send(handshake("/", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: wss\r\n"));
    let head = upstream.accept().head();
    assert_eq!(headers(&head, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(headers(&head, "x-forwarded-proto"), ["http"]);
    assert_eq!(headers(&head, "via"), ["1.1 bowline"]);
}

/// What the access log of this whole test program said.
fn log() -> &'static Arc<Mutex<Vec<u8>>> {
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    LOG.get_or_init(|| {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&lines);
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || Lines(Arc::clone(&writer)))
            .init();
        bowline::telemetry::access::enable(true);
        lines
    })
}

/// The client as the access line for `path` names it.
fn logged_client(path: &str) -> String {
    let line = || {
        let text = String::from_utf8(log().lock().unwrap().clone()).unwrap();
        text.lines().find(|line| line.contains(path) && line.contains("client=")).map(str::to_owned)
    };
    wait_for("the access line", || line().is_some());
    let line = line().unwrap();
    let (_, rest) = line.split_once("client=").unwrap();
    rest.split(' ').next().unwrap().to_owned()
}

#[test]
fn trusted_proxies_are_walked_from_the_right_to_the_first_stranger() {
    log();
    let upstream = Upstream::serving(|mut wire: Wire| {
        wire.head();
        wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    });
    let config = |trusted: &str| {
        format!(
            "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\n\
             upstreams: {{ up: {{ endpoints: [ \"{upstream}\" ] }} }}\n{trusted}\n"
        )
    };
    for (number, (trusted, list, client)) in [
        ("", "203.0.113.9", "127.0.0.1"),
        (TRUSTING, "203.0.113.9", "203.0.113.9"),
        (TRUSTING, "6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        (TRUSTING, "6.6.6.6, 203.0.113.9\r\nX-Forwarded-For: 10.1.2.3", "203.0.113.9"),
        (TRUSTING, "10.9.9.9, 10.1.2.3", "10.9.9.9"),
        (TRUSTING, "203.0.113.9, nonsense", "127.0.0.1"),
        (TRUSTING, "::ffff:10.1.2.3", "10.1.2.3"),
        (TRUSTING, "2001:db8::1", "2001:db8::1"),
    ]
    .into_iter()
    .enumerate()
    {
        let bowline = Bowline::with(&config(trusted));
        let path = format!("/walk-{number}-end");
        let mut wire = bowline.client();
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {list}\r\n\r\n"));
        assert_eq!(wire.answer().status, 200);
        drop(wire);
        assert_eq!(logged_client(&path), client, "{trusted:?} {list:?}");
    }
}

#[test]
fn via_grows_by_one_and_names_the_version_that_came() {
    let head = told("", "Via: 1.0 fred, 1.1 p.example\r\nVia: HTTP/1.1 x (comment)\r\n");
    assert_eq!(
        headers(&head, "via"),
        ["1.0 fred, 1.1 p.example, HTTP/1.1 x (comment), 1.1 bowline"]
    );
    let head = told("via: edge-1", "");
    assert_eq!(headers(&head, "via"), ["1.1 edge-1"]);
    let upstream = Upstream::new();
    let bowline = proxy(&upstream, "");
    let mut client = bowline.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(headers(&upstream.accept().head(), "via"), ["1.0 bowline"]);
}

#[test]
fn a_name_that_is_not_ours_is_no_loop() {
    let head = told("", &format!("Via: {}1.1 x\r\n", "1.1 other, 1.1 bowline-2, ".repeat(20)));
    assert!(head.starts_with("GET / "), "{head}");
}

#[test]
fn a_loop_ends_with_508() {
    // Bowline as its own upstream.
    let address = nobody();
    let bowline = Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: \"{address}\" }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{address}\" ] }} }}\n"
    ));
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), handshake("/", "")] {
        let mut client = bowline.client();
        client.send(request);
        let answer = client.answer();
        assert_eq!(answer.status, 508);
        assert!(answer.header("proxy-status").unwrap().contains("proxy_loop_detected"));
    }
}

#[test]
fn a_chain_of_two_is_no_loop_and_tells_of_both() {
    let upstream = Upstream::new();
    let inner = proxy(&upstream, "trusted_proxies: [ 127.0.0.1 ]");
    let outer = Bowline::in_front_of(inner.address);
    let mut client = outer.client();
    client.send("GET / HTTP/1.1\r\nHost: test.example\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
    let head = upstream.accept().head();
    assert_eq!(headers(&head, "via"), ["1.1 bowline, 1.1 bowline"]);
    assert_eq!(headers(&head, "x-forwarded-for"), ["127.0.0.1, 127.0.0.1"]);
    assert_eq!(headers(&head, "x-forwarded-host"), ["test.example"]);
}
