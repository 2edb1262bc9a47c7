//! Quotas asked with time as an argument.

use std::path::Path;

use http::{HeaderMap, HeaderValue, Method};

use super::*;
use crate::config;
use crate::plan::Plan;

fn planned(keys: &str) -> plan::Quota {
    let yaml = format!("quotas: [ {{ {keys} }} ]\n");
    let (config, mut mistakes) = config::parse("test", &yaml, &|_| None);
    Plan::build(&config, Path::new(""), &mut mistakes).quotas.remove(0)
}

fn quota(keys: &str) -> Quota {
    Quota::after(None, planned(keys))
}

/// One request: header lines, query, and whether it opens a WebSocket.
struct Asked<'a>(&'a [(&'static str, &'static str)], Option<&'a str>, bool);

const PLAIN: Asked<'_> = Asked(&[], None, false);
const UPGRADE: Asked<'_> = Asked(&[], None, true);

impl Quota {
    fn asked(
        &self,
        asked: &Asked<'_>,
        client: &str,
        millis: u64,
        seats: &mut Seats,
    ) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        for (name, value) in asked.0 {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let facts = Facts {
            host: "a",
            path: "/",
            query: asked.1,
            method: &Method::GET,
            headers: &headers,
            websocket: asked.2,
        };
        self.judge(&facts, client.parse().unwrap(), Duration::from_millis(millis), seats)
    }

    /// How long a request of `client` would have to wait.
    fn waits(&self, asked: &Asked<'_>, client: &str, millis: u64) -> Option<Duration> {
        let said = self.asked(asked, client, millis, &mut Seats::default());
        said.err().map(|refused| refused.wait)
    }
}

const fn millis(millis: u64) -> Option<Duration> {
    Some(Duration::from_millis(millis))
}

#[test]
fn a_burst_passes_and_then_the_rate_for_each_client_apart() {
    let quota = quota("requests: 10/s, burst: 500ms");
    for _ in 0..5 {
        assert_eq!(quota.waits(&PLAIN, "192.0.2.1", 1000), None);
    }
    assert_eq!(quota.waits(&PLAIN, "192.0.2.1", 1000), millis(100));
    assert_eq!(quota.waits(&PLAIN, "192.0.2.1", 1060), millis(40), "a refusal costs nothing");
    assert_eq!(quota.waits(&PLAIN, "192.0.2.2", 1060), None);
    assert_eq!(quota.waits(&PLAIN, "192.0.2.1", 1100), None);
    assert_eq!(quota.waits(&PLAIN, "192.0.2.1", 1100), millis(100));
    // Once it is full again there is a burst, and no more than that.
    for _ in 0..5 {
        assert_eq!(quota.waits(&PLAIN, "192.0.2.1", 60_000), None);
    }
    assert_eq!(quota.waits(&PLAIN, "192.0.2.1", 60_000), millis(100));
}

#[test]
fn over_a_long_time_it_is_the_rate_and_slow_ones_let_one_pass() {
    let fast = quota("requests: 50/s");
    let passed = (0..100_000).filter(|at| fast.waits(&PLAIN, "::1", *at).is_none()).count();
    // A hundred seconds, and the burst of one.
    assert!((5049..=5051).contains(&passed), "{passed}");
    let slow = quota("requests: 6/h");
    assert_eq!(slow.waits(&PLAIN, "::1", 0), None);
    assert_eq!(slow.waits(&PLAIN, "::1", 0), millis(600_000));
    assert_eq!(slow.waits(&PLAIN, "::1", 600_000), None);
}

#[test]
fn ipv6_clients_are_one_by_their_64_bits_and_mapped_ones_are_ipv4() {
    let quota = quota("requests: 1/h");
    assert_eq!(quota.waits(&PLAIN, "2001:db8:0:1::1", 0), None);
    assert!(quota.waits(&PLAIN, "2001:db8:0:1:ffff::2", 0).is_some());
    assert_eq!(quota.waits(&PLAIN, "2001:db8:0:2::1", 0), None);
    assert_eq!(quota.waits(&PLAIN, "192.0.2.1", 0), None);
    assert!(quota.waits(&PLAIN, "::ffff:192.0.2.1", 0).is_some());
    assert_eq!(quota.waits(&PLAIN, "::ffff:192.0.2.2", 0), None);
}

#[test]
fn upgrades_and_requests_do_not_count_each_other() {
    let both = quota("requests: 1/h, upgrades: 1/h");
    for asked in [PLAIN, UPGRADE] {
        assert_eq!(both.waits(&asked, "::1", 0), None);
        assert!(both.waits(&asked, "::1", 0).is_some());
    }
    let one = quota("upgrades: 1/h");
    assert!((0..100).all(|_| one.waits(&PLAIN, "::1", 0).is_none()));
    assert_eq!(one.waits(&UPGRADE, "::1", 0), None);
    let refused = one.asked(&UPGRADE, "::1", 0, &mut Seats::default()).unwrap_err();
    assert_eq!(refused.of, "upgrades");
}

