//! Which of several real servers gets a request: by turns, by weight, by load, by hash, and backups.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a server that takes its time")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use support::{Bowline, SWITCHING, Upstream, handshake, nobody, node};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn nodes() -> Vec<SocketAddr> {
    NAMES.map(node).into()
}

/// One upstream of these endpoints, each as it stands in a list; `extra` is further top-level YAML.
fn serving(endpoints: &[String], settings: &str, extra: &str) -> Bowline {
    Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ name: r, upstream: up }} ]\n\
         upstreams:\n  up:\n    endpoints: [ {} ]\n    {settings}\n{extra}\n",
        endpoints.join(", ")
    ))
}

fn quoted(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(|address| format!("\"{address}\"")).collect()
}

/// Who answers.
fn ask(bowline: &Bowline, path: &str, lines: &str) -> String {
    let mut client = bowline.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test.example\r\n{lines}\r\n"));
    let answer = client.answer();
    assert_eq!(answer.status, 200, "{}", answer.head);
    answer.text()
}

fn shares(bowline: &Bowline, requests: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        *shares.entry(ask(bowline, "/", "")).or_default() += 1;
    }
    shares
}

#[test]
fn turns_go_by_weight() {
    let nodes = nodes();
    let weighted = [
        format!("{{ address: \"{}\", weight: 3 }}", nodes[0]),
        format!("\"{}\"", nodes[1]),
        format!("{{ address: \"{}\", weight: 2 }}", nodes[2]),
    ];
    let bowline = serving(&weighted, "balance: round_robin", "");
    let expected = [("a", 15), ("b", 5), ("c", 10)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(shares(&bowline, 30), expected.into());
}

#[test]
fn chance_reaches_every_endpoint() {
    let endpoints = quoted(&nodes());
    for balance in ["random", "power_of_two", "least_connections"] {
        let bowline = serving(&endpoints, &format!("balance: {balance}"), "");
        // Each is missed by 80 requests once in 10^10.
        assert_eq!(shares(&bowline, 80).len(), 4, "{balance}");
    }
}

#[test]
fn open_sockets_are_load_and_weights_divide_them() {
    let nodes = nodes();
    let weighted =
        [format!("\"{}\"", nodes[0]), format!("{{ address: \"{}\", weight: 3 }}", nodes[1])];
    for balance in ["least_connections", "power_of_two"] {
        let bowline = serving(&weighted, &format!("balance: {balance}"), "");
        let mut sockets = Vec::new();
        let mut heavy = 0;
        for _ in 0..40 {
            let mut client = bowline.client();
            client.send(handshake("/ws", ""));
            assert!(client.head().starts_with("HTTP/1.1 101 "));
            heavy += usize::from(client.exactly(1) == b"b");
            sockets.push(client);
        }
        assert!((29..=31).contains(&heavy), "{balance}: {heavy}");
        // When all of one have gone, that one is the emptiest: counts come down again.
        drop(sockets);
        bowline.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
    }
}

#[test]
fn among_equals_the_better_of_two_is_the_one_that_answers_sooner() {
    let slow = Upstream::serving(|mut wire| {
        wire.head();
        std::thread::sleep(Duration::from_millis(30));
        wire.send(SWITCHING);
        wire.send("s");
        wire.rest();
    });
    let bowline = serving(&quoted(&[slow, node("q")]), "balance: power_of_two", "");
    let mut met = String::new();
    for _ in 0..20 {
        let mut client = bowline.client();
        client.send(handshake("/ws", ""));
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        met.push_str(std::str::from_utf8(&client.exactly(1)).unwrap());
        client.finish();
        client.rest();
        bowline.wait_metric("bowline_tunnels{route=\"r\"}", 0.0);
    }
    // Each is tried once; and once in 256 both draws are of one and the same.
    assert!(met.matches('q').count() >= 17, "{met}");
}

#[test]
fn what_is_hashed_decides_and_another_bowline_agrees() {
    let endpoints = quoted(&nodes());
    let backwards: Vec<_> = endpoints.iter().rev().cloned().collect();
    type Request = fn(usize) -> (String, String);
    let cases: [(&str, Request); 5] = [
        ("path", |n| (format!("/room/{n}?x={}", n * 7 % 5), String::new())),
        ("{ header: x-user }", |n| ("/".to_owned(), format!("X-User: user-{n}\r\n"))),
        ("{ cookie: session }", |n| {
            ("/".to_owned(), format!("Cookie: a=b; session=s{n}; session=other\r\n"))
        }),
        ("{ query: room }", |n| (format!("/{n}?a=b&room=r%2D{n}"), String::new())),
        ("client_ip", |n| ("/".to_owned(), format!("X-Forwarded-For: 192.0.2.{n}\r\n"))),
    ];
    for balance in ["ring_hash", "maglev"] {
        for (hash_by, request) in cases {
            let settings = format!("balance: {balance}\n    hash_by: {hash_by}");
            let trusted = "trusted_proxies: [ 127.0.0.1 ]";
            let here = serving(&endpoints, &settings, trusted);
            let there = serving(&backwards, &settings, trusted);
            let mut met = BTreeSet::new();
            for number in 0..24 {
                let (path, lines) = request(number);
                let name = ask(&here, &path, &lines);
                assert_eq!(ask(&here, &path, &lines), name, "{balance} {hash_by} {number}");
                assert_eq!(ask(&there, &path, &lines), name, "{balance} {hash_by} {number}");
                met.insert(name);
            }
            assert!(met.len() > 1, "{balance} {hash_by}: all went to {met:?}");
        }
    }
}

#[test]
fn a_request_without_what_is_hashed_goes_by_load() {
    let bowline =
        serving(&quoted(&nodes()), "balance: maglev\n    hash_by: { header: x-user }", "");
    assert_eq!(shares(&bowline, 80).len(), 4);
}

#[test]
fn who_hashes_to_a_dead_endpoint_is_served_by_another_one_and_always_by_that() {
    let nodes = nodes();
    let mut addresses = nodes.clone();
    addresses[1] = nobody();
    let bowline =
        serving(&quoted(&addresses), "balance: ring_hash\n    hash_by: { header: x-user }", "");
    for number in 0..24 {
        let user = format!("X-User: user-{number}\r\n");
        let name = ask(&bowline, "/", &user);
        assert_eq!(ask(&bowline, "/", &user), name);
    }
}

#[test]
fn a_backup_serves_only_while_all_others_are_out() {
    let [a, b, spare, _] = NAMES.map(node);
    let backup = format!("{{ address: \"{spare}\", backup: true }}");
    for balance in ["least_connections", "round_robin", "power_of_two", "random", "maglev"] {
        let settings = format!("balance: {balance}");
        let whole =
            serving(&[backup.clone(), format!("\"{a}\""), format!("\"{b}\"")], &settings, "");
        assert!(!shares(&whole, 30).contains_key("c"), "{balance}");
        let half = serving(
            &[format!("\"{}\"", nobody()), format!("\"{b}\""), backup.clone()],
            &settings,
            "",
        );
        assert_eq!(shares(&half, 10), [("b".to_owned(), 10)].into(), "{balance}");
        let (gone, lost) = (nobody(), nobody());
        let none =
            serving(&[format!("\"{gone}\""), format!("\"{lost}\""), backup.clone()], &settings, "");
        assert_eq!(shares(&none, 10), [("c".to_owned(), 10)].into(), "{balance}");
    }
}
