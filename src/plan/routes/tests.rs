//! Routing against a model that is slow and obviously right: sort every route that matches by the
//! documented order, take the first.

use std::time::Duration;

use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use regex::Regex;

use super::*;
use crate::plan::Timeouts;
use crate::plan::WebSocket;

const HOSTS: [&str; 7] =
    ["a.example", "b.a.example", "c.test", "*.example", "*.a.example", "*.b.a.example", "*.test"];
const PATHS: [&str; 6] = ["/ws", "/ws/a", "/ws/a/b", "/w", "/wsx", "/other"];
const X_A: HeaderName = HeaderName::from_static("x-a");
const X_B: HeaderName = HeaderName::from_static("x-b");

#[derive(Clone, Debug)]
struct Asked {
    host: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    method: Method,
    headers: HeaderMap,
    websocket: bool,
}

impl Asked {
    fn facts(&self) -> Facts<'_> {
        Facts {
            host: self.host,
            path: self.path,
            query: self.query,
            method: &self.method,
            headers: &self.headers,
            websocket: self.websocket,
        }
    }
}

fn route(matcher: Matcher) -> Route {
    let second = Duration::from_secs(1);
    Route {
        name: matcher.to_string(),
        matcher,
        upstream: 0,
        timeouts: Timeouts {
            connect: second,
            handshake: second,
            response: second,
            body: second,
            idle: None,
            half_close: second,
        },
        websocket: WebSocket::resolve(&Default::default(), &Default::default()),
        origins: crate::plan::OriginPolicy::default(),
        access: None,
        cors: None,
        quotas: Vec::new(),
        max_body: None,
    }
}

/// The rule as the reference tells it, without a thought for speed.
mod model {
    use super::*;

    /// Smaller is more specific; the last number is the place in the file.
    type Order = (u8, Reverse<usize>, u8, Reverse<usize>, Reverse<usize>, usize);

    pub(super) fn find(routes: &[Route], asked: &Asked) -> Option<usize> {
        let taking = routes.iter().enumerate().filter_map(|(id, route)| {
            let (kind, length) = best_host(&route.matcher, asked.host)?;
            holds(&route.matcher, asked).then(|| order(&route.matcher, kind, length, id))
        });
        taking.min().map(|order| order.5)
    }

    fn order(matcher: &Matcher, host: u8, host_length: usize, id: usize) -> Order {
        let (path, length) = match &matcher.path {
            PathRule::Exact(_) => (0, 0),
            PathRule::Regex(_) => (1, 0),
            PathRule::Prefix(prefix) => (2, prefix.len()),
            PathRule::Any => (3, 0),
        };
        let mut conditions = matcher.headers.len() + matcher.query.len();
        for given in [
            !matcher.methods.is_empty(),
            !matcher.subprotocols.is_empty(),
            matcher.websocket.is_some(),
        ] {
            conditions += usize::from(given);
        }
        (host, Reverse(host_length), path, Reverse(length), Reverse(conditions), id)
    }

    /// How specific the best of a route's hosts is for this one; `None` when none takes it.
    fn best_host(matcher: &Matcher, host: &str) -> Option<(u8, usize)> {
        if matcher.hosts.is_empty() {
            return Some((2, 0));
        }
        let taking = matcher.hosts.iter().filter_map(|pattern| match pattern.strip_prefix('*') {
            Some(end) => (host.len() > end.len() && host.ends_with(end)).then_some((1, end.len())),
            None => (pattern == host).then_some((0, 0)),
        });
        taking.min_by_key(|(kind, length)| (*kind, Reverse(*length)))
    }

    fn holds(matcher: &Matcher, asked: &Asked) -> bool {
        let path = match &matcher.path {
            PathRule::Exact(path) => asked.path == path,
            PathRule::Regex(regex) => regex.is_match(asked.path),
            PathRule::Prefix(path) => {
                asked.path == path || asked.path.starts_with(&format!("{path}/"))
            }
            PathRule::Any => true,
        };
        let method = matcher.methods.is_empty() || matcher.methods.contains(&asked.method);
        let headers = matcher.headers.iter().all(|(name, wanted)| {
            let all: Vec<_> = asked.headers.get_all(name).iter().collect();
            wanted.as_ref().map_or(!all.is_empty(), |wanted| all.contains(&wanted))
        });
        let query = matcher.query.iter().all(|(name, wanted)| {
            asked.query.unwrap_or("").split('&').any(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                key == name && wanted.as_ref().is_none_or(|wanted| value == wanted)
            })
        });
        let offered: Vec<String> = asked
            .headers
            .get_all(SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .flat_map(|line| line.to_str().unwrap().split(','))
            .map(|one| one.trim().to_owned())
            .collect();
        let subprotocol = matcher.subprotocols.is_empty()
            || (asked.websocket && matcher.subprotocols.iter().any(|one| offered.contains(one)));
        let websocket = matcher.websocket.is_none_or(|wanted| wanted == asked.websocket);
        path && method && headers && query && subprotocol && websocket
    }
}

