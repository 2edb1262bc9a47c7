//! Which route takes a request: the most specific one that matches, ties by order in the file.
//!
//! Specific means, in this order: an exact host, a longer wildcard, any host; an exact path, a
//! regular expression, a longer prefix, any path; more further conditions.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use http::{HeaderMap, Method};

use super::{Matcher, PathRule, Route};
use crate::fields::cookies;

/// What a route can look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Host without port and trailing dot, lower case, IPv6 without brackets.
    pub host: &'a str,
    /// Path in its normal form.
    pub path: &'a str,
    /// Query without `?`.
    pub query: Option<&'a str>,
    /// Method.
    pub method: &'a Method,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// Whether it is a WebSocket upgrade.
    pub websocket: bool,
}

impl<'a> Facts<'a> {
    /// The first cookie of a name.
    pub fn cookie(&self, name: &'a str) -> Option<&'a [u8]> {
        cookies(self.headers, name).next()
    }

    /// The first query parameter of a name, decoded.
    pub fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut parameters = form_urlencoded::parse(self.query?.as_bytes());
        parameters.find_map(|(key, value)| (key == name).then_some(value))
    }
}

/// All routes, ordered for look-up.
#[derive(Debug, Default)]
pub struct Routes {
    all: Vec<Route>,
    exact: HashMap<String, Vec<usize>>,
    /// By the name behind `*.`.
    wildcard: HashMap<String, Vec<usize>>,
    any: Vec<usize>,
}

impl Routes {
    /// Orders `all`; an index into it is a route's id.
    pub fn new(all: Vec<Route>) -> Self {
        let mut order: Vec<usize> = (0..all.len()).collect();
        // A stable sort: ties stay in file order.
        order.sort_by_key(|id| all.get(*id).map(|route| rank(&route.matcher)));
        let mut routes = Self { all, ..Self::default() };
        for id in order {
            let Some(route) = routes.all.get(id) else { continue };
            if route.matcher.hosts.is_empty() {
                routes.any.push(id);
            }
            for host in &route.matcher.hosts {
                let (table, name) = match host.strip_prefix("*.") {
                    Some(name) => (&mut routes.wildcard, name),
                    None => (&mut routes.exact, host.as_str()),
                };
                table.entry(name.to_owned()).or_default().push(id);
            }
        }
        routes
    }

    /// The route that takes a request, with its id.
    pub fn find(&self, facts: &Facts<'_>) -> Option<(usize, &Route)> {
        self.candidates(facts.host).find_map(|id| {
            let route = self.all.get(id)?;
            route.matcher.takes(facts).then_some((id, route))
        })
    }

    /// Every route, by id.
    pub fn all(&self) -> &[Route] {
        &self.all
    }

    fn candidates<'a>(&'a self, host: &'a str) -> impl Iterator<Item = usize> + 'a {
        let exact = self.exact.get(host).into_iter().flatten();
        let parents =
            host.match_indices('.').filter_map(|(dot, _)| host.get(dot.saturating_add(1)..));
        let wildcard = (!self.wildcard.is_empty())
            .then(|| parents.filter_map(|name| self.wildcard.get(name)).flatten());
        exact.chain(wildcard.into_iter().flatten()).chain(&self.any).copied()
    }
}

fn rank(matcher: &Matcher) -> (u8, Reverse<usize>, Reverse<usize>) {
    let (kind, length) = match &matcher.path {
        PathRule::Exact(_) => (0, 0),
        PathRule::Regex(_) => (1, 0),
        PathRule::Prefix(path) => (2, path.len()),
        PathRule::Any => (3, 0),
    };
    let conditions = matcher.headers.len()
        + matcher.query.len()
        + usize::from(!matcher.methods.is_empty())
        + usize::from(!matcher.subprotocols.is_empty())
        + usize::from(matcher.websocket.is_some());
    (kind, Reverse(length), Reverse(conditions))
}

impl Matcher {
    /// Whether every condition but the host holds; hosts are looked up, not compared.
    fn takes(&self, facts: &Facts<'_>) -> bool {
        self.path.takes(facts.path)
            && self.websocket.is_none_or(|wanted| wanted == facts.websocket)
            && (self.methods.is_empty() || self.methods.contains(facts.method))
            && self.headers.iter().all(|(name, wanted)| {
                let mut values = facts.headers.get_all(name).iter();
                match wanted {
                    None => values.next().is_some(),
                    Some(wanted) => values.any(|value| value == wanted),
                }
            })
            && self.query.iter().all(|wanted| has_parameter(facts.query, wanted))
            && (self.subprotocols.is_empty()
                || (facts.websocket && offers(facts.headers, &self.subprotocols)))
    }
}

impl PathRule {
    fn takes(&self, path: &str) -> bool {
        match self {
            Self::Exact(wanted) => path == wanted,
            Self::Regex(regex) => regex.is_match(path),
            Self::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Any => true,
        }
    }
}

fn has_parameter(query: Option<&str>, (name, wanted): &(String, Option<String>)) -> bool {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .any(|(key, value)| key == *name && wanted.as_ref().is_none_or(|wanted| value == *wanted))
}

fn offers(headers: &HeaderMap, subprotocols: &[String]) -> bool {
    headers
        .get_all(http::header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|offered| subprotocols.iter().any(|wanted| wanted == offered.trim()))
}

#[cfg(test)]
mod tests;
