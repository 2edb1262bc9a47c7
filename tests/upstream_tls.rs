//! TLS to upstreams over real sockets: who is believed and who is not, what servers see, and that what
//! ends without a close_notify is no whole answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

#[path = "upstream_tls/harness.rs"]
mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use harness::{Authority, OK, Server, answer, ended_well, head};
use support::dns::Dns;
use support::process::Process;
use support::{Bowline, SWITCHING, handshake, header, wait_for};
use tokio_rustls::rustls::ALL_VERSIONS;
use tokio_rustls::rustls::version::{TLS12, TLS13};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const FAILED: &str = "bowline_failures_total{route=\"up\",cause=\"upstream_tls\"}";
const REUSED: &str = "bowline_upstream_reused_total{upstream=\"up\"}";

/// One upstream with these endpoints and these settings.
fn yaml(endpoints: &str, settings: &str) -> String {
    format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ name: up, upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ {endpoints} ], {settings} }} }}\n"
    )
}

fn bowline(endpoints: &str, settings: &str) -> Bowline {
    Bowline::with(&yaml(endpoints, settings))
}

/// The endpoint of `server` by a name.
fn at(server: &Server) -> String {
    format!("\"https://localhost:{}\"", server.port())
}

fn believing(authority: &Authority) -> String {
    format!("tls: {{ ca: \"{}\" }}", authority.path("ca.pem"))
}

/// The status of one request over a connection of its own.
fn status(bowline: &Bowline) -> u16 {
    let mut client = bowline.client();
    client.send(GET);
    client.answer().status
}

#[test]
fn requests_go_over_tls_and_share_a_connection() {
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new("share");
        authority.issue("a", &["localhost"]);
        let server = Server::ok(authority.config("a", &[version], false));
        let bowline = bowline(&at(&server), &believing(&authority));
        let mut client = bowline.client();
        for _ in 0..5 {
            client.send(GET);
            assert_eq!(client.answer().text(), "ok");
        }
        let seen = server.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].sni.as_deref(), Some("localhost"));
        assert_eq!(seen[0].alpn.as_deref(), Some(&b"http/1.1"[..]));
        assert!(seen[0].shown.is_none() && !seen[0].resumed);
    }
}

#[test]
fn a_record_that_is_no_data_does_not_end_an_idle_connection() {
    let authority = Authority::new("idle");
    authority.issue("a", &["localhost"]);
    let mut config = authority.config("a", &[&TLS13], false);
    // Tickets come behind the handshake, new keys behind each answer.
    config.send_tls13_tickets = 4;
    let (renewed, renewals) = mpsc::channel();
    let server = Server::new(config, move |mut tls| {
        while answer(&mut tls, OK).is_some() {
            tls.conn.refresh_traffic_keys().unwrap();
            tls.flush().unwrap();
            renewed.send(()).unwrap();
        }
    });
    let bowline = bowline(&at(&server), &believing(&authority));
    let mut client = bowline.client();
    for _ in 0..20 {
        client.send(GET);
        assert_eq!(client.answer().text(), "ok");
        renewals.recv().unwrap();
    }
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_connection_that_its_server_ended_is_not_used_again() {
    let authority = Authority::new("ended");
    authority.issue("a", &["localhost"]);
    let (ended, ends) = mpsc::channel();
    let server = Server::new(authority.config("a", ALL_VERSIONS, false), move |mut tls| {
        answer(&mut tls, OK);
        tls.conn.send_close_notify();
        tls.flush().unwrap();
        ended.send(()).unwrap();
        // Not a FIN: only the alert tells.
        while tls.sock.read(&mut [0; 512]).is_ok_and(|read| read > 0) {}
    });
    let bowline = bowline(&at(&server), &believing(&authority));
    let mut client = bowline.client();
    for number in 1..=3 {
        client.send(GET);
        assert_eq!(client.answer().text(), "ok");
        ends.recv().unwrap();
        assert_eq!(server.seen().len(), number);
    }
}

#[test]
fn a_second_connection_resumes_the_session_of_the_first() {
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new("resumes");
        authority.issue("a", &["localhost"]);
        let server = Server::ok(authority.config("a", &[version], false));
        let settings = format!("keep_alive: {{ max: 0 }}, {}", believing(&authority));
        let bowline = bowline(&at(&server), &settings);
        assert_eq!((status(&bowline), status(&bowline)), (200, 200));
        let resumed: Vec<_> = server.seen().iter().map(|one| one.resumed).collect();
        assert_eq!(resumed, [false, true], "{version:?}");
    }
}

