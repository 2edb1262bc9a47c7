//! How an endpoint is picked, resolved: the policy, and what of a request it looks at.

use std::fmt;

use http::HeaderName;

use crate::config::{self, At, HashBy, HashField, Mistakes};
use crate::fields::is_token;

/// How an endpoint is picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The least load for its weight.
    LeastConnections,
    /// Each in turn, by weight.
    RoundRobin,
    /// The less loaded of two at random, the quicker one among equals.
    PowerOfTwo,
    /// Any, by weight.
    Random,
    /// By the request's key, on a ring.
    RingHash(Key),
    /// By the request's key, in a table.
    Maglev(Key),
}

/// What of a request is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The client's address, behind trusted proxies.
    ClientIp,
    /// The path without its query.
    Path,
    /// The first header of this name.
    Header(HeaderName),
    /// The first cookie of this name.
    Cookie(String),
    /// The first query parameter of this name, decoded.
    Query(String),
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeastConnections => f.write_str("least_connections"),
            Self::RoundRobin => f.write_str("round_robin"),
            Self::PowerOfTwo => f.write_str("power_of_two"),
            Self::Random => f.write_str("random"),
            Self::RingHash(key) => write!(f, "ring_hash of {key}"),
            Self::Maglev(key) => write!(f, "maglev of {key}"),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client_ip"),
            Self::Path => f.write_str("path"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Query(name) => write!(f, "query {name}"),
        }
    }
}

/// What is written of an upstream at `at`.
pub(super) fn build(written: &config::Upstream, at: &At, mistakes: &mut Mistakes) -> Balance {
    let policy = written.balance.unwrap_or_default();
    if let (Some(_), false) = (&written.hash_by, policy.hashes()) {
        mistakes.add_at_key(
            &at.key("hash_by"),
            format!(
                "`{}` looks at no request: write `balance: ring_hash` or `maglev`, or remove `hash_by`",
                policy.as_str()
            ),
        );
    }
    let key = match &written.hash_by {
        None | Some(HashBy::ClientIp) => Key::ClientIp,
        Some(HashBy::Path) => Key::Path,
        Some(HashBy::Field(field)) => of_field(field, &at.key("hash_by"), mistakes),
    };
    match policy {
        config::Balance::LeastConnections => Balance::LeastConnections,
        config::Balance::RoundRobin => Balance::RoundRobin,
        config::Balance::PowerOfTwo => Balance::PowerOfTwo,
        config::Balance::Random => Balance::Random,
        config::Balance::RingHash => Balance::RingHash(key),
        config::Balance::Maglev => Balance::Maglev(key),
    }
}

pub(super) fn of_field(field: &HashField, at: &At, mistakes: &mut Mistakes) -> Key {
    let HashField { header: named, cookie, query } = field;
    match (named, cookie, query) {
        (Some(name), None, None) => {
            header(name, &at.key("header"), mistakes).map_or(Key::ClientIp, Key::Header)
        }
        (None, Some(name), None) => {
            cookie_name(name, &at.key("cookie"), mistakes);
            Key::Cookie(name.clone())
        }
        (None, None, Some(name)) => Key::Query(name.clone()),
        _ => {
            mistakes.add(at, "this takes exactly one of `header`, `cookie` and `query`: write one");
            Key::ClientIp
        }
    }
}

pub(super) fn header(name: &str, at: &At, mistakes: &mut Mistakes) -> Option<HeaderName> {
    let header = HeaderName::from_bytes(name.as_bytes()).ok();
    if header.is_none() {
        mistakes.add(at, format!("`{name}` is no name of a header: write one such as x-user"));
    }
    header
}

pub(super) fn cookie_name(name: &str, at: &At, mistakes: &mut Mistakes) {
    // RFC 6265 section 4.1.1: a token.
    if !is_token(name) {
        mistakes.add(at, format!("`{name}` is no name of a cookie: write one such as session"));
    }
}
