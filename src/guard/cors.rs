//! Which page may read this answer? Cross-origin resource sharing (Fetch standard, section 3.2) for
//! plain requests. It refuses no request but preflights: what keeps a page from reading is the browser,
//! by the fields that are not there.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::origin::is_listed;
use crate::fields::{is_token, tokens};
use crate::origin::Origin;
use crate::plan::{Cors, Names, OriginRule, Origins};

/// Whether an answer is shared, decided when its request came.
#[derive(Clone, Debug)]
pub struct Share<'a> {
    policy: &'a Cors,
    /// `Access-Control-Allow-Origin`; `None` for a page that may not read.
    allowed: Option<HeaderValue>,
}

/// A preflight of a page that may not ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl Refused {
    /// The reason, for the client and the log.
    pub fn as_str(self) -> &'static str {
        "pages of this origin may not ask here"
    }
}

impl<'a> Share<'a> {
    /// Reads who asks.
    pub fn new(policy: &'a Cors, headers: &HeaderMap) -> Self {
        let allowed = match &policy.origins {
            // The same for everybody, so that caches need not tell pages apart.
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::Listed(rules) => {
                the_origin(headers).filter(|line| is_one_of(line, rules)).cloned()
            }
        };
        Self { policy, allowed }
    }

    /// Whether a page that may asks.
    pub fn is_allowed(&self) -> bool {
        self.allowed.is_some()
    }

    /// The fields that answer a preflight; `None` for any other request, also for an OPTIONS that
    /// is none. A page that may ask gets the policy whatever it asked for: the browser compares, and
    /// its console then says what is missing.
    ///
    /// # Errors
    /// When it is one of a page that may not ask.
    pub fn preflight(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<Result<HeaderMap, Refused>> {
        let wanted = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
            return None;
        }
        if !self.is_allowed() {
            return Some(Err(Refused));
        }
        let policy = self.policy;
        let methods = match &policy.methods {
            Names::Any => wanted.to_str().is_ok_and(is_token).then(|| wanted.clone()),
            Names::Listed(listed) => listed.clone(),
        };
        let names = match &policy.headers {
            Names::Any => asked_names(headers),
            Names::Listed(listed) => listed.clone(),
        };
        let mut answer = HeaderMap::new();
        self.put_origin(&mut answer);
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_METHODS, methods),
            (ACCESS_CONTROL_ALLOW_HEADERS, names),
            (ACCESS_CONTROL_MAX_AGE, policy.max_age.clone()),
        ] {
            value.map(|value| answer.insert(name, value));
        }
        for name in [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_REQUEST_HEADERS] {
            vary(&mut answer, &name);
        }
        Some(Ok(answer))
    }

    /// Makes an answer say this policy and no other: of two a browser takes neither.
    pub fn put(&self, answer: &mut HeaderMap) {
        let of_cors = |name: &&HeaderName| name.as_str().starts_with("access-control-");
        let theirs: Vec<HeaderName> = answer.keys().filter(of_cors).cloned().collect();
        for name in theirs {
            answer.remove(name);
        }
        self.put_origin(answer);
        if let (true, Some(expose)) = (self.is_allowed(), &self.policy.expose) {
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
        // Also where no page asked: a cache must not give this answer to one that does.
        if self.policy.origins != Origins::Any {
            vary(answer, &ORIGIN);
        }
    }

    fn put_origin(&self, answer: &mut HeaderMap) {
        let Some(allowed) = &self.allowed else { return };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed.clone());
        if self.policy.credentials {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// The one `Origin` of a request.
fn the_origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut lines = headers.get_all(ORIGIN).iter();
    let line = lines.next()?;
    lines.next().is_none().then_some(line)
}

fn is_one_of(line: &HeaderValue, rules: &[OriginRule]) -> bool {
    match line.to_str().ok().and_then(Origin::parse) {
        Some(Origin::Site(site)) => is_listed(&site, rules),
        Some(Origin::Null) => rules.contains(&OriginRule::Null),
        None => false,
    }
}

/// The names that a preflight asks for, if they are names.
fn asked_names(headers: &HeaderMap) -> Option<HeaderValue> {
    let names: Vec<&str> = tokens(headers, &ACCESS_CONTROL_REQUEST_HEADERS).collect();
    let are_names = !names.is_empty() && names.iter().all(|name| is_token(name));
    are_names.then(|| HeaderValue::from_str(&names.join(", ")).ok()).flatten()
}

/// Adds a name to `Vary`, on the line that is there; `*` says it all already.
fn vary(headers: &mut HeaderMap, name: &HeaderName) {
    if tokens(headers, &VARY).any(|one| one == "*" || one.eq_ignore_ascii_case(name.as_str())) {
        return;
    }
    let mut list = Vec::new();
    for line in headers.get_all(VARY).iter().filter(|line| !line.is_empty()) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(name.as_str().as_bytes());
    if let Ok(list) = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)) {
        headers.insert(VARY, list);
    }
}

#[cfg(test)]
mod tests;
