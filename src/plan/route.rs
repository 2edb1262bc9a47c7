//! One route: which requests it takes, and how they are treated.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use regex::Regex;

use crate::config::{self, At, Config, Limit, Mistakes};

/// A route. Its place in the file breaks ties between equally specific ones.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name in logs and metrics: the configured one, else its host and path.
    pub name: String,
    /// Which requests it takes.
    pub matcher: Matcher,
    /// Index of its upstream in the plan.
    pub upstream: usize,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Bytes a request body may have (413 above); `None` for any.
    pub max_body: Option<u64>,
}

/// The conditions of a route; all must hold.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    /// Hosts, lower case: `a.example`, or `*.example` for any name below it. Empty for any.
    pub hosts: Vec<String>,
    /// The path.
    pub path: PathRule,
    /// Methods; empty for any.
    pub methods: Vec<Method>,
    /// Headers that must be there; `None` for any value.
    pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// Query parameters that must be there, decoded; `None` for any value.
    pub query: Vec<(String, Option<String>)>,
    /// WebSocket subprotocols, one of which must be offered; empty for any.
    pub subprotocols: Vec<String>,
    /// Only WebSocket upgrades, or only plain requests.
    pub websocket: Option<bool>,
}

/// How a route looks at the path. Order of the variants is order of precedence.
#[derive(Clone, Debug, Default)]
pub enum PathRule {
    /// Exactly this path.
    Exact(String),
    /// A regular expression that is found in the path (anchor it with `^` and `$`).
    Regex(Regex),
    /// This path and everything below it: `/ws` takes `/ws` and `/ws/a`, not `/wsx`.
    Prefix(String),
    /// Any path.
    #[default]
    Any,
}

/// How long a route waits for what. HTTP times stop at the 101.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// A connection to the upstream (504).
    pub connect: Duration,
    /// The answer to an upgrade (504).
    pub handshake: Duration,
    /// The head of a plain answer (504).
    pub response: Duration,
    /// Silence within a request body (408).
    pub body: Duration,
    /// No byte either way in a tunnel; `None` never ends one.
    pub idle: Option<Duration>,
    /// What is left of a tunnel after one side's FIN.
    pub half_close: Duration,
}

impl Timeouts {
    fn resolve(own: &config::Timeouts, common: &config::Timeouts) -> Self {
        let pick = |own: Option<config::Time>, common: Option<config::Time>, seconds| {
            own.or(common).map_or(Duration::from_secs(seconds), |time| time.0)
        };
        Self {
            connect: pick(own.connect, common.connect, 5),
            handshake: pick(own.handshake, common.handshake, 10),
            response: pick(own.response, common.response, 120),
            body: pick(own.body, common.body, 60),
            half_close: pick(own.half_close, common.half_close, 30),
            idle: match own.idle.or(common.idle) {
                None | Some(Limit::Off) => None,
                Some(Limit::After(after)) => Some(after),
            },
        }
    }
}

pub(super) fn build_all(
    config: &Config,
    upstreams: &HashMap<&str, usize>,
    mistakes: &mut Mistakes,
) -> Vec<Route> {
    let root = At::root().key("routes");
    if config.routes.is_empty() {
        mistakes.add(
            &root,
            "no routes: give at least one, such as `- { match: { path: / }, upstream: NAME }`",
        );
    }
    let mut names = HashSet::new();
    let mut routes = Vec::new();
    for (index, route) in config.routes.iter().enumerate() {
        let at = root.index(index);
        let matcher = matcher(&route.matches, &at.key("match"), mistakes);
        if let Some(name) = &route.name
            && !names.insert(name)
        {
            mistakes.add(
                &at.key("name"),
                format!("another route is named `{name}` too: names must differ"),
            );
        }
        let upstream = match &route.upstream {
            None => {
                mistakes.add(&at, "this route needs an `upstream`");
                0
            }
            Some(name) => upstreams.get(name.as_str()).copied().unwrap_or_else(|| {
                let known: Vec<&str> = config.upstreams.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                mistakes.add(
                    &at.key("upstream"),
                    format!("there is no upstream `{name}`: define it under `upstreams` (defined: {known})"),
                );
                0
            }),
        };
        routes.push(Route {
            name: route.name.clone().unwrap_or_else(|| matcher.to_string()),
            matcher,
            upstream,
            timeouts: Timeouts::resolve(&route.timeouts, &config.timeouts),
            max_body: route.max_body.map(|size| size.0),
        });
    }
    routes
}