#[test]
fn a_key_is_the_value_of_its_field_and_who_has_none_is_not_counted() {
    let with = |value| Asked(value, None, false);
    for (keys, one, other) in [
        (
            "per: { header: X-Key }, requests: 1/h",
            with(&[("x-key", "a"), ("x-key", "c")]),
            with(&[("x-key", "b")]),
        ),
        (
            "per: { cookie: s }, requests: 1/h",
            with(&[("cookie", "t=b; s=a")]),
            with(&[("cookie", "s=b")]),
        ),
        (
            "per: { query: k }, requests: 1/h",
            Asked(&[], Some("x=1&k=%61"), false),
            Asked(&[], Some("k=b&k=a"), false),
        ),
    ] {
        let quota = quota(keys);
        assert_eq!(quota.waits(&one, "::1", 0), None, "{keys}");
        assert!(quota.waits(&one, "192.0.2.1", 0).is_some(), "{keys}: whatever the address");
        assert_eq!(quota.waits(&other, "::1", 0), None, "{keys}");
        assert!((0..10).all(|_| quota.waits(&PLAIN, "::1", 0).is_none()), "{keys}");
    }
    let all = quota("per: all, requests: 1/h");
    assert_eq!(all.waits(&PLAIN, "::1", 0), None);
    assert!(all.waits(&PLAIN, "192.0.2.1", 0).is_some());
}

#[test]
fn who_is_excepted_is_not_counted() {
    let quota = quota("per: all, requests: 1/h, except: [ 10.0.0.0/8 ]");
    assert!((0..10).all(|_| quota.waits(&PLAIN, "10.1.2.3", 0).is_none()));
    assert_eq!(quota.waits(&PLAIN, "192.0.2.1", 0), None);
    assert!(quota.waits(&PLAIN, "192.0.2.2", 0).is_some());
    assert_eq!(quota.waits(&PLAIN, "::ffff:10.1.2.3", 0), None);
}

#[test]
fn sockets_count_as_long_as_their_seats_live() {
    let quota = quota("sockets: 2, upgrades: 3/h, burst: 1h");
    let (mut one, mut two, mut three) = (Seats::default(), Seats::default(), Seats::default());
    assert_eq!(quota.asked(&UPGRADE, "::1", 0, &mut one), Ok(()));
    assert_eq!(quota.asked(&UPGRADE, "::1", 0, &mut two), Ok(()));
    let refused = Refused { of: "sockets", wait: Duration::ZERO };
    for _ in 0..10 {
        assert_eq!(quota.asked(&UPGRADE, "::1", 0, &mut three), Err(refused));
    }
    assert!(quota.waits(&PLAIN, "::1", 0).is_none());
    drop(one);
    assert_eq!(quota.asked(&UPGRADE, "::1", 0, &mut three), Ok(()), "refusals took no upgrade");
    drop((two, three));
    // Whoever is refused by the rate has no seat.
    for _ in 0..10 {
        let refused = quota.asked(&UPGRADE, "::1", 0, &mut Seats::default()).unwrap_err();
        assert_eq!(refused.of, "upgrades");
    }
}

#[test]
fn what_stays_the_same_goes_on_counting() {
    let before = quota("requests: 2/h, upgrades: 2/h, sockets: 1, burst: 1h");
    let mut seats = Seats::default();
    assert_eq!(before.asked(&UPGRADE, "::1", 0, &mut seats), Ok(()));
    for _ in 0..2 {
        assert_eq!(before.waits(&PLAIN, "::1", 0), None);
    }
    let after =
        Quota::after(Some(&before), planned("requests: 2/h, upgrades: 3/h, sockets: 2, burst: 1h"));
    assert!(after.waits(&PLAIN, "::1", 0).is_some(), "the same rate");
    let mut second = Seats::default();
    assert_eq!(after.asked(&UPGRADE, "::1", 0, &mut second), Ok(()));
    let refused = after.asked(&UPGRADE, "::1", 0, &mut Seats::default()).unwrap_err();
    assert_eq!(refused.of, "sockets", "the one from before counts");
    drop(seats);
    for _ in 0..2 {
        assert_eq!(after.waits(&UPGRADE, "::1", 0), None, "another rate begins anew");
    }
    assert!(after.waits(&UPGRADE, "::1", 0).is_some());
}

#[test]
fn a_million_clients_leave_nobody_refused_for_another() {
    let quota = quota("requests: 1/h");
    for number in 0..1_000_000_u32 {
        let client = IpAddr::V4(number.to_be().into());
        let said = quota.judge(
            &Facts {
                host: "a",
                path: "/",
                query: None,
                method: &Method::GET,
                headers: &HeaderMap::new(),
                websocket: false,
            },
            client,
            Duration::ZERO,
            &mut Seats::default(),
        );
        assert_eq!(said, Ok(()), "{client}: the first of each passes");
    }
}

#[test]
fn threads_share_one_count() {
    for keys in ["requests: 100/h, burst: 1h", "per: all, requests: 100/h, burst: 1h"] {
        let quota = quota(keys);
        let passed = std::thread::scope(|scope| {
            let count = || (0..1000).filter(|_| quota.waits(&PLAIN, "::1", 0).is_none()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(passed, 100, "{keys}");
    }
}
