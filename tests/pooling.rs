//! Kept upstream connections: used again, bounded, replaced when they are gone, and never shared
//! while an exchange on them is unfinished.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "threads of a test may wait, and read the real clock"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::{BOUND, Bowline, Upstream, Wire};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn keeping(upstream: &Upstream, keep_alive: &str) -> Bowline {
    Bowline::with(&format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ \"{}\" ], keep_alive: {{ {keep_alive} }} }} }}\n",
        upstream.address
    ))
}

fn exchange(client: &mut Wire, server: &mut Wire) {
    client.send(GET);
    server.head();
    server.send(OK);
    assert_eq!(client.answer().status, 200);
}

fn first(bowline: &Bowline, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = bowline.client();
    client.send(GET);
    let mut server = upstream.accept();
    server.head();
    server.send(OK);
    assert_eq!(client.answer().status, 200);
    (client, server)
}

#[test]
fn a_connection_serves_many_clients_one_after_another() {
    let upstream = Upstream::new();
    let bowline = Bowline::in_front_of(upstream.address);
    let (mut client, mut server) = first(&bowline, &upstream);
    exchange(&mut client, &mut server);
    for _ in 0..20 {
        exchange(&mut bowline.client(), &mut server);
    }
    assert!(upstream.is_untouched());
}

#[test]
fn a_connection_that_a_client_has_logged_in_on_is_nobody_elses() {
    let upstream = Upstream::new();
    let bowline = Bowline::in_front_of(upstream.address);
    let challenge =
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n";
    let login = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: NTLM TlRMTVNTUAAB\r\n\r\n";
    let mut client = bowline.client();
    for (request, answer) in [(GET, challenge), (login, OK)] {
        client.send(request);
        let mut server = upstream.accept();
        server.head();
        server.send(answer);
        client.answer();
    }
    let (mut client, mut server) = first(&bowline, &upstream);
    exchange(&mut client, &mut server);
    assert_eq!(bowline.metric("bowline_upstream_reused_total{upstream=\"up\"}"), 1.0);
}

#[test]
fn two_requests_at_once_have_a_connection_each_and_both_are_kept() {
    let upstream = Upstream::new();
    let bowline = Bowline::in_front_of(upstream.address);
    let (mut one, mut two) = (bowline.client(), bowline.client());
    one.send(GET);
    let mut first = upstream.accept();
    first.head();
    two.send(GET);
    let mut second = upstream.accept();
    second.head();
    second.send(OK);
    assert_eq!(two.answer().status, 200);
    first.send(OK);
    assert_eq!(one.answer().status, 200);
    one.send(GET);
    first.head();
    two.send(GET);
    second.head();
    assert!(upstream.is_untouched());
}

