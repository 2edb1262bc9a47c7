//! TLS on a listener: certificates read, checked, chosen by server name and renewed; clients told
//! apart by theirs; sessions resumed by tickets.

mod by_name;
mod certificate;
mod clients;
pub mod issue;
mod keeper;
mod live;
mod part;
mod termination;
mod ticket_keys;
mod tickets;
mod vault;
pub(super) mod x509;

use std::net::IpAddr;
use std::sync::Arc;

pub use self::keeper::Keeper;
pub use self::live::LiveTls;
pub(super) use self::termination::{Failed, Secured};
pub use self::vault::Vault;
use crate::config::Mistakes;
use crate::plan::Plan;

/// HTTP/2 in the words of ALPN.
pub(super) const HTTP2: &[u8] = b"h2";

/// The TLS of each listener of `plan`, its files read now. Every mistake is added with its place;
/// what comes back is of use only when there was none.
pub fn load(plan: &Plan, vault: &Arc<Vault>, mistakes: &mut Mistakes) -> Vec<Option<Arc<LiveTls>>> {
    let mut load = |tls| LiveTls::load(tls, vault, mistakes).map(Arc::new);
    plan.listeners.iter().map(|listener| listener.tls.as_ref().and_then(&mut load)).collect()
}

/// What is no mistake in the TLS of `plan`, and yet hardly meant. `loaded` is what [`load`] gave.
pub fn warnings(plan: &Plan, loaded: &[Option<Arc<LiveTls>>]) -> Vec<String> {
    let now = tickets::unix_time();
    let mut found = Vec::new();
    for (listener, live) in plan.listeners.iter().zip(loaded) {
        let own = live.iter().flat_map(|live| live.warnings(now));
        found.extend(own.map(|what| format!("listener {}: {what}", listener.name)));
    }
    let live: Vec<_> = loaded.iter().flatten().collect();
    if live.is_empty() {
        return found;
    }
    for route in plan.routes.all() {
        let names = route.matcher.hosts.iter().filter(|host| !is_address(host));
        for host in names.filter(|host| !live.iter().any(|live| live.covers(host))) {
            found.push(format!(
                "route {}: no certificate is for {host}: whoever asks for it over TLS gets another one, and refuses it",
                route.name
            ));
        }
    }
    found
}

/// Addresses are not asked for by name.
fn is_address(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}
