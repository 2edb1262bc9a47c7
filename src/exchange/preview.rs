//! The judgement of a request head without a connection; what `bowline explain` shows is what
//! would happen, because it is the same code.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::StatusCode;
use http::header::ORIGIN;
use http::request::Parts;

use super::forwarded::Sender;
use super::service::{self, Judged};
use crate::error::Failure;
use crate::guard::cors::Share;
use crate::guard::{networks, origin};
use crate::plan::{Listener, Plan, Route};

/// Who asks, and where.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// Where it came in.
    pub listener: &'a Listener,
    /// Whether by TLS.
    pub tls: bool,
    /// The other end; `None` for some address that no list names.
    pub peer: Option<IpAddr>,
}

/// What a request would meet.
#[derive(Debug)]
pub enum Preview<'a> {
    /// Bowline refuses it before routing.
    Refused {
        /// With this status.
        status: StatusCode,
        /// For this reason.
        detail: String,
    },
    /// No route takes it.
    NoRoute {
        /// Whether it is an upgrade.
        websocket: bool,
    },
    /// A route takes it.
    Routed {
        /// The route.
        route: &'a Route,
        /// Whether it is an upgrade.
        websocket: bool,
        /// What each guard says, in the order in which they are asked, up to one that answers by itself.
        verdicts: Vec<Verdict>,
    },
}

/// What one guard says.
#[derive(Debug)]
pub struct Verdict {
    /// The guard and its verdict, in words.
    pub told: String,
    /// The answer that it gives by itself: a refusal, or a preflight's.
    pub answered: Option<(StatusCode, &'static str)>,
}

impl Verdict {
    fn told(told: impl Into<String>) -> Self {
        Self { told: told.into(), answered: None }
    }

    fn refused(told: impl Into<String>, failure: Failure, reason: &'static str) -> Self {
        Self { told: told.into(), answered: Some((failure.status(), reason)) }
    }
}

/// Judges `head` as a connection of this visitor would.
pub fn preview<'a>(head: &mut Parts, visitor: Visitor<'_>, plan: &'a Plan) -> Preview<'a> {
    let judged = service::judge(head, plan, &visitor.listener.limits, None)
        .and_then(|judged| judged.is_clear(head, &plan.routes).map(|()| judged));
    let judged = match judged {
        Ok(judged) => judged,
        Err(refusal) => {
            let status = refusal.failure.status();
            let detail = refusal.detail.unwrap_or_default().into_owned();
            return Preview::Refused { status, detail };
        }
    };
    let websocket = judged.upgrade.is_some();
    let Some((_, route)) = plan.routes.find(&judged.facts(head)) else {
        return Preview::NoRoute { websocket };
    };
    let mut verdicts = Vec::new();
    for guard in [access, origins, cors] {
        verdicts.extend(guard(head, &judged, visitor, plan, route));
        if verdicts.last().is_some_and(|last| last.answered.is_some()) {
            break;
        }
    }
    Preview::Routed { route, websocket, verdicts }
}

impl Visitor<'_> {
    fn sender(&self) -> Sender {
        let peer = self.peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Sender::new(SocketAddr::new(peer, 0), None, self.tls, false)
    }
}

fn access(
    head: &Parts,
    _: &Judged,
    visitor: Visitor<'_>,
    plan: &Plan,
    route: &Route,
) -> Option<Verdict> {
    let lists = visitor.listener.access.as_deref().into_iter().chain(&route.access);
    let mut lists = lists.peekable();
    lists.peek()?;
    let client = visitor.sender().client(&head.headers, &plan.trusted);
    let told = if visitor.peer.is_some() {
        format!("allow, deny ({client})")
    } else {
        "allow, deny (give --from)".to_owned()
    };
    Some(match lists.try_for_each(|access| networks::judge(client, access)) {
        Ok(()) => Verdict::told(format!("{told} pass")),
        Err(refused) => {
            Verdict::refused(format!("{told} refuse"), Failure::AddressRefused, refused.as_str())
        }
    })
}

fn origins(
    head: &Parts,
    judged: &Judged,
    visitor: Visitor<'_>,
    plan: &Plan,
    route: &Route,
) -> Option<Verdict> {
    judged.upgrade.as_ref()?;
    let policy = &route.origins;
    let asked = || visitor.sender().asked(&head.headers, &judged.head.authority, &plan.trusted);
    let rule = format!("origins ({})", policy.origins);
    Some(match origin::judge(&head.headers, &policy.origins, asked) {
        Ok(()) if !head.headers.contains_key(ORIGIN) => {
            Verdict::told(format!("{rule} pass: no Origin, so no browser"))
        }
        Ok(()) => Verdict::told(format!("{rule} pass")),
        Err(_) if policy.reports => Verdict::told(format!("{rule} would refuse, and only report")),
        Err(refused) => {
            Verdict::refused(format!("{rule} refuse"), Failure::OriginRefused, refused.as_str())
        }
    })
}

fn cors(head: &Parts, judged: &Judged, _: Visitor<'_>, _: &Plan, route: &Route) -> Option<Verdict> {
    let policy = route.cors.as_ref().filter(|_| judged.upgrade.is_none())?;
    let rule = format!("cors ({})", policy.origins);
    let share = Share::new(policy, &head.headers);
    Some(match share.preflight(&head.method, &head.headers) {
        None if share.is_allowed() => Verdict::told(format!("{rule} share the answer")),
        None => Verdict::told(format!("{rule} do not share the answer")),
        Some(Ok(_)) => Verdict {
            told: format!("{rule} answer the preflight"),
            answered: Some((StatusCode::NO_CONTENT, "the policy of this route")),
        },
        Some(Err(refused)) => {
            Verdict::refused(format!("{rule} refuse"), Failure::CorsRefused, refused.as_str())
        }
    })
}
