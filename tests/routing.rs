//! Which upstream a request reaches, seen from outside: hosts, paths, methods, headers, query,
//! subprotocols, and which of several routes wins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::fmt::Write as _;
use std::net::SocketAddr;

use support::{Bowline, Upstream, handshake};

/// An upstream that answers every request with its name.
fn named(name: &'static str) -> SocketAddr {
    Upstream::serving(move |mut wire| {
        wire.head();
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{name}",
            name.len()
        ));
    })
}

/// Routes by match, each to an upstream of the name given.
fn routes(table: &[(&str, &'static str)]) -> Bowline {
    let mut yaml = "workers: 1\nlisteners: [ { address: 127.0.0.1:0 } ]\nroutes:\n".to_owned();
    for (matches, name) in table {
        writeln!(yaml, "- {{ match: {{ {matches} }}, upstream: {name} }}").unwrap();
    }
    yaml.push_str("upstreams:\n");
    let mut names: Vec<&'static str> = table.iter().map(|(_, name)| *name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        writeln!(yaml, "  {name}: {{ endpoints: [ \"{}\" ] }}", named(name)).unwrap();
    }
    Bowline::with(&yaml)
}

/// The name of the upstream that `request` reaches, or the status when there is none.
fn reached(bowline: &Bowline, request: &str) -> String {
    let mut client = bowline.client();
    client.send(request);
    let answer = client.answer();
    if answer.status == 200 { answer.text() } else { answer.status.to_string() }
}

fn get(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn hosts_are_exact_then_the_longest_wildcard_then_any() {
    let bowline = routes(&[
        ("", "any"),
        ("host: \"*.example\"", "wide"),
        ("host: \"*.b.example\"", "narrow"),
        ("host: a.b.example", "exact"),
        ("host: [ one.test, two.test ]", "list"),
        ("host: \"::1\"", "six"),
    ]);
    for (host, name) in [
        ("a.b.example", "exact"),
        ("A.B.Example", "exact"),
        ("a.b.example.", "exact"),
        ("a.b.example:8443", "exact"),
        ("c.b.example", "narrow"),
        ("d.c.b.example", "narrow"),
        ("b.example", "wide"),
        ("x.example", "wide"),
        ("example", "any"),
        ("xexample", "any"),
        ("a.b.example.evil", "any"),
        ("one.test", "list"),
        ("two.test", "list"),
        ("three.test", "any"),
        ("[::1]", "six"),
        ("[::1]:80", "six"),
        ("", "any"),
    ] {
        assert_eq!(reached(&bowline, &get(host, "/")), name, "{host:?}");
    }
}

#[test]
fn an_http_1_0_request_without_host_reaches_only_a_route_for_any() {
    let request = "GET / HTTP/1.0\r\n\r\n";
    assert_eq!(reached(&routes(&[("host: a.example", "a"), ("", "any")]), request), "any");
    assert_eq!(reached(&routes(&[("host: a.example", "a")]), request), "404");
}

#[test]
fn the_authority_of_absolute_form_is_the_host() {
    let bowline = routes(&[("host: a.example", "a"), ("host: b.example", "b")]);
    assert_eq!(reached(&bowline, &get("a.example", "http://b.example/")), "b");
    assert_eq!(reached(&bowline, &get("a.example", "http://B.example.:80/")), "b");
}

#[test]
fn paths_are_exact_then_regex_then_the_longest_prefix() {
    let bowline = routes(&[
        ("path: /", "root"),
        ("path: /a", "short"),
        ("path: /a/b", "long"),
        ("path_regex: \"^/a/[0-9]+$\"", "regex"),
        ("path_exact: /a/7", "exact"),
        ("path: /slash/", "slash"),
    ]);
    for (target, name) in [
        ("/", "root"),
        ("/x", "root"),
        ("/a", "short"),
        ("/a?q=/a/b", "short"),
        ("/a/", "short"),
        ("/a/x", "short"),
        ("/ab", "root"),
        ("/A", "root"),
        ("/a/b", "long"),
        ("/a/b/c", "long"),
        ("/a/bc", "short"),
        ("/a/8", "regex"),
        ("/a/8/x", "short"),
        ("/a/7", "exact"),
        ("/a/7?x", "exact"),
        ("/slash", "slash"),
        ("/slash/x", "slash"),
    ] {
        assert_eq!(reached(&bowline, &get("h", target)), name, "{target}");
    }
}

#[test]
fn a_host_weighs_more_than_a_path_and_a_path_more_than_conditions() {
    let bowline = routes(&[
        ("path_exact: /x", "path"),
        ("host: a.example", "host"),
        ("host: a.example, path: /y, method: GET", "more"),
        ("host: a.example, path: /y", "less"),
        ("host: a.example, path: /y/z", "deep"),
    ]);
    assert_eq!(reached(&bowline, &get("a.example", "/x")), "host");
    assert_eq!(reached(&bowline, &get("b.example", "/x")), "path");
    assert_eq!(reached(&bowline, &get("a.example", "/y")), "more");
    assert_eq!(reached(&bowline, "PUT /y HTTP/1.1\r\nHost: a.example\r\n\r\n"), "less");
    assert_eq!(reached(&bowline, &get("a.example", "/y/z")), "deep");
    assert_eq!(reached(&bowline, &get("b.example", "/none")), "404");
}

#[test]
fn equals_are_decided_by_their_order() {
    let bowline = routes(&[("path: /a", "first"), ("path: /a", "second")]);
    assert_eq!(reached(&bowline, &get("h", "/a")), "first");
}

#[test]
fn methods_headers_and_queries_decide() {
    let bowline = routes(&[
        ("method: [ POST, PUT ]", "method"),
        ("headers: { x-version: beta }", "value"),
        ("headers: { x-any: \"*\" }", "presence"),
        ("query: { v: \"2 b\" }", "query"),
        ("query: { t: \"*\" }", "parameter"),
        ("", "rest"),
    ]);
    let with = |line: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n");
    for (request, name) in [
        ("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".to_owned(), "method"),
        ("put / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".to_owned(), "rest"),
        (with("X-Version: beta"), "value"),
        (with("x-version: alpha\r\nX-VERSION: beta"), "value"),
        (with("X-Version: Beta"), "rest"),
        (with("X-Any: 1"), "presence"),
        (get("h", "/?v=2+b"), "query"),
        (get("h", "/?a=1&v=2%20b"), "query"),
        (get("h", "/?v=2"), "rest"),
        (get("h", "/?t"), "parameter"),
        (get("h", "/?tt=1"), "rest"),
    ] {
        assert_eq!(reached(&bowline, &request), name, "{request}");
    }
}

#[test]
fn subprotocols_and_upgrades_decide() {
    let bowline = routes(&[
        ("subprotocol: [ chat, superchat ]", "chat"),
        ("websocket: true", "socket"),
        ("websocket: false", "plain"),
    ]);
    let offer =
        |protocols: &str| handshake("/", &format!("Sec-WebSocket-Protocol: {protocols}\r\n"));
    assert_eq!(reached(&bowline, &offer("chat")), "chat");
    assert_eq!(reached(&bowline, &offer("other, superchat")), "chat");
    assert_eq!(reached(&bowline, &offer("other\r\nSec-WebSocket-Protocol: chat")), "chat");
    assert_eq!(reached(&bowline, &offer("Chat")), "socket");
    assert_eq!(reached(&bowline, &handshake("/", "")), "socket");
    assert_eq!(reached(&bowline, &get("h", "/")), "plain");
    let pretending = "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    assert_eq!(reached(&bowline, pretending), "plain", "an offer without an upgrade is none");
}

#[test]
fn one_connection_may_ask_for_different_routes() {
    let bowline = routes(&[("path: /a", "a"), ("path: /b", "b")]);
    let mut client = bowline.client();
    for (path, name) in [("/a", "a"), ("/b", "b"), ("/a", "a")] {
        client.send(get("h", path));
        assert_eq!(client.answer().text(), name);
    }
    client.send(get("h", "/c"));
    assert_eq!(client.answer().status, 404);
}
