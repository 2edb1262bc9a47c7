//! When an endpoint counts as down, resolved and checked.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::config::{self, At, CheckKind, Mistakes, OnDown};

/// Shorter intervals are slips of the pen: an endpoint would be busy with answering checks.
const SHORTEST: Duration = Duration::from_millis(10);

/// How the endpoints of an upstream are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What each endpoint is asked; `None` for nothing.
    pub active: Option<ActiveCheck>,
    /// What is made of clients' requests.
    pub passive: Passive,
    /// With a smaller share of open endpoints, in percent, health is ignored; 0 for never.
    pub panic: u8,
    /// Tunnels of an endpoint that is down by active checks are told to close.
    pub drain_when_down: bool,
}

/// A question that an endpoint is asked again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveCheck {
    /// What is asked.
    pub probe: Probe,
    /// From the beginning of one check to that of the next, at least.
    pub interval: Duration,
    /// For a whole check; at most `interval`.
    pub timeout: Duration,
    /// Passed checks in a row that make it up; at least 1.
    pub rise: u32,
    /// Failed checks in a row that make it down; at least 1.
    pub fall: u32,
}

/// What a check does once it is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A GET.
    Http {
        /// What goes out, and which headers must come back.
        question: Question,
        /// Statuses that pass.
        status: Statuses,
        /// What the body must contain.
        body: Option<String>,
    },
    /// Nothing.
    Tcp,
    /// An upgrade, a ping and its pong.
    WebSocket(Question),
}

/// The part that an HTTP and a WebSocket check share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Path and query.
    pub path: String,
    /// The Host; `None` for the endpoint's own name.
    pub host: Option<HeaderValue>,
    /// Further fields that go out.
    pub send: Vec<(HeaderName, HeaderValue)>,
    /// Fields that must come back; `None` for any value.
    pub header: Vec<(HeaderName, Option<HeaderValue>)>,
}

/// How failures of clients' requests eject an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passive {
    /// So many in a row eject; 0 for never.
    pub failures: u32,
    /// Statuses that are failures.
    pub status: Statuses,
    /// A tunnel that its upstream loses at a lesser age is one too.
    pub lost_within: Duration,
    /// The first ejection.
    pub eject: Duration,
    /// The longest ejection.
    pub max_eject: Duration,
    /// The share of endpoints that may be ejected at once, in percent.
    pub max_ejected: u8,
}

/// A set of statuses, as ranges with both ends in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// Whether `status` is one of them.
    pub fn contains(&self, status: StatusCode) -> bool {
        let status = status.as_u16();
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }

    fn or(written: &config::Statuses, default: (u16, u16)) -> Self {
        Self(if written.0.is_empty() { vec![default] } else { written.0.clone() })
    }
}

impl Default for Health {
    /// What an upstream has that says nothing.
    fn default() -> Self {
        let at = At::root();
        Self::build(&config::Health::default(), &at, &mut Mistakes::new(""))
    }
}

impl Health {
    pub(super) fn build(written: &config::Health, at: &At, mistakes: &mut Mistakes) -> Self {
        let active = written.active.as_ref();
        Self {
            active: active.map(|check| self::active(check, &at.key("active"), mistakes)),
            passive: passive(&written.passive, &at.key("passive"), mistakes),
            panic: written.panic.map_or(50, |share| share.0),
            drain_when_down: written.on_down == Some(OnDown::Drain),
        }
    }
}

fn passive(written: &config::Passive, at: &At, mistakes: &mut Mistakes) -> Passive {
    let eject = written.eject.map_or(Duration::from_secs(10), |time| time.0);
    if eject.is_zero() {
        let told = "an ejection needs some time: write `10s`, say, or `failures: 0` for none";
        mistakes.add(&at.key("eject"), told);
    }
    let max_eject = written.max_eject.map_or(Duration::from_secs(300).max(eject), |time| time.0);
    if max_eject < eject {
        let told = "the longest ejection is shorter than the first: give at least `eject`";
        mistakes.add(&at.key("max_eject"), told);
    }
    Passive {
        failures: written.failures.map_or(5, |count| count.0),
        status: Statuses::or(&written.status, (502, 504)),
        lost_within: written.lost_within.map_or(Duration::from_secs(10), |time| time.0),
        eject,
        max_eject,
        max_ejected: written.max_ejected.map_or(50, |share| share.0),
    }
}

fn active(written: &config::ActiveCheck, at: &At, mistakes: &mut Mistakes) -> ActiveCheck {
    let interval = written.interval.map_or(Duration::from_secs(5), |time| time.0);
    if interval < SHORTEST {
        let told = "checks would follow each other without a pause: give at least `10ms`";
        mistakes.add(&at.key("interval"), told);
    }
    let default = Duration::from_secs(2).min(interval);
    let timeout = written.timeout.map_or(default, |time| time.0);
    if timeout.is_zero() {
        mistakes.add(&at.key("timeout"), "no check could ever pass: give it some time, say `2s`");
    } else if timeout > interval {
        let told = "a check may take longer than the time to the next: give at most `interval`";
        mistakes.add(&at.key("timeout"), told);
    }
    let mut times = |key, written: Option<config::Count>, default: u32| {
        let count = written.map_or(default, |count| count.0);
        if count == 0 {
            mistakes.add(&at.key(key), "no check would change anything: give 1 or more");
        }
        count.max(1)
    };
    let (rise, fall) = (times("rise", written.rise, 2), times("fall", written.fall, 3));
    let kind = written.kind.unwrap_or_default();
    out_of_place(written, kind, at, mistakes);
    let probe = match kind {
        CheckKind::Http => Probe::Http {
            question: question(written, at, mistakes),
            status: Statuses::or(&written.status, (200, 299)),
            body: written.body.clone(),
        },
        CheckKind::Tcp => Probe::Tcp,
        CheckKind::Websocket => Probe::WebSocket(question(written, at, mistakes)),
    };
    ActiveCheck { probe, interval, timeout, rise, fall }
}

