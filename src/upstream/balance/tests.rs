//! Simulations with a seed: what each policy makes of many requests, storms and losses.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::upstream::hash;

const POLICIES: [Policy; 6] = [
    Policy::LeastConnections,
    Policy::RoundRobin,
    Policy::PowerOfTwo,
    Policy::Random,
    Policy::RingHash,
    Policy::Maglev,
];

/// A cluster that is only numbers.
#[derive(Clone, Debug)]
struct Cluster {
    endpoints: Vec<Endpoint>,
    open: Vec<bool>,
    loads: Vec<usize>,
    latencies: Vec<u64>,
    warmths: Vec<u16>,
    turn: u64,
}

impl Snapshot for Cluster {
    fn load(&self, index: usize) -> Option<usize> {
        self.open[index].then(|| self.loads[index])
    }

    fn latency(&self, index: usize) -> u64 {
        self.latencies[index]
    }

    fn warmth(&self, index: usize) -> u16 {
        self.warmths[index]
    }
}

impl Cluster {
    fn new(weights: &[u16]) -> Self {
        let endpoints = weights.iter().enumerate().map(|(index, weight)| Endpoint {
            weight: *weight,
            ..Endpoint::parse(&format!("10.0.{}.{}:9001", index / 250, index % 250)).unwrap()
        });
        let count = weights.len();
        Self {
            endpoints: endpoints.collect(),
            open: vec![true; count],
            loads: vec![0; count],
            latencies: vec![0; count],
            warmths: vec![WARM; count],
            turn: 0,
        }
    }

    fn balancer(&self, policy: Policy) -> Balancer {
        Balancer::new(policy, &self.endpoints)
    }

    /// The next one for client `client`.
    fn pick(&mut self, balancer: &Balancer, client: u64) -> Option<usize> {
        let key = hash::of(&client.to_le_bytes());
        let picked = balancer.pick(self, Draw::of(self.turn, 42, Some(key)));
        self.turn += 1;
        picked
    }

    /// Sockets that come and stay.
    fn storm(&mut self, policy: Policy, sockets: u64) {
        let balancer = self.balancer(policy);
        for client in 0..sockets {
            let picked = self.pick(&balancer, client).unwrap();
            self.loads[picked] += 1;
        }
    }

    /// The greatest share over what it should be.
    fn skew(&self) -> f64 {
        let weights: f64 = self.endpoints.iter().map(|one| f64::from(one.weight)).sum();
        let all: usize = self.loads.iter().sum();
        let due = |one: &Endpoint| all as f64 * f64::from(one.weight) / weights;
        self.endpoints
            .iter()
            .zip(&self.loads)
            .map(|(one, load)| *load as f64 / due(one))
            .fold(0.0, f64::max)
    }
}

#[test]
fn a_storm_of_50_000_sockets_leaves_each_policy_within_its_bound() {
    let bounds = [
        (Policy::LeastConnections, 1.0001),
        (Policy::RoundRobin, 1.0001),
        (Policy::PowerOfTwo, 1.002),
        (Policy::Random, 1.05),
        (Policy::RingHash, 1.25),
        (Policy::Maglev, 1.05),
    ];
    for (policy, bound) in bounds {
        let mut cluster = Cluster::new(&[1; 10]);
        cluster.storm(policy, 50_000);
        println!("{policy:?}: skew {:.4}, {:?}", cluster.skew(), cluster.loads);
        let (skew, loads) = (cluster.skew(), &cluster.loads);
        assert!(skew <= bound, "{policy:?}: skew {skew:.4} of {bound}, {loads:?}");
    }
}

