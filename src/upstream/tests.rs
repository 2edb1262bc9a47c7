//! An upstream as its requests meet it: picks, counts and what outlives a plan.

use std::path::Path;

use http::{HeaderMap, Method};

use super::*;
use crate::config;
use crate::plan::Plan;

fn live(registry: &Registry, endpoints: &[&str], settings: &str) -> Upstream {
    let yaml = format!(
        "listeners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams:\n  up:\n    endpoints: {endpoints:?}\n    {settings}\n"
    );
    let (config, mut mistakes) = config::parse("test", &yaml, &|_| None);
    let plan = Plan::build(&config, Path::new(""), &mut mistakes);
    assert!(mistakes.is_empty(), "{mistakes}");
    Upstream::new(&plan.upstreams[0], registry, &Metrics::new(1))
}

/// How many of a thousand requests, each over at once, meet the last endpoint.
fn share_of_last(upstream: &Upstream) -> usize {
    let last = upstream.endpoints.last().unwrap();
    let lease = || upstream.lease(&Claim::default(), &[]).unwrap();
    (0..1000).filter(|_| Arc::ptr_eq(lease().endpoint(), last)).count()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_a_later_plan_adds_starts_slowly() {
    let registry = Registry::default();
    let settings = "balance: round_robin\n    slow_start: 30s";
    let two = live(&registry, &["10.0.0.1:1", "10.0.0.2:1"], settings);
    assert_eq!(share_of_last(&two), 500, "at the start of the process nobody is new");
    let three = live(&registry, &["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"], settings);
    // A tenth of a share beside two whole ones.
    assert!((25..75).contains(&share_of_last(&three)), "{}", share_of_last(&three));
    tokio::time::advance(Duration::from_secs(15)).await;
    assert!((180..260).contains(&share_of_last(&three)), "{}", share_of_last(&three));
    tokio::time::advance(Duration::from_secs(15)).await;
    assert!((333..=334).contains(&share_of_last(&three)));
    // One that recovers begins anew.
    three.endpoints[2].begin_slow_start();
    assert!((25..75).contains(&share_of_last(&three)));
}

#[test]
fn sockets_of_an_earlier_plan_are_load_in_the_next_one() {
    let registry = Registry::default();
    let before = live(&registry, &["10.0.0.1:1", "10.0.0.2:1"], "");
    let sockets: Vec<_> =
        (0..10).map(|_| before.lease(&Claim::default(), &[]).unwrap().into_tunnel()).collect();
    let after = live(&registry, &["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"], "");
    let newcomer = |lease: &Lease| lease.endpoint().label == "10.0.0.3:1";
    let next: Vec<_> = (0..4).map(|_| after.lease(&Claim::default(), &[]).unwrap()).collect();
    assert!(next.iter().all(newcomer));
    drop((sockets, next));
    assert!(after.endpoints.iter().all(|one| one.load() == 0));
}

#[test]
fn turns_and_counts_are_exact_however_workers_interleave() {
    let registry = Registry::default();
    let labels = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"];
    for balance in ["round_robin", "least_connections"] {
        let upstream = live(&registry, &labels, &format!("balance: {balance}"));
        let leases: Vec<Lease> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let lease = |_| upstream.lease(&Claim::default(), &[]).unwrap();
                        (0..300).map(lease).collect::<Vec<_>>()
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        assert_eq!(leases.len(), 1200);
        for endpoint in &upstream.endpoints {
            // Turns are exact. Two workers may see the same load at once, and each then adds one.
            assert!(endpoint.load().abs_diff(400) <= 4, "{balance}: {}", endpoint.load());
        }
        drop(leases);
        assert!(upstream.endpoints.iter().all(|one| one.load() == 0), "{balance}");
    }
}

#[test]
fn a_request_is_looked_at_only_where_that_decides_something() {
    let headers = HeaderMap::new();
    let facts = Facts {
        host: "a",
        path: "/",
        query: None,
        method: &Method::GET,
        headers: &headers,
        websocket: false,
    };
    let registry = Registry::default();
    for settings in ["", "balance: power_of_two", "balance: random\n    slow_start: 1s"] {
        let upstream = live(&registry, &["10.0.0.1:1"], settings);
        assert!(upstream.affinity.is_none(), "{settings}");
        upstream.claim(&facts, || panic!("nobody wants to know who asks"));
    }
}
