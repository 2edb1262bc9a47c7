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
