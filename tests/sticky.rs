//! What keeps a client with its server: Bowline's cookie, a header, its address, the sessions of
//! engine.io.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use support::{Answer, Bowline, handshake, headers, nobody, node};

const SECRET: &str = "secret: 0123456789abcdef0123456789abcdef\n";

/// Round robin in front of these, so that who is met twice is met on purpose.
fn serving(endpoints: &[SocketAddr], sticky: &str, extra: &str) -> Bowline {
    let endpoints: Vec<_> = endpoints.iter().map(|one| format!("\"{one}\"")).collect();
    Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ {} ], balance: round_robin, sticky: {sticky} }} }}\n{extra}\n",
        endpoints.join(", ")
    ))
}

fn ask(bowline: &Bowline, path: &str, lines: &str) -> Answer {
    let mut client = bowline.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test.example\r\n{lines}\r\n"));
    let answer = client.answer();
    assert_eq!(answer.status, 200, "{}", answer.head);
    answer
}

/// Opens a WebSocket: its 101, and who is there.
fn open(bowline: &Bowline, path: &str, lines: &str) -> (String, String) {
    let mut client = bowline.client();
    client.send(handshake(path, lines));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (head, String::from_utf8(client.exactly(1)).unwrap())
}

/// What a browser sends back of a `Set-Cookie`, as a line.
fn returned(set: &str) -> String {
    format!("Cookie: theme=dark; {}\r\n", set.split(';').next().unwrap())
}

#[test]
fn a_cookie_is_set_once_and_kept_to_by_requests_and_websockets() {
    let bowline = serving(&[node("a"), node("b"), node("c")], "cookie", SECRET);
    let first = ask(&bowline, "/", "");
    let set = first.header("set-cookie").expect("a cookie");
    assert!(
        set.starts_with("bowline_") && set.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{set}"
    );
    assert_eq!(first.header("cache-control"), Some("private"));
    let cookie = returned(set);
    for _ in 0..6 {
        let again = ask(&bowline, "/", &cookie);
        assert_eq!(again.text(), first.text());
        assert_eq!((again.header("set-cookie"), again.header("cache-control")), (None, None));
        let (head, name) = open(&bowline, "/ws", &cookie);
        assert_eq!(name, first.text());
        assert!(headers(&head, "set-cookie").is_empty(), "{head}");
    }
}

#[test]
fn a_101_sets_it_too() {
    let bowline = serving(&[node("a"), node("b")], "cookie", SECRET);
    let (head, name) = open(&bowline, "/ws", "");
    let set = headers(&head, "set-cookie");
    assert_eq!(set.len(), 1, "{head}");
    assert_eq!(ask(&bowline, "/", &returned(set[0])).text(), name);
}

#[test]
fn a_cookie_tells_nothing_of_the_address_and_every_bowline_with_the_secret_honours_it() {
    let nodes = [node("a"), node("b"), node("c")];
    let here = serving(&nodes, "cookie", SECRET);
    let there = serving(&[nodes[2], nodes[1], nodes[0]], "cookie", SECRET);
    let stranger = serving(&nodes, "cookie", "");
    for _ in 0..3 {
        let first = ask(&here, "/", "");
        let set = first.header("set-cookie").unwrap();
        for node in nodes {
            assert!(!set.contains(&node.port().to_string()) && !set.contains("127.0"), "{set}");
        }
        let known = ask(&there, "/", &returned(set));
        assert_eq!((known.text(), known.header("set-cookie")), (first.text(), None));
        assert!(ask(&stranger, "/", &returned(set)).header("set-cookie").is_some());
    }
}

#[test]
fn a_forged_cookie_is_ignored_and_replaced() {
    let bowline = serving(&[node("a"), node("b")], "{ cookie: { name: stick } }", SECRET);
    let set = ask(&bowline, "/", "").header("set-cookie").unwrap().to_owned();
    let value = set.split(['=', ';']).nth(1).unwrap();
    let forged = format!("{}{}", &value[..31], if value.ends_with('A') { 'B' } else { 'A' });
    for cookie in [&forged, "", "a", &"A".repeat(32), &"=".repeat(32), "127.0.0.1:9001"] {
        let met: BTreeSet<_> = (0..4)
            .map(|_| {
                let answer = ask(&bowline, "/", &format!("Cookie: stick={cookie}\r\n"));
                assert!(answer.header("set-cookie").is_some(), "{cookie}");
                answer.text()
            })
            .collect();
        assert_eq!(met.len(), 2, "{cookie} was believed");
    }
    // A right one is found behind it.
    let both = format!("Cookie: stick={forged}; stick={value}\r\n");
    assert_eq!(ask(&bowline, "/", &both).header("set-cookie"), None);
}

#[test]
fn who_belongs_to_an_endpoint_that_is_gone_gets_another_one_and_a_new_cookie() {
    let (lost, a, b) = (nobody(), node("a"), node("b"));
    // The cookie comes from a Bowline to which the lost endpoint answered.
    let only = |address: SocketAddr| serving(&[address], "{ cookie: { name: stick } }", SECRET);
    let was = only(a);
    let cookie = returned(ask(&was, "/", "").header("set-cookie").unwrap());
    // It is not in the list any more.
    let bowline = only(b);
    let moved = ask(&bowline, "/", &cookie);
    assert_eq!(moved.text(), "b");
    let cookie = returned(moved.header("set-cookie").unwrap());
    assert_eq!(ask(&bowline, "/", &cookie).header("set-cookie"), None);
    // It is in the list and does not answer: first there, then elsewhere, told by the cookie.
    let bowline = serving(&[lost, b], "{ cookie: { name: stick } }", SECRET);
    for _ in 0..4 {
        let answer = ask(&bowline, "/", "");
        assert_eq!(answer.text(), "b");
        let (head, name) = open(&bowline, "/ws", &returned(answer.header("set-cookie").unwrap()));
        assert_eq!((name.as_str(), headers(&head, "set-cookie").len()), ("b", 0));
    }
}