/// Keys that this kind of check does not look at: whoever wrote them meant another kind.
fn out_of_place(written: &config::ActiveCheck, kind: CheckKind, at: &At, mistakes: &mut Mistakes) {
    let (word, http) = match kind {
        CheckKind::Http => return,
        CheckKind::Tcp => ("tcp", false),
        CheckKind::Websocket => ("websocket", true),
    };
    let keys = [
        ("path", written.path.is_some(), http),
        ("host", written.host.is_some(), http),
        ("send", !written.send.is_empty(), http),
        ("header", !written.header.is_empty(), http),
        ("status", !written.status.0.is_empty(), false),
        ("body", written.body.is_some(), false),
    ];
    for (key, _, _) in keys.into_iter().filter(|(_, written, fits)| *written && !fits) {
        let told = format!("a `{word}` check has no `{key}`: remove it, or write `type: http`");
        mistakes.add(&at.key(key), told);
    }
}

fn question(written: &config::ActiveCheck, at: &At, mistakes: &mut Mistakes) -> Question {
    let path = written.path.clone().unwrap_or_else(|| "/".to_owned());
    let is_path = path.starts_with('/') && !path.contains('#');
    if !is_path || PathAndQuery::try_from(path.as_str()).is_err() {
        let told = format!("`{path}` is no path to ask for: write `/healthz`, say");
        mistakes.add(&at.key("path"), told);
    }
    let host = written.host.as_ref().and_then(|host| {
        let authority = Authority::try_from(host.as_str()).ok().filter(|_| !host.contains('@'));
        let value = authority.and_then(|_| HeaderValue::from_str(host).ok());
        if value.is_none() {
            let told =
                format!("`{host}` is not a host: write chat.example.com or chat.example.com:8080");
            mistakes.add(&at.key("host"), told);
        }
        value
    });
    Question {
        path,
        host,
        send: sent(&written.send, &at.key("send"), mistakes),
        header: wanted(&written.header, &at.key("header"), mistakes),
    }
}

fn sent(
    written: &BTreeMap<String, String>,
    at: &At,
    mistakes: &mut Mistakes,
) -> Vec<(HeaderName, HeaderValue)> {
    // What frames the question, and what the handshake is made of.
    let own = [
        CONNECTION,
        CONTENT_LENGTH,
        HOST,
        SEC_WEBSOCKET_EXTENSIONS,
        SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    let fields = fields(written, at, mistakes);
    for (name, key, _) in fields.iter().filter(|(name, ..)| own.contains(name)) {
        let mend = if *name == HOST { "write `host` beside `send`" } else { "remove it" };
        mistakes.add(&at.key(key), format!("`{name}` is Bowline's own in a check: {mend}"));
    }
    fields.into_iter().map(|(name, _, value)| (name, value)).collect()
}

fn wanted(
    written: &BTreeMap<String, String>,
    at: &At,
    mistakes: &mut Mistakes,
) -> Vec<(HeaderName, Option<HeaderValue>)> {
    let fields = fields(written, at, mistakes).into_iter();
    // As in the conditions of a route, `*` asks only that it is there.
    fields.map(|(name, _, value)| (name, (value != "*").then_some(value))).collect()
}

fn fields<'a>(
    written: &'a BTreeMap<String, String>,
    at: &At,
    mistakes: &mut Mistakes,
) -> Vec<(HeaderName, &'a str, HeaderValue)> {
    let mut fields = Vec::new();
    for (key, value) in written {
        match (HeaderName::from_bytes(key.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => fields.push((name, key.as_str(), value)),
            _ => mistakes.add(
                &at.key(key),
                format!(
                    "`{key}: {value}` is not a header: check it for spaces and control characters"
                ),
            ),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_statuses_holds_both_ends_of_each_range() {
        let set = Statuses(vec![(200, 204), (301, 301)]);
        let holds = |status| set.contains(StatusCode::from_u16(status).unwrap());
        assert!(holds(200) && holds(204) && holds(301));
        assert!(!holds(199) && !holds(205) && !holds(300) && !holds(302));
    }

    #[test]
    fn an_upstream_that_says_nothing_is_judged_by_its_clients_requests_alone() {
        let health = Health::default();
        assert_eq!((health.active, health.panic, health.drain_when_down), (None, 50, false));
        assert_eq!((health.passive.failures, health.passive.max_ejected), (5, 50));
        assert!(!health.passive.status.contains(StatusCode::INTERNAL_SERVER_ERROR));
        assert!(health.passive.status.contains(StatusCode::SERVICE_UNAVAILABLE));
    }
}
