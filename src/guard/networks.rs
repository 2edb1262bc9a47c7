//! May this client come at all? By its address alone.

use std::net::IpAddr;

use crate::plan::Access;

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is in `deny`.
    Denied,
    /// There is an `allow`, and it is not in it.
    NotAllowed,
}

impl Refused {
    /// The reason, for the client and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "this address is denied",
            Self::NotAllowed => "this address is not among those that are allowed",
        }
    }
}

/// Whether `client` may come: what is denied may not, whatever else is allowed; of what is left all
/// may when nothing is allowed by name.
///
/// # Errors
/// Why not.
pub fn judge(client: IpAddr, access: &Access) -> Result<(), Refused> {
    if access.deny.contains(client) {
        return Err(Refused::Denied);
    }
    match &access.allow {
        Some(allow) if !allow.contains(client) => Err(Refused::NotAllowed),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plan::Plan;

    fn access(keys: &str) -> Access {
        let yaml = format!("listeners: [ {{ address: '127.0.0.1:1', {keys} }} ]\n");
        let (config, mut mistakes) = crate::config::parse("test", &yaml, &|_| None);
        let plan = Plan::build(&config, Path::new(""), &mut mistakes);
        plan.listeners[0].access.as_deref().cloned().unwrap_or_default()
    }

    #[test]
    fn deny_wins_and_allow_is_the_whole_list() {
        let (denied, not_allowed) = (Err(Refused::Denied), Err(Refused::NotAllowed));
        for (keys, client, expected) in [
            ("", "192.0.2.1", Ok(())),
            ("deny: [ 192.0.2.0/24 ]", "192.0.2.1", denied),
            ("deny: [ 192.0.2.0/24 ]", "192.0.3.1", Ok(())),
            ("allow: [ 10.0.0.0/8, '::1' ]", "10.1.2.3", Ok(())),
            ("allow: [ 10.0.0.0/8, '::1' ]", "::1", Ok(())),
            ("allow: [ 10.0.0.0/8, '::1' ]", "192.0.2.1", not_allowed),
            ("allow: [ 10.0.0.0/8 ], deny: [ 10.0.0.5 ]", "10.0.0.5", denied),
            ("allow: [ 10.0.0.5 ], deny: [ 10.0.0.0/8 ]", "10.0.0.5", denied),
            ("allow: [ 10.0.0.0/8 ], deny: [ 10.0.0.5 ]", "10.0.0.6", Ok(())),
            ("allow: [ 10.0.0.0/8 ], deny: [ 10.0.0.5 ]", "::1", not_allowed),
            // What an IPv4 client looks like on an IPv6 socket.
            ("deny: [ 10.0.0.0/8 ]", "::ffff:10.0.0.1", denied),
            ("allow: [ 10.0.0.0/8 ]", "::ffff:10.0.0.1", Ok(())),
            ("allow: [ 0.0.0.0/0 ]", "2001:db8::1", not_allowed),
        ] {
            assert_eq!(judge(client.parse().unwrap(), &access(keys)), expected, "{keys} {client}");
        }
    }
}
