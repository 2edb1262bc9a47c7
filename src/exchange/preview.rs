//! The judgement of a request head without a connection; what `bowline explain` shows is what
//! would happen, because it is the same code.

use http::StatusCode;
use http::request::Parts;

use super::service;
use crate::plan::{Limits, Route, Routes};

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
    },
}

/// Judges `head` as a connection with these limits would.
pub fn preview<'a>(head: &mut Parts, limits: &Limits, routes: &'a Routes) -> Preview<'a> {
    let judged = match service::judge(head, limits, None) {
        Ok(judged) => judged,
        Err(refusal) => {
            let status = refusal.failure.status();
            let detail = refusal.detail.unwrap_or_default().into_owned();
            return Preview::Refused { status, detail };
        }
    };
    let websocket = judged.upgrade.is_some();
    match routes.find(&judged.facts(head)) {
        Some((_, route)) => Preview::Routed { route, websocket },
        None => Preview::NoRoute { websocket },
    }
}
