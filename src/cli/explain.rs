//! `bowline explain`: the decisions of a request, made without sending it.

use std::fmt::{Display, Write as _};
use std::net::IpAddr;

use http::header::{
    CONNECTION, HOST, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Uri};

use super::{CommandError, ExplainArgs, load, print};
use crate::exchange::{Preview, Verdict, Visitor, preview};
use crate::plan::{Discovered, Endpoint, Listener, Plan, ProxyVersion, Route, Upstream};

pub(super) fn explain(args: &ExplainArgs) -> Result<(), CommandError> {
    let plan = load::plan(&args.file)?;
    let asked = Asked::read(args)?;
    print(&asked.told(&plan))
}

/// The request that was asked about.
struct Asked {
    head: Parts,
    tls: bool,
    port: Option<u16>,
    peer: Option<IpAddr>,
}

impl Asked {
    fn read(args: &ExplainArgs) -> Result<Self, CommandError> {
        let wrong = |what: String| CommandError::usage(format!("bowline explain: {what}"));
        let uri: Uri = args
            .url
            .parse()
            .map_err(|error| wrong(format!("`{}` is not a URL: {error}", args.url)))?;
        let method: Method = args
            .method
            .to_ascii_uppercase()
            .parse()
            .map_err(|_| wrong(format!("`{}` is not a method", args.method)))?;
        let scheme = uri.scheme_str().unwrap_or("http").to_owned();
        if !matches!(scheme.as_str(), "http" | "https" | "ws" | "wss") {
            return Err(wrong(format!("`{scheme}://` is not http, https, ws or wss")));
        }
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = method;
        if let Some(authority) = uri.authority()
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            head.headers.insert(HOST, host);
        } else {
            head.headers.insert(HOST, HeaderValue::from_static("localhost"));
        }
        if scheme.starts_with("ws") {
            head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            head.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            head.headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            head.headers
                .insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        }
        for written in &args.headers {
            let (name, value) = written.split_once(':').ok_or_else(|| {
                wrong(format!("`{written}` is not a header: write 'Name: value'"))
            })?;
            let name = HeaderName::from_bytes(name.trim().as_bytes());
            match (name, HeaderValue::from_str(value.trim())) {
                (Ok(name), Ok(value)) if name == HOST => drop(head.headers.insert(name, value)),
                (Ok(name), Ok(value)) => drop(head.headers.append(name, value)),
                _ => return Err(wrong(format!("`{written}` is not a header"))),
            }
        }
        let port = uri.port_u16();
        if let Some(target) = uri.path_and_query() {
            head.uri = Uri::from(target.clone());
        }
        Ok(Self { head, tls: matches!(scheme.as_str(), "https" | "wss"), port, peer: args.from })
    }

    /// The listener of this port and scheme; else of this scheme; else the first.
    fn listener<'a>(&self, plan: &'a Plan) -> Option<&'a Listener> {
        let of_scheme = || plan.listeners.iter().filter(|one| one.tls.is_some() == self.tls);
        let of_port =
            of_scheme().find(|one| one.on.address().is_some_and(|at| Some(at.port()) == self.port));
        of_port.or_else(|| of_scheme().next()).or_else(|| plan.listeners.first())
    }

    fn told(mut self, plan: &Plan) -> String {
        let mut text = String::new();
        let Some(listener) = self.listener(plan) else { return text };
        let tls = if listener.tls.is_some() { " with TLS" } else { "" };
        let name = if listener.name == listener.on.to_string() { "" } else { &listener.name };
        line(&mut text, "listener", format_args!("{}{tls} {name}", listener.on));
        if (listener.tls.is_some()) != self.tls {
            line(
                &mut text,
                "note",
                format_args!("no listener speaks this URL's scheme; shown as if this one did"),
            );
        }
        let visitor = Visitor { listener, tls: self.tls, peer: self.peer };
        match preview(&mut self.head, visitor, plan) {
            Preview::Refused { status, detail } => {
                line(&mut text, "answer", format_args!("{status} by Bowline: {detail}"));
            }
            Preview::NoRoute { websocket } => {
                line(&mut text, "request", format_args!("{}", kind(websocket)));
                line(
                    &mut text,
                    "answer",
                    format_args!("404 by Bowline: no route takes this host and path"),
                );
            }
            Preview::Routed { route, websocket, verdicts } => {
                line(&mut text, "request", format_args!("{}", kind(websocket)));
                routed(&mut text, plan, route, websocket, &verdicts);
            }
        }
        text
    }
}

