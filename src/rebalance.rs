//! The clock of rebalancing: once a second it looks at each upstream that asks for it, and tells the
//! workers how many sockets to shed of which endpoint. What is decided is `upstream/rebalance.rs`'s.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::accept::{Order, Orders};
use crate::exchange::Part;
use crate::generation::Generation;
use crate::tunnel::Allowance;
use crate::upstream::{News, Rebalance, Tick, Upstream};

/// From one look to the next. Sockets are shed in portions of so much of the rate.
const TICK: Duration = Duration::from_secs(1);

/// Looks at what `current` points to, for ever.
pub(crate) async fn run(current: Arc<ArcSwap<Generation>>, orders: Orders) {
    let began = Instant::now();
    let mut known: HashMap<Arc<str>, Shedding> = HashMap::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let generation = current.load_full();
        let asking = || generation.upstreams.iter().filter(|one| one.rebalance.is_some());
        // By name, so that a reload changes nothing of what is under way.
        known.retain(|name, _| asking().any(|one| one.name == *name));
        for upstream in asking() {
            let shedding = known.entry(Arc::clone(&upstream.name)).or_default();
            shedding.tick(began.elapsed(), upstream, &orders);
        }
    }
}

/// One upstream's.
#[derive(Debug, Default)]
struct Shedding {
    decision: Rebalance,
    /// By the endpoint's id: what its workers may shed, held too by each socket that was shed and is
    /// not gone yet.
    allowances: HashMap<usize, Arc<Allowance>>,
}

impl Shedding {
    fn tick(&mut self, now: Duration, upstream: &Upstream, orders: &Orders) {
        let Some(terms) = &upstream.rebalance else { return };
        let Self { decision, allowances } = self;
        let left: u32 = allowances.values().map(|one| one.grant(0)).sum();
        decision.take_back(left);
        // But for our own.
        let leaving = |one: &Arc<Allowance>| Arc::strong_count(one).saturating_sub(1);
        allowances.retain(|_, one| leaving(one) > 0);
        let members = upstream.members(|id| allowances.get(&id).map_or(0, leaving));
        let Tick { shed, news } = decision.tick(now, terms, &members);
        if let Some(news) = news {
            tell(&upstream.name, news);
        }
        for (id, count) in shed {
            let Some(member) = members.iter().find(|one| one.id == id) else { continue };
            let allowance = allowances.entry(id).or_default();
            allowance.grant(count);
            orders.send(&Order::Shed {
                part: Part::Endpoint(id),
                of: usize::try_from(member.tunnels.saturating_sub(member.leaving))
                    .unwrap_or(usize::MAX),
                allowance: Arc::clone(allowance),
                counters: Arc::clone(&upstream.counters),
            });
        }
    }
}

fn tell(upstream: &str, news: News) {
    match news {
        News::Began { needed } => tracing::info!(
            upstream,
            needed,
            "sockets are moved to endpoints with more room (rebalance)"
        ),
        News::Ended { shed } => {
            tracing::info!(upstream, shed, "endpoints are even again (rebalance)");
        }
        News::GaveUp { shed } => tracing::warn!(
            upstream,
            shed,
            "sockets that were moved did not come where there is room: no further one is, until endpoints come or go (rebalance)"
        ),
    }
}