#[test]
fn a_reconnect_storm_of_50_000_sockets_leaves_each_policy_within_its_bound() {
    const SOCKETS: u64 = 50_000;
    let bounds = [
        (Policy::LeastConnections, 1.0001),
        (Policy::RoundRobin, 1.0001),
        (Policy::PowerOfTwo, 1.01),
        (Policy::Random, 1.05),
        (Policy::RingHash, 1.3),
        (Policy::Maglev, 1.06),
    ];
    for (policy, bound) in bounds {
        for seed in 0..3 {
            let mut cluster = Cluster { turn: seed << 32, ..Cluster::new(&[1; 10]) };
            let balancer = cluster.balancer(policy);
            let client = |number: u64| seed * SOCKETS + number;
            let mut sockets: Vec<(u64, usize)> = Vec::new();
            for number in 0..SOCKETS {
                let picked = cluster.pick(&balancer, client(number)).unwrap();
                cluster.loads[picked] += 1;
                sockets.push((number, picked));
            }
            // The network blinks: each is gone after a time of its own, and back after another, so that
            // losses and returns are mixed.
            let chance = |number: u64, step: u64| Draw::of(number, seed, None).number(step);
            let mut events: Vec<(u64, u64, bool)> = Vec::new();
            for (number, _) in &sockets {
                let gone = chance(*number, 1) % 1_000_000;
                events.push((gone, *number, false));
                events.push((gone + 1 + chance(*number, 2) % 5_000_000, *number, true));
            }
            events.sort_unstable();
            for (_, number, back) in events {
                let picked = match back {
                    true => cluster.pick(&balancer, client(number)).unwrap(),
                    false => sockets[number as usize].1,
                };
                match back {
                    true => cluster.loads[picked] += 1,
                    false => cluster.loads[picked] -= 1,
                }
            }
            let (skew, loads) = (cluster.skew(), &cluster.loads);
            assert_eq!(loads.iter().sum::<usize>() as u64, SOCKETS);
            let told = format!("{policy:?}, seed {seed}: skew {skew:.4} of {bound}, {loads:?}");
            println!("{told}");
            assert!(skew <= bound, "{told}");
        }
    }
}

#[test]
fn weights_are_kept_by_every_policy() {
    let bounds = [1.001, 1.001, 1.01, 1.06, 1.35, 1.06];
    for (policy, bound) in POLICIES.into_iter().zip(bounds) {
        let mut cluster = Cluster::new(&[1, 2, 3, 4, 10]);
        cluster.storm(policy, 40_000);
        println!("{policy:?}: skew {:.4}, {:?}", cluster.skew(), cluster.loads);
        let (skew, loads) = (cluster.skew(), &cluster.loads);
        assert!(skew <= bound, "{policy:?}: skew {skew:.4} of {bound}, {loads:?}");
    }
}

#[test]
fn what_counts_sockets_fills_an_empty_newcomer_first() {
    // Two of three carry 10,000 each, which is what a scale-out looks like.
    let after = |policy| {
        let mut cluster = Cluster::new(&[1; 3]);
        cluster.loads = vec![10_000, 10_000, 0];
        cluster.storm(policy, 9_000);
        cluster.loads
    };
    assert_eq!(after(Policy::LeastConnections), [10_000, 10_000, 9_000]);
    // Two of three pairs have the newcomer in them.
    let loads = after(Policy::PowerOfTwo);
    assert!((5_700..6_300).contains(&loads[2]), "{loads:?}");
    assert_eq!(after(Policy::RoundRobin), [13_000, 13_000, 3_000]);
}

#[test]
fn equal_loads_take_turns_or_go_by_the_handshake() {
    let mut cluster = Cluster::new(&[1; 3]);
    cluster.loads = vec![3, 1, 1];
    let least = cluster.balancer(Policy::LeastConnections);
    let picks: Vec<_> = (0..3).filter_map(|client| cluster.pick(&least, client)).collect();
    assert_eq!(picks, [1, 1, 2]);
    // Of two that carry the same, the one that answers sooner.
    let mut cluster = Cluster::new(&[1; 2]);
    cluster.latencies = vec![9_000_000, 1_000_000];
    let two = cluster.balancer(Policy::PowerOfTwo);
    let quick = (0..1000).filter(|client| cluster.pick(&two, *client) == Some(1)).count();
    assert!(quick > 950, "{quick}");
}

#[test]
fn the_turns_of_who_is_out_are_shared_by_all_others() {
    let mut cluster = Cluster::new(&[1; 5]);
    cluster.open[1] = false;
    let balancer = cluster.balancer(Policy::RoundRobin);
    for client in 0..20_000 {
        let picked = cluster.pick(&balancer, client).unwrap();
        cluster.loads[picked] += 1;
    }
    assert_eq!(cluster.loads[1], 0);
    assert!(
        cluster.loads.iter().enumerate().all(|(at, load)| at == 1 || load.abs_diff(5_000) < 10)
    );
}

