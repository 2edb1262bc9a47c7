//! What a request head must be before anything else looks at it (RFC 9112 section 3, RFC 9110
//! section 7). hyper has parsed it; here its meaning is made single or refused.

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, MAX_FORWARDS, TRANSFER_ENCODING, VIA};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Version};

use super::reply::Refusal;
use crate::error::Failure;
use crate::plan::Limits;

/// Through so many Bowlines of one name a request may come; beyond it is a loop (RFC 9110
/// section 7.6.3). Chains of a few are ordinary.
const MAX_PASSES: usize = 8;

/// A head that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The authority as the client sent it: host, maybe a port. Empty on HTTP/1.0 without Host.
    pub(super) authority: String,
    /// The name alone, lower case, no trailing dot, no brackets: what routes look at.
    pub(super) host: String,
    /// The client waits for 100 before it sends its body.
    pub(super) expects_continue: bool,
}

impl Head {
    /// Checks a head and makes it say one thing: one Host, one Content-Length, origin-form.
    ///
    /// # Errors
    /// The refusal that the client gets; the connection closes behind those that leave the
    /// framing in doubt.
    pub(super) fn check(parts: &mut Parts, limits: &Limits) -> Result<Self, Refusal> {
        sizes(parts, limits)?;
        method(parts)?;
        framing(parts)?;
        let authority = authority(parts)?;
        let host = host_of(&authority).into_owned();
        let expects_continue = expectation(parts)?;
        Ok(Self { authority, host, expects_continue })
    }
}

impl Head {
    /// Sets the one Host that the upstream sees.
    pub(super) fn put_host(&self, headers: &mut HeaderMap) {
        let same =
            headers.get(HOST).is_some_and(|host| host.as_bytes() == self.authority.as_bytes());
        if !same && let Ok(host) = HeaderValue::from_str(&self.authority) {
            headers.insert(HOST, host);
        }
    }
}

fn sizes(parts: &Parts, limits: &Limits) -> Result<(), Refusal> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > limits.uri {
        return Err(Refusal::new(Failure::UriTooLong)
            .because(format!("the request target is over {} bytes", limits.uri))
            .closing());
    }
    let fields = parts.headers.iter();
    // Name, colon, space, value, CRLF.
    let bytes = fields.fold(target, |sum, (name, value)| {
        sum.saturating_add(name.as_str().len()).saturating_add(value.len()).saturating_add(4)
    });
    if bytes > limits.headers {
        return Err(Refusal::new(Failure::HeadersTooLarge)
            .because(format!("the request head is over {} bytes", limits.headers))
            .closing());
    }
    Ok(())
}

fn method(parts: &Parts) -> Result<(), Refusal> {
    // CONNECT into a pooled upstream connection is a way to smuggle; TRACE reflects credentials.
    let extended = parts.extensions.get::<h2::ext::Protocol>().is_some();
    if (parts.method == Method::CONNECT && !extended) || parts.method == Method::TRACE {
        return Err(Refusal::new(Failure::MethodRefused)
            .because(format!("{} is not forwarded", parts.method))
            .closing());
    }
    Ok(())
}

fn framing(parts: &mut Parts) -> Result<(), Refusal> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if parts.version == Version::HTTP_10 {
            return Err(bad("Transfer-Encoding on HTTP/1.0"));
        }
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::new(Failure::CodingUnknown)
                .because("Transfer-Encoding other than exactly `chunked`")
                .closing());
        }
        if parts.headers.contains_key(CONTENT_LENGTH) {
            return Err(bad("both Transfer-Encoding and Content-Length"));
        }
        return Ok(());
    }
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    if let (Some(first), Some(second)) = (lengths.next(), lengths.next()) {
        if first != second || lengths.any(|length| length != first) {
            return Err(bad("several different Content-Length fields"));
        }
        let first = first.clone();
        parts.headers.insert(CONTENT_LENGTH, first);
    }
    Ok(())
}

