//! What of a request tells one from another.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::plan::{Facts, Key, Per, Quota};

/// The key under which `quota` counts a request; `None` when it does not count it.
pub(super) fn of<'a>(quota: &'a Quota, facts: &Facts<'a>, client: IpAddr) -> Option<Cow<'a, [u8]>> {
    if quota.except.contains(client) {
        return None;
    }
    let Per::Key(key) = &quota.per else { return Some(Cow::Borrowed(&[])) };
    Some(match key {
        Key::ClientIp => Cow::Owned(match client.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            // Whoever has one address of a /64 has them all (RFC 6177).
            IpAddr::V6(address) => address.octets().into_iter().take(8).collect(),
        }),
        Key::Path => Cow::Borrowed(facts.path.as_bytes()),
        Key::Header(name) => Cow::Borrowed(facts.headers.get(name)?.as_bytes()),
        Key::Cookie(name) => Cow::Borrowed(facts.cookie(name)?),
        Key::Query(name) => Cow::Owned(facts.parameter(name)?.into_owned().into_bytes()),
    })
}