/// Where 20,000 clients are.
fn placed(cluster: &mut Cluster, policy: Policy) -> Vec<String> {
    let balancer = cluster.balancer(policy);
    let placed = (0..20_000).map(|client| cluster.pick(&balancer, client).unwrap());
    let placed: Vec<_> = placed.collect();
    placed.into_iter().map(|index| cluster.endpoints[index].label.clone()).collect()
}

#[test]
fn when_one_of_a_hundred_leaves_little_more_than_its_share_moves() {
    for (policy, most_others) in [(Policy::RingHash, 0), (Policy::Maglev, 600)] {
        let mut all = Cluster::new(&[1; 100]);
        let before = placed(&mut all, policy);
        let gone = all.endpoints[37].label.clone();
        let mut rest = Cluster::new(&[1; 100]);
        rest.endpoints.remove(37);
        rest.open.pop();
        let after = placed(&mut rest, policy);
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b);
        let (its, others): (Vec<_>, Vec<_>) = moved.partition(|(a, _)| **a == gone);
        println!("{policy:?}: {} of its own, {} of others", its.len(), others.len());
        assert!((100..400).contains(&its.len()), "{policy:?}: {}", its.len());
        assert!(others.len() <= most_others, "{policy:?}: {}", others.len());
    }
}

#[test]
fn when_one_of_a_hundred_is_out_only_its_own_move_and_they_spread() {
    for policy in [Policy::RingHash, Policy::Maglev] {
        let mut cluster = Cluster::new(&[1; 100]);
        let before = placed(&mut cluster, policy);
        let gone = cluster.endpoints[37].label.clone();
        cluster.open[37] = false;
        let after = placed(&mut cluster, policy);
        let mut heirs: HashMap<&str, usize> = HashMap::new();
        for (was, is) in before.iter().zip(&after) {
            assert!(was == is || *was == gone);
            if was != is {
                *heirs.entry(is).or_default() += 1;
            }
        }
        assert!(heirs.len() > 50 && heirs.values().all(|more| *more < 15), "{heirs:?}");
    }
}

#[test]
fn two_bowlines_with_the_list_in_another_order_agree_on_every_key() {
    for policy in [Policy::RingHash, Policy::Maglev] {
        let mut here = Cluster::new(&[1, 2, 3, 1, 1, 5, 1, 1]);
        let mut there = here.clone();
        there.endpoints.reverse();
        assert_eq!(placed(&mut here, policy), placed(&mut there, policy));
        // And when nearly all are out, where the places alone do not decide.
        here.open = vec![false, true, false, false, false, false, true, false];
        there.open = here.open.iter().rev().copied().collect();
        assert_eq!(placed(&mut here, policy), placed(&mut there, policy));
    }
}

#[test]
fn the_places_of_keys_are_the_same_in_every_version() {
    // A change of these moves every client of every installation at its next upgrade.
    let mut cluster = Cluster::new(&[1, 1, 2, 1]);
    let mut first = |policy| {
        let balancer = cluster.balancer(policy);
        (0..16).filter_map(|client| cluster.pick(&balancer, client)).collect::<Vec<_>>()
    };
    assert_eq!(first(Policy::RingHash), [3, 1, 2, 2, 2, 0, 0, 2, 2, 0, 2, 0, 1, 1, 2, 3]);
    assert_eq!(first(Policy::Maglev), [3, 2, 2, 3, 2, 3, 0, 2, 2, 2, 3, 1, 1, 0, 1, 3]);
}

