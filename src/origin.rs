//! A web origin (RFC 6454): where a page came from, as browsers write it and as people list it. One
//! parser for both, so that what is listed and what is said are compared in one form.

use std::fmt;
use std::net::Ipv6Addr;

/// What an `Origin` field says, once it says one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `null`: a sandboxed frame, a local file, a redirect across sites. Nothing tells two of them
    /// apart.
    Null,
    /// A scheme, a host and a port.
    Site(Site),
}

/// An origin that can be told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Lower case: `https`, `http`, or that of an application (`capacitor`).
    pub scheme: String,
    /// Lower case, without trailing dot, IPv6 without brackets and in its shortest form.
    pub host: String,
    /// The port; of http and https always there, of other schemes only when it is written.
    pub port: Option<u16>,
}

impl Origin {
    /// Reads an origin as RFC 6454 section 6.2 writes one: `https://chat.example.com:8443` or `null`.
    /// `file://`, which Chromium writes for WebSockets of local files, is `null`: it too tells nobody
    /// apart. `None` for anything else: a list of origins, a path, even a slash at the end, credentials.
    pub fn parse(text: &str) -> Option<Self> {
        if matches!(text, "null" | "file://") {
            return Some(Self::Null);
        }
        let (scheme, authority) = text.split_once("://")?;
        let mut letters = scheme.bytes();
        let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if !is_scheme || authority.ends_with(':') {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let Authority { host, port } = Authority::parse(authority)?;
        let port = port.or_else(|| default_port(&scheme));
        Some(Self::Site(Site { scheme, host, port }))
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{}{close}", self.scheme, self.host)?;
        match self.port {
            Some(port) if self.port != default_port(&self.scheme) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

/// A host and maybe a port, as they stand in an origin and in `Host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// As in [`Site::host`].
    pub host: String,
    /// The port, when one is written.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads a host and port; `None` when it holds anything that no host of a web page holds. An empty
    /// port counts as none (RFC 3986 section 3.2.3).
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (host.parse::<Ipv6Addr>().ok()?.to_string(), port)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (host, port) = text.split_at_checked(end)?;
                (name(host)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(port) => Some(number(port)?),
        };
        Some(Self { host, port })
    }
}

/// A name in lower case and without the dot of its root, which names the same host.
fn name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let is_name = !text.is_empty() && !text.ends_with('.') && text.bytes().all(of_name);
    is_name.then(|| text.to_ascii_lowercase())
}

/// A port as browsers write it: digits without leading zeros.
fn number(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// The port that is meant when none is written.
pub fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_browsers_write_is_read_in_one_form() {
        for (written, read) in [
            ("https://chat.example.com", "https://chat.example.com"),
            ("https://chat.example.com:443", "https://chat.example.com"),
            ("http://chat.example.com:443", "http://chat.example.com:443"),
            ("http://a:80", "http://a"),
            ("https://a:80", "https://a:80"),
            ("HTTPS://Chat.Example.COM", "https://chat.example.com"),
            ("https://chat.example.com.", "https://chat.example.com"),
            ("https://chat.example.com.:8443", "https://chat.example.com:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[2001:DB8:0::1]", "http://[2001:db8::1]"),
            ("http://my_host", "http://my_host"),
            ("https://xn--caf-dma.example", "https://xn--caf-dma.example"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
            ("http://a:0", "http://a:0"),
        ] {
            let Some(Origin::Site(site)) = Origin::parse(written) else { panic!("{written}") };
            assert_eq!(site.to_string(), read, "{written}");
        }
        assert_eq!(Origin::parse("null"), Some(Origin::Null));
        assert_eq!(Origin::parse("file://"), Some(Origin::Null));
    }

    #[test]
    fn what_is_not_one_origin_is_none() {
        for text in [
            "",
            " ",
            "Null",
            "nul",
            "*",
            "chat.example.com",
            "//chat.example.com",
            "://chat.example.com",
            "https:/chat.example.com",
            "https://",
            "https://.",
            "https://..",
            "https://a/",
            "https://a/path",
            "https://a?b",
            "https://a#b",
            "https://u@a",
            "https://u:p@a",
            "https://a:",
            "https://a:b",
            "https://a:65536",
            "https://a:080",
            "https://a:+80",
            "https://a: 80",
            "https://a:80:80",
            "https://::1",
            "https://[::1",
            "https://[::1]80",
            "https://[::1%25eth0]",
            "https://[a]",
            "https://*.a",
            "https://a b",
            "https://a https://b",
            "https://a, https://b",
            "https://a\u{e9}",
            "https://a%2eb",
            "https://a\\b",
            "1http://a",
            "ht tp://a",
            "file:///",
            "null, null",
            " https://a",
            "https://a ",
        ] {
            assert_eq!(Origin::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_authority_is_read_with_or_without_its_port() {
        for (text, host, port) in [
            ("a", "a", None),
            ("A.:8080", "a", Some(8080)),
            ("a:", "a", None),
            ("[::1]", "::1", None),
            ("[::1]:1", "::1", Some(1)),
        ] {
            let host = host.to_owned();
            assert_eq!(Authority::parse(text), Some(Authority { host, port }), "{text}");
        }
        assert_eq!(Authority::parse(""), None);
        assert_eq!(Authority::parse("a/b"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// The `http` crate's parser of URIs is somebody else's: what is an origin here is a URI
        /// there, with the same parts and nothing besides.
        #[test]
        fn an_origin_is_a_uri_of_scheme_and_authority_alone(
            scheme in "(http|https|HTTPS|capacitor|x)",
            rest in "(://|:/|:)[a-zA-Z0-9\\[\\]:@/?#.%_ *-]{0,20}",
        ) {
            let text = format!("{scheme}{rest}");
            let Some(Origin::Site(site)) = Origin::parse(&text) else { return Ok(()) };
            let uri: http::Uri = text.parse().expect("a URI");
            let authority = uri.authority().expect("an authority");
            prop_assert_eq!(uri.scheme_str().map(str::to_ascii_lowercase), Some(site.scheme.clone()));
            let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
            let host = host.strip_suffix('.').map(str::to_owned).unwrap_or(host);
            let host = host.parse::<Ipv6Addr>().map_or(host, |ip| ip.to_string());
            prop_assert_eq!(&host, &site.host);
            prop_assert_eq!(authority.port_u16().or(default_port(&site.scheme)), site.port);
            prop_assert!(!text.contains('@') && !text.contains('?') && !text.contains('#'));
            let parts: Vec<&str> = text.splitn(4, '/').collect();
            prop_assert_eq!(parts.len(), 3, "a path");
            // Written again it is read as the same.
            prop_assert_eq!(Origin::parse(&site.to_string()), Some(Origin::Site(site)));
        }

        #[test]
        fn any_text_is_read_or_not_and_never_a_panic(text in ".{0,40}") {
            drop(Origin::parse(&text));
            drop(Authority::parse(&text));
        }
    }
}
