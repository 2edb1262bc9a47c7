//! What a request says about where it belongs: its hash, its cookie, its session. Read once, before
//! the first pick; pure on the head.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};

use super::balance::{Balancer, Policy};
use super::cookies::Cookies;
use super::open_packet::Overhearing;
use super::sessions::Sessions;
use super::{Endpoint, Registry, hash};
use crate::fields;
use crate::plan::{self, Facts, Key};

/// What an upstream looks at in a request.
#[derive(Debug)]
pub(super) struct Affinity {
    hash_by: Option<Key>,
    sticky: Option<Sticky>,
}

#[derive(Debug)]
enum Sticky {
    Cookie(Cookies),
    Engineio(Cookies, Arc<Sessions>),
    Key(Key, Balancer),
}

/// Who asks, beyond what the head says.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The client's address.
    pub address: IpAddr,
    /// Whether it came over TLS, here or at a trusted proxy.
    pub tls: bool,
}

/// Where a request belongs. Nowhere by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claim {
    /// The hash that `balance` goes by.
    pub(super) key: Option<u64>,
    /// The hash that `sticky` goes by.
    pub(super) sticky_key: Option<u64>,
    /// The index of the endpoint that it belongs to.
    pub(super) bound: Option<usize>,
    /// The index that its cookie names.
    told: Option<usize>,
    /// Its answer may set a cookie.
    tells: bool,
    tls: bool,
    /// Its answer may give out a session.
    opens: bool,
}

impl Affinity {
    /// `None` where a request is not looked at.
    pub(super) fn new(plan: &plan::Upstream, registry: &Registry) -> Option<Box<Self>> {
        let hash_by = match &plan.balance {
            plan::Balance::RingHash(key) | plan::Balance::Maglev(key) => Some(key.clone()),
            _ => None,
        };
        let cookies = |cookie: &plan::Cookie| {
            let secret = match &cookie.secret {
                Some(secret) => secret.expose().as_bytes(),
                None => registry.secret(&plan.name),
            };
            Cookies::new(cookie, secret, &plan.name, &plan.endpoints)
        };
        let sticky = plan.sticky.as_ref().map(|sticky| match sticky {
            plan::Sticky::Cookie(cookie) => Sticky::Cookie(cookies(cookie)),
            plan::Sticky::Engineio(cookie) => {
                Sticky::Engineio(cookies(cookie), registry.sessions())
            }
            plan::Sticky::Key(key) => {
                Sticky::Key(key.clone(), Balancer::new(Policy::RingHash, &plan.endpoints))
            }
        });
        (hash_by.is_some() || sticky.is_some()).then(|| Box::new(Self { hash_by, sticky }))
    }

    /// Reads a head. `upstream` is the upstream's name; `endpoints` are its own.
    pub(super) fn read(
        &self,
        facts: &Facts<'_>,
        asker: Asker,
        upstream: &str,
        endpoints: &[Arc<Endpoint>],
    ) -> Claim {
        let hashed = |key: &Key| of_request(key, facts, asker.address);
        let mut claim = Claim {
            key: self.hash_by.as_ref().and_then(hashed),
            tls: asker.tls,
            ..Claim::default()
        };
        match &self.sticky {
            None => {}
            Some(Sticky::Key(key, _)) => claim.sticky_key = hashed(key),
            Some(Sticky::Cookie(cookies)) => {
                claim.told = cookies.read(facts.headers);
                claim.bound = claim.told;
                claim.tells = true;
            }
            Some(Sticky::Engineio(cookies, sessions)) => {
                let session = parameter(facts, "sid");
                // Who gave out the session knows it, whatever a cookie of an older one says.
                let issuer = session.as_ref().and_then(|session| {
                    let id = sessions.find(upstream, session)?;
                    endpoints.iter().position(|one| one.id == id)
                });
                claim.told = cookies.read(facts.headers);
                claim.bound = issuer.or(claim.told);
                // One that has a session has been told what there is to tell.
                claim.tells = session.is_none();
                claim.opens = session.is_none()
                    && !facts.websocket
                    && *facts.method == Method::GET
                    && parameter(facts, "EIO").is_some();
            }
        }
        claim
    }

    /// The ring of sticky keys.
    pub(super) fn ring(&self) -> Option<&Balancer> {
        match &self.sticky {
            Some(Sticky::Key(_, ring)) => Some(ring),
            _ => None,
        }
    }

    /// The cookie that the answer of the endpoint at `index` sets.
    pub(super) fn cookie(&self, claim: &Claim, index: usize) -> Option<HeaderValue> {
        if !claim.tells || claim.told == Some(index) {
            return None;
        }
        match &self.sticky {
            Some(Sticky::Cookie(cookies) | Sticky::Engineio(cookies, _)) => {
                cookies.set(index, claim.tls)
            }
            _ => None,
        }
    }

    /// What hears the answer of `endpoint`.
    pub(super) fn overhearing(
        &self,
        claim: &Claim,
        upstream: &Arc<str>,
        endpoint: &Endpoint,
    ) -> Option<Box<Overhearing>> {
        match &self.sticky {
            Some(Sticky::Engineio(_, sessions)) if claim.opens => Some(Box::new(Overhearing::new(
                Arc::clone(sessions),
                Arc::clone(upstream),
                endpoint.id,
            ))),
            _ => None,
        }
    }
}

/// The hash of a part of the request; `None` when it lacks that part.
fn of_request(key: &Key, facts: &Facts<'_>, client: IpAddr) -> Option<u64> {
    Some(match key {
        // Each by its own bytes: 4 of IPv4, 16 of IPv6.
        Key::ClientIp => match client.to_canonical() {
            IpAddr::V4(address) => hash::of(&address.octets()),
            IpAddr::V6(address) => hash::of(&address.octets()),
        },
        Key::Path => hash::of(facts.path.as_bytes()),
        Key::Header(name) => hash::of(facts.headers.get(name)?.as_bytes()),
        Key::Cookie(name) => hash::of(first_cookie(facts.headers, name)?),
        Key::Query(name) => hash::of(parameter(facts, name)?.as_bytes()),
    })
}

fn first_cookie<'a>(headers: &'a HeaderMap, name: &'a str) -> Option<&'a [u8]> {
    fields::cookies(headers, name).next()
}

/// The first query parameter of a name, decoded.
fn parameter<'a>(facts: &Facts<'a>, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    let mut parameters = form_urlencoded::parse(facts.query?.as_bytes());
    parameters.find_map(|(key, value)| (key == name).then_some(value))
}