fn authority(parts: &Parts) -> Result<String, Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("more than one Host"));
    }
    // On HTTP/2 it is `:authority` that says it.
    let said = parts.version == Version::HTTP_2 && parts.uri.authority().is_some();
    if host.is_none() && !said && parts.version != Version::HTTP_10 {
        return Err(bad("no Host"));
    }
    let host = host.map(|host| host.to_str().ok().filter(|host| is_authority(host)));
    if host == Some(None) {
        return Err(bad("the Host is not a host"));
    }
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    if target == "*" && parts.method != Method::OPTIONS {
        return Err(bad("the target `*` is for OPTIONS only"));
    }
    match (parts.uri.authority(), parts.uri.scheme_str()) {
        // RFC 9112 section 3.2.2: the authority of absolute-form replaces Host.
        (Some(absolute), Some("http" | "https")) => {
            if absolute.as_str().contains('@') {
                return Err(bad("credentials in the request target"));
            }
            if absolute.as_str().is_empty() || !is_authority(absolute.as_str()) {
                return Err(bad("the host in the request target is not a host"));
            }
            let other = host.flatten().filter(|_| parts.version == Version::HTTP_2);
            if other.is_some_and(|host| !host.eq_ignore_ascii_case(absolute.as_str())) {
                // RFC 9113 section 8.3.1.
                return Err(bad("Host and `:authority` differ"));
            }
            Ok(absolute.as_str().to_owned())
        }
        (None, None) => Ok(host.flatten().unwrap_or_default().to_owned()),
        _ => Err(bad("the request target is neither a path nor an http URL")),
    }
}

/// An empty Host is legal (RFC 9110 section 7.2) and reaches only routes without a host.
fn is_authority(host: &str) -> bool {
    is_plain(host)
        || (!host.contains('@')
            && host.parse::<Authority>().is_ok_and(|authority| {
                // The parser takes any text for a port.
                let port = host.strip_prefix(authority.host());
                !authority.host().is_empty() && port.is_some_and(is_port)
            }))
}

/// Most hosts are names or IPv4 addresses, which need no parser.
fn is_plain(host: &str) -> bool {
    let of_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    let name = host.bytes().take_while(of_name).count();
    host.is_empty() || (name > 0 && host.get(name..).is_some_and(is_port))
}

/// Nothing, or a colon and a port, which may be empty (RFC 3986 section 3.2.3).
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    port.bytes().all(|b| b.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
}

/// The name in an authority, as routes compare it.
pub(super) fn host_of(authority: &str) -> Cow<'_, str> {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            name
        }
        _ => authority,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

fn expectation(parts: &mut Parts) -> Result<bool, Refusal> {
    if !parts.headers.contains_key(EXPECT) {
        return Ok(false);
    }
    if parts.version == Version::HTTP_10 {
        // RFC 9110 section 10.1.1: an HTTP/1.0 client cannot mean it.
        parts.headers.remove(EXPECT);
        return Ok(false);
    }
    let all_known = parts
        .headers
        .get_all(EXPECT)
        .iter()
        .all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if !all_known {
        return Err(Refusal::new(Failure::ExpectationUnknown)
            .because("an expectation other than 100-continue")
            .closing());
    }
    parts.headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
    Ok(true)
}

/// Whether `pseudonym` stands in Via more often than a chain of proxies explains.
pub(super) fn is_loop(headers: &HeaderMap, pseudonym: &HeaderValue) -> bool {
    if !headers.contains_key(VIA) {
        return false;
    }
    // By bytes: a comment may hold any, and one that is not ASCII must not hide a line.
    let lines = headers.get_all(VIA).iter().map(HeaderValue::as_bytes);
    let passes = lines.flat_map(|line| line.split(|byte| *byte == b',')).filter(|element| {
        // `1.1 name (comment)`: the second word is who received it.
        let mut words = element.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.nth(1) == Some(pseudonym.as_bytes())
    });
    passes.count() > MAX_PASSES
}

/// Whether an OPTIONS request has no hop left and is answered here (RFC 9110 section 7.6.2); takes
/// one hop off otherwise. TRACE, the other method with hops, is refused before.
pub(super) fn ends_here(parts: &mut Parts) -> bool {
    if parts.method != Method::OPTIONS {
        return false;
    }
    let hops = parts.headers.get(MAX_FORWARDS).and_then(|hops| hops.to_str().ok());
    let Some(hops) = hops.and_then(|hops| hops.parse::<u32>().ok()) else { return false };
    match hops.checked_sub(1) {
        None => true,
        Some(left) => {
            parts.headers.insert(MAX_FORWARDS, HeaderValue::from(left));
            false
        }
    }
}

