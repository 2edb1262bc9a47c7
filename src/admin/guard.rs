//! Who may talk to the admin plane. A page in an operator's browser must not read it: neither from
//! another origin, nor by DNS rebinding, where the page's own name is made to point here. The last is
//! why a host must be an address or `localhost`: such a page always sends its name.

use std::net::{IpAddr, Ipv6Addr};

use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, StatusCode, Uri, Version, header};
use hyper::Request;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is refused: a status, and a line that says what to do.
pub(super) type Refusal = (StatusCode, &'static str);

/// Passes a request or tells why not.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Refusal> {
    let headers = request.headers();
    let host = host(request)?;
    if let Some(host) = &host
        && !is_address(host.host())
    {
        return Err((
            StatusCode::MISDIRECTED_REQUEST,
            "the admin plane is reached by IP address or as localhost",
        ));
    }
    if headers.contains_key(header::UPGRADE) {
        return Err((StatusCode::FORBIDDEN, "the admin plane upgrades nothing"));
    }
    if !same_origin(headers, host.as_ref()) || !same_site(headers) {
        return Err((StatusCode::FORBIDDEN, "the admin plane answers no other site's pages"));
    }
    Ok(())
}

/// Whom the request was sent to. A target in absolute form outranks Host (RFC 9112 section 3.2.2);
/// both must then be acceptable, so they must be the same. Only HTTP/1.0 may leave it out.
fn host<B>(request: &Request<B>) -> Result<Option<Authority>, Refusal> {
    const BAD: Refusal = (StatusCode::BAD_REQUEST, "the Host header is missing, doubled or broken");
    let target = request.uri().authority();
    let mut lines = request.headers().get_all(header::HOST).iter();
    match (lines.next(), lines.next()) {
        (None, _) if request.version() == Version::HTTP_10 => Ok(target.cloned()),
        (Some(line), None) => {
            let host = Authority::try_from(line.as_bytes()).map_err(|_| BAD)?;
            if host.as_str().contains('@') || target.is_some_and(|target| *target != host) {
                return Err(BAD);
            }
            Ok(Some(host))
        }
        _ => Err(BAD),
    }
}

/// An IP literal or `localhost`, which browsers never look up.
fn is_address(host: &str) -> bool {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match literal {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost"),
    }
}

/// No Origin, or one that is this very listener.
fn same_origin(headers: &HeaderMap, host: Option<&Authority>) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let Ok(origin) = Uri::try_from(origin.as_bytes()) else { return false };
        origin.scheme() == Some(&Scheme::HTTP) && origin.authority().is_some() && {
            // An Origin leaves port 80 out, and so may a Host.
            let key = |authority: &Authority| {
                (authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(80))
            };
            origin.authority().map(key) == host.map(key)
        }
    })
}

/// What browsers say about where a request comes from; other clients say nothing. Another port of
/// the same machine counts as the same site, and is as foreign here.
fn same_site(headers: &HeaderMap) -> bool {
    headers
        .get_all(SEC_FETCH_SITE)
        .iter()
        .all(|site| matches!(site.as_bytes(), b"none" | b"same-origin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(target: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap()).err().map(|(status, _)| status.as_u16())
    }

    #[test]
    fn addresses_and_localhost_pass() {
        for host in
            ["127.0.0.1", "127.0.0.1:9900", "10.1.2.3", "[::1]:9900", "[::1]", "LocalHost:1"]
        {
            assert_eq!(status("/metrics", &[("host", host)]), None, "{host}");
        }
    }

    #[test]
    fn names_are_misdirected() {
        let names =
            ["evil.example", "localhost.evil.example:9900", "127.0.0.1.nip.io", "0x7f.1", "[v1.x]"];
        for host in names {
            assert_eq!(status("/metrics", &[("host", host)]), Some(421), "{host}");
        }
    }

    #[test]
    fn a_host_must_be_there_once_and_whole() {
        assert_eq!(status("/", &[]), Some(400));
        assert_eq!(status("/", &[("host", "127.0.0.1"), ("host", "127.0.0.1")]), Some(400));
        for host in ["", "a b", "me@127.0.0.1", "127.0.0.1/x"] {
            assert_eq!(status("/", &[("host", host)]), Some(400), "{host:?}");
        }
    }

    #[test]
    fn http_1_0_may_come_without_a_host() {
        let request = Request::get("/healthz").version(Version::HTTP_10).body(()).unwrap();
        assert_eq!(check(&request), Ok(()));
    }

    #[test]
    fn an_absolute_target_cannot_smuggle_a_name_past_the_host() {
        let local = [("host", "127.0.0.1:9900")];
        assert_eq!(status("http://127.0.0.1:9900/metrics", &local), None);
        assert_eq!(status("http://evil.example/metrics", &local), Some(400));
        let request =
            Request::get("http://evil.example/").version(Version::HTTP_10).body(()).unwrap();
        assert_eq!(check(&request).unwrap_err().0, StatusCode::MISDIRECTED_REQUEST);
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let from = |origin| status("/", &[("host", "127.0.0.1:9900"), ("origin", origin)]);
        assert_eq!(from("http://127.0.0.1:9900"), None);
        let others = [
            "http://evil.example",
            "http://127.0.0.1:3000",
            "http://127.0.0.1",
            "https://127.0.0.1:9900",
            "http://localhost:9900",
            "null",
            "",
        ];
        for origin in others {
            assert_eq!(from(origin), Some(403), "{origin}");
        }
        assert_eq!(status("/", &[("host", "127.0.0.1"), ("origin", "http://127.0.0.1:80")]), None);
    }

    #[test]
    fn other_sites_are_refused_and_typed_addresses_are_not() {
        for (site, expected) in [
            ("none", None),
            ("same-origin", None),
            ("same-site", Some(403)),
            ("cross-site", Some(403)),
            ("?", Some(403)),
        ] {
            let headers = [("host", "127.0.0.1"), ("sec-fetch-site", site)];
            assert_eq!(status("/", &headers), expected, "{site}");
        }
    }

    #[test]
    fn nothing_is_upgraded() {
        let headers = [("host", "127.0.0.1"), ("connection", "upgrade"), ("upgrade", "websocket")];
        assert_eq!(status("/", &headers), Some(403));
    }
}