#[test]
fn who_cannot_be_believed_is_refused_with_a_cause_of_its_own() {
    let (authority, other) = (Authority::new("refused"), Authority::new("stranger"));
    let same_name = Authority::called("impostor", "refused");
    authority.issue("fine", &["localhost"]);
    authority.issue("elsewhere", &["elsewhere.example"]);
    authority.issue_with("expired", &["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    authority.issue_with("early", &["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(2901, 1, 1);
        params.not_after = rcgen::date_time_ymd(2902, 1, 1);
    });
    other.issue("stranger", &["localhost"]);
    same_name.issue("impostor", &["localhost"]);
    for (by, file, refused, told) in [
        (&authority, "fine", false, ""),
        (&authority, "elsewhere", true, "not for localhost but for elsewhere.example:"),
        (&authority, "expired", true, "has expired"),
        (&authority, "early", true, "is not valid yet"),
        (&other, "stranger", true, "of an unknown issuer"),
        (&same_name, "impostor", true, "signed with another key"),
    ] {
        let server = Server::ok(by.config(file, ALL_VERSIONS, false));
        let bowline = bowline(&at(&server), &believing(&authority));
        let mut client = bowline.client();
        client.send(GET);
        let answer = client.answer();
        assert_eq!(answer.status, if refused { 502 } else { 200 }, "{file}");
        if refused {
            let status = answer.header("proxy-status").unwrap();
            assert!(status.contains("error=tls_protocol_error"), "{file}: {status}");
            bowline.wait_metric(FAILED, 1.0);
            assert!(server.seen().is_empty(), "{file}");
            let process = Process::start(
                &format!("upstream-tls-{file}"),
                &yaml(&at(&server), &believing(&authority)),
                None,
            );
            let mut client = process.client();
            client.send(GET);
            assert_eq!(client.answer().status, 502);
            wait_for(told, || process.logged().contains(told));
        }
    }
}

#[test]
fn what_speaks_no_tls_is_a_failure_of_tls_too() {
    let node = support::node("plain");
    let bowline = bowline(
        &format!("\"https://{node}\""),
        "tls: { insecure_skip_verify: true, handshake_timeout: 1s }",
    );
    assert_eq!(status(&bowline), 502);
    bowline.wait_metric(FAILED, 1.0);
}

