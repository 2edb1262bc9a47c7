//! What picking an endpoint costs, by policy and number of endpoints: `cargo bench --bench pick`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a measurement, of real time")]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Instant;

use bowline::config;
use bowline::plan::{Facts, Plan};
use bowline::telemetry::Metrics;
use bowline::upstream::{Asker, Claim, Registry, Upstream};
use http::{HeaderMap, Method};

fn main() {
    for count in [10, 100, 1000] {
        for balance in
            ["least_connections", "round_robin", "power_of_two", "random", "ring_hash", "maglev"]
        {
            measure(count, balance, "");
        }
        measure(count, "least_connections", "slow_start: 30s");
        measure(count, "least_connections", "sticky: cookie");
    }
}

fn measure(count: usize, balance: &str, more: &str) {
    let mut endpoints = String::new();
    for index in 0..count {
        write!(endpoints, "\"10.0.{}.{}:9001\", ", index / 250, index % 250).unwrap();
    }
    let yaml = format!(
        "listeners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams:\n  up:\n    endpoints: [ {endpoints} ]\n    balance: {balance}\n    {more}\n"
    );
    let (config, mut mistakes) = config::parse("bench", &yaml, &|_| None);
    let plan = Plan::build(&config, Path::new(""), &mut mistakes);
    assert!(mistakes.is_empty(), "{mistakes}");
    let began = Instant::now();
    let upstream = Upstream::new(&plan.upstreams[0], &Registry::default(), &Metrics::new(1));
    let built = began.elapsed();
    let headers = HeaderMap::new();
    let facts = Facts {
        host: "test.example",
        path: "/ws",
        query: None,
        method: &Method::GET,
        headers: &headers,
        websocket: true,
    };
    // Sockets that stay: nobody is empty, and no two neighbours carry the same.
    let lease = || upstream.lease(&Claim::default(), &[]).unwrap().into_tunnel();
    let mut sockets: Vec<_> = (0..20 * count).map(|_| lease()).collect();
    let mut number = 0;
    sockets.retain(|_| {
        number += 1;
        number % 7 > 2
    });
    // The kernel's clock of a thread ticks every few milliseconds: long runs.
    let picks = 10_000_000 / if balance == "least_connections" { count as u32 } else { 1 };
    let began = on_cpu();
    for client in 0..picks {
        let address = IpAddr::V4(Ipv4Addr::from_bits(client));
        // With the reading of the head and the counting up and down: all that a request pays.
        let claim = upstream.claim(&facts, || Asker { address, tls: false });
        drop(std::hint::black_box(upstream.lease(&claim, &[])));
    }
    let each = (on_cpu() - began) / u64::from(picks);
    println!("{count:>5} {balance:<17} {more:<16} {each:>6} ns a request, built in {built:?}");
}

/// Nanoseconds that this thread has run: others on the machine do not count.
fn on_cpu() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split(' ').next().unwrap().parse().unwrap()
}
