//! What keeps a client with its endpoint, resolved.

use std::fmt;
use std::time::Duration;

use twox_hash::XxHash64;

use super::balance::{self, Key};
use crate::config::{self, At, Config, Mistakes, SameSite, Secret, StickyBy, StickyCookie};

/// Shorter ones can be guessed from a cookie.
const SHORTEST_SECRET: usize = 32;

/// What keeps a client with its endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// Bowline's cookie.
    Cookie(Cookie),
    /// The session that an engine.io server gave out, and Bowline's cookie.
    Engineio(Cookie),
    /// The hash of a part of the request.
    Key(Key),
}

/// Bowline's cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Its name, a token.
    pub name: String,
    /// How long the client keeps it; `None` until the browser is closed.
    pub max_age: Option<Duration>,
    /// Which requests from other sites carry it.
    pub same_site: SameSite,
    /// What signs it; `None` for a key of the process's own.
    pub secret: Option<Secret>,
}

impl fmt::Display for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(cookie) => write!(f, "cookie {}", cookie.name),
            Self::Engineio(cookie) => write!(f, "engineio, cookie {}", cookie.name),
            Self::Key(key) => key.fmt(f),
        }
    }
}

/// Finds the mistake in the secret.
pub(super) fn check_secret(config: &Config, mistakes: &mut Mistakes) {
    if config.secret.as_ref().is_some_and(|secret| secret.expose().len() < SHORTEST_SECRET) {
        mistakes.add(
            &At::root().key("secret"),
            "this is too short for a secret: write at least 32 characters, such as `openssl rand -hex 32` prints",
        );
    }
}

/// What is written at `at` for the upstream `name`.
pub(super) fn build(
    written: &config::Sticky,
    name: &str,
    secret: Option<&Secret>,
    at: &At,
    mistakes: &mut Mistakes,
) -> Option<Sticky> {
    let mut cookie = |written: &StickyCookie, at: &At| {
        if let Some(name) = &written.name {
            balance::cookie_name(name, &at.key("name"), mistakes);
        }
        if written.max_age.is_some_and(|age| age.0 < Duration::from_secs(1)) {
            mistakes.add(
                &at.key("max_age"),
                "such a cookie is gone at once: give at least `1s`, or leave it out",
            );
        }
        Cookie {
            name: written.name.clone().unwrap_or_else(|| default_name(name)),
            max_age: written.max_age.map(|age| age.0),
            same_site: written.same_site.unwrap_or_default(),
            secret: secret.cloned(),
        }
    };
    let sticky = match written {
        config::Sticky::Cookie => Sticky::Cookie(cookie(&StickyCookie::default(), at)),
        config::Sticky::Engineio => Sticky::Engineio(cookie(&StickyCookie::default(), at)),
        config::Sticky::ClientIp => Sticky::Key(Key::ClientIp),
        config::Sticky::By(StickyBy { cookie: Some(one), engineio: None, header: None }) => {
            Sticky::Cookie(cookie(one, &at.key("cookie")))
        }
        config::Sticky::By(StickyBy { cookie: None, engineio: Some(one), header: None }) => {
            Sticky::Engineio(cookie(one, &at.key("engineio")))
        }
        config::Sticky::By(StickyBy { cookie: None, engineio: None, header: Some(name) }) => {
            Sticky::Key(Key::Header(balance::header(name, &at.key("header"), mistakes)?))
        }
        config::Sticky::By(_) => {
            mistakes
                .add(at, "this takes exactly one of `cookie`, `engineio` and `header`: write one");
            return None;
        }
    };
    Some(sticky)
}

/// The same in every Bowline, another one for every upstream: two that are met under one host would
/// else overwrite each other's cookie for ever. It tells nobody what the upstream is called.
fn default_name(upstream: &str) -> String {
    let hash = XxHash64::oneshot(0, upstream.as_bytes());
    format!("bowline_{:08x}", hash >> 32)
}