fn path_rule() -> impl Strategy<Value = PathRule> {
    prop_oneof![
        2 => select(&PATHS[..]).prop_map(|path| PathRule::Exact(path.to_owned())),
        3 => select(&PATHS[..]).prop_map(|path| PathRule::Prefix(path.to_owned())),
        1 => select(&["^/ws", "a$", "^/w[sx]*$"][..])
            .prop_map(|regex| PathRule::Regex(Regex::new(regex).unwrap())),
        2 => Just(PathRule::Any),
    ]
}

/// A part of `from`, empty more often than not: routes with many conditions take nothing.
fn some_of<T: Clone + std::fmt::Debug + 'static>(from: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    let all = from.len();
    prop_oneof![2 => Just(Vec::new()), 1 => subsequence(from, 0..=all)]
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let header =
        |name: HeaderName, value: Option<&'static str>| (name, value.map(HeaderValue::from_static));
    let query = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
    (
        some_of(HOSTS.map(str::to_owned).to_vec()),
        path_rule(),
        some_of(vec![Method::GET, Method::POST]),
        some_of(vec![header(X_A, Some("1")), header(X_A, None), header(X_B, Some("2"))]),
        some_of(vec![query("v", Some("1")), query("v", None), query("w", None)]),
        some_of(vec!["chat".to_owned(), "mqtt".to_owned()]),
        select(&[None, None, None, Some(true), Some(false)][..]),
    )
        .prop_map(|(hosts, path, methods, headers, query, subprotocols, websocket)| Matcher {
            hosts,
            path,
            methods,
            headers,
            query,
            subprotocols,
            websocket,
        })
}

fn asked() -> impl Strategy<Value = Asked> {
    let hosts = ["a.example", "b.a.example", "z.b.a.example", "example", "x.example", "c.test", ""];
    (
        select(hosts.to_vec()),
        select(["/", "/ws", "/ws/", "/ws/a", "/ws/a/b", "/wsx", "/other/x"].to_vec()),
        select(vec![None, Some(""), Some("v=1"), Some("v=2&w"), Some("w=&v=1")]),
        select(vec![Method::GET, Method::POST]),
        some_of(vec![
            (X_A, "0"),
            (X_A, "1"),
            (X_B, "2"),
            (SEC_WEBSOCKET_PROTOCOL, "chat , soap"),
            (SEC_WEBSOCKET_PROTOCOL, "mqtt"),
        ]),
        any::<bool>(),
    )
        .prop_map(|(host, path, query, method, lines, websocket)| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, HeaderValue::from_static(value));
            }
            Asked { host, path, query, method, headers, websocket }
        })
}

