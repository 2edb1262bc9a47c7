//! Where Bowline listens, and what a client may send there before a route is known.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Access, ListenOn, Networks, Tls};

use crate::config::{At, Config, Http2, Mistakes};

/// One listening address.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name in logs: the configured one, else its address.
    pub name: String,
    /// What it listens on.
    pub on: ListenOn,
    /// How HTTP/2 begins here, if it does.
    pub http2: Http2,
    /// For a request head to arrive whole; also how long an idle keep-alive connection is held.
    pub header_timeout: Duration,
    /// What a client may send.
    pub limits: Limits,
    /// TLS, if the listener terminates it.
    pub tls: Option<Tls>,
    /// Who may come; `None` for everybody.
    pub access: Option<Arc<Access>>,
    /// Whose connections begin with a PROXY header; others' are closed. `None` where nobody's do.
    pub introduced_by: Option<Networks>,
    /// Where it stands in the configuration.
    pub at: At,
}

/// Sizes of what a client sends, each with a status of its own when exceeded.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes in the request target (414).
    pub uri: usize,
    /// Bytes in the whole request head (431).
    pub headers: usize,
    /// Open connections; further ones are closed at once and counted.
    pub connections: Option<usize>,
    /// Streams open at once on one connection of HTTP/2.
    pub streams: u32,
}

pub(super) fn build_all(config: &Config, folder: &Path, mistakes: &mut Mistakes) -> Vec<Listener> {
    let at = At::root().key("listeners");
    if config.listeners.is_empty() {
        mistakes.add(&at, "no listeners: give at least one, such as `- address: 127.0.0.1:8080`");
    }
    let mut seen = HashSet::new();
    let mut listeners = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let at = at.index(index);
        let http2 = http2(listener, &at.key("http2"), mistakes);
        let tls = listener.tls.as_ref();
        let tls = tls.map(|tls| Tls::build(tls, folder, &at.key("tls"), mistakes));
        let tls = tls.map(|tls| Tls { http2: http2 == Http2::On, ..tls });
        let Some(written) = &listener.address else {
            mistakes.add(&at, "this listener needs an `address`, such as 0.0.0.0:8080");
            continue;
        };
        let on = match ListenOn::parse(written) {
            Ok(on) => on,
            Err(what) => {
                mistakes.add(&at.key("address"), what);
                continue;
            }
        };
        let any_port = on.address().is_some_and(|address| address.port() == 0);
        if !any_port && !seen.insert(on.clone()) {
            mistakes
                .add(&at.key("address"), format!("{on} is listened on twice: keep one of the two"));
        }
        listeners.push(Listener {
            name: listener.name.clone().unwrap_or_else(|| on.to_string()),
            on,
            http2,
            header_timeout: listener.header_timeout.map_or(Duration::from_secs(30), |t| t.0),
            limits: limits(&listener.limits, &at.key("limits"), mistakes),
            tls,
            access: Access::read(listener.allow.as_ref(), listener.deny.as_ref(), &at, mistakes)
                .map(Arc::new),
            introduced_by: listener
                .proxy_protocol
                .as_ref()
                .map(|written| introduced_by(written, &at.key("proxy_protocol"), mistakes)),
            at,
        });
    }
    listeners
}

fn http2(listener: &crate::config::Listener, at: &At, mistakes: &mut Mistakes) -> Http2 {
    let tls = listener.tls.is_some();
    match listener.http2 {
        Some(Http2::PriorKnowledge) if tls => mistakes.add(
            at,
            "`prior_knowledge` is for listeners without `tls`: with it, `true` offers HTTP/2 by ALPN",
        ),
        Some(Http2::On) if !tls => mistakes.add(
            at,
            "without `tls` there is no ALPN to offer HTTP/2 by: write `prior_knowledge` for h2c",
        ),
        _ => {}
    }
    listener.http2.unwrap_or(if tls { Http2::On } else { Http2::Off })
}

fn introduced_by(
    written: &crate::config::ProxyProtocol,
    at: &At,
    mistakes: &mut Mistakes,
) -> Networks {
    let from = written.from.as_deref().unwrap_or_default();
    if from.is_empty() {
        mistakes.add(
            at,
            "whose PROXY headers are believed? Write `from: [ 10.0.0.0/8 ]` with the load balancers",
        );
    }
    Networks::read(from, &at.key("from"), mistakes)
}

