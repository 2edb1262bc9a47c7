//! The guards of a route, asked about one request: what each says, told and counted. Between routing
//! and forwarding, in one place; what a guard decides is in `guard`.

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue};

use super::reply::Refusal;
use super::service::{Conversation, Judged};
use super::worker::Snapshot;
use crate::error::Failure;
use crate::generation::Way;
use crate::guard::{networks, origin};
use crate::telemetry::UpgradeOutcome;

impl Conversation {
    /// Whether a request may pass on to its upstream.
    ///
    /// # Errors
    /// The refusal that the client gets; the upstream has not been dialled.
    pub(super) fn pass(
        &self,
        generation: &Snapshot,
        way: Way<'_>,
        headers: &HeaderMap,
        judged: &Judged,
    ) -> Result<(), Refusal> {
        if self.access.is_some() || way.route.access.is_some() {
            self.pass_networks(generation, way, headers, judged)?;
        }
        if judged.upgrade.is_some() && headers.contains_key(ORIGIN) {
            self.pass_origin(generation, way, headers, judged)?;
        }
        Ok(())
    }

    /// Whether the client may come to this listener, and to this route.
    fn pass_networks(
        &self,
        generation: &Snapshot,
        way: Way<'_>,
        headers: &HeaderMap,
        judged: &Judged,
    ) -> Result<(), Refusal> {
        let client = self.sender.client(headers, &generation.plan.trusted);
        let mut lists = self.access.as_deref().into_iter().chain(&way.route.access);
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

    /// Whether the page that opens a WebSocket may.
    fn pass_origin(
        &self,
        generation: &Snapshot,
        way: Way<'_>,
        headers: &HeaderMap,
        judged: &Judged,
    ) -> Result<(), Refusal> {
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