#[test]
fn a_newcomer_takes_its_share_in_a_straight_line() {
    let slow = Duration::from_secs(30);
    let curve: Vec<_> =
        [0, 3, 15, 27, 30, 300].map(|age| warmth(Duration::from_secs(age), slow)).into();
    assert_eq!(curve, [100, 190, 550, 910, 1000, 1000]);
    assert_eq!(warmth(Duration::ZERO, Duration::ZERO), 100);
    for policy in POLICIES {
        let mut last = 0.0;
        for warm in [100, 300, 550, 800, 1000] {
            let mut cluster = Cluster::new(&[1; 10]);
            cluster.warmths[4] = warm;
            cluster.storm(policy, 20_000);
            let share = cluster.loads[4] as f64 / 2_000.0;
            let due = f64::from(warm) / 1000.0;
            println!("{policy:?} at {warm}: {share:.2} of a whole share");
            assert!(share > last && share > due * 0.7 && share < due * 1.45, "{policy:?} {warm}");
            last = share;
        }
    }
}

#[test]
fn backups_are_used_only_when_all_others_are_out() {
    for policy in POLICIES {
        let mut cluster = Cluster::new(&[1; 4]);
        cluster.endpoints[0].backup = true;
        cluster.endpoints[3].backup = true;
        let balancer = cluster.balancer(policy);
        for client in 0..200 {
            let picked = cluster.pick(&balancer, client).unwrap();
            assert!(matches!(picked, 1 | 2), "{policy:?}");
        }
        cluster.open = vec![true, false, true, true];
        assert!((0..50).all(|client| cluster.pick(&balancer, client) == Some(2)));
        cluster.open = vec![true, false, false, true];
        for client in 0..200 {
            let picked = cluster.pick(&balancer, client).unwrap();
            assert!(matches!(picked, 0 | 3), "{policy:?}");
        }
        cluster.open = vec![false; 4];
        assert_eq!(cluster.pick(&balancer, 1), None);
    }
}

#[test]
fn nothing_to_pick_from_is_none() {
    for policy in POLICIES {
        let balancer = Balancer::new(policy, &[]);
        assert_eq!(Cluster::new(&[]).pick(&balancer, 1), None, "{policy:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_out_somebody_open_is_picked_and_nobody_else(
        weights in prop::collection::vec(1..=256_u16, 1..12),
        open in prop::collection::vec(any::<bool>(), 12),
        backups in prop::collection::vec(any::<bool>(), 12),
        loads in prop::collection::vec(0..100_000_usize, 12),
        warmths in prop::collection::vec(100..=1000_u16, 12),
        turn: u64,
        client: u64,
        has_key: bool,
        policy in prop::sample::select(&[
            // A ring of these weights takes a second to build without optimisation.
            Policy::LeastConnections, Policy::RoundRobin, Policy::PowerOfTwo, Policy::Random,
        ]),
    ) {
        let mut cluster = Cluster::new(&weights);
        let count = weights.len();
        cluster.open = open[..count].to_vec();
        cluster.loads = loads[..count].to_vec();
        cluster.warmths = warmths[..count].to_vec();
        for (endpoint, backup) in cluster.endpoints.iter_mut().zip(backups) {
            endpoint.backup = backup;
        }
        let draw = Draw::of(turn, client, has_key.then_some(client));
        let picked = cluster.balancer(policy).pick(&cluster, draw);
        let primary = |at: &usize| cluster.open[*at] && !cluster.endpoints[*at].backup;
        if (0..count).any(|at| primary(&at)) {
            prop_assert!(picked.is_some_and(|at| primary(&at)));
        } else {
            prop_assert_eq!(picked.is_some(), cluster.open.contains(&true));
            prop_assert!(picked.is_none_or(|at| cluster.open[at]));
        }
    }

    #[test]
    fn the_least_loaded_for_its_weight_is_the_one(
        loads in prop::collection::vec((0..1000_usize, 1..=256_u16), 1..12),
        turn: u64,
    ) {
        let mut cluster = Cluster::new(&loads.iter().map(|one| one.1).collect::<Vec<_>>());
        cluster.loads = loads.iter().map(|one| one.0).collect();
        let balancer = cluster.balancer(Policy::LeastConnections);
        let picked = balancer.pick(&cluster, Draw::of(turn, 1, None)).unwrap();
        let burden = |at: usize| (loads[at].0 + 1) as f64 / f64::from(loads[at].1);
        prop_assert!((0..loads.len()).all(|at| burden(picked) <= burden(at) * 1.000_001));
    }
}
