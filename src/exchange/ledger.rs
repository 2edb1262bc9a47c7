//! What a worker remembers of each upstream that may be spared: its budget of retries and its breaker.
//! A worker judges by what it sees itself, so nothing of this is shared; a reload that leaves the
//! terms as they are leaves this too.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::plan::Sparing;
use crate::telemetry::UpstreamShard;
use crate::upstream::Upstream;
use crate::upstream::gate::{Breaker, RetryBudget, Verdict};

/// One worker's memory; empty where no upstream says anything.
#[derive(Debug, Default)]
pub(super) struct Ledger(RefCell<HashMap<Arc<str>, Account>>);

#[derive(Debug)]
struct Account {
    terms: Sparing,
    budget: Option<RetryBudget>,
    breaker: Option<Breaker>,
}

impl Ledger {
    /// A request is to go to `upstream`: whether it is the one that shows if all is well again.
    ///
    /// # Errors
    /// After how long it may be worth a new try, when the upstream is spared.
    pub(super) fn ask(&self, upstream: &Upstream) -> Result<bool, Duration> {
        let verdict = self.account(upstream, |account| {
            if let Some(budget) = &mut account.budget {
                budget.pay_in();
            }
            account.breaker.as_mut().map(|breaker| breaker.ask(Instant::now()))
        });
        match verdict.flatten() {
            None | Some(Verdict::Pass) => Ok(false),
            Some(Verdict::Probe) => Ok(true),
            Some(Verdict::Refuse(after)) => Err(after),
        }
    }

    /// Whether a retry may be made; it is made then.
    pub(super) fn may_retry(&self, upstream: &Upstream) -> bool {
        let taken = self.account(upstream, |account| account.budget.as_mut().map(|one| one.take()));
        taken.flatten().unwrap_or(true)
    }

    /// What became of a request; `probe` if it was the one to show that.
    pub(super) fn note(
        &self,
        upstream: &Upstream,
        counters: &UpstreamShard,
        failed: bool,
        probe: bool,
    ) {
        let opened = self.account(upstream, |account| {
            let (breaker, now) = (account.breaker.as_mut()?, Instant::now());
            match probe {
                true => breaker.conclude(failed, now),
                false => breaker.note(failed, now).then_some(true),
            }
        });
        match opened.flatten() {
            Some(true) => {
                counters.breaker_opens.inc();
                tracing::warn!(
                    upstream = &*upstream.name,
                    again = probe,
                    "an upstream is spared: too many requests failed (breaker)"
                );
            }
            Some(false) => {
                tracing::info!(upstream = &*upstream.name, "an upstream is not spared any more");
            }
            None => {}
        }
    }

    /// A request that was to show if all is well again has shown nothing.
    pub(super) fn give_up(&self, upstream: &Upstream) {
        self.account(upstream, |account| {
            if let Some(breaker) = &mut account.breaker {
                breaker.give_up(Instant::now());
            }
        });
    }

    /// Forgets upstreams that are not in `known`.
    pub(super) fn keep(&self, known: &[Arc<Upstream>]) {
        self.0.borrow_mut().retain(|name, _| known.iter().any(|one| one.name == *name));
    }

    fn account<T>(&self, upstream: &Upstream, act: impl FnOnce(&mut Account) -> T) -> Option<T> {
        let terms = upstream.sparing?;
        let mut accounts = self.0.borrow_mut();
        match accounts.get_mut(&upstream.name) {
            Some(account) if account.terms == terms => Some(act(account)),
            _ => {
                let mut account = Account::new(terms);
                let done = act(&mut account);
                accounts.insert(Arc::clone(&upstream.name), account);
                Some(done)
            }
        }
    }
}