fn limits(limits: &crate::config::Limits, at: &At, mistakes: &mut Mistakes) -> Limits {
    // hyper cannot read a target over 65,534 bytes, nor work with less than 8 KiB of buffer.
    let uri = limits.uri.map_or(16 << 10, |size| size.0);
    if !(1..=60 << 10).contains(&uri) {
        mistakes.add(&at.key("uri"), "a `uri` limit is 1B to 60KiB".to_owned());
    }
    let headers = limits.headers.map_or(64 << 10, |size| size.0);
    if !((8 << 10)..=(1 << 20)).contains(&headers) {
        mistakes.add(&at.key("headers"), "a `headers` limit is 8KiB to 1MiB".to_owned());
    }
    if limits.connections.is_some_and(|count| count.0 == 0) {
        mistakes.add(
            &at.key("connections"),
            "a limit of 0 connections serves nobody: give 1 or more, or leave it out",
        );
    }
    let streams = limits.streams.map_or(200, |count| count.0);
    if !(1..=10_000).contains(&streams) {
        mistakes.add(&at.key("streams"), "a `streams` limit is 1 to 10000");
    }
    Limits {
        streams,
        uri: usize::try_from(uri).unwrap_or(usize::MAX),
        headers: usize::try_from(headers).unwrap_or(usize::MAX),
        connections: limits.connections.map(|count| count.0 as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(yaml: &str) -> (Vec<Listener>, String) {
        let (config, mut mistakes) = crate::config::parse("file", yaml, &|_| None);
        let listeners = build_all(&config, Path::new("/etc/bowline"), &mut mistakes);
        (listeners, mistakes.to_string())
    }

    #[test]
    fn what_is_not_written_has_its_documented_default() {
        let (listeners, mistakes) = planned("listeners: [ { address: 'localhost:8080' } ]\n");
        assert_eq!(mistakes, "");
        let one = &listeners[0];
        assert_eq!(one.on, ListenOn::parse("127.0.0.1:8080").unwrap());
        assert_eq!(one.name, "127.0.0.1:8080");
        assert_eq!(one.header_timeout, Duration::from_secs(30));
        assert_eq!((one.limits.uri, one.limits.headers), (16 << 10, 64 << 10));
        assert_eq!(one.limits.connections, None);
        assert_eq!((one.limits.streams, one.http2), (200, Http2::Off));
        assert!(one.tls.is_none());
    }

    #[test]
    fn every_mistake_of_a_listener_is_told_at_once() {
        let (_, mistakes) = planned(
            "listeners:\n  - address: 127.0.0.1\n  - name: lost\n  - address: 127.0.0.1:80\n  \
             - address: localhost:80\n    limits: { uri: 61KiB, headers: 1KiB, connections: 0, streams: 0 }\n    \
             tls: { certificates: [ { cert: a.pem }, { key: a.key } ] }\n  \
             - address: 127.0.0.1:81\n    tls: {}\n    http2: prior_knowledge\n  \
             - address: 127.0.0.1:82\n    http2: true\n",
        );
        let told: Vec<&str> = mistakes.lines().collect();
        let expected = [
            "file:2:14: `127.0.0.1` is not an address to listen on",
            "file:3:5: this listener needs an `address`",
            "file:5:14: 127.0.0.1:80 is listened on twice",
            "file:6:20: a `uri` limit is 1B to 60KiB",
            "file:6:36: a `headers` limit is 8KiB to 1MiB",
            "file:6:55: a limit of 0 connections serves nobody",
            "file:6:67: a `streams` limit is 1 to 10000",
            "file:7:28: this certificate needs `key`",
            "file:7:45: this certificate needs `cert`",
            "file:9:10: tls needs `certificates",
            "file:10:12: `prior_knowledge` is for listeners without `tls`",
            "file:12:12: without `tls` there is no ALPN",
        ];
        assert_eq!(told.len(), expected.len(), "{mistakes}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told}\nexpected {expected}");
        }
    }

    #[test]
    fn port_0_may_be_asked_for_more_than_once() {
        let (listeners, mistakes) =
            planned("listeners: [ { address: '127.0.0.1:0' }, { address: '127.0.0.1:0' } ]\n");
        assert_eq!((listeners.len(), mistakes.as_str()), (2, ""));
    }

    #[test]
    fn a_configuration_without_listeners_serves_nobody() {
        assert!(planned("routes: []\n").1.contains("no listeners"));
    }
}
