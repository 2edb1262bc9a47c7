//! The runs: one after another from seeds, which a failure names.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::tests::run;
use super::*;

/// A number that somebody has set for this run.
fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_tunnel_ends_for_a_reason_that_held_and_in_time_and_passes_what_was_said() {
    let seeds = match told("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..told("SIMULATION_RUNS").unwrap_or(2000),
    };
    let all = seeds.end - seeds.start >= 1000;
    let mut ends = BTreeMap::<&str, u64>::new();
    let mut failed = Vec::new();
    for seed in seeds {
        let mut ended = None;
        let played = AssertUnwindSafe(|| run(async { ended = play(seed).await.unwrap() }));
        if catch_unwind(played).is_err() {
            failed.push(seed);
            if failed.len() == 10 {
                break;
            }
        }
        *ends.entry(ended.map_or("alive", |ended| ended.reason.label())).or_default() += 1;
    }
    println!("{ends:?}");
    assert!(failed.is_empty(), "SIMULATION_SEED={failed:?}");
    // A simulation in which something never happens shows nothing about it.
    // No side here has a rate: rate.rs and goodbye/tests.rs have their own.
    for reason in Reason::ALL.iter().filter(|reason| all && **reason != Reason::Rate) {
        assert!(ends.contains_key(reason.label()), "no tunnel ended by {reason:?}: {ends:?}");
    }
}