#[test]
fn a_self_signed_certificate_is_believed_only_where_that_is_said() {
    let authority = Authority::new("self-signed");
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(authority.path("own.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(authority.path("own.key"), key.serialize_pem()).unwrap();
    let server = Server::ok(authority.config("own", ALL_VERSIONS, false));
    let own = format!("tls: {{ ca: \"{}\" }}", authority.path("own.pem"));
    for (settings, expected) in [
        (believing(&authority).as_str(), 502),
        (own.as_str(), 200),
        ("tls: { insecure_skip_verify: true }", 200),
    ] {
        assert_eq!(status(&bowline(&at(&server), settings)), expected, "{settings}");
    }
}

#[test]
fn whoever_verifies_nothing_is_warned() {
    let authority = Authority::new("warned");
    let file = authority.path("blind.yaml");
    std::fs::write(&file, yaml("\"https://127.0.0.1:1\"", "tls: { insecure_skip_verify: true }"))
        .unwrap();
    let check =
        Command::new(env!("CARGO_BIN_EXE_bowline")).args(["check", &file]).output().unwrap();
    assert!(check.status.success());
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("warning: upstream up: insecure_skip_verify takes any"), "{said}");
    let process = Process::start_with("upstream-tls-blind", file.as_ref(), None);
    wait_for("the warning", || process.logged().contains("upstream up: insecure_skip_verify"));
}

#[test]
fn files_are_read_with_the_plan_and_mistakes_have_their_place() {
    let authority = Authority::new("mistakes");
    authority.issue("a", &["localhost"]);
    authority.issue("b", &["localhost"]);
    let path = |file: &str| authority.path(file);
    let (pem, key, other) = (path("a.pem"), path("a.key"), path("b.key"));
    for (tls, place, told) in [
        ("{ ca: gone.pem }".to_owned(), "5:16", "gone.pem"),
        (format!("{{ ca: \"{key}\" }}"), "5:16", "holds no certificate"),
        (format!("{{ cert: \"{pem}\", key: \"{other}\" }}"), "5:18", "does not belong to"),
        (format!("{{ cert: \"{pem}\", key: gone.key }}"), "5:18", "gone.key"),
    ] {
        let file = authority.path("wrong.yaml");
        let text = format!(
            "listeners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\nupstreams:\n  \
             up: {{ endpoints: [ \"https://a\" ],\n    tls: {tls} }}\n"
        );
        std::fs::write(&file, text).unwrap();
        let check =
            Command::new(env!("CARGO_BIN_EXE_bowline")).args(["check", &file]).output().unwrap();
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert!(!check.status.success(), "{tls}");
        assert!(said.contains(&format!("wrong.yaml:{place}:")) && said.contains(told), "{said}");
    }
}

#[test]
fn the_systems_authorities_are_believed_where_no_others_are_named() {
    let authority = Authority::new("system");
    authority.issue("a", &["localhost"]);
    let server = Server::ok(authority.config("a", ALL_VERSIONS, false));
    let file = authority.path("system.yaml");
    std::fs::write(&file, yaml(&at(&server), "")).unwrap();
    let trust =
        format!("unset SSL_CERT_DIR; export SSL_CERT_FILE='{}'; ", authority.path("ca.pem"));
    let process = Process::start_in("upstream-tls-system", file.as_ref(), &trust, Stdio::null());
    let mut client = process.client();
    client.send(GET);
    assert_eq!(client.answer().text(), "ok");
}

#[test]
fn a_name_of_ones_own_is_asked_for_and_verified() {
    let authority = Authority::new("own-name");
    authority.issue("a", &["web.internal"]);
    let server = Server::ok(authority.config("a", ALL_VERSIONS, false));
    let named =
        format!("tls: {{ ca: \"{}\", server_name: web.internal }}", authority.path("ca.pem"));
    assert_eq!(status(&bowline(&at(&server), &named)), 200);
    assert_eq!(server.seen()[0].sni.as_deref(), Some("web.internal"));
    assert_eq!(status(&bowline(&at(&server), &believing(&authority))), 502);
}

#[test]
fn an_address_is_verified_as_one_and_not_sent() {
    let authority = Authority::new("address");
    authority.issue("by-address", &["127.0.0.1"]);
    authority.issue("by-name", &["localhost"]);
    for (file, expected) in [("by-address", 200), ("by-name", 502)] {
        let server = Server::ok(authority.config(file, ALL_VERSIONS, false));
        let at = format!("\"wss://{}\"", server.address);
        assert_eq!(status(&bowline(&at, &believing(&authority))), expected, "{file}");
        assert!(server.seen().iter().all(|one| one.sni.is_none()));
    }
}

#[test]
fn a_server_that_asks_for_a_certificate_is_shown_one() {
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new("shown");
        authority.issue("a", &["localhost"]);
        authority.issue("own", &["bowline.internal"]);
        let server = Server::ok(authority.config("a", &[version], true));
        let path = |file| authority.path(file);
        let (ca, cert, key) = (path("ca.pem"), path("own.pem"), path("own.key"));
        let shows = format!("tls: {{ ca: \"{ca}\", cert: \"{cert}\", key: \"{key}\" }}");
        assert_eq!(status(&bowline(&at(&server), &shows)), 200);
        assert!(server.seen()[0].shown.is_some());
        assert_eq!(status(&bowline(&at(&server), &believing(&authority))), 502);
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn each_endpoint_of_an_upstream_speaks_what_it_says() {
    let authority = Authority::new("mixed");
    authority.issue("a", &["127.0.0.1", "localhost"]);
    let (one, two) = (
        Server::ok(authority.config("a", ALL_VERSIONS, false)),
        Server::ok(authority.config("a", ALL_VERSIONS, false)),
    );
    let plain = support::node("plain");
    let endpoints = format!("{}, \"{}\", \"http://{plain}\"", at(&one), two.address);
    let settings = format!("balance: round_robin, {}", believing(&authority));
    let bowline = bowline(&endpoints, &settings);
    for _ in 0..6 {
        assert_eq!(status(&bowline), 200);
    }
    assert_eq!((one.seen().len(), two.seen().len()), (1, 1));
}

#[test]
fn a_request_that_meets_a_server_without_belief_is_tried_elsewhere() {
    let (authority, other) = (Authority::new("elsewhere"), Authority::new("unbelieved"));
    authority.issue("a", &["localhost"]);
    other.issue("a", &["localhost"]);
    let right = Server::ok(authority.config("a", ALL_VERSIONS, false));
    let wrong = Server::ok(other.config("a", ALL_VERSIONS, false));
    let endpoints = format!("{}, {}", at(&wrong), at(&right));
    let settings = format!(
        "balance: round_robin, health: {{ passive: {{ failures: 2 }} }}, {}",
        believing(&authority)
    );
    let bowline = bowline(&endpoints, &settings);
    for _ in 0..8 {
        assert_eq!(status(&bowline), 200);
    }
    let ejected = format!(
        "bowline_endpoint_ejections_total{{upstream=\"up\",endpoint=\"https://localhost:{}\"}}",
        wrong.port()
    );
    bowline.wait_metric(&ejected, 1.0);
    assert!(bowline.metric(REUSED) > 0.0);
}

#[test]
fn a_body_that_ends_with_the_connection_is_whole_only_behind_a_close_notify() {
    let authority = Authority::new("truncated");
    authority.issue("a", &["localhost"]);
    for version in [&TLS12, &TLS13] {
        for polite in [true, false] {
            let server = Server::new(authority.config("a", &[version], false), move |mut tls| {
                answer(&mut tls, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello");
                if polite {
                    tls.conn.send_close_notify();
                    tls.flush().unwrap();
                }
            });
            let bowline = bowline(&at(&server), &believing(&authority));
            let mut client = bowline.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let said = String::from_utf8(client.rest()).unwrap();
            assert!(said.contains("hello"), "{said}");
            assert_eq!(said.ends_with("0\r\n\r\n"), polite, "{said}");
        }
    }
}

#[test]
fn a_large_request_reaches_a_slow_server_to_its_last_byte() {
    const LENGTH: usize = 4 << 20;
    let authority = Authority::new("large");
    authority.issue("a", &["localhost"]);
    let server = Server::new(authority.config("a", ALL_VERSIONS, false), |mut tls| {
        head(&mut tls).unwrap();
        let mut body = vec![0; LENGTH];
        for part in body.chunks_mut(64 << 10) {
            tls.read_exact(part).unwrap();
            std::thread::yield_now();
        }
        assert!(body.iter().all(|byte| *byte == b'x'));
        tls.write_all(OK.as_bytes()).unwrap();
    });
    let bowline = bowline(&at(&server), &believing(&authority));
    let mut client = bowline.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n"));
    client.send(vec![b'x'; LENGTH]);
    assert_eq!(client.answer().text(), "ok");
}

#[test]
fn a_websocket_crosses_to_an_upstream_with_tls_both_ways_to_its_end() {
    const LENGTH: usize = 8 << 20;
    let authority = Authority::new("tunnel");
    authority.issue("a", &["localhost"]);
    for version in [&TLS12, &TLS13] {
        let (told, ends) = mpsc::channel();
        let server = Server::new(authority.config("a", &[version], false), move |mut tls| {
            let asked = answer(&mut tls, SWITCHING).unwrap();
            assert!(header(&asked, "upgrade").is_some());
            let mut message = vec![0; LENGTH];
            tls.read_exact(&mut message).unwrap();
            // The client has said its last; the other direction goes on.
            told.send(ended_well(&mut tls)).unwrap();
            message.reverse();
            tls.write_all(&message).unwrap();
            tls.conn.send_close_notify();
            tls.flush().unwrap();
        });
        let at = format!("\"wss://localhost:{}\"", server.port());
        let bowline = bowline(&at, &believing(&authority));
        let mut client = bowline.client();
        client.send(handshake("/ws", ""));
        assert!(client.head().starts_with("HTTP/1.1 101 "));
        let mut message: Vec<u8> = (0..LENGTH).map(|at| (at % 251) as u8).collect();
        client.send(&message);
        client.finish();
        assert!(ends.recv().unwrap(), "half of it is closed with a close_notify");
        message.reverse();
        assert!(client.rest() == message, "what comes back is what went out");
        bowline.wait_metric("bowline_tunnels{route=\"up\"}", 0.0);
    }
}

#[test]
fn an_end_of_bowlines_is_told_with_a_close_notify() {
    let authority = Authority::new("polite");
    authority.issue("a", &["localhost"]);
    let (told, ends) = mpsc::channel();
    let server = Server::new(authority.config("a", ALL_VERSIONS, false), move |mut tls| {
        answer(&mut tls, OK);
        told.send(ended_well(&mut tls)).unwrap();
    });
    let settings = format!("keep_alive: {{ max: 0 }}, {}", believing(&authority));
    let bowline = bowline(&at(&server), &settings);
    assert_eq!(status(&bowline), 200);
    assert!(ends.recv().unwrap());
}

/// A 101 that is right for `key`, and one pong.
fn pong(tls: &mut harness::Tls, key: &str) {
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    tls.write_all(SWITCHING.replace(support::ACCEPT, &accept).as_bytes()).unwrap();
    let (mut fixed, mut mask) = ([0; 2], [0; 4]);
    tls.read_exact(&mut fixed).unwrap();
    tls.read_exact(&mut mask).unwrap();
    let mut payload = vec![0; usize::from(fixed[1] & 0x7f)];
    tls.read_exact(&mut payload).unwrap();
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    tls.write_all(&[&[0x8a, payload.len() as u8], &payload[..]].concat()).unwrap();
    tls.flush().unwrap();
}

#[test]
fn what_is_found_is_verified_as_the_name_that_was_asked_for() {
    let authority = Authority::new("found");
    authority.issue("a", &["chat.test"]);
    authority.issue("listed", &["127.0.0.1"]);
    let server = Server::ok(authority.config("a", ALL_VERSIONS, false));
    let listed = Server::ok(authority.config("listed", ALL_VERSIONS, false));
    let dns = Dns::new(1);
    dns.is("chat.test", &[server.address.ip()]);
    let found = format!("\"dns://chat.test:{}\"", server.port());
    let list = authority.path("list.yaml");
    std::fs::write(&list, format!("[ \"{}\" ]\n", listed.address)).unwrap();
    let settings =
        format!("balance: round_robin, endpoints_file: \"{list}\", {}", believing(&authority));
    let resolver = format!("resolver: {{ servers: [ \"{}\" ] }}\n", dns.address);
    let bowline = Bowline::with(&(yaml(&found, &settings) + &resolver));
    for _ in 0..4 {
        assert_eq!(status(&bowline), 200);
    }
    assert_eq!(server.seen()[0].sni.as_deref(), Some("chat.test"));
    assert_eq!(listed.seen().len(), 1);
}

#[test]
fn checks_go_over_tls_and_find_who_cannot_be_believed() {
    let (authority, other) = (Authority::new("checked"), Authority::new("doubted"));
    authority.issue("a", &["localhost"]);
    other.issue("a", &["localhost"]);
    for (kind, wrong_is_up) in [("http", 0.0), ("websocket", 0.0), ("tcp", 1.0)] {
        let right = Server::new(authority.config("a", ALL_VERSIONS, false), |mut tls| {
            let Some(asked) = head(&mut tls) else { return };
            if header(&asked, "upgrade").is_some() {
                pong(&mut tls, header(&asked, "sec-websocket-key").unwrap());
            } else {
                tls.write_all(OK.as_bytes()).ok();
            }
        });
        let wrong = Server::ok(other.config("a", ALL_VERSIONS, false));
        let settings = format!(
            "health: {{ active: {{ type: {kind}, interval: 100ms, timeout: 100ms, fall: 1, rise: 1 }} }}, {}",
            believing(&authority)
        );
        let bowline = bowline(&format!("{}, {}", at(&right), at(&wrong)), &settings);
        let passed = "bowline_health_checks_total{upstream=\"up\",result=\"passed\"}";
        wait_for("a check that passed", || bowline.metric(passed) >= 2.0);
        let up = |server: &Server| {
            format!(
                "bowline_endpoint_up{{upstream=\"up\",endpoint=\"https://localhost:{}\"}}",
                server.port()
            )
        };
        bowline.wait_metric(&up(&right), 1.0);
        bowline.wait_metric(&up(&wrong), wrong_is_up);
    }
}

#[test]
fn a_proxy_header_goes_out_before_the_handshake() {
    let authority = Authority::new("proxy");
    authority.issue("a", &["localhost"]);
    let (told, lines) = mpsc::channel();
    let before = move |stream: &mut TcpStream| {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        told.send(String::from_utf8(line).unwrap()).unwrap();
    };
    let server = Server::behind(authority.config("a", ALL_VERSIONS, false), before, |mut tls| {
        let asked = answer(&mut tls, OK).unwrap();
        assert!(asked.starts_with("GET / HTTP/1.1\r\n"), "once, and only before the handshake");
    });
    let settings = format!("proxy_protocol: v1, {}", believing(&authority));
    let bowline = bowline(&at(&server), &settings);
    assert_eq!(status(&bowline), 200);
    assert!(lines.recv().unwrap().starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "));
}

#[test]
fn a_handshake_that_nobody_answers_ends_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("\"https://{}\"", silent.local_addr().unwrap());
    let skip = "insecure_skip_verify: true";
    let own = bowline(&at, &format!("tls: {{ {skip}, handshake_timeout: 100ms }}"));
    assert_eq!(status(&own), 502);
    own.wait_metric(FAILED, 1.0);
    let settings = format!("tls: {{ {skip} }}");
    let whole = Bowline::with(&(yaml(&at, &settings) + "timeouts: { connect: 100ms }\n"));
    assert_eq!(status(&whole), 504);
}

#[test]
fn a_reload_reads_files_anew_and_trusts_no_connection_of_before() {
    let (authority, other) = (Authority::new("reload"), Authority::new("reload-other"));
    authority.issue("a", &["localhost"]);
    let server = Server::ok(authority.config("a", ALL_VERSIONS, false));
    let file = authority.path("reloaded.yaml");
    let text = yaml(&at(&server), &believing(&authority));
    std::fs::write(&file, format!("{text}admin: {{ address: 127.0.0.1:0 }}\n")).unwrap();
    let process = Process::start_with("upstream-tls-reload", file.as_ref(), None);
    let admin = process.admin().to_string();
    let get = || {
        let mut client = process.client();
        client.send(GET);
        client.answer().status
    };
    let reload = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
        command.args(["reload", "--admin", &admin]).output().unwrap()
    };
    assert_eq!((get(), get()), (200, 200));
    // The same files: the same connection.
    assert!(reload().status.success());
    assert_eq!(get(), 200);
    assert_eq!(server.seen().len(), 1);
    // Nobody reads a file before a reload, and a broken one changes nothing.
    let ca = authority.path("ca.pem");
    let before = std::fs::read(&ca).unwrap();
    std::fs::write(&ca, "no authority").unwrap();
    let refused = reload();
    assert!(!refused.status.success());
    let said = String::from_utf8([refused.stdout, refused.stderr].concat()).unwrap();
    assert!(said.contains("holds no certificate"), "{said}");
    assert_eq!(get(), 200);
    std::fs::copy(other.path("ca.pem"), &ca).unwrap();
    assert_eq!(get(), 200);
    assert!(reload().status.success());
    assert_eq!(get(), 502, "neither the connection nor its session is believed any more");
    std::fs::write(&ca, before).unwrap();
    assert!(reload().status.success());
    assert_eq!(get(), 200);
    assert_eq!(server.seen().len(), 2);
}
