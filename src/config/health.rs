//! How Bowline finds out that a server is down, and what follows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Count, Percent, Statuses, Time};

/// Which servers of an upstream get requests. One that is down or ejected gets none, unless too few
/// are left (`panic`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of health settings")]
pub struct Health {
    /// Questions that Bowline asks each server by itself. Default: none are asked.
    pub active: Option<ActiveCheck>,
    /// Failures of clients' requests, which take a server out for a while. On by default.
    /// Default: each its own.
    pub passive: Passive,
    /// When less than this share of the servers is neither down nor ejected, health is ignored and
    /// all of them get requests, as if none were: the few that are left would only fall next.
    /// `0%` never ignores it; the client gets 503 when no server is left. Default: `50%`.
    pub panic: Option<Percent>,
    /// What becomes of open WebSockets to a server that is down by active checks. An ejection, which
    /// is a guess for a short time, ends none, and neither does `panic`. Default: `keep`.
    pub on_down: Option<OnDown>,
}

/// A question that each server is asked at every interval, over a connection of its own.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of check settings")]
pub struct ActiveCheck {
    /// What is asked. Default: `http`.
    #[serde(rename = "type")]
    pub kind: Option<CheckKind>,
    /// The path and query that are asked for; not with `tcp`. Default: `/`.
    pub path: Option<String>,
    /// The Host of the question; not with `tcp`. Default: the endpoint's own `host:port`, or
    /// `localhost` for a path.
    pub host: Option<String>,
    /// Further headers of the question, such as Origin or Authorization; not with `tcp`.
    /// Default: none.
    pub send: BTreeMap<String, String>,
    /// Statuses that pass; only with `http`. Default: `200-299`.
    pub status: Statuses,
    /// Headers that the answer must have, each with exactly this value; not with `tcp`.
    /// Default: none.
    pub header: BTreeMap<String, String>,
    /// A text that the first 64 KiB of the answer's body must contain; only with `http`. Without it the
    /// body is not read. Default: none.
    pub body: Option<String>,
    /// From one question to the next; up to a tenth more, at random, so that they spread. Default:
    /// `5s`.
    pub interval: Option<Time>,
    /// How long the whole check may take, and no longer than `interval`. Default: `2s`, or `interval`
    /// where that is less.
    pub timeout: Option<Time>,
    /// Passed checks in a row after which a server that is down is up. Default: `2`.
    pub rise: Option<Count>,
    /// Failed checks in a row after which a server that is up is down. Servers begin as up. Default:
    /// `3`.
    pub fall: Option<Count>,
}

/// What a server is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", expecting = "`http`, `tcp` or `websocket`")]
pub enum CheckKind {
    /// A GET, whose answer is looked at.
    #[default]
    Http,
    /// Nothing: that the connection opens is enough.
    Tcp,
    /// A WebSocket upgrade, a ping and its pong, and then a close.
    Websocket,
}

/// Ejection by what clients' requests meet: connections that fail or time out, no answer or a broken
/// one, a wrong 101, the statuses below, WebSockets that are lost young. Any other answer begins the
/// count anew. The last server that is left is never ejected.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of passive health settings")]
pub struct Passive {
    /// Failures in a row after which a server is ejected; after its return a single one is enough,
    /// until something succeeds. 0 ejects nobody. Default: `5`.
    pub failures: Option<Count>,
    /// Statuses of an answer that are failures. A plain 500 is often a request's own fault, and whoever
    /// can cause one could eject servers with it. Default: `502-504`.
    pub status: Statuses,
    /// A WebSocket counts as lost when its server ends it without a Close within this time of its 101,
    /// and ejects when as many in a row are lost as `failures` says and as are still open; `0s` for
    /// never. Default: `10s`.
    pub lost_within: Option<Time>,
    /// For how long a server is ejected the first time, twice as long each further time, and up to a
    /// tenth less, at random. Each such span without an ejection takes one doubling back. Default: `10s`.
    pub eject: Option<Time>,
    /// The longest ejection. Default: `5m`, or `eject` where that is more.
    pub max_eject: Option<Time>,
    /// The share of the servers that may be ejected at once, rounded down, but one if there are two or
    /// more; `0%` ejects nobody. Default: `50%`.
    pub max_ejected: Option<Percent>,
}

/// What becomes of open WebSockets to a server that is down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", expecting = "`keep` or `drain`")]
pub enum OnDown {
    /// They go on for as long as they can.
    #[default]
    Keep,
    /// Both sides are told to reconnect, paced and with the code as `drain` says for the end of the
    /// process, for as long as the server is down.
    Drain,
}