fn matcher(written: &config::Match, at: &At, mistakes: &mut Mistakes) -> Matcher {
    let mut hosts = Vec::new();
    for host in &written.host.0 {
        match host_pattern(host) {
            Ok(Some(host)) => hosts.push(host),
            Ok(None) => {}
            Err(what) => mistakes.add(&at.key("host"), what),
        }
    }
    let methods = written.method.0.iter().filter_map(|name| {
        let method = Method::from_bytes(name.to_ascii_uppercase().as_bytes()).ok();
        if method.is_none() {
            mistakes.add(
                &at.key("method"),
                format!("`{name}` is not a method: write GET or [GET, POST]"),
            );
        }
        method
    });
    let methods = methods.collect();
    Matcher {
        hosts,
        path: path(written, at, mistakes),
        methods,
        headers: headers(written, &at.key("headers"), mistakes),
        query: written
            .query
            .iter()
            .map(|(name, value)| (name.clone(), wanted(value).map(str::to_owned)))
            .collect(),
        subprotocols: written.subprotocol.0.clone(),
        websocket: written.websocket.map(|switch| switch.0),
    }
}

/// `None` for the pattern that takes any host.
fn host_pattern(written: &str) -> Result<Option<String>, String> {
    let host = written.strip_suffix('.').unwrap_or(written).to_ascii_lowercase();
    if host == "*" {
        return Ok(None);
    }
    let name = host.strip_prefix("*.").unwrap_or(&host);
    if name.parse::<std::net::Ipv6Addr>().is_ok() || name.starts_with('[') {
        return Ok(Some(name.trim_matches(['[', ']']).to_owned()));
    }
    if name.contains(':') {
        return Err(format!(
            "host `{written}` has a port: routes look at the name only, remove `:…`"
        ));
    }
    let plain =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !plain {
        return Err(format!(
            "`{written}` is not a host: write chat.example.com, or *.example.com for every name below it"
        ));
    }
    Ok(Some(host))
}

fn path(written: &config::Match, at: &At, mistakes: &mut Mistakes) -> PathRule {
    let given = [
        ("path", &written.path),
        ("path_exact", &written.path_exact),
        ("path_regex", &written.path_regex),
    ];
    let mut given = given.into_iter().filter_map(|(key, value)| value.as_ref().map(|v| (key, v)));
    let Some((key, value)) = given.next() else { return PathRule::Any };
    if let Some((other, _)) = given.next() {
        mistakes.add(&at.key(other), format!("`{key}` and `{other}` exclude each other: keep one"));
    }
    if key == "path_regex" {
        return match Regex::new(value) {
            Ok(regex) => PathRule::Regex(regex),
            Err(error) => {
                let last = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                mistakes.add(&at.key(key), format!("not a regular expression: {last}"));
                PathRule::Any
            }
        };
    }
    if !value.starts_with('/') {
        mistakes.add(&at.key(key), format!("a path begins with a slash: write `/{value}`"));
    }
    if value.contains(['?', '#']) {
        mistakes
            .add(&at.key(key), "a path has no query: use `query` for its parameters".to_owned());
    }
    match key {
        "path_exact" => PathRule::Exact(value.clone()),
        _ if value == "/" => PathRule::Any,
        _ => PathRule::Prefix(value.trim_end_matches('/').to_owned()),
    }
}

fn headers(
    written: &config::Match,
    at: &At,
    mistakes: &mut Mistakes,
) -> Vec<(HeaderName, Option<HeaderValue>)> {
    let mut headers = Vec::new();
    for (name, value) in &written.headers {
        let wanted = wanted(value).map(HeaderValue::from_str).transpose();
        match (HeaderName::from_bytes(name.as_bytes()), wanted) {
            (Ok(name), Ok(value)) => headers.push((name, value)),
            _ => mistakes.add(
                &at.key(name),
                format!(
                    "`{name}: {value}` is not a header: check it for spaces and control characters"
                ),
            ),
        }
    }
    headers
}

/// `*` asks only that a header or parameter is there.
fn wanted(value: &str) -> Option<&str> {
    (value != "*").then_some(value)
}

impl std::fmt::Display for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hosts.join(","))?;
        match &self.path {
            PathRule::Exact(path) => write!(f, "={path}"),
            PathRule::Regex(regex) => write!(f, "~{regex}"),
            PathRule::Prefix(path) => f.write_str(path),
            PathRule::Any => f.write_str("/"),
        }
    }
}
