//! A named set of endpoints.

use std::time::Duration;

use crate::config::{At, Balance, Builtin, Config, Mistakes};

use super::{Endpoint, Health};

/// Where requests of one or more routes go.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name in the configuration, logs and metrics.
    pub name: String,
    /// Its addresses; empty for a built-in one, which finds its address when it starts.
    pub endpoints: Vec<Endpoint>,
    /// A server inside the process, if it is one.
    pub builtin: Option<Builtin>,
    /// How an endpoint is picked.
    pub balance: Balance,
    /// How idle connections are kept.
    pub keep_alive: KeepAlive,
    /// How its endpoints are judged.
    pub health: Health,
}

/// Idle connections to endpoints.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// An idle connection is closed after so long.
    pub idle: Duration,
    /// Idle connections kept per worker and endpoint; 0 keeps none.
    pub max: usize,
}

pub(super) fn build_all(config: &Config, mistakes: &mut Mistakes) -> Vec<Upstream> {
    let at = At::root().key("upstreams");
    let mut upstreams = Vec::new();
    for (name, upstream) in &config.upstreams {
        let at = at.key(name);
        if upstream.builtin.is_some() && !upstream.endpoints.is_empty() {
            mistakes.add(
                &at.key("builtin"),
                format!("upstream `{name}` is built in: remove its `endpoints`"),
            );
        }
        if upstream.builtin.is_none() && upstream.endpoints.is_empty() {
            mistakes.add(
                &at,
                format!(
                    "upstream `{name}` has no endpoints: write `endpoints: [ \"10.0.0.1:9001\" ]`"
                ),
            );
        }
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for (index, written) in upstream.endpoints.iter().enumerate() {
            let at = at.key("endpoints").index(index);
            match Endpoint::parse(written) {
                Ok(endpoint) if endpoints.contains(&endpoint) => {
                    mistakes.add(
                        &at,
                        format!("endpoint {endpoint} is listed twice: keep one of the two"),
                    );
                }
                Ok(endpoint) => endpoints.push(endpoint),
                Err(what) => mistakes.add(&at, what),
            }
        }
        upstreams.push(Upstream {
            name: name.clone(),
            endpoints,
            builtin: upstream.builtin,
            health: Health::build(&upstream.health, &at.key("health"), mistakes),
            balance: upstream.balance.unwrap_or_default(),
            keep_alive: KeepAlive {
                idle: upstream.keep_alive.idle.map_or(Duration::from_secs(60), |time| time.0),
                max: upstream.keep_alive.max.map_or(64, |count| count.0 as usize),
            },
        });
    }
    upstreams
}