#[test]
fn a_connection_that_its_upstream_closed_is_replaced_without_a_word() {
    let upstream = Upstream::new();
    let bowline = Bowline::in_front_of(upstream.address);
    let (mut client, server) = first(&bowline, &upstream);
    drop(server);
    client.send(GET);
    let mut server = upstream.accept();
    server.head();
    server.send(OK);
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_connection_that_closes_in_the_moment_of_use_is_replaced_without_a_word() {
    // The upstream reads the second request of a connection and closes: the worst moment.
    let closes = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&closes);
    let address = Upstream::serving(move |mut wire| {
        wire.head();
        wire.send(OK);
        wire.until("\r\n\r\n");
        seen.fetch_add(1, Ordering::Relaxed);
    });
    let bowline = Bowline::in_front_of(address);
    let mut client = bowline.client();
    for _ in 0..50 {
        client.send(GET);
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(closes.load(Ordering::Relaxed), 49);
}

#[test]
fn a_connection_that_is_reset_in_the_moment_of_use_is_replaced_without_a_word() {
    let address = Upstream::serving(|mut wire| {
        wire.head();
        wire.send(OK);
        wire.until("\r\n\r\n");
        wire.reset();
    });
    let bowline = Bowline::in_front_of(address);
    let mut client = bowline.client();
    for _ in 0..50 {
        client.send(GET);
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn a_post_is_not_sent_twice_when_its_kept_connection_closes_under_it() {
    let posts = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&posts);
    let address = Upstream::serving(move |mut wire| {
        while wire.head().starts_with("GET ") {
            wire.send(OK);
        }
        seen.fetch_add(1, Ordering::Relaxed);
    });
    let bowline = Bowline::in_front_of(address);
    let mut client = bowline.client();
    client.send(GET);
    assert_eq!(client.answer().status, 200);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.answer().status, 502);
    assert_eq!(posts.load(Ordering::Relaxed), 1);
}

#[test]
fn no_more_than_max_are_kept() {
    let upstream = Upstream::new();
    let bowline = keeping(&upstream, "max: 1");
    let (mut one, mut two) = (bowline.client(), bowline.client());
    one.send(GET);
    let mut first = upstream.accept();
    two.send(GET);
    let mut second = upstream.accept();
    for (client, server) in [(&mut one, &mut first), (&mut two, &mut second)] {
        server.head();
        server.send(OK);
        assert_eq!(client.answer().status, 200);
    }
    assert!(second.is_closed(), "the pool was full");
    exchange(&mut one, &mut first);
}

#[test]
fn a_max_of_0_keeps_none() {
    let upstream = Upstream::new();
    let bowline = keeping(&upstream, "max: 0");
    let (_client, mut server) = first(&bowline, &upstream);
    assert!(server.is_closed());
}

#[test]
fn a_connection_over_its_idle_time_is_not_used_and_soon_closed() {
    let upstream = Upstream::new();
    let bowline = keeping(&upstream, "idle: 100ms");
    let (mut client, mut old) = first(&bowline, &upstream);
    std::thread::sleep(Duration::from_millis(150));
    client.send(GET);
    let mut fresh = upstream.accept();
    fresh.head();
    fresh.send(OK);
    assert_eq!(client.answer().status, 200);
    assert!(old.is_closed());
    let began = Instant::now();
    assert!(fresh.is_closed(), "closed with nobody asking");
    assert!(began.elapsed() < BOUND);
}

#[test]
fn a_connection_whose_answer_came_before_the_request_was_whole_is_not_shared() {
    let upstream = Upstream::new();
    let bowline = Bowline::in_front_of(upstream.address);
    let mut client = bowline.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
    let mut server = upstream.accept();
    server.head();
    server.send(OK);
    assert_eq!(client.answer().status, 200);
    let mut other = bowline.client();
    other.send(GET);
    let mut fresh = upstream.accept();
    assert!(fresh.head().starts_with("GET "));
    drop(client);
    let rest = String::from_utf8(server.rest()).unwrap();
    assert!(!rest.contains("GET "), "{rest}");
}

#[test]
fn a_connection_whose_client_left_is_not_shared() {
    let upstream = Upstream::new();
    let bowline = Bowline::in_front_of(upstream.address);
    let mut client = bowline.client();
    client.send(GET);
    let mut server = upstream.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    client.head();
    drop(client);
    assert!(server.is_closed());
}

#[test]
fn what_comes_unasked_on_an_idle_connection_ends_it() {
    let upstream = Upstream::new();
    let bowline = Bowline::in_front_of(upstream.address);
    let (mut client, mut server) = first(&bowline, &upstream);
    server.send(OK);
    assert!(server.is_closed());
    client.send(GET);
    let mut fresh = upstream.accept();
    fresh.head();
    fresh.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine");
    assert_eq!(client.answer().text(), "mine");
}

#[test]
fn idle_connections_close_when_bowline_drains() {
    let upstream = Upstream::new();
    let mut bowline = Bowline::in_front_of(upstream.address);
    let (client, mut server) = first(&bowline, &upstream);
    drop(client);
    bowline.drain();
    assert!(server.is_closed());
    assert!(bowline.join() < BOUND);
}

#[test]
fn a_request_that_was_lost_is_repeated_once_however_many_connections_are_warm() {
    let deletes = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&deletes);
    let upstream = Upstream::serving(move |mut wire| {
        // Serves GETs for as long as they come; a DELETE is taken and never answered.
        while wire.has_more() {
            let head = wire.head();
            if head.starts_with("DELETE") {
                seen.fetch_add(1, Ordering::SeqCst);
                return;
            }
            // All GETs are under way at once, so that each needs a connection of its own.
            std::thread::sleep(std::time::Duration::from_millis(300));
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let bowline = Bowline::in_front_of(upstream);
    let mut clients: Vec<_> = (0..8).map(|_| bowline.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    bowline.wait_metric("bowline_upstream_connects_total{upstream=\"up\"}", 8.0);
    let mut client = bowline.client();
    client.send("DELETE /poison HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 502);
    assert!((1..=2).contains(&deletes.load(Ordering::SeqCst)), "{deletes:?}");
}

#[test]
fn a_connection_is_not_used_again_after_its_most_requests() {
    let upstream = Upstream::new();
    let bowline = keeping(&upstream, "max_requests: 2");
    let (mut client, mut server) = first(&bowline, &upstream);
    for _ in 0..3 {
        exchange(&mut client, &mut server);
        assert!(server.is_closed(), "behind its second answer, before anybody asks again");
        assert!(upstream.is_untouched());
        client.send(GET);
        server = upstream.accept();
        server.head();
        server.send(OK);
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn a_connection_over_its_age_is_not_used_however_busy_it_is() {
    const AGE: Duration = Duration::from_millis(500);
    let upstream = Upstream::new();
    let bowline = keeping(&upstream, "max_age: 500ms, idle: 1h");
    // Its dial is a little later than this.
    let began = Instant::now();
    let (mut client, mut old) = first(&bowline, &upstream);
    let mut fresh = loop {
        client.send(GET);
        let Some(fresh) = upstream.try_accept() else {
            // Whichever it goes to, that one is asked.
            if !old.has_more() {
                break upstream.accept();
            }
            old.head();
            old.send(OK);
            assert_eq!(client.answer().status, 200);
            assert!(began.elapsed() < BOUND, "it was used for ever");
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        break fresh;
    };
    assert!(began.elapsed() >= AGE * 9 / 10, "{:?}", began.elapsed());
    fresh.head();
    fresh.send(OK);
    assert_eq!(client.answer().status, 200);
    assert!(old.is_closed());
}

#[test]
fn a_connection_over_its_age_is_closed_with_nobody_asking() {
    let upstream = Upstream::new();
    let bowline = keeping(&upstream, "max_age: 100ms, idle: 1h");
    let (_client, mut server) = first(&bowline, &upstream);
    assert!(server.is_closed());
}