/// A route that takes every GET upgrade with this header and query, with exactly one condition.
fn one_condition(which: usize) -> Matcher {
    let mut matcher = Matcher::default();
    match which {
        0 => matcher.methods = vec![Method::GET],
        1 => matcher.headers = vec![(X_A, None)],
        2 => matcher.query = vec![("v".to_owned(), None)],
        3 => matcher.websocket = Some(true),
        _ => matcher.subprotocols = vec!["chat".to_owned()],
    }
    matcher
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_route_is_the_first_of_all_that_match_in_the_documented_order(
        matchers in proptest::collection::vec(matcher(), 1..12),
        requests in proptest::collection::vec(asked(), 1..8),
    ) {
        let all: Vec<Route> = matchers.into_iter().map(route).collect();
        let routes = Routes::new(all.clone());
        for asked in &requests {
            let found = routes.find(&asked.facts()).map(|(id, _)| id);
            prop_assert_eq!(found, model::find(&all, asked), "{:?}", asked);
        }
    }

    #[test]
    fn equally_specific_routes_keep_the_order_of_the_file(
        order in Just(vec![0, 1, 2, 3, 4]).prop_shuffle(),
    ) {
        let routes = Routes::new(order.iter().map(|one| route(one_condition(*one))).collect());
        let mut headers = HeaderMap::new();
        headers.insert(X_A, HeaderValue::from_static("1"));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("chat"));
        let asked = Asked {
            host: "any.example",
            path: "/",
            query: Some("v=1"),
            method: Method::GET,
            headers,
            websocket: true,
        };
        prop_assert_eq!(routes.find(&asked.facts()).map(|(id, _)| id), Some(0));
    }

    #[test]
    fn the_order_in_the_file_decides_nothing_between_routes_that_differ(
        order in Just(vec!["=/ws/a", "~^/ws/a$", "/ws/a", "/ws", "/"]).prop_shuffle(),
    ) {
        let rule = |written: &str| match written.split_at(1) {
            ("=", path) => PathRule::Exact(path.to_owned()),
            ("~", regex) => PathRule::Regex(Regex::new(regex).unwrap()),
            _ if written == "/" => PathRule::Any,
            _ => PathRule::Prefix(written.to_owned()),
        };
        // Each route in turn is the best of those that are left.
        let mut left = order.clone();
        for best in ["=/ws/a", "~^/ws/a$", "/ws/a", "/ws", "/"] {
            let matchers = left.iter().map(|one| Matcher { path: rule(one), ..Default::default() });
            let routes = Routes::new(matchers.map(route).collect());
            let asked = Asked {
                host: "",
                path: "/ws/a",
                query: None,
                method: Method::GET,
                headers: HeaderMap::new(),
                websocket: false,
            };
            let found = routes.find(&asked.facts()).map(|(_, route)| route.name.clone());
            prop_assert_eq!(found.as_deref(), Some(best));
            left.retain(|one| *one != best);
        }
    }
}

fn finds(matchers: Vec<Matcher>, host: &str, path: &str) -> Option<usize> {
    let routes = Routes::new(matchers.into_iter().map(route).collect());
    let facts = Facts {
        host,
        path,
        query: None,
        method: &Method::GET,
        headers: &HeaderMap::new(),
        websocket: false,
    };
    routes.find(&facts).map(|(id, _)| id)
}

fn host(name: &str) -> Matcher {
    Matcher { hosts: vec![name.to_owned()], ..Matcher::default() }
}

fn path(rule: PathRule) -> Matcher {
    Matcher { path: rule, ..Matcher::default() }
}

#[test]
fn a_wildcard_takes_every_name_below_it_and_not_the_name_itself() {
    for (asked, taken) in [
        ("a.example.com", true),
        ("a.b.example.com", true),
        ("example.com", false),
        ("badexample.com", false),
        ("a.example.com.evil", false),
        ("", false),
    ] {
        assert_eq!(finds(vec![host("*.example.com")], asked, "/").is_some(), taken, "{asked}");
    }
}

#[test]
fn a_prefix_ends_at_a_slash() {
    for (asked, taken) in [
        ("/ws", true),
        ("/ws/", true),
        ("/ws/a", true),
        ("/wsx", false),
        ("/ws?", false),
        ("/w", false),
        ("/x/ws", false),
        ("/WS", false),
    ] {
        let found = finds(vec![path(PathRule::Prefix("/ws".to_owned()))], "", asked);
        assert_eq!(found.is_some(), taken, "{asked}");
    }
}

#[test]
fn a_host_weighs_more_than_any_path() {
    let exact = path(PathRule::Exact("/ws".to_owned()));
    assert_eq!(finds(vec![exact.clone(), host("*.example")], "a.example", "/ws"), Some(1));
    assert_eq!(finds(vec![host("*.example"), host("a.example")], "a.example", "/ws"), Some(1));
    // A host that takes the request only by a less specific route falls back.
    let only_other = Matcher { path: PathRule::Exact("/other".to_owned()), ..host("a.example") };
    assert_eq!(finds(vec![exact, only_other], "a.example", "/ws"), Some(0));
}

#[test]
fn parameters_are_compared_decoded_and_in_any_place() {
    let wants = Matcher {
        query: vec![("room name".to_owned(), Some("a&b".to_owned()))],
        ..Matcher::default()
    };
    let routes = Routes::new(vec![route(wants)]);
    for (query, taken) in [
        (Some("room+name=a%26b"), true),
        (Some("x=1&room%20name=a%26b&y"), true),
        (Some("room+name=other&room+name=a%26b"), true),
        (Some("room+name=a&b"), false),
        (Some("room+name"), false),
        (None, false),
    ] {
        let facts = Facts {
            host: "",
            path: "/",
            query,
            method: &Method::GET,
            headers: &HeaderMap::new(),
            websocket: false,
        };
        assert_eq!(routes.find(&facts).is_some(), taken, "{query:?}");
    }
}
