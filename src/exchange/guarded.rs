//! The guards of a route, asked about one request: what each says, told and counted. Between routing
//! and forwarding, in one place; what a guard decides is in `guard`.

use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};

use super::reply::{self, Refusal};
use super::response_body::ResponseBody;
use super::service::{Conversation, Judged};
use super::worker::Snapshot;
use crate::error::Failure;
use crate::generation::Way;
use crate::guard::cors::Share;
use crate::guard::quota::Seats;
use crate::guard::{networks, origin};
use crate::plan::Access;
use crate::telemetry::UpgradeOutcome;

/// What the guards of a route say together.
pub(super) enum Guarded<'a> {
    /// It may go on; the answer is then shared with other pages, where the route has a policy.
    Passes(Option<Share<'a>>),
    /// It is answered here, and its upstream is not dialled.
    Answered(Box<Result<Response<ResponseBody>, Refusal>>),
}

impl Conversation {
    /// Asks the guards about a request.
    pub(super) fn guard<'a>(
        &self,
        generation: &Snapshot,
        way: Way<'a>,
        parts: &Parts,
        judged: &Judged,
        seats: &mut Seats,
    ) -> Guarded<'a> {
        let headers = &parts.headers;
        let access = self.access.load();
        if (access.is_some() || way.route.access.is_some())
            && let Err(refusal) =
                self.pass_networks(generation, way, headers, judged, access.as_deref())
        {
            return Guarded::Answered(Box::new(Err(refusal)));
        }
        if !way.quotas.is_empty()
            && let Err(refusal) = self.pass_quotas(generation, way, parts, judged, seats)
        {
            return Guarded::Answered(Box::new(Err(refusal)));
        }
        if judged.upgrade.is_some() {
            return match self.pass_origin(generation, way, headers, judged) {
                // CORS is not about WebSockets: browsers ask nobody before they open one.
                Ok(()) => Guarded::Passes(None),
                Err(refusal) => Guarded::Answered(Box::new(Err(refusal))),
            };
        }
        let Some(policy) = &way.route.cors else { return Guarded::Passes(None) };
        let share = Share::new(policy, headers);
        match share.preflight(&parts.method, headers) {
            None => Guarded::Passes(Some(share)),
            Some(Ok(fields)) => {
                let answer = reply::preflight(fields).map(ResponseBody::own);
                Guarded::Answered(Box::new(Ok(answer)))
            }
            Some(Err(refused)) => {
                let refusal = Refusal::new(Failure::CorsRefused).because(refused.as_str());
                Guarded::Answered(Box::new(Err(refusal)))
            }
        }
    }

    /// Whether the client may come to this listener, and to this route.
    fn pass_networks(
        &self,
        generation: &Snapshot,
        way: Way<'_>,
        headers: &HeaderMap,
        judged: &Judged,
        of_listener: Option<&Access>,
    ) -> Result<(), Refusal> {
        let client = self.sender.client(headers, &generation.plan.trusted);
        let mut lists = of_listener.into_iter().chain(way.route.access.as_ref());
        let verdict = lists.try_for_each(|access| networks::judge(client, access));
        let Err(refused) = verdict else { return Ok(()) };
        tracing::info!(
            %client,
            host = judged.head.authority,
            route = &*way.live.name,
            reason = refused.as_str(),
            "a client was refused by its address"
        );
        if judged.upgrade.is_some() {
            way.live.counters.at(self.worker.id).count_upgrade(UpgradeOutcome::Refused);
        }
        Err(Refusal::new(Failure::AddressRefused).because(refused.as_str()).closing())
    }

    /// Whether the client, its key and all together ask for no more than they may.
    fn pass_quotas(
        &self,
        generation: &Snapshot,
        way: Way<'_>,
        parts: &Parts,
        judged: &Judged,
        seats: &mut Seats,
    ) -> Result<(), Refusal> {
        let facts = judged.facts(parts);
        let client = self.sender.client(&parts.headers, &generation.plan.trusted);
        for live in way.quotas {
            let Err(refused) = live.judge(&facts, client, seats) else { continue };
            let per = &live.quota.plan().per;
            if live.told.may_tell() {
                tracing::info!(
                    %client,
                    host = judged.head.authority,
                    route = &*way.live.name,
                    quota = %per,
                    wait = ?refused.wait,
                    "{} are refused: more than a quota lets through",
                    refused.of
                );
            }
            let refusal = Refusal::new(Failure::RateLimited)
                .because(format!("quotas: too many {} {per}", refused.of))
                .retry_after(refused.wait);
            if !facts.websocket {
                return Err(refusal);
            }
            way.live.counters.at(self.worker.id).count_upgrade(UpgradeOutcome::Refused);
            // What stands behind a handshake that is refused may be frames.
            return Err(refusal.closing());
        }
        Ok(())
    }

    /// Whether the page that opens a WebSocket may.
    fn pass_origin(
        &self,
        generation: &Snapshot,
        way: Way<'_>,
        headers: &HeaderMap,
        judged: &Judged,
    ) -> Result<(), Refusal> {
        if !headers.contains_key(ORIGIN) {
            return Ok(());
        }
        let policy = &way.route.origins;
        let trusted = &generation.plan.trusted;
        let asked = || self.sender.asked(headers, &judged.head.authority, trusted);
        let Err(refused) = origin::judge(headers, &policy.origins, asked) else { return Ok(()) };
        let said = headers.get(ORIGIN).map(HeaderValue::as_bytes).unwrap_or_default();
        let counters = way.live.counters.at(self.worker.id);
        tracing::info!(
            client = %self.sender.client(headers, trusted),
            host = judged.head.authority,
            route = &*way.live.name,
            origin = %said.escape_ascii(),
            reason = refused.as_str(),
            "{}",
            if policy.reports {
                "a WebSocket of another origin was let through: origin_mode is report"
            } else {
                "a WebSocket of another origin was refused"
            }
        );
        if policy.reports {
            counters.origin_reports.inc();
            return Ok(());
        }
        counters.count_upgrade(UpgradeOutcome::Refused);
        // What stands behind a handshake that is refused may be frames: nothing is read as HTTP.
        Err(Refusal::new(Failure::OriginRefused).because(refused.as_str()).closing())
    }
}
