//! The active checks of all endpoints, one task for each. A new generation changes only what differs:
//! the task of an endpoint that stays goes on, whatever its interval, however often others come and go.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};

use super::super::{Endpoint, Upstream};
use super::checker::{Checker, NO_WORKER};
use super::probe;
use super::streak::Streak;
use super::told::{Notice, Notices, Told};
use crate::plan::ActiveCheck;

/// The checks of a running server. A drop ends them.
///
/// What they found stays with the endpoints.
#[derive(Debug)]
pub struct Checkers {
    notices: Notices,
    tasks: JoinSet<()>,
    /// By the endpoint's id.
    checked: HashMap<usize, Checked>,
}

/// An endpoint that is checked; a drop ends that.
#[derive(Debug)]
struct Checked {
    check: ActiveCheck,
    tunnels: Option<Arc<Told>>,
    task: AbortHandle,
}

impl Checkers {
    /// Checks nobody yet. `notices` hears of endpoints whose upstream says `on_down: drain`.
    pub fn new(notices: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        let notices = Notices::new(notices);
        Self { notices, tasks: JoinSet::new(), checked: HashMap::new() }
    }

    /// Checks the endpoints of `upstreams` from now on, in the runtime of the caller. Who was checked
    /// in the same way before is not disturbed.
    pub fn follow<'a>(&mut self, upstreams: impl IntoIterator<Item = &'a Arc<Upstream>>) {
        let mut before = std::mem::take(&mut self.checked);
        for upstream in upstreams {
            let health = &upstream.ward.plan;
            for endpoint in &upstream.endpoints {
                let known = before.remove(&endpoint.id);
                let Some(check) = &health.active else {
                    drop(known);
                    // Nobody would ever find that it is up again.
                    endpoint.standing.set_down(false);
                    continue;
                };
                let same = |one: &Checked| {
                    one.check == *check && one.tunnels.is_some() == health.drain_when_down
                };
                // No endpoint is checked twice: one that differs ends before its successor begins.
                let checked =
                    known.filter(same).unwrap_or_else(|| self.start(upstream, endpoint, check));
                self.checked.insert(endpoint.id, checked);
            }
        }
        drop(before);
        while self.tasks.try_join_next().is_some() {}
    }

    fn start(
        &mut self,
        upstream: &Upstream,
        endpoint: &Arc<Endpoint>,
        check: &ActiveCheck,
    ) -> Checked {
        let drains = upstream.ward.plan.drain_when_down;
        let tunnels = drains.then(|| Arc::new(Told::new(endpoint.id, self.notices.clone())));
        let checker = Checker {
            streak: Streak::new(!endpoint.standing.is_down()),
            upstream: Arc::clone(&upstream.latest),
            endpoint: Arc::clone(endpoint),
            tunnels: tunnels.clone(),
            check: check.clone(),
        };
        let (endpoint, probe) = (Arc::clone(endpoint), Arc::new(check.probe.clone()));
        let latest = Arc::clone(&upstream.latest);
        let task = self.tasks.spawn(checker.run(move || {
            let (endpoint, probe) = (Arc::clone(&endpoint), Arc::clone(&probe));
            let latest = Arc::clone(&latest);
            async move {
                // Of one that is gone nobody asks any more, and this is about to end.
                let Some(upstream) = latest.now() else { return Ok(()) };
                probe::check(&upstream, &endpoint, &probe, NO_WORKER).await
            }
        }));
        Checked { check: check.clone(), tunnels, task }
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(tunnels) = &self.tunnels {
            tunnels.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use tokio::task::Id;

    use super::*;
    use crate::config;
    use crate::plan::Plan;
    use crate::telemetry::Metrics;
    use crate::upstream::Registry;

    struct Bench {
        registry: Registry,
        metrics: Arc<Metrics>,
        checkers: Checkers,
        told: Arc<Mutex<Vec<Notice>>>,
        upstreams: Vec<Arc<Upstream>>,
    }

    impl Bench {
        fn new() -> Self {
            let told = Arc::<Mutex<Vec<Notice>>>::default();
            let hear = Arc::clone(&told);
            let checkers = Checkers::new(move |notice| hear.lock().unwrap().push(notice));
            let (registry, metrics) = (Registry::default(), Metrics::new(1));
            Self { registry, metrics, checkers, told, upstreams: Vec::new() }
        }

        /// The next plan: `up` with these ports.
        fn next(&mut self, ports: &[u16], health: &str) {
            let endpoints: Vec<_> = ports.iter().map(|port| format!("'10.0.0.1:{port}'")).collect();
            let yaml = format!(
                "routes: [ {{ upstream: up }} ]\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\n\
                 upstreams: {{ up: {{ endpoints: [ {} ], health: {health} }} }}\n",
                endpoints.join(", ")
            );
            let (config, mut mistakes) = config::parse("test", &yaml, &|_| None);
            let plan = Plan::build(&config, Path::new(""), &mut mistakes);
            assert!(mistakes.is_empty(), "{mistakes}");
            let before = self.upstreams.first();
            let next = Upstream::after(before, &plan.upstreams[0], &self.registry, &self.metrics);
            self.upstreams = vec![next];
            self.checkers.follow(&self.upstreams);
        }

        fn task(&self, index: usize) -> Id {
            let id = self.upstreams[0].endpoints[index].id;
            self.checkers.checked[&id].task.id()
        }
    }

    const CHECKED: &str = "{ active: { interval: 1h } }";

    #[tokio::test(start_paused = true)]
    async fn who_stays_is_checked_by_the_same_task_whoever_comes_and_goes() {
        let mut bench = Bench::new();
        bench.next(&[1, 2], CHECKED);
        let first = bench.task(0);
        for port in 3..50 {
            bench.next(&[1, port], CHECKED);
            assert_eq!(bench.task(0), first);
            assert_eq!(bench.checkers.checked.len(), 2);
        }
        // What its check looks at is the upstream as it is now.
        let latest = bench.upstreams[0].latest.now().unwrap();
        assert!(Arc::ptr_eq(&latest, &bench.upstreams[0]));
        bench.next(&[1], "{ active: { interval: 2h } }");
        assert_ne!(bench.task(0), first, "another check");
        bench.next(&[1], "{}");
        assert!(bench.checkers.checked.is_empty());
        tokio::task::yield_now().await;
        bench.next(&[1], "{}");
        assert!(bench.checkers.tasks.is_empty(), "what has ended is let go");
    }

    #[tokio::test(start_paused = true)]
    async fn what_tunnels_were_told_is_taken_back_before_their_endpoint_is_given_up() {
        let mut bench = Bench::new();
        bench.next(&[1, 2], "{ active: {}, on_down: drain }");
        let id = bench.upstreams[0].endpoints[1].id;
        bench.checkers.checked[&id].tunnels.as_ref().unwrap().set(true);
        bench.next(&[1], "{ active: {}, on_down: drain }");
        // In the call: a drain of what is gone comes after it, and stands.
        let told = bench.told.lock().unwrap().clone();
        assert_eq!(told, [Notice::Drain(id), Notice::Keep(id)]);
    }
}
