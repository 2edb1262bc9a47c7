//! One route: which requests it takes, and how they are treated.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use regex::Regex;

use super::websocket::{self, WebSocket};
use super::{Access, Cors, OriginPolicy, Quota};
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
    /// How its WebSockets are treated once they are open.
    pub websocket: WebSocket,
    /// Bytes a request body may have (413 above); `None` for any.
    pub max_body: Option<u64>,
    /// Whose pages may open WebSockets.
    pub origins: OriginPolicy,
    /// Who may use it; `None` for everybody.
    pub access: Option<Access>,
    /// What clients may ask of it, beside those of all routes.
    pub quotas: Vec<Quota>,
    /// Which pages of other origins may read its answers; `None` leaves that to the upstream.
    pub cors: Option<Cors>,
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
                // One that is there but could not be read has its own line already.
                if !mistakes.covers(&At::root().key("upstreams").key(name)) {
                    mistakes.add(
                        &at.key("upstream"),
                        format!("there is no upstream `{name}`: define it under `upstreams` (defined: {known})"),
                    );
                }
                0
            }),
        };
        websocket::check(&route.websocket, &at.key("websocket"), mistakes);
        let cors = route.cors.as_ref();
        let cors = cors.map(|cors| Cors::build(cors, &matcher.methods, &at.key("cors"), mistakes));
        routes.push(Route {
            cors,
            name: route.name.clone().unwrap_or_else(|| matcher.to_string()),
            matcher,
            upstream,
            timeouts: Timeouts::resolve(&route.timeouts, &config.timeouts),
            websocket: WebSocket::resolve(&route.websocket, &config.websocket),
            max_body: route.max_body.map(|size| size.0),
            origins: OriginPolicy::build(
                route.origins.as_ref(),
                route.origin_mode,
                &at.key("origins"),
                mistakes,
            ),
            quotas: Quota::read_all(&route.quotas, &at.key("quotas"), mistakes),
            access: Access::read(route.allow.as_ref(), route.deny.as_ref(), &at, mistakes),
        });
    }
    routes
}