#[test]
fn it_is_secure_where_a_trusted_proxy_speaks_tls_and_nowhere_else() {
    let nodes = [node("a")];
    let sticky = "{ cookie: { name: stick, same_site: none, max_age: 1h } }";
    let attributes = |bowline: &Bowline, lines: &str| {
        let answer = ask(bowline, "/", lines);
        answer.header("set-cookie").unwrap().split_once("; ").unwrap().1.to_owned()
    };
    let plain = "Path=/; HttpOnly; SameSite=Lax; Max-Age=3600";
    let alone = serving(&nodes, sticky, SECRET);
    assert_eq!(attributes(&alone, ""), plain);
    assert_eq!(attributes(&alone, "X-Forwarded-Proto: https\r\n"), plain);
    let behind = serving(&nodes, sticky, &format!("{SECRET}trusted_proxies: [ 127.0.0.1 ]"));
    assert_eq!(attributes(&behind, "X-Forwarded-Proto: http\r\n"), plain);
    assert_eq!(
        attributes(&behind, "X-Forwarded-Proto: https\r\n"),
        "Path=/; HttpOnly; SameSite=None; Secure; Max-Age=3600"
    );
}

#[test]
fn a_header_and_the_clients_address_keep_to_an_endpoint_without_a_cookie() {
    let nodes = [node("a"), node("b"), node("c")];
    let trusted = "trusted_proxies: [ 127.0.0.1 ]";
    for (sticky, line) in
        [("{ header: x-user }", "X-User: u"), ("client_ip", "X-Forwarded-For: 192.0.2.")]
    {
        let here = serving(&nodes, sticky, trusted);
        let there = serving(&[nodes[1], nodes[2], nodes[0]], sticky, trusted);
        let mut met = BTreeSet::new();
        for number in 0..24 {
            let lines = format!("{line}{number}\r\n");
            let first = ask(&here, "/", &lines);
            assert_eq!(first.header("set-cookie"), None);
            assert_eq!(open(&here, "/ws", &lines).1, first.text());
            assert_eq!(ask(&there, "/", &lines).text(), first.text());
            met.insert(first.text());
        }
        assert_eq!(met.len(), 3, "{sticky}");
    }
    // Without the header, by turns.
    let bowline = serving(&nodes, "{ header: x-user }", "");
    let met: BTreeSet<_> = (0..3).map(|_| ask(&bowline, "/", "").text()).collect();
    assert_eq!(met.len(), 3);
}

const POLL: &str = "/socket.io/?EIO=4&transport=polling";

#[test]
fn a_session_of_engine_io_is_learned_for_clients_without_cookies() {
    let bowline = serving(&[node("a"), node("b"), node("c")], "engineio", SECRET);
    for _ in 0..6 {
        let opened = ask(&bowline, POLL, "").text();
        let session = opened.split('"').nth(3).unwrap().to_owned();
        let name = session.strip_prefix("of-").unwrap().to_owned();
        for turn in 0..4 {
            let poll = ask(&bowline, &format!("{POLL}&t={turn}&sid={session}"), "");
            assert_eq!((poll.text(), poll.header("set-cookie")), (name.clone(), None));
        }
        let upgrade = format!("/socket.io/?EIO=4&transport=websocket&sid={session}");
        let (head, met) = open(&bowline, &upgrade, "");
        assert_eq!(met, name);
        assert!(headers(&head, "set-cookie").is_empty(), "{head}");
    }
}

#[test]
fn a_session_of_engine_io_is_found_by_its_cookie_at_a_bowline_that_did_not_see_it_begin() {
    let nodes = [node("a"), node("b"), node("c")];
    let (here, there) = (serving(&nodes, "engineio", SECRET), serving(&nodes, "engineio", SECRET));
    for _ in 0..6 {
        let opened = ask(&here, POLL, "");
        let cookie = returned(opened.header("set-cookie").expect("a cookie with the session"));
        let session = opened.text().split('"').nth(3).unwrap().to_owned();
        let name = session.strip_prefix("of-").unwrap().to_owned();
        assert_eq!(ask(&there, &format!("{POLL}&sid={session}"), &cookie).text(), name);
        let upgrade = format!("/socket.io/?EIO=4&transport=websocket&sid={session}");
        assert_eq!(open(&there, &upgrade, &cookie).1, name);
    }
}

#[test]
fn a_session_counts_for_more_than_the_cookie_of_an_older_one() {
    let bowline = serving(&[node("a"), node("b")], "engineio", SECRET);
    let (one, other) = (ask(&bowline, POLL, ""), ask(&bowline, POLL, ""));
    let session = one.text().split('"').nth(3).unwrap().to_owned();
    let cookie = returned(other.header("set-cookie").unwrap());
    let met = ask(&bowline, &format!("{POLL}&sid={session}"), &cookie).text();
    assert_eq!(format!("of-{met}"), session);
}

#[test]
fn a_session_that_nobody_knows_is_for_any_endpoint_to_refuse() {
    let bowline = serving(&[node("a"), node("b")], "engineio", SECRET);
    let met: BTreeSet<_> =
        (0..2).map(|_| ask(&bowline, &format!("{POLL}&sid=unknown"), "").text()).collect();
    assert_eq!(met.len(), 2);
}