impl Account {
    fn new(terms: Sparing) -> Self {
        Self {
            terms,
            budget: terms.budget.map(|budget| RetryBudget::new(budget.percent, budget.reserve)),
            breaker: terms.breaker.map(|trip| Breaker::new(trip, Instant::now())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;
    use crate::plan::Plan;
    use crate::telemetry::Metrics;
    use crate::upstream::Registry;

    const SECOND: Duration = Duration::from_secs(1);

    fn upstream(name: &str, settings: &str) -> Arc<Upstream> {
        let yaml = format!(
            "listeners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: {name} }} ]\n\
             upstreams: {{ {name}: {{ endpoints: [ '127.0.0.1:1' ], {settings} }} }}\n"
        );
        let (config, mut mistakes) = config::parse("test", &yaml, &|_| None);
        let plan = Plan::build(&config, Path::new(""), &mut mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        let upstream = Upstream::new(&plan.upstreams[0], &Registry::default(), &Metrics::new(1));
        Arc::new(upstream)
    }

    fn fails(ledger: &Ledger, upstream: &Upstream) {
        ledger.note(upstream, upstream.counters.at(0), true, false);
    }

    #[test]
    fn an_upstream_without_terms_is_never_written_down() {
        let (ledger, plain) = (Ledger::default(), upstream("plain", "keep_alive: {}"));
        for _ in 0..1000 {
            assert_eq!(ledger.ask(&plain), Ok(false));
            fails(&ledger, &plain);
            assert!(ledger.may_retry(&plain));
        }
        ledger.give_up(&plain);
        assert!(ledger.0.borrow().is_empty());
        assert_eq!(plain.counters.at(0).breaker_opens.value(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_decides_and_one_that_is_given_up_leaves_it_to_the_next() {
        let ledger = Ledger::default();
        let spared = upstream("spared", "breaker: { requests: 3, pause: 4s }");
        let counters = spared.counters.at(0);
        for _ in 0..3 {
            assert_eq!(ledger.ask(&spared), Ok(false));
            fails(&ledger, &spared);
        }
        assert_eq!((ledger.ask(&spared), counters.breaker_opens.value()), (Err(4 * SECOND), 1));
        tokio::time::advance(4 * SECOND).await;
        assert_eq!(ledger.ask(&spared), Ok(true));
        assert_eq!(ledger.ask(&spared), Err(SECOND), "one is on its way");
        ledger.give_up(&spared);
        assert_eq!(ledger.ask(&spared), Ok(true));
        ledger.note(&spared, counters, true, true);
        assert_eq!((ledger.ask(&spared), counters.breaker_opens.value()), (Err(4 * SECOND), 2));
        tokio::time::advance(4 * SECOND).await;
        assert_eq!(ledger.ask(&spared), Ok(true));
        ledger.note(&spared, counters, false, true);
        for _ in 0..10 {
            assert_eq!(ledger.ask(&spared), Ok(false), "closed");
        }
    }

    #[test]
    fn a_retry_is_paid_for_by_requests_once_the_reserve_is_spent() {
        let ledger = Ledger::default();
        let budgeted = upstream("budgeted", "retries: { budget: 50%, reserve: 2 }");
        let retries = || (0..5).filter(|_| ledger.may_retry(&budgeted)).count();
        assert_eq!(retries(), 2);
        for _ in 0..3 {
            assert_eq!(ledger.ask(&budgeted), Ok(false));
        }
        assert_eq!(retries(), 1, "one and a half");
        // No more is saved up than there was from the start.
        for _ in 0..100 {
            assert_eq!(ledger.ask(&budgeted), Ok(false));
        }
        assert_eq!(retries(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_plan_with_the_same_terms_goes_on_and_one_with_others_begins_anew() {
        let ledger = Ledger::default();
        let terms = "breaker: { requests: 2, pause: 1m }";
        let first = upstream("a", terms);
        for _ in 0..2 {
            fails(&ledger, &first);
        }
        assert!(ledger.ask(&upstream("a", terms)).is_err(), "the same");
        assert_eq!(ledger.ask(&upstream("b", terms)), Ok(false), "of another one");
        let other = upstream("a", "breaker: { requests: 3, pause: 1m }");
        assert_eq!(ledger.ask(&other), Ok(false));
        assert_eq!(ledger.ask(&first), Ok(false), "what was known under the old terms is gone");
    }

    #[test]
    fn what_no_plan_names_any_more_is_forgotten() {
        let ledger = Ledger::default();
        let terms = "breaker: { requests: 1, pause: 1m }";
        let (kept, gone) = (upstream("kept", terms), upstream("gone", terms));
        for one in [&kept, &gone] {
            fails(&ledger, one);
            assert!(ledger.ask(one).is_err());
        }
        ledger.keep(std::slice::from_ref(&kept));
        assert!(ledger.ask(&kept).is_err());
        assert_eq!(ledger.0.borrow().len(), 1);
        assert_eq!(ledger.ask(&gone), Ok(false));
    }
}