fn routed(text: &mut String, plan: &Plan, route: &Route, websocket: bool, verdicts: &[Verdict]) {
    line(text, "route", format_args!("{}", route.name));
    let mut guards: Vec<String> = verdicts.iter().map(|verdict| verdict.told.clone()).collect();
    let answered = verdicts.iter().find_map(|verdict| verdict.answered);
    if let Some(limit) = route.max_body.filter(|_| answered.is_none() && !websocket) {
        guards.push(format!("max_body {limit} bytes"));
    }
    let guards = if guards.is_empty() { "none".to_owned() } else { guards.join("; ") };
    line(text, "guards", format_args!("{guards}"));
    if let Some((status, reason)) = answered {
        line(text, "answer", format_args!("{status} by Bowline: {reason}"));
        return;
    }
    if let Some(upstream) = plan.upstream_of(route) {
        goes_to(text, upstream);
    }
    let times = &route.timeouts;
    if websocket {
        let idle = times.idle.map_or("off".to_owned(), |idle| format!("{idle:?}"));
        line(
            text,
            "timeouts",
            format_args!(
                "connect {:?}, handshake {:?}; then idle {idle}, half_close {:?}",
                times.connect, times.handshake, times.half_close
            ),
        );
    } else {
        line(
            text,
            "timeouts",
            format_args!(
                "connect {:?}, response {:?}, body {:?}",
                times.connect, times.response, times.body
            ),
        );
    }
}

/// What of an upstream a request meets.
fn goes_to(text: &mut String, upstream: &Upstream) {
    let written = upstream.endpoints.iter().map(endpoint);
    let endpoints: Vec<String> = written.chain(upstream.discovered.iter().map(found)).collect();
    let slow = upstream.slow_start.map(|slow| format!(", slow start {slow:?}"));
    let endpoints = match upstream.builtin {
        Some(kind) => format!("built in: {}", kind.as_str()),
        None => {
            let slow = slow.unwrap_or_default();
            format!("{} by {}{slow}", endpoints.join(", "), upstream.balance)
        }
    };
    line(text, "upstream", format_args!("{} ({endpoints})", upstream.name));
    if !upstream.source_addresses.is_empty() {
        let sources: Vec<_> = upstream.source_addresses.iter().map(IpAddr::to_string).collect();
        line(text, "from", format_args!("{}", sources.join(", ")));
    }
    if let Some(version) = upstream.proxy_protocol {
        line(text, "before", format_args!("a PROXY header, {}", proxy_protocol(version)));
    }
    if let Some(tls) = &upstream.tls {
        line(text, "TLS", format_args!("{tls}"));
    }
    let gates = upstream.gates.to_string();
    if !gates.is_empty() {
        line(text, "gates", format_args!("{gates}"));
    }
    if let Some(rebalance) = &upstream.rebalance {
        line(text, "rebalance", format_args!("{rebalance}"));
    }
    if let Some(sticky) = &upstream.sticky {
        line(text, "sticky", format_args!("{sticky}"));
    }
}

/// An endpoint with what is not as usual about it.
fn endpoint(one: &Endpoint) -> String {
    entry(&one.label, one.weight, one.backup)
}

/// An entry of `endpoints` with what is not as usual about it.
fn entry(what: &dyn Display, weight: u16, backup: bool) -> String {
    let weight = if weight == 1 { String::new() } else { format!(" weight {weight}") };
    let backup = if backup { " backup" } else { "" };
    format!("{what}{weight}{backup}")
}

fn proxy_protocol(version: ProxyVersion) -> &'static str {
    match version {
        ProxyVersion::V1 => "v1",
        ProxyVersion::V2 => "v2",
    }
}

/// Where endpoints are found, with what is not as usual about them.
fn found(one: &Discovered) -> String {
    entry(&one.source, one.weight, one.backup)
}

fn kind(websocket: bool) -> &'static str {
    if websocket { "WebSocket upgrade" } else { "plain HTTP" }
}

fn line(text: &mut String, what: &str, how: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    writeln!(text, "{what:<9} {}", how.to_string().trim_end()).ok();
}
