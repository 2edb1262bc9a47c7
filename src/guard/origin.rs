//! Whose page opens this WebSocket? Browsers send cookies with a handshake and ask nobody first, so
//! the `Origin` field is the only wall between a socket and any page on the web (RFC 6455 section
//! 10.2). Clients that are no browsers send none, and are not what this wall is for.

use http::HeaderMap;
use http::header::ORIGIN;

use crate::origin::{Authority, Origin, Site, default_port};
use crate::plan::{OriginRule, Origins};

/// The request as its client made it, which a proxy in front may have changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The scheme; `None` when a proxy in front has not said it.
    pub scheme: Option<Scheme>,
    /// Host and maybe port.
    pub authority: String,
}

/// The scheme of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// http or ws.
    Http,
    /// https or wss.
    Https,
}

impl Scheme {
    /// Its name in `X-Forwarded-Proto` and in origins: never that of a WebSocket.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Why a page is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// More than one `Origin` field: one of them is somebody else's.
    Twice,
    /// Not one origin.
    Malformed,
    /// `null`, which is not listed.
    Null,
    /// An origin that is not listed.
    Foreign,
}

impl Refused {
    /// The reason, for the client and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Twice => "more than one Origin",
            Self::Malformed => "the Origin is not one origin",
            Self::Null => "a page without an origin of its own (null) may not open WebSockets here",
            Self::Foreign => "pages of this origin may not open WebSockets here",
        }
    }
}

/// Whether the page that sends these headers may; `asked` is called only when it matters.
///
/// # Errors
/// Why not.
pub fn judge(
    headers: &HeaderMap,
    origins: &Origins,
    asked: impl FnOnce() -> Asked,
) -> Result<(), Refused> {
    let mut lines = headers.get_all(ORIGIN).iter();
    let Some(line) = lines.next() else { return Ok(()) };
    let Origins::Listed(rules) = origins else { return Ok(()) };
    if lines.next().is_some() {
        return Err(Refused::Twice);
    }
    let origin = line.to_str().ok().and_then(Origin::parse).ok_or(Refused::Malformed)?;
    let site = match &origin {
        Origin::Null if rules.contains(&OriginRule::Null) => return Ok(()),
        Origin::Null => return Err(Refused::Null),
        Origin::Site(site) => site,
    };
    let same = rules.contains(&OriginRule::Same) && is_same(site, &asked());
    if same || is_listed(site, rules) { Ok(()) } else { Err(Refused::Foreign) }
}

/// Whether a list takes an origin by its name.
pub fn is_listed(site: &Site, rules: &[OriginRule]) -> bool {
    rules.iter().any(|rule| match rule {
        OriginRule::Same | OriginRule::Null => false,
        OriginRule::Exact(listed) => site == listed,
        OriginRule::Below(parent) => {
            let label =
                site.host.strip_suffix(&parent.host).and_then(|rest| rest.strip_suffix('.'));
            site.scheme == parent.scheme
                && site.port == parent.port
                && label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
        }
    })
}

/// Scheme, host and port. Where nobody knows the scheme, behind a proxy that may have ended TLS, host
/// and port decide: a page of the same name under the other scheme is the most that gets in.
fn is_same(site: &Site, asked: &Asked) -> bool {
    let scheme = match asked.scheme {
        Some(scheme) => scheme.as_str(),
        None => site.scheme.as_str(),
    };
    let Some(standard) = default_port(scheme) else { return false };
    let Some(authority) = Authority::parse(&asked.authority) else { return false };
    site.scheme == scheme
        && site.host == authority.host
        && site.port == Some(authority.port.unwrap_or(standard))
}

#[cfg(test)]
mod tests;
