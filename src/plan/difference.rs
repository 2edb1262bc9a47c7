//! What differs between two plans, for people: which parts are new, gone, or say something else.

use std::fmt;

use super::{Endpoint, ListenOn, Plan, Upstream};
use crate::config;

/// The parts of one kind by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the new plan only.
    pub added: Vec<String>,
    /// In the old plan only.
    pub removed: Vec<String>,
    /// In both, and not the same.
    pub changed: Vec<String>,
}

/// What differs between two plans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Listeners, by address.
    pub listeners: Changes,
    /// Routes, by name.
    pub routes: Changes,
    /// Upstreams, by name.
    pub upstreams: Changes,
    /// Endpoints of upstreams that are in both, as `upstream/endpoint`.
    pub endpoints: Changes,
    /// Where further endpoints of such upstreams are found, as `upstream/source`.
    pub sources: Changes,
    /// Settings of the whole that take effect.
    pub settings: Vec<&'static str>,
    /// Settings that a running process cannot change.
    pub fixed: Vec<&'static str>,
}

impl Changes {
    fn between<N: PartialEq + ToString, T: PartialEq>(
        old: impl Iterator<Item = (N, T)>,
        new: impl Iterator<Item = (N, T)>,
    ) -> Self {
        let mut old: Vec<_> = old.collect();
        let mut changes = Self::default();
        for (name, part) in new {
            // Names need not differ: the first of a name is the first of that name.
            match old.iter().position(|(known, _)| *known == name) {
                Some(at) => {
                    if old.remove(at).1 != part {
                        changes.changed.push(name.to_string());
                    }
                }
                None => changes.added.push(name.to_string()),
            }
        }
        changes.removed = old.into_iter().map(|(name, _)| name.to_string()).collect();
        changes
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl Difference {
    /// What `new` has that `old` has not, and the other way round.
    pub fn between(old: &Plan, new: &Plan) -> Self {
        let (before, after) = (&old.written, &new.written);
        let settings = [
            ("timeouts", before.timeouts != after.timeouts),
            ("websocket", before.websocket != after.websocket),
            ("trusted_proxies", before.trusted_proxies != after.trusted_proxies),
            ("merge_slashes", before.merge_slashes != after.merge_slashes),
            ("secret", before.secret != after.secret),
            ("resolver", before.resolver != after.resolver),
            ("via", before.via != after.via),
            ("forwarded", before.forwarded != after.forwarded),
            ("drain", before.drain != after.drain),
            ("log.level", old.log_level != new.log_level),
            ("log.access", old.access_log != new.access_log),
        ];
        let fixed = [
            ("workers", old.workers != new.workers),
            ("admin.address", old.admin != new.admin),
            ("log.format", old.log_format != new.log_format),
        ];
        Self {
            listeners: Changes::between(listeners(old), listeners(new)),
            routes: Changes::between(routes(old), routes(new)),
            upstreams: Changes::between(before.upstreams.iter(), after.upstreams.iter()),
            endpoints: Changes::between(endpoints(old, new), endpoints(new, old)),
            sources: Changes::between(sources(old, new), sources(new, old)),
            settings: differing(&settings),
            fixed: differing(&fixed),
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        let Self { listeners, routes, upstreams, endpoints, sources, .. } = self;
        let parts = [listeners, routes, upstreams, endpoints, sources];
        parts.into_iter().all(Changes::is_empty)
            && self.settings.is_empty()
            && self.fixed.is_empty()
    }
}

/// The parts of a plan as they are written, each under the name that people know it by.
fn listeners(plan: &Plan) -> impl Iterator<Item = (&ListenOn, &config::Listener)> {
    plan.listeners.iter().map(|listener| &listener.on).zip(&plan.written.listeners)
}

fn routes(plan: &Plan) -> impl Iterator<Item = (&str, &config::Route)> {
    plan.routes.all().iter().map(|route| route.name.as_str()).zip(&plan.written.routes)
}

/// The sources in `plan` of upstreams that `other` has too.
fn sources<'a>(
    plan: &'a Plan,
    other: &'a Plan,
) -> impl Iterator<Item = (String, &'a super::Discovered)> {
    let both = |upstream: &&Upstream| other.written.upstreams.contains_key(&upstream.name);
    plan.upstreams.iter().filter(both).flat_map(|upstream| {
        let named = |one: &super::Discovered| format!("{}/{}", upstream.name, one.source);
        upstream.discovered.iter().map(move |one| (named(one), one))
    })
}

/// The endpoints in `plan` of upstreams that `other` has too.
fn endpoints<'a>(plan: &'a Plan, other: &'a Plan) -> impl Iterator<Item = (String, &'a Endpoint)> {
    let both = |upstream: &&Upstream| other.written.upstreams.contains_key(&upstream.name);
    // Where a built-in server listens is nobody's business.
    let shared = plan.upstreams.iter().filter(both).filter(|upstream| upstream.builtin.is_none());
    shared.flat_map(|upstream| {
        let name = |endpoint: &Endpoint| format!("{}/{}", upstream.name, endpoint.label);
        upstream.endpoints.iter().map(move |endpoint| (name(endpoint), endpoint))
    })
}

fn differing(settings: &[(&'static str, bool)]) -> Vec<&'static str> {
    settings.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect()
}

/// A line for each part: `+` new, `-` gone, `~` changed, `!` cannot change before a restart.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, changes) in [
            ("listener", &self.listeners),
            ("route", &self.routes),
            ("upstream", &self.upstreams),
            ("endpoint", &self.endpoints),
            ("source", &self.sources),
        ] {
            for (sign, names) in
                [('+', &changes.added), ('-', &changes.removed), ('~', &changes.changed)]
            {
                for name in names {
                    writeln!(f, "{sign} {kind} {name}")?;
                }
            }
        }
        for name in &self.settings {
            writeln!(f, "~ {name}")?;
        }
        for name in &self.fixed {
            writeln!(f, "! {name} (takes effect with a restart)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn plan(text: &str) -> Plan {
        let (config, mut mistakes) = config::parse("test", text, &|_| None);
        let plan = Plan::build(&config, Path::new(""), &mut mistakes);
        mistakes.into_result(plan).unwrap()
    }

    const OLD: &str = "
listeners: [ { address: '127.0.0.1:1' }, { address: '127.0.0.1:2', limits: { connections: 5 } } ]
routes: [ { name: a, upstream: x }, { match: { path: /b }, upstream: y } ]
upstreams: { x: { endpoints: [ '10.0.0.1:1', '10.0.0.2:1' ] }, y: { builtin: echo }, z: { endpoints: [ '10.0.0.9:1' ] } }
workers: 2
";
    const NEW: &str = "
listeners: [ { address: '127.0.0.1:2', limits: { connections: 6 } }, { address: '127.0.0.1:3' } ]
routes: [ { match: { path: /c }, upstream: y }, { name: a, upstream: x, max_body: 1KiB } ]
upstreams: { x: { endpoints: [ '10.0.0.2:1', '10.0.0.3:1' ] }, y: { builtin: echo } }
workers: 3
log: { level: warn }
";

    #[test]
    fn every_part_that_differs_is_told_by_name() {
        let difference = Difference::between(&plan(OLD), &plan(NEW));
        assert_eq!(
            difference.to_string(),
            "+ listener 127.0.0.1:3\n- listener 127.0.0.1:1\n~ listener 127.0.0.1:2\n\
             + route /c\n- route /b\n~ route a\n\
             - upstream z\n~ upstream x\n\
             + endpoint x/10.0.0.3:1\n- endpoint x/10.0.0.1:1\n\
             ~ log.level\n! workers (takes effect with a restart)\n"
        );
    }

    #[test]
    fn how_connections_leave_is_a_part_of_their_upstream() {
        let with = |setting: &str| {
            plan(&OLD.replace("'10.0.0.9:1' ]", &format!("'10.0.0.9:1' ], {setting}")))
        };
        for setting in [
            "source_addresses: [ 10.0.0.2 ]",
            "proxy_protocol: v1",
            "keep_alive: { max_age: 1h }",
            "keep_alive: { max_requests: 9 }",
        ] {
            let difference = Difference::between(&plan(OLD), &with(setting));
            assert_eq!(difference.to_string(), "~ upstream z\n", "{setting}");
        }
    }

    #[test]
    fn a_plan_does_not_differ_from_itself() {
        for text in [OLD, NEW] {
            let difference = Difference::between(&plan(text), &plan(text));
            assert!(difference.is_empty(), "{difference}");
        }
    }
}