fn bad(what: &'static str) -> Refusal {
    Refusal::new(Failure::BadRequest).because(what).closing()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { uri: 1024, headers: 8192, connections: None, streams: 200 };

    fn head(version: Version, method: &str, target: &str, hosts: &[&str]) -> Parts {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.version = version;
        parts.method = method.parse().unwrap();
        parts.uri = target.parse().unwrap();
        for host in hosts {
            parts.headers.append(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        parts
    }

    #[test]
    fn the_name_is_what_is_left_without_port_dot_brackets_and_case() {
        for (authority, name) in [
            ("a.example", "a.example"),
            ("A.Example:8080", "a.example"),
            ("a.example.", "a.example"),
            ("a.example.:80", "a.example"),
            ("a.example:", "a.example"),
            ("[::1]", "::1"),
            ("[::1]:80", "::1"),
            ("[2001:DB8::1]:443", "2001:db8::1"),
            ("[::]", "::"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(host_of(authority), name, "{authority}");
        }
    }

    #[test]
    fn a_host_that_is_none_is_refused() {
        for host in [
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a:80:80",
            "a:-1",
            "a:99999",
            ":80",
            "[::1",
            "::1",
            "[::1]x",
            "a#b",
            "a?b",
            "http://a",
            "a\\b",
            "caf\u{e9}",
        ] {
            let checked = Head::check(&mut head(Version::HTTP_11, "GET", "/", &[host]), &LIMITS);
            assert!(checked.is_err(), "{host}: {checked:?}");
        }
    }

    #[test]
    fn exactly_one_host_is_there_and_absolute_form_replaces_it() {
        for (version, target, hosts, authority) in [
            (Version::HTTP_11, "/", &["a.example"][..], Some("a.example")),
            (Version::HTTP_11, "/", &[""], Some("")),
            (Version::HTTP_11, "/", &[], None),
            (Version::HTTP_11, "/", &["a", "a"], None),
            (Version::HTTP_10, "/", &[], Some("")),
            (Version::HTTP_10, "/", &["a", "b"], None),
            (Version::HTTP_11, "http://b.example:81/x", &["a.example"], Some("b.example:81")),
            (Version::HTTP_11, "http://b.example/x", &[], None),
            (Version::HTTP_11, "http://u@b.example/", &["a"], None),
            (Version::HTTP_11, "ftp://b.example/", &["a"], None),
            (Version::HTTP_11, "b.example:80", &["a"], None),
            (Version::HTTP_11, "*", &["a"], None),
        ] {
            let mut parts = head(version, "GET", target, hosts);
            let checked = Head::check(&mut parts, &LIMITS).ok();
            assert_eq!(checked.as_ref().map(|head| head.authority.as_str()), authority, "{target}");
            if let Some(head) = checked {
                head.put_host(&mut parts.headers);
                let sent: Vec<_> = parts.headers.get_all(HOST).iter().collect();
                assert_eq!(sent, [authority.unwrap()]);
            }
        }
    }

    #[test]
    fn a_chain_of_a_few_is_no_loop_and_a_name_in_a_comment_is_nobody() {
        let ours = HeaderValue::from_static("bowline");
        let passes = |count: usize| vec!["1.1 bowline"; count].join(", ");
        for (via, is_a_loop) in [
            (vec![], false),
            (vec![passes(8)], false),
            (vec![passes(9)], true),
            (vec![passes(5), "1.1 other".to_owned(), passes(4)], true),
            (vec!["1.1 bowline-2, ".repeat(20)], false),
            (vec!["bowline ".repeat(20)], false),
            (vec!["1.1 other (bowline), ".repeat(20)], false),
            // Comments may hold any byte; they hide nobody.
            (vec![passes(9), "1.1 x (\u{e9})".to_owned()], true),
            (vec![format!("1.1 x (\u{e9}), {}", passes(9))], true),
        ] {
            let mut headers = HeaderMap::new();
            for line in &via {
                headers.append(VIA, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            assert_eq!(is_loop(&headers, &ours), is_a_loop, "{via:?}");
        }
    }
}