fn matcher(written: &config::Match, at: &At, mistakes: &mut Mistakes) -> Matcher {
    let mut hosts = Vec::new();
    for host in &written.host.0 {
        match host_pattern(host) {
            Ok(Some(host)) => hosts.push(host),
            Ok(None) if written.host.0.len() > 1 => mistakes.add(
                &at.key("host"),
                "`*` takes every host: keep it alone, or give the other hosts a route of their own",
            ),
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
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(Some(bare.to_owned()));
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
                // The last line of several says what is wrong, the others draw where.
                let error = error.to_string();
                let last = error.lines().last().unwrap_or_default().trim();
                let last = last.strip_prefix("error: ").unwrap_or(last);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(yaml: &str) -> (Vec<Route>, String) {
        let (config, mut mistakes) = crate::config::parse("file", yaml, &|_| None);
        let upstreams = config.upstreams.keys().enumerate();
        let upstreams = upstreams.map(|(id, name)| (name.as_str(), id)).collect();
        let routes = build_all(&config, &upstreams, &mut mistakes);
        (routes, mistakes.to_string())
    }

    /// One route with this `match`, to an upstream that is there.
    fn matching(conditions: &str) -> (Matcher, String) {
        let (mut routes, mistakes) = planned(&format!(
            "routes: [ {{ upstream: web, match: {{ {conditions} }} }} ]\n\
             upstreams: {{ web: {{ endpoints: [ '127.0.0.1:1' ] }} }}\n"
        ));
        (routes.remove(0).matcher, mistakes)
    }

    #[test]
    fn hosts_are_compared_in_one_form() {
        for (written, planned) in [
            ("Chat.Example.COM", "chat.example.com"),
            ("chat.example.com.", "chat.example.com"),
            ("'*.Example.com'", "*.example.com"),
            ("'::1'", "::1"),
            ("'[2001:DB8::1]'", "2001:db8::1"),
            ("10.0.0.1", "10.0.0.1"),
            ("'my_host-1'", "my_host-1"),
        ] {
            let (matcher, mistakes) = matching(&format!("host: {written}"));
            assert_eq!((matcher.hosts, mistakes.as_str()), (vec![planned.to_owned()], ""));
        }
        let (matcher, mistakes) = matching("host: '*'");
        assert_eq!((matcher.hosts, mistakes.as_str()), (vec![], ""));
    }

    #[test]
    fn a_host_that_can_never_match_is_a_mistake() {
        for (written, told) in [
            ("'a.example:80'", "has a port"),
            ("''", "is not a host"),
            ("'http://a'", "has a port"),
            ("'a b'", "is not a host"),
            ("'a.*.example'", "is not a host"),
            ("'[a'", "is not a host"),
            ("'[::1]:80'", "has a port"),
            ("'*.::1'", "has a port"),
        ] {
            let (_, mistakes) = matching(&format!("host: {written}"));
            assert!(mistakes.contains(told), "{written}: {mistakes}");
        }
        // Beside others `*` would silently mean nothing.
        let (matcher, mistakes) = matching("host: [ a.example, '*' ]");
        assert!(matcher.hosts.is_empty() || !mistakes.is_empty(), "{matcher:?}");
    }

    #[test]
    fn paths_are_what_they_say() {
        for (written, shown) in [
            ("path: /", "/"),
            ("path: /ws", "/ws"),
            ("path: /ws/", "/ws"),
            ("path_exact: /ws/", "=/ws/"),
            ("path_regex: '^/r[0-9]+$'", "~^/r[0-9]+$"),
            ("method: get", "/"),
        ] {
            let (matcher, mistakes) = matching(written);
            assert_eq!((matcher.to_string().as_str(), mistakes.as_str()), (shown, ""));
        }
        for (written, told) in [
            ("path: ws", "write `/ws`"),
            ("path: /ws?a=1", "has no query"),
            ("path_regex: '('", "not a regular expression"),
            ("path: /a, path_exact: /a", "`path` and `path_exact` exclude each other"),
        ] {
            let (_, mistakes) = matching(written);
            assert!(mistakes.contains(told), "{written}: {mistakes}");
        }
    }

    #[test]
    fn a_star_asks_only_that_a_header_or_parameter_is_there() {
        let (matcher, mistakes) =
            matching("headers: { X-Any: '*', x-one: '1' }, query: { v: '*', w: '2' }, method: get");
        assert_eq!(mistakes, "");
        assert_eq!(
            matcher.headers,
            [
                (HeaderName::from_static("x-any"), None),
                (HeaderName::from_static("x-one"), Some(HeaderValue::from_static("1"))),
            ]
        );
        let two = Some("2".to_owned());
        assert_eq!(matcher.query, [("v".to_owned(), None), ("w".to_owned(), two)]);
        assert_eq!(matcher.methods, [Method::GET]);
        let (_, mistakes) = matching("method: 'G ET', headers: { 'a b': c }");
        assert!(mistakes.contains("`G ET` is not a method"), "{mistakes}");
        assert!(mistakes.contains("`a b: c` is not a header"), "{mistakes}");
    }

    #[test]
    fn a_time_is_the_routes_own_else_the_common_one_else_the_default() {
        let (routes, mistakes) = planned(
            "timeouts: { connect: 7s, idle: 1m }\nroutes:\n  - upstream: web\n    \
             timeouts: { connect: 1s, idle: off }\n  - upstream: web\n\
             upstreams: { web: { endpoints: [ '127.0.0.1:1' ] } }\n",
        );
        assert_eq!(mistakes, "");
        assert_eq!(routes[0].timeouts.connect, Duration::from_secs(1));
        assert_eq!(routes[0].timeouts.idle, None);
        assert_eq!(routes[1].timeouts.connect, Duration::from_secs(7));
        assert_eq!(routes[1].timeouts.idle, Some(Duration::from_secs(60)));
        assert_eq!(routes[1].timeouts.handshake, Duration::from_secs(10));
    }

    #[test]
    fn an_upstream_that_is_not_there_is_told_with_those_that_are() {
        let (_, mistakes) = planned(
            "routes: [ { upstream: wep }, { name: a, upstream: web }, { name: a, upstream: web }, { match: {} } ]\n\
             upstreams: { chat: { builtin: echo }, web: { builtin: page } }\n",
        );
        let told: Vec<&str> = mistakes.lines().collect();
        assert_eq!(told.len(), 3, "{mistakes}");
        assert!(told[0].contains("there is no upstream `wep`"), "{mistakes}");
        assert!(told[0].contains("(defined: chat, web)"), "{mistakes}");
        assert!(told[1].contains("another route is named `a` too"), "{mistakes}");
        assert!(told[2].contains("needs an `upstream`"), "{mistakes}");
    }

    #[test]
    fn an_upstream_that_is_itself_a_mistake_is_not_told_twice() {
        let (_, mistakes) = planned("routes: [ { upstream: web } ]\nupstreams: { web: [] }\n");
        assert_eq!(mistakes.lines().count(), 1, "{mistakes}");
    }
}
